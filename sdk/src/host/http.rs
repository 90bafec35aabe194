//! HTTP by the host's client. Needs the grant `http` for the origin.

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
