//! A storage that sins: the key or prefix that it is asked for says how. The tests of the plugin host hold each sin to its
//! consequence.

use std::time::Duration;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_storage;
use freezer_sdk::host::bodies::{Body, DigestAlgorithm};
use freezer_sdk::host::{control, directories, http, tcp};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{Existing, KeyEntry, KeyKind, KeyPage, Storage};

struct Hostile;

export_storage!(Hostile);

/// An object of this key.
fn object(key: &str, size: u64) -> KeyEntry {
    KeyEntry {
        key: key.to_owned(),
        kind: KeyKind::Object,
        size,
        modified: None,
    }
}

/// Eats memory until there is none.
fn devour() -> u64 {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        if eaten.len() == usize::MAX {
            return 0;
        }
    }
}

/// Computes without an end in sight.
fn spin() -> u64 {
    let mut number = 1_u64;
    while number != 0 {
        number = std::hint::black_box(number | 1);
    }
    number
}

fn recurse(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        0
    } else {
        recurse(depth + 1) + room[0]
    }
}

/// Takes handles and gives none back.
fn hoard(content: &[u8]) -> u64 {
    let mut bodies = Vec::new();
    while let Ok(body) = Body::from_bytes(content) {
        bodies.push(body);
    }
    0
}

fn flood() -> u64 {
    for number in 0..5000 {
        control::warning(format!("\u{1b}[31mred {number}\u{1b}[0m\nsecond line"));
    }
    0
}

/// Tells a server the secret, and follows where it sends; answers its status.
fn fetch(trust: http::Trust, url: &str) -> Result<u64> {
    let request = request("GET", trust, url);
    Ok(http::send(&request, None)?.status.into())
}

fn request(method: &str, trust: http::Trust, url: &str) -> http::Request {
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
fn talk(what: &str, place: &str) -> Result<u64> {
    let (host, port) = place.rsplit_once(':').unwrap_or((place, "0"));
    let trust = match what.split_once('+').map(|(_, trust)| trust.split_once(':')) {
        Some(Some(("certificates", setting))) => Some(tcp::Trust::Certificates(setting.to_owned())),
        Some(Some((_, setting))) => Some(tcp::Trust::Anything(setting.to_owned())),
        _ => None,
    };
    let target = tcp::Target {
        host: host.to_owned(),
        port: port.parse().unwrap_or(0),
        tls: trust.map(|trust| tcp::Tls {
            server_name: host.to_owned(),
            trust,
        }),
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
fn named_trust(name: &str) -> http::Trust {
    match name.split_once(':') {
        Some(("certificates", setting)) => http::Trust::Certificates(setting.to_owned()),
        Some(("anything", setting)) => http::Trust::Anything(setting.to_owned()),
        _ => http::Trust::System,
    }
}

impl Storage for Hostile {
    fn open(_settings: Settings) -> Result<Self> {
        Ok(Self)
    }

    fn stat(&self, key: &str) -> Result<KeyEntry> {
        let size = match key {
            "loop" => spin(),
            "memory" => devour(),
            "recursion" => recurse(0),
            "panic" => panic!("on purpose"),
            "handles" => hoard(b"x"),
            // Few handles, but much behind them.
            "bodies" => hoard(&vec![1; 16 << 20]),
            "transfer" => {
                control::debug("x".repeat(20 << 20));
                0
            }
            "flood" => flood(),
            "output" => flood_output(),
            "wait" => {
                control::wait(Duration::from_secs(60))?;
                0
            }
            "environment" => std::env::vars().count() as u64 + std::env::args().count() as u64,
            "directory" => {
                directories::open("/etc", directories::Access::ReadOnly)?;
                0
            }
            "relative" => {
                directories::open("etc/../..", directories::Access::ReadWrite)?;
                0
            }
            "secret" => control::secret("password")?.expose().len() as u64,
            "undeclared" => control::secret("other")?.expose().len() as u64,
            "http" => fetch(http::Trust::System, "http://169.254.169.254/latest")?,
            "escapes" => return Err(Error::invalid("\u{1b}]0;owned\u{7}\nnext line")),
            "other" => return Ok(object("somebody/else", 1)),
            _ => match key.split_once(' ') {
                Some((what, place)) if what.starts_with("tcp") => talk(what, place)?,
                Some((trust, url)) => fetch(named_trust(trust), url)?,
                None => 1,
            },
        };
        Ok(object(key, size))
    }

    fn list(&self, prefix: &str, _cursor: Option<&str>) -> Result<KeyPage> {
        let below = |name: &str| object(&format!("{prefix}{name}"), 1);
        let page = |entries| KeyPage { entries, next: None };
        Ok(match prefix {
            "many/" => page((0..1001).map(|number| below(&number.to_string())).collect()),
            "dots/" => page(vec![below("../x")]),
            "nul/" => page(vec![below("a\0b")]),
            "deep/" => page(vec![below("a/b")]),
            "elsewhere/" => page(vec![object("x", 1)]),
            "long/" => page(vec![below(&"x".repeat(5000))]),
            "huge/" => page(vec![below(&"x".repeat(10 << 20))]),
            "forever/" => KeyPage {
                entries: Vec::new(),
                next: Some("again".to_owned()),
            },
            _ => page(Vec::new()),
        })
    }

    fn read(&self, key: &str, _offset: u64, _length: Option<u64>) -> Result<Body> {
        if key.starts_with("http:") {
            let request = request("GET", http::Trust::System, key);
            return Ok(http::send(&request, None)?.content);
        }
        Body::from_bytes(if key == "short" { b"" } else { b"0123456789" })
    }

    fn put(&self, key: &str, content: &Body, _existing: Existing) -> Result<()> {
        match key {
            "read" => content.read(10).map(drop),
            "digest" => content.digest(DigestAlgorithm::Md5).map(drop),
            key if key.starts_with("http:") => {
                let request = request("PUT", http::Trust::System, key);
                http::send(&request, Some(content)).map(drop)
            }
            key => match key.split_once(' ') {
                Some((what, place)) => talk(what, place).map(drop),
                None => Ok(()),
            },
        }
    }

    fn remove(&self, _keys: &[String]) -> Result<()> {
        Ok(())
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String> {
        Ok(if key == "long" {
            "x".repeat(2049)
        } else {
            key.to_owned()
        })
    }

    fn put_segment(&self, upload: &str, _number: u32, _offset: u64, _content: &Body) -> Result<String> {
        Ok(if upload == "receipt" {
            "x".repeat(300)
        } else {
            String::new()
        })
    }

    fn commit(&self, _upload: &str, _size: u64, _receipts: &[String]) -> Result<()> {
        Ok(())
    }

    fn abort(&self, _upload: &str) -> Result<()> {
        Ok(())
    }
}

/// Writes terminal escapes to standard output.
#[expect(
    clippy::print_stdout,
    reason = "flooding standard output is the sin under test"
)]
fn flood_output() -> u64 {
    println!("{}", "\u{1b}[2Jx".repeat(100_000));
    0
}
