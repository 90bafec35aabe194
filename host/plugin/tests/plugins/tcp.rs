//! What plugins can and can't do by byte connections, against peers on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use freezer_pipeline::store::{ErrorKind, Existing};
use freezer_plugin::SettingValue;

use crate::common::open_hostile as open;

/// Reads to the end, answers what came and more, and counts who is connected.
struct Peer {
    address: SocketAddr,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Peer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (made, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (Arc::clone(&made), Arc::clone(&open));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (made, open) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
                made.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut came = Vec::new();
                    let mut stream = stream.unwrap();
                    drop(stream.read_to_end(&mut came));
                    drop(stream.write_all(&[came, vec![7; 1_000_000]].concat()));
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, made, open }
    }

    fn grant(&self) -> String {
        format!("tcp = [\"{}\"]", self.address)
    }

    #[track_caller]
    fn await_none(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < end, "still connected");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_granted_place_is_talked_to_and_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let (peer, other) = (Peer::start(), Peer::start());
    let (_run, store) = open(temp.path(), &peer.grant(), |_| {});
    let talked = store.stat(&format!("tcp {}", peer.address)).unwrap().unwrap();
    assert_eq!(talked.size, 1_000_011);
    let port = peer.address.port();
    for place in [
        other.address.to_string(),
        format!("localhost:{port}"),
        format!("127.1:{port}"),
    ] {
        let error = store.stat(&format!("tcp {place}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(
            error.message.ends_with(&format!("tcp = [\"{place}\"]")),
            "{error}"
        );
    }
    assert_eq!(other.made.load(Ordering::SeqCst), 0);
    peer.await_none();
}

#[test]
fn surroundings_are_out_of_reach_whatever_name_leads_there() {
    let temp = tempfile::tempdir().unwrap();
    // The system resolves these names to what a hostile name server could answer for any.
    let names = ["2852039166:80", "0xa9fea9fe:80", "0:80"];
    let (_run, store) = open(temp.path(), &format!("tcp = {names:?}"), |_| {});
    for name in names {
        let error = store.stat(&format!("tcp {name}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{name}: {error}");
        assert!(error.message.contains("metadata service"), "{name}: {error}");
    }
    let error = store.stat("tcp 2852039166:80").unwrap_err();
    assert!(
        error.message.ends_with("tcp = [\"169.254.169.254:80\"]"),
        "{error}"
    );
}

#[test]
fn connections_end_with_what_held_them() {
    let temp = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let (run, store) = open(temp.path(), &peer.grant(), |_| {});
    let place = peer.address;
    let error = store.stat(&format!("tcp-hoard {place}")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(
        error.message.contains("at most 64 connections open at once"),
        "{error}"
    );
    // The last of them may be connected before the peer has taken it.
    let begun = std::time::Instant::now();
    while peer.made.load(Ordering::SeqCst) < 64 && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(peer.made.load(Ordering::SeqCst), 64);
    peer.await_none();
    let error = store.stat(&format!("tcp-panic {place}")).unwrap_err();
    assert!(error.message.contains("it panicked"), "{error}");
    assert_eq!(run.run.release_all(), [""; 0]);
    peer.await_none();
    // Those that were given back can be had again.
    assert_eq!(
        store.stat(&format!("tcp {place}")).unwrap().unwrap().size,
        1_000_011
    );
}

#[test]
fn a_cancelled_run_waits_for_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let (run, store) = open(temp.path(), &peer.grant(), |_| {});
    let (cancel, made) = (run.cancel.clone(), Arc::clone(&peer.made));
    thread::spawn(move || {
        while made.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        cancel.cancel();
    });
    let wait = format!("tcp-wait {}", peer.address);
    let waited = store.put(&wait, Arc::new(Vec::new()), Existing::Replace);
    assert_eq!(waited.unwrap_err().kind, ErrorKind::Cancelled);
    peer.await_none();
}

#[test]
fn trust_needs_settings_of_the_right_type_and_carelessness_is_told() {
    let temp = tempfile::tempdir().unwrap();
    // Nobody listens there: the trust is judged before.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let grant = format!("tcp = [\"{closed}\"]");
    let (run, store) = open(temp.path(), &grant, |_| {});
    for trust in [
        "anything:insecure",
        "anything:place",
        "certificates:cacert",
        "certificates:place",
    ] {
        let error = store.stat(&format!("tcp+{trust} {}", closed)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{trust}: {error}");
    }
    assert!(run.warnings.lock().unwrap().is_empty());
    let (run, store) = open(temp.path(), &grant, |asked| {
        asked.settings.set("insecure", SettingValue::Flag(true));
    });
    let error = store
        .stat(&format!("tcp+anything:insecure {}", closed))
        .unwrap_err();
    assert!(error.message.contains("no connection"), "{error}");
    let told = format!(
        "hostile: --insecure is set: the certificate of {} isn't checked",
        closed
    );
    assert!(run.warnings.lock().unwrap()[0].starts_with(&told));
}
