//! What plugins can and can't do by HTTP, against a server on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use freezer_pipeline::store::{ErrorKind, Existing, Store};
use freezer_plugin::SettingValue;

use crate::common::open_hostile as open;

/// Answers `/to` with a redirect, everything else with its own bytes, and remembers the requests.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
}

const OBJECT: usize = 3_000_000;

impl Server {
    fn start(redirect: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (memory, redirect) = (Arc::clone(&received), redirect.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (memory, redirect) = (Arc::clone(&memory), redirect.clone());
                thread::spawn(move || serve(stream?, &memory, &redirect));
            }
        });
        Self { address, received }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn last(&self) -> String {
        self.received.lock().unwrap().last().unwrap().clone()
    }
}

fn serve(stream: TcpStream, memory: &Mutex<Vec<String>>, redirect: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
                length = text.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut content = vec![0; length];
        stream.read_exact(&mut content)?;
        let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
        let to = head.starts_with("GET /to ");
        memory.lock().unwrap().push(format!("{head}sum: {sum}"));
        let answer = match to {
            true => format!("HTTP/1.1 302 Found\r\nLocation: {redirect}\r\nContent-Length: 0\r\n\r\n")
                .into_bytes(),
            false => [
                format!("HTTP/1.1 200 OK\r\nContent-Length: {OBJECT}\r\n\r\n").as_bytes(),
                &[7; OBJECT],
            ]
            .concat(),
        };
        stream.get_mut().write_all(&answer)?;
    }
}

#[test]
fn contents_pass_by_the_plugin_unchanged_and_secrets_are_filled_in() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start("");
    let grants = format!("http = [\"http://{}\"]\nsecrets = [\"password\"]", server.address);
    let (_run, store) = open(temp.path(), &grants, |_| {});
    let content = Arc::new(vec![3; 5_000_000]);
    store.put(&server.url("/o"), content, Existing::Replace).unwrap();
    let last = server.last();
    assert!(
        last.starts_with("PUT /o HTTP/1.1\r\n") && last.ends_with("sum: 15000000"),
        "{last}"
    );
    assert!(last.contains("x-key: key correct horse\r\n"), "{last}");
    let mut answer = Vec::new();
    let read = store.read(&server.url("/o"), 0, Some(OBJECT as u64));
    read.unwrap().read_to_end(&mut answer).unwrap();
    assert!(answer == [7; OBJECT]);
}

#[test]
fn nothing_is_sent_without_its_grants() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start("http://169.254.169.254/latest");
    let fetch = |store: &dyn Store, path: &str| store.stat(&format!("system {}", server.url(path)));
    let denied = |store: &dyn Store, path: &str, line: &str| {
        let error = fetch(store, path).unwrap_err();
        assert!(
            error.kind == ErrorKind::Denied && error.message.ends_with(line),
            "{error}"
        );
    };
    let origin = format!("http://{}", server.address);
    let (_run, store) = open(temp.path(), "secrets = [\"password\"]", |_| {});
    denied(&*store, "/", &format!("http = [\"{origin}\"]"));
    let (_run, store) = open(temp.path(), &format!("http = [\"{origin}\"]"), |_| {});
    denied(&*store, "/", "secrets = [\"password\"]");
    assert!(server.received.lock().unwrap().is_empty());
    let both = format!("http = [\"{origin}\"]\nsecrets = [\"password\"]");
    let (_run, store) = open(temp.path(), &both, |_| {});
    assert_eq!(fetch(&*store, "/").unwrap().unwrap().size, 200);
    denied(&*store, "/to", "http = [\"http://169.254.169.254\"]");
}

#[test]
fn trust_needs_settings_of_the_right_type_and_carelessness_is_told_once() {
    let temp = tempfile::tempdir().unwrap();
    let grants = "http = [\"https://127.0.0.1:1\", \"https://localhost:1\"]\nsecrets = [\"password\"]";
    let fetch = |store: &dyn Store, trust: &str, host: &str| {
        let error = store.stat(&format!("{trust} https://{host}:1/")).unwrap_err();
        (error.kind, error.message)
    };
    let (run, store) = open(temp.path(), grants, |_| {});
    for trust in [
        "anything:insecure",
        "anything:place",
        "anything:",
        "certificates:cacert",
        "certificates:place",
        "certificates:x",
    ] {
        let (kind, message) = fetch(&*store, trust, "127.0.0.1");
        assert_eq!(kind, ErrorKind::Invalid, "{trust}: {message}");
    }
    assert!(run.warnings.lock().unwrap().is_empty());
    let (run, store) = open(temp.path(), grants, |asked| {
        asked.settings.set("insecure", SettingValue::Flag(true));
        asked
            .settings
            .set("cacert", SettingValue::Text("/nowhere/ca.pem".to_owned()));
        asked.uploads = Some(1);
    });
    let (kind, message) = fetch(&*store, "certificates:cacert", "127.0.0.1");
    assert!(
        kind == ErrorKind::Invalid && message.contains("/nowhere/ca.pem"),
        "{message}"
    );
    for host in ["127.0.0.1", "localhost", "127.0.0.1"] {
        // The warning comes before anything is sent, and this path is refused.
        let error = store
            .stat(&format!("anything:insecure https://{host}:1/a/../b"))
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    }
    let warnings = run.warnings.lock().unwrap();
    assert_eq!(warnings.len(), 2, "once an origin: {warnings:?}");
    assert!(
        warnings[0]
            .starts_with("hostile: --insecure is set: the certificate of https://127.0.0.1:1 isn't checked")
    );
}

#[test]
fn uploads_bound_the_calls_at_once() {
    let temp = tempfile::tempdir().unwrap();
    for (uploads, expected) in [(None, 2), (Some(1), 1), (Some(0), 1), (Some(9), 2)] {
        let (_run, store) = open(temp.path(), "", |asked| asked.uploads = uploads);
        assert_eq!(store.limits().parallel_calls, expected, "{uploads:?}");
    }
}
