//! HTTP by the host's client. Needs the grant `http` for the origin.

use std::time::Duration;

use crate::error::Result;
use crate::host::backend::http as backend;
use crate::host::bodies::Body;

pub use crate::bindings::imports::freezer::plugin::http::{Request, Trust};
pub use crate::bindings::imports::freezer::plugin::types::Field;

/// What came back, whatever the status.
#[derive(Debug)]
pub struct Response {
    /// The status, 100 to 599.
    pub status: u16,
    /// Headers in the order received, names in lower case.
    pub headers: Vec<Field>,
    /// The answer's content: a stream that fails if it is shorter than announced.
    pub content: Body,
}

impl Response {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.as_str())
    }

    /// How long the service asks to wait: the header `Retry-After`, in seconds or as a date. A date is compared with the
    /// answer's own, so that no clock of this machine matters; without one, or in the past, it says nothing.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let now = httpdate::parse_http_date(self.header("date")?.trim()).ok()?;
        httpdate::parse_http_date(text).ok()?.duration_since(now).ok()
    }
}

/// Sends one request and waits for the headers of the answer. Any status is a success; an error means that no answer came.
///
/// # Errors
/// `denied` without a grant; `unavailable`; `invalid`; `cancelled`.
pub fn send(request: &Request, content: Option<&Body>) -> Result<Response> {
    let response = backend::send(request, content.map(|body| &body.0))?;
    Ok(Response {
        status: response.status,
        headers: response.headers,
        content: Body(response.content),
    })
}
