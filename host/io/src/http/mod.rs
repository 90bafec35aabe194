//! HTTP and HTTPS for plugins: one request, one answer, everything bounded.
//!
//! The client sends what it is given and nothing of its own but `Accept: */*`: no proxies from the environment, no cookies, no
//! decompression, no retries. Every origin, also that of a redirect, is asked for at a [`Permission`], and every address
//! that a name resolves to. Needs a tokio runtime with timers and I/O; contents are read from anywhere.

mod address;
mod answer;
mod content;
mod failure;
mod redirect;
mod request;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use url::Url;

pub use answer::Answer;
pub use content::Content;
pub(crate) use content::feed;
pub use request::{Header, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REDIRECTS, MAX_URL_BYTES, Request};
pub use tls::Trust;
pub(crate) use tls::config as tls_config;

use crate::error::{Error, ErrorKind};
use crate::limiter::Bandwidth;
use crate::stop::{self, Stop};
use answer::Incoming;
use content::{Progress, Upload};
use request::Checked;

/// How long a connection may take to come about, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may move.
const STALL: Duration = Duration::from_secs(60);
/// How long the headers of an answer may take once the content is sent, unless the plugin asks for another time.
const HEADERS: Duration = Duration::from_secs(60);
/// The longest time that a plugin can ask for.
const MAX_HEADERS_TIME: Duration = Duration::from_secs(600);
/// How long an unused connection is kept: shorter than servers keep it, so that it isn't closed just when it is used.
const IDLE: Duration = Duration::from_secs(15);
/// The most headers of an answer.
const MAX_ANSWER_HEADERS: usize = 256;
/// The most bytes of them.
const MAX_ANSWER_HEADER_BYTES: usize = 64 << 10;

/// Decides whom requests may reach.
pub trait Permission: Send + Sync {
    /// May requests go to the origin of this URL?
    ///
    /// # Errors
    /// `Denied`, in words that say what would allow it.
    fn origin(&self, url: &Url) -> Result<(), Error>;

    /// May requests go to this address, which is link-local, a cloud's metadata service or nobody's?
    ///
    /// # Errors
    /// `Denied`, in words that say what would allow it.
    fn address(&self, address: IpAddr) -> Result<(), Error>;

    /// May requests reach this address, whatever it is? Asked for each that a name resolves to.
    ///
    /// # Errors
    /// `Denied`, in words that say what forbids it.
    fn reach(&self, _address: IpAddr) -> Result<(), Error> {
        Ok(())
    }
}

/// Which connections may be shared: those under the same trust. Plain HTTP needs none, and loads no certificates.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    Plain,
    Secure(Trust),
}

/// Sends the requests of one plugin.
pub struct Client {
    permission: Arc<dyn Permission>,
    bandwidth: Bandwidth,
    stall: Duration,
    pools: Mutex<BTreeMap<Pool, reqwest::Client>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has sent nothing yet; nothing is loaded before the first request.
    pub fn new(permission: Arc<dyn Permission>, bandwidth: Bandwidth) -> Self {
        Self {
            permission,
            bandwidth,
            stall: STALL,
            pools: Mutex::default(),
        }
    }

    /// Gives up where nothing moved for this long, instead of 60 s.
    #[must_use]
    pub fn giving_up_after(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    /// Sends one request, follows redirects as far as it says, and waits for the headers of the answer.
    ///
    /// # Errors
    /// `Invalid` for a request that breaks the rules; `Denied` without a permission or for a certificate that isn't
    /// trusted; `Unavailable` if no answer came; `Cancelled`.
    pub async fn send(
        &self,
        request: Request,
        content: Option<Content>,
        stop: &Stop,
    ) -> Result<Answer, Error> {
        let mut asking = Checked::new(&request)?;
        let mut content = content;
        let mut redirects = request.follow_redirects.min(MAX_REDIRECTS);
        let time = answer::header_time(request.timeout_ms);
        loop {
            stop.check()?;
            self.permit(&asking.url)?;
            // What can be sent again is kept for a redirect; a stream is gone.
            let again = match &content {
                None => Some(None),
                Some(Content::Bytes(bytes)) => Some(Some(Content::Bytes(Arc::clone(bytes)))),
                Some(Content::Stream { .. }) => None,
            };
            let response = self.exchange(&asking, content.take(), time, stop).await?;
            if redirects > 0
                && let Some(again) = again
                && let Some((next, with_content)) = redirect::next(&asking, &response)
            {
                redirects -= 1;
                content = if with_content { again } else { None };
                asking = next;
                continue;
            }
            let incoming = Incoming {
                asked: asking.to_string(),
                response,
                throttle: self.bandwidth.download.clone(),
                stall: self.stall,
                stop: stop.clone(),
            };
            return incoming.answer().await;
        }
    }

    fn permit(&self, url: &Url) -> Result<(), Error> {
        self.permission.origin(url)?;
        // Names are checked as they are resolved.
        match request::literal_address(url) {
            Some(address) => address::check(&*self.permission, address),
            None => Ok(()),
        }
    }

    /// One request, one answer.
    async fn exchange(
        &self,
        asking: &Checked,
        content: Option<Content>,
        time: Duration,
        stop: &Stop,
    ) -> Result<reqwest::Response, Error> {
        let client = self.pool(&asking.url, &asking.trust)?;
        let progress = Progress::new();
        let mut request = reqwest::Request::new(asking.method.clone(), asking.url.clone());
        request.headers_mut().clone_from(&asking.headers);
        if has_empty_content(asking, content.as_ref()) {
            // Servers ask for it, and nobody adds it to a request without content.
            request
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            progress.finish();
        } else if content.is_some() {
            let upload = Upload::new(content, &self.bandwidth.upload, &progress);
            *request.body_mut() = Some(reqwest::Body::wrap(upload));
        } else {
            progress.finish();
        }
        tokio::select! {
            response = client.execute(request) => {
                response.map_err(|error| failure::unanswered(&asking.to_string(), &error))
            }
            error = watch(asking, &progress, (self.stall, time), stop) => Err(error),
        }
    }

    /// The connections to use for a URL.
    fn pool(&self, url: &Url, trust: &Trust) -> Result<reqwest::Client, Error> {
        let pool = match url.scheme() {
            "https" => Pool::Secure(trust.clone()),
            _ => Pool::Plain,
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = pools.get(&pool) {
            return Ok(client.clone());
        }
        let tls = match &pool {
            Pool::Plain => tls::without_certificates()?,
            Pool::Secure(trust) => tls::config(trust)?,
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(address::CheckedResolver(Arc::clone(&self.permission)))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .http1_max_headers(MAX_ANSWER_HEADERS)
            .connect_timeout(CONNECT)
            .tcp_keepalive(STALL / 2)
            .tcp_user_timeout(STALL)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Other, format!("can't set up the HTTP client: {error}"))
            })?;
        pools.insert(pool, client.clone());
        Ok(client)
    }
}

/// Tells whether a request must say that its content is empty.
fn has_empty_content(asking: &Checked, content: Option<&Content>) -> bool {
    match content {
        Some(Content::Bytes(bytes)) => bytes.is_empty(),
        Some(Content::Stream { size, .. }) => *size == Some(0),
        None => matches!(asking.method, Method::PUT | Method::POST | Method::PATCH),
    }
}

/// Waits until a request has taken too long or should stop.
///
/// The times are those for sending the content without any progress, and for the headers of the answer after that.
async fn watch(
    asking: &Checked,
    progress: &Progress,
    (stall, headers): (Duration, Duration),
    stop: &Stop,
) -> Error {
    loop {
        tokio::time::sleep(stop::POLL).await;
        if stop.is_raised() {
            return stop::cancelled();
        }
        let done = progress.is_done();
        let most = if done { headers } else { stall };
        if progress.idle() < most {
            continue;
        }
        let what = if done {
            "no answer"
        } else {
            "nothing could be sent"
        };
        let message = format!("{asking}: {what} for {} s", most.as_secs_f64());
        return Error::new(ErrorKind::Unavailable, message);
    }
}
