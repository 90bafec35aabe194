//! `http`: requests to granted origins, sent by `freezer_io::http`.

use freezer_io::http::{self, Answer, Content, Header};
use url::Url;
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::bodies::used_up;
use super::resources::{Body, Origin, Taken};
use super::trust;
use crate::bindings::v1::imports::freezer::plugin::http::{Host, Request, Response, Trust};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, Field};
use crate::guest::{GuestState, PluginContext, SECRET};

impl Host for GuestState {
    async fn send(
        &mut self,
        request: Request,
        content: Option<Resource<Body>>,
    ) -> wasmtime::Result<Result<Response, Error>> {
        let _in_host = self.clock.host();
        let stop = self.stop();
        if let Err(cancelled) = self.request().await {
            return Ok(Err(cancelled));
        }
        let request = match native(&self.context, request) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let content = match content {
            None => None,
            Some(body) => match take(self.table.get(&body)?) {
                Some(content) => Some(content),
                None => return Ok(Err(used_up())),
            },
        };
        let answer = match self.context.http.send(request, content, &stop).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.into())),
        };
        let Answer {
            status,
            headers,
            size,
            content,
        } = answer;
        let content = self.table.push(Body::stream(content, size, Origin::Plugin))?;
        let field = |(name, value)| Field { name, value };
        Ok(Ok(Response {
            status,
            headers: headers.into_iter().map(field).collect(),
            content,
        }))
    }
}

/// The bytes of a body for one sending; `None` for a stream that was used before.
pub(super) fn take(body: &Body) -> Option<Content> {
    let size = body.size();
    Some(match body.take()? {
        Taken::Bytes(bytes) => Content::Bytes(bytes),
        Taken::Stream(reader) => Content::Stream { reader, size },
    })
}

/// The request with its secrets filled in and its trust looked up.
fn native(context: &PluginContext, request: Request) -> Result<http::Request, Error> {
    // Asked first, so that the refusal of a secret never hides where it would have gone.
    if let Ok(url) = Url::parse(&request.url) {
        context.grants.origin(&url)?;
    }
    let headers = request.headers.into_iter().map(|field| header(context, field));
    Ok(http::Request {
        headers: headers.collect::<Result<_, _>>()?,
        trust: trusted(context, &request.trust, &request.url)?,
        method: request.method,
        url: request.url,
        follow_redirects: request.follow_redirects,
        timeout_ms: request.timeout_ms,
    })
}

/// Whose certificates count.
fn trusted(context: &PluginContext, trust: &Trust, url: &str) -> Result<http::Trust, Error> {
    match trust {
        Trust::System => Ok(http::Trust::System),
        Trust::Certificates(setting) => trust::certificates(context, setting),
        Trust::Anything(setting) => {
            let url = Url::parse(url).ok().filter(|url| url.scheme() == "https");
            let origin = url.map(|url| url.origin().ascii_serialization());
            trust::anything(context, setting, origin.as_deref())
        }
    }
}

/// A header in whose value each `{secret:NAME}` is replaced.
fn header(context: &PluginContext, field: Field) -> Result<Header, Error> {
    let Field { name, value } = field;
    if !value.contains(SECRET) {
        return Ok(Header {
            name,
            value: Zeroizing::new(value),
            secret: false,
        });
    }
    let filled = context.fill_secrets(&value)?;
    Ok(Header {
        name,
        value: filled,
        secret: true,
    })
}
