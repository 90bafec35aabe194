//! What storage `swift` does, by the same HTTP client: look, mark, segments, look, manifest.

use std::sync::Arc;

use freezer_io::digest::{Algorithm, hex_digest};
use freezer_io::error::Error as IoError;
use freezer_io::http::{Answer, Client, Content, Header, Permission, Request, Trust};
use freezer_io::limiter::Bandwidth;
use freezer_io::stop::Stop;
use tokio::runtime::Runtime;
use url::Url;
use zeroize::Zeroizing;

use super::{KEY, Native, Outcome, Work};

/// The container of the native way.
const CONTAINER: &str = "overhead-natively";
/// The folder of the object's segments.
const SEGMENTS: &str = "data/segments/object.0000000000000000";

/// Lets everything through: this program chooses its requests itself.
struct Anywhere;

impl Permission for Anywhere {
    fn origin(&self, _: &Url) -> Result<(), IoError> {
        Ok(())
    }

    fn address(&self, _: std::net::IpAddr) -> Result<(), IoError> {
        Ok(())
    }
}

/// An account that is spoken to directly.
pub(super) struct Account {
    runtime: Runtime,
    client: Client,
    url: String,
    token: String,
}

impl Account {
    /// Logs in at tempauth and makes the container.
    pub(super) fn log_in(auth: &str, user: &str, key: &str) -> Outcome<Self> {
        let mut account = Self {
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
            client: Client::new(Arc::new(Anywhere), Bandwidth::default()),
            url: String::new(),
            token: String::new(),
        };
        let answer = account.ask(
            "GET",
            auth.to_owned(),
            &[("X-Auth-User", user), ("X-Auth-Key", key)],
            None,
        )?;
        let named = |name: &str| {
            let found = answer.headers.iter().find(|(header, _)| header == name);
            found
                .map(|(_, value)| value.clone())
                .ok_or(format!("the login answers no {name}"))
        };
        account.url = format!("{}/{CONTAINER}", named("x-storage-url")?);
        account.token = named("x-auth-token")?;
        account.ask("PUT", account.url.clone(), &[], None)?;
        Ok(account)
    }

    /// One request; any answer but success and absence is an error.
    fn ask(
        &self,
        method: &str,
        url: String,
        headers: &[(&str, &str)],
        content: Option<Arc<Vec<u8>>>,
    ) -> Outcome<Answer> {
        let token = [("X-Auth-Token", &*self.token)];
        let headers = headers
            .iter()
            .chain(&token)
            .filter(|(_, value)| !value.is_empty());
        let request = Request {
            method: method.to_owned(),
            headers: headers
                .map(|(name, value)| Header {
                    name: (*name).to_owned(),
                    value: Zeroizing::new((*value).to_owned()),
                    secret: false,
                })
                .collect(),
            follow_redirects: 0,
            timeout_ms: None,
            trust: Trust::System,
            url,
        };
        let shown = format!("{method} {}", request.url);
        let content = content.map(Content::Bytes);
        let answer = self
            .runtime
            .block_on(self.client.send(request, content, &Stop::never()))?;
        match answer.status {
            200..=299 | 404 => Ok(answer),
            status => Err(format!("{shown} answers {status}").into()),
        }
    }

    fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }
}

impl Native for Account {
    fn store(&self, work: &Work) -> Outcome<()> {
        self.ask("HEAD", self.at(KEY), &[], None)?;
        self.ask("PUT", self.at(SEGMENTS), &[], Some(Arc::default()))?;
        for number in 0..work.segments {
            let digest = hex_digest(Algorithm::Md5, &work.segment);
            let segment = Some(Arc::clone(&work.segment));
            self.ask(
                "PUT",
                self.at(&format!("{SEGMENTS}/{number:08}")),
                &[("ETag", &digest)],
                segment,
            )?;
        }
        self.ask("HEAD", self.at(SEGMENTS), &[], None)?;
        let manifest = format!("{CONTAINER}/{SEGMENTS}/");
        let headers = [("X-Object-Manifest", &*manifest), ("If-None-Match", "*")];
        self.ask("PUT", self.at(KEY), &headers, Some(Arc::default()))?;
        Ok(())
    }

    fn remove(&self, work: &Work) -> Outcome<()> {
        let segments = (0..work.segments).map(|number| format!("{SEGMENTS}/{number:08}"));
        for key in [KEY.to_owned(), SEGMENTS.to_owned()].into_iter().chain(segments) {
            self.ask("DELETE", self.at(&key), &[], None)?;
        }
        Ok(())
    }
}
