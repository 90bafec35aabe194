//! Fake `http`.

use super::bodies::{Body, drain};
use crate::bindings::imports::freezer::plugin::http::Request;
use crate::bindings::imports::freezer::plugin::types::{Error, Field};
use crate::testing::body::FakeBody;
use crate::testing::machine::call;
use crate::testing::unanswered;

/// Stands for the generated record.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<Field>,
    /// The content.
    pub content: Body,
}

/// `http.send`.
pub fn send(request: &Request, content: Option<&Body>) -> Result<Response, Error> {
    call(
        "http.send",
        format!("{} {}", request.method, request.url),
        |machine| {
            let content = drain(content)?;
            let mut answer = machine.state().http.take().ok_or_else(|| unanswered("http"))?;
            let response = answer(request, &content);
            machine.state().http = Some(answer);
            let response = response?;
            let field = |(name, value)| Field { name, value };
            Ok(Response {
                status: response.status,
                headers: response.headers.into_iter().map(field).collect(),
                content: FakeBody::stream(&response.content, None).into(),
            })
        },
    )
}
