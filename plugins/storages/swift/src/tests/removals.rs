//! Removals, faults at every request, and what is said.

use super::*;

#[test]
fn removal_takes_exactly_what_is_named_with_and_without_bulk() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    for bulk in [true, false] {
        cluster.state().bulk = bulk;
        for is_static in [true, false] {
            let store = cluster.open("c", is_static);
            let many: Vec<&[u8]> = vec![b"abc"; 9];
            upload(&host, &store, "l/data", &many);
            upload(&host, &store, "l/index", &many[..2]);
            upload(&host, &store, "l/data.2", &many[..2]);
            store
                .put("l/manifest", &host.segment(b"m"), Existing::Refuse)
                .unwrap();
            store
                .remove(&[
                    "l/data".to_owned(),
                    "l/nothing".to_owned(),
                    "l/manifest".to_owned(),
                ])
                .unwrap();
            assert_eq!(list(&store, "l/"), ["l/data.2", "l/index"]);
            assert_eq!(read(&host, &store, "l/index", 0, 6), b"abcabc");
            assert_eq!(
                cluster
                    .names("c")
                    .iter()
                    .filter(|name| name.contains("/data."))
                    .count(),
                4
            );
            store
                .remove(&["l/data.2".to_owned(), "l/index".to_owned()])
                .unwrap();
            assert!(cluster.names("c").is_empty());
        }
    }
    let store = cluster.open("c", false);
    store.remove(&vec!["k".to_owned(); 1001]).unwrap_err();
    store.remove(&["../k".to_owned()]).unwrap_err();
}

#[test]
fn whatever_request_fails_or_loses_its_answer_a_repetition_makes_it_right() {
    for fault in [0, 1, 503] {
        for position in 0.. {
            let host = FakeHost::new();
            let cluster = Cluster::new(&host);
            let struck = run_with_fault(&host, &cluster, position, fault);
            if !struck {
                assert!(position > 5);
                break;
            }
        }
    }
}

/// Writes, reads and removes with one request failing; every call is made again once, as the host does. False if there was no
/// such request.
fn run_with_fault(host: &FakeHost, cluster: &Cluster, position: usize, fault: u16) -> bool {
    let store = cluster.open("c", true);
    let mut left = Some(position);
    let mut again = |call: &mut dyn FnMut() -> Result<()>| {
        cluster.requests();
        // The fault waits for the request of that number among all.
        if let Some(number) = left {
            cluster.state().fault = Some((number, fault));
        }
        let first = call();
        let made = cluster.requests().len();
        if let Some(number) = left {
            left = number.checked_sub(made);
        }
        cluster.state().fault = None;
        match first {
            Err(error) if error.is_retryable() => call().unwrap(),
            first => first.unwrap(),
        }
    };
    let mut id = String::new();
    again(&mut || {
        id = store.begin(KEY, None)?;
        Ok(())
    });
    let mut receipts = vec![String::new(); 4];
    for (number, receipt) in (0..).zip(&mut receipts) {
        again(&mut || {
            *receipt = store.put_segment(&id, number, 0, &host.segment(b"abcd"))?;
            Ok(())
        });
    }
    again(&mut || store.commit(&id, 16, &receipts));
    again(&mut || store.put("m", &host.segment(b"m"), Existing::Replace));
    assert_eq!(read(host, &store, KEY, 0, 16), b"abcdabcdabcdabcd");
    again(&mut || store.remove(&[KEY.to_owned(), "m".to_owned()]));
    for upload in pending(&store, "") {
        again(&mut || store.abort(&upload.upload));
    }
    assert!(
        cluster.names("c").is_empty(),
        "{position} {fault}: {:?}",
        cluster.names("c")
    );
    left.is_none()
}

#[test]
fn the_secrets_are_in_no_message() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    for status in [401, 403, 404, 500, 503] {
        cluster.state().script.push((String::new(), status));
        if let Err(error) = store.put("a", &host.segment(b"x"), Existing::Refuse) {
            assert!(
                !error.message.contains("token") && !error.message.contains("testing"),
                "{error}"
            );
        }
    }
    assert!(host.logs().is_empty());
}

#[test]
fn a_login_that_is_not_there_is_no_empty_storage() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    host.serve_http(|_, _| {
        Ok(freezer_sdk::testing::FakeResponse {
            status: 404,
            ..Default::default()
        })
    });
    assert_eq!(store.stat("a").unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(
        store.list("", None).map(drop).unwrap_err().kind,
        ErrorKind::Invalid
    );
}

#[test]
fn usage_is_the_container_s() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    cluster.put("c", "a", b"12345", &[]);
    cluster.put("c", "b", b"1", &[]);
    let usage = cluster.open("c", false).usage().unwrap();
    assert_eq!(
        (usage[0].name.as_str(), usage[0].objects, usage[0].bytes),
        ("c", 2, 6)
    );
    assert_eq!(usage[0].available, Some(999_994));
}
