//! Where an answer sends a request on to.

use reqwest::Method;
use reqwest::header::LOCATION;

use super::request::{self, Checked};

/// The request that follows a redirect, and whether its content goes along; `None` if the answer is no redirect that can
/// be followed. Who may be asked is checked when it is sent.
pub(super) fn next(asked: &Checked, response: &reqwest::Response) -> Option<(Checked, bool)> {
    let status = response.status().as_u16();
    // As everywhere: after 303 comes a GET, and after 301 and 302 so it does for a POST.
    let becomes_get = match status {
        301 | 302 => asked.method == Method::POST,
        303 => asked.method != Method::HEAD,
        307 | 308 => false,
        _ => return None,
    };
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut url = asked.url.join(location).ok()?;
    url.set_fragment(None);
    let url = request::check_url(url.as_str()).ok()?;
    let mut next = asked.clone();
    if url.origin() != asked.url.origin() {
        next.strip_credentials();
    }
    if becomes_get {
        next.method = Method::GET;
        next.strip_content();
    }
    next.url = url;
    Some((next, !becomes_get))
}
