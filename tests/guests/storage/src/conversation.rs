//! What the guest does with what was granted: requests and byte connections, as the first word of a key says.

use freezer_sdk::error::Result;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::{http, tcp};

/// Tells a server the secret, and follows where it sends; answers its status.
pub(crate) fn fetch(trust: http::Trust, url: &str) -> Result<u64> {
    let request = request("GET", trust, url);
    Ok(http::send(&request, None)?.status.into())
}

pub(crate) fn request(method: &str, trust: http::Trust, url: &str) -> http::Request {
    let header = http::Field {
        name: "x-key".to_owned(),
        value: "key {secret:password}".to_owned(),
    };
    http::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: vec![header],
        follow_redirects: 3,
        trust,
        timeout_ms: None,
    }
}

/// Does with a byte connection what the first word says; answers how much came of it.
pub(crate) fn talk(what: &str, place: &str) -> Result<u64> {
    let (host, port) = crate::place(place);
    let trust = match what.split_once('+').map(|(_, trust)| trust.split_once(':')) {
        Some(Some(("certificates", setting))) => Some(tcp::Trust::Certificates(setting.to_owned())),
        Some(Some((_, setting))) => Some(tcp::Trust::Anything(setting.to_owned())),
        _ => None,
    };
    let target = tcp::Target {
        tls: trust.map(|trust| tcp::Tls {
            server_name: host.clone(),
            trust,
        }),
        host,
        port,
        timeout_ms: Some(2000),
    };
    let connection = tcp::connect(&target)?;
    match what {
        "tcp-hoard" => {
            let mut held = vec![connection];
            loop {
                held.push(tcp::connect(&target)?);
            }
        }
        "tcp-panic" => {
            connection.write(b"x")?;
            panic!("on purpose, with a connection in hand")
        }
        "tcp-wait" => connection.read(1).map(|bytes| bytes.len() as u64),
        _ => {
            connection.write(b"hello ")?;
            connection.send(&Body::from_bytes(b"world")?)?;
            connection.shut()?;
            let first = connection.read(2)?;
            let rest = connection.receive(None)?;
            // The stream keeps the connection.
            drop(connection);
            let mut count = first.len() as u64;
            loop {
                let piece = rest.read(1 << 20)?;
                if piece.is_empty() {
                    return Ok(count);
                }
                count += piece.len() as u64;
            }
        }
    }
}

/// The trust that a key names: by a setting of the right type, of another, or by none at all.
pub(crate) fn named_trust(name: &str) -> http::Trust {
    match name.split_once(':') {
        Some(("certificates", setting)) => http::Trust::Certificates(setting.to_owned()),
        Some(("anything", setting)) => http::Trust::Anything(setting.to_owned()),
        _ => http::Trust::System,
    }
}
