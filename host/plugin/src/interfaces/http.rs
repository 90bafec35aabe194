//! `http`: requests to granted origins. Nothing sends them yet.

use wasmtime::component::Resource;

use super::resources::Body;
use crate::bindings::v1::imports::freezer::plugin::http::{Host, Request, Response};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::convert::unsupported;
use crate::grants::Network;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn send(
        &mut self,
        request: Request,
        _content: Option<Resource<Body>>,
    ) -> wasmtime::Result<Result<Response, Error>> {
        let _in_host = self.clock.host();
        let granted = self.context.grants.network(Network::Http, origin(&request.url));
        Ok(Err(granted.map_or_else(Error::from, |()| {
            unsupported("send HTTP requests")
        })))
    }
}

/// `scheme://host:port` of a URL; what has no such shape is compared whole, and fits no grant.
fn origin(url: &str) -> &str {
    let Some(start) = url.find("://").map(|place| place + 3) else {
        return url;
    };
    let end = url[start..]
        .find(['/', '?', '#', '\\'])
        .map_or(url.len(), |length| start + length);
    if url[start..end].contains('@') {
        url
    } else {
        &url[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn origins() {
        assert_eq!(
            origin("https://s3.example.org/bucket?x"),
            "https://s3.example.org"
        );
        assert_eq!(origin("http://host:8080"), "http://host:8080");
        assert_eq!(
            origin("https://good.example@evil.example/x"),
            "https://good.example@evil.example/x"
        );
        assert_eq!(origin("nonsense"), "nonsense");
    }
}
