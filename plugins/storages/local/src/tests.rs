//! Each rule of the storage, and a fault at every position, against the fake host.

use super::*;
use freezer_sdk::directory_storage::is_temporary;
use freezer_sdk::settings::SettingValue;
use freezer_sdk::storage::{Existing, KeyKind, PAGE_ENTRIES, Storage};
use freezer_sdk::testing::FakeHost;

const ROOT: &str = "/srv/backups";
const KEY: &str = "data/tar/web01_etc/1700000000/0_1700000000/data";

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.add_directory(ROOT);
    host
}

fn open() -> Local {
    open_at(ROOT).unwrap()
}

fn open_at(path: &str) -> Result<Local> {
    Local::open(Settings::new([("path", SettingValue::Text(path.into()))]))
}

/// Puts segments of 4 bytes in the given order and returns the receipts by number.
fn put_segments(host: &FakeHost, local: &Local, upload: &str, order: &[u32]) -> Result<Vec<String>> {
    let mut receipts = vec![String::new(); order.len()];
    for &number in order {
        let content = [b'a' + number as u8; 4];
        receipts[number as usize] =
            local.put_segment(upload, number, u64::from(number) * 4, &host.segment(&content))?;
    }
    Ok(receipts)
}

fn store(host: &FakeHost, local: &Local, key: &str) -> Result<String> {
    let upload = local.begin(key, None)?;
    let receipts = put_segments(host, local, &upload, &[0, 1, 2])?;
    local.commit(&upload, 12, &receipts)?;
    Ok(upload)
}

#[track_caller]
fn assert_kind<T>(result: Result<T>, kind: ErrorKind) -> String {
    match result {
        Ok(_) => panic!("it succeeded instead of failing with {kind:?}"),
        Err(error) => {
            assert_eq!(error.kind, kind, "{error}");
            error.message
        }
    }
}

#[test]
fn an_object_is_invisible_until_it_is_committed_whole() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &local, &upload, &[2, 0, 1]).unwrap();
    assert_kind(local.stat(KEY), ErrorKind::NotFound);
    assert!(
        local
            .list("data/tar/web01_etc/1700000000/0_1700000000/", None)
            .unwrap()
            .entries
            .is_empty()
    );

    local.commit(&upload, 12, &receipts).unwrap();
    assert_eq!(local.stat(KEY).unwrap().size, 12);
    assert_eq!(host.paths(ROOT), [KEY]);
    host.cut_power();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
}

#[test]
fn an_upload_goes_on_in_any_instance() {
    let host = host();
    let upload = open().begin(KEY, None).unwrap();
    assert!(upload.len() <= 1024);
    let first = put_segments(&host, &open(), &upload, &[0]).unwrap();
    let second = open().put_segment(&upload, 1, 4, &host.segment(b"bbbb")).unwrap();
    open().commit(&upload, 8, &[first[0].clone(), second]).unwrap();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbb");
}

#[test]
fn a_segment_may_come_again() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    local.put_segment(&upload, 0, 0, &host.segment(b"xxxx")).unwrap();
    let receipts = put_segments(&host, &local, &upload, &[0, 1]).unwrap();
    local.commit(&upload, 8, &receipts).unwrap();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbb");
}

#[test]
fn a_repeated_commit_succeeds_and_makes_the_object_durable() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &local, &upload, &[0, 1]).unwrap();
    local.commit(&upload, 8, &receipts).unwrap();
    host.clear_calls();
    open().commit(&upload, 8, &receipts).unwrap();
    assert!(
        host.calls()
            .iter()
            .any(|call| call.name == "directory.publish" && call.subject == KEY)
    );
}

#[test]
fn a_repeated_commit_of_another_size_is_told_that_the_key_is_taken() {
    let host = host();
    let local = open();
    let upload = store(&host, &local, KEY).unwrap();
    assert_kind(local.commit(&upload, 11, &[]), ErrorKind::AlreadyExists);
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
}

#[test]
fn another_upload_of_the_same_length_is_not_taken_for_this_one() {
    let host = host();
    let local = open();
    let lost = local.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &local, &lost, &[0, 1]).unwrap();
    let rival = local.begin(KEY, None).unwrap();
    let theirs = local
        .put_segment(&rival, 0, 0, &host.segment(b"theirs!!"))
        .unwrap();
    local.commit(&rival, 8, std::slice::from_ref(&theirs)).unwrap();
    local.abort(&lost).unwrap();
    assert_kind(open().commit(&lost, 8, &receipts), ErrorKind::AlreadyExists);
    open().commit(&rival, 8, &[theirs]).unwrap();
    // Receipts of earlier versions tell no time.
    assert_kind(open().commit(&rival, 8, &["8".into()]), ErrorKind::AlreadyExists);
}

#[test]
fn an_object_that_appears_at_the_last_moment_is_not_replaced() {
    let host = host();
    let local = open();
    host.before_next("directory.publish", |host| host.put_file(ROOT, KEY, b"theirs"));
    assert_kind(
        local.put(KEY, &host.segment(b"ours"), Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"theirs");
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn a_begin_that_fails_leaves_nothing() {
    let host = host();
    for position in 0.. {
        host.lose_answer(position, Error::unavailable("broken off"));
        let begun = open().begin(KEY, None);
        if !host.fault_struck() {
            begun.unwrap();
            break;
        }
        assert_kind(begun, ErrorKind::Unavailable);
        assert!(host.paths(ROOT).is_empty(), "left at {position}");
    }
}

#[test]
fn a_commit_refuses_what_is_not_whole() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    // Segment 1 is missing, though the file is as long as the object: it has a hole.
    let first = local.put_segment(&upload, 0, 0, &host.segment(b"aaaa")).unwrap();
    let third = local.put_segment(&upload, 2, 8, &host.segment(b"cccc")).unwrap();
    let message = assert_kind(
        local.commit(&upload, 12, &[first.clone(), third]),
        ErrorKind::Corrupt,
    );
    assert!(message.contains(KEY) && message.contains(ROOT), "{message}");
    assert_kind(local.commit(&upload, 4, &[first]), ErrorKind::Corrupt);
    assert_kind(
        local.commit(&upload, 12, &["nonsense".into()]),
        ErrorKind::Invalid,
    );
    assert_kind(
        local.commit(&upload, 12, &[u64::MAX.to_string(), "2".into()]),
        ErrorKind::Invalid,
    );
    assert_kind(local.stat(KEY), ErrorKind::NotFound);
}

#[test]
fn an_object_that_is_there_is_never_overwritten() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    let before = host.file(ROOT, KEY).unwrap();
    assert_kind(local.begin(KEY, None), ErrorKind::AlreadyExists);
    assert_kind(
        local.put(KEY, &host.segment(b"new"), Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(host.paths(ROOT), [KEY]);
    assert_eq!(host.file(ROOT, KEY).unwrap(), before);
}

#[test]
fn of_two_uploads_of_one_key_the_first_commit_wins() {
    let host = host();
    let local = open();
    let late = local.begin(KEY, None).unwrap();
    let receipt = local.put_segment(&late, 0, 0, &host.segment(b"late")).unwrap();
    store(&host, &local, KEY).unwrap();
    let message = assert_kind(local.commit(&late, 4, &[receipt]), ErrorKind::AlreadyExists);
    assert!(message.contains(KEY), "{message}");
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
    local.abort(&late).unwrap();
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn an_abort_leaves_nothing_and_may_be_repeated() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    put_segments(&host, &local, &upload, &[0, 1]).unwrap();
    local.abort(&upload).unwrap();
    local.abort(&upload).unwrap();
    assert!(host.paths(ROOT).is_empty());
    assert_kind(
        local.put_segment(&upload, 2, 8, &host.segment(b"late")),
        ErrorKind::NotFound,
    );
    assert_kind(local.commit(&upload, 12, &[]), ErrorKind::NotFound);
    assert!(host.paths(ROOT).is_empty());
}

#[test]
fn an_abort_never_touches_a_committed_object() {
    let host = host();
    let local = open();
    let upload = store(&host, &local, KEY).unwrap();
    local.abort(&upload).unwrap();
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn an_empty_object_can_be_stored() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, Some(0)).unwrap();
    local.commit(&upload, 0, &[]).unwrap();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"");
}

#[test]
fn a_small_object_is_put_whole_and_durable() {
    let host = host();
    let local = open();
    local
        .put("metadata/a", &host.segment(b"one"), Existing::Refuse)
        .unwrap();
    local
        .put("metadata/a", &host.segment(b"two"), Existing::Replace)
        .unwrap();
    host.cut_power();
    assert_eq!(host.file(ROOT, "metadata/a").unwrap(), b"two");
    assert_eq!(host.paths(ROOT), ["metadata/a"]);
}

#[test]
fn a_put_of_a_broken_stream_leaves_the_old_object() {
    let host = host();
    let local = open();
    local
        .put("metadata/a", &host.segment(b"one"), Existing::Refuse)
        .unwrap();
    let broken = host.broken_stream(b"tw", Error::unavailable("connection lost"));
    assert_kind(
        local.put("metadata/a", &broken, Existing::Replace),
        ErrorKind::Unavailable,
    );
    assert_eq!(host.file(ROOT, "metadata/a").unwrap(), b"one");
    assert_eq!(host.paths(ROOT), ["metadata/a"]);
}

#[test]
fn a_listing_shows_one_level_without_temporaries_and_foreign_things() {
    let host = host();
    let local = open();
    store(&host, &local, "data/tar/h_n/1/0_1/data").unwrap();
    local
        .put(
            "data/tar/h_n/1/0_1/manifest",
            &host.segment(b"{}"),
            Existing::Refuse,
        )
        .unwrap();
    local.begin("data/tar/h_n/1/0_1/index", None).unwrap();
    host.put_symlink(ROOT, "data/tar/h_n/1/0_1/link");
    host.put_file(ROOT, "data/tar/h_n/1/0_1/line\nbreak", b"");
    host.put_file(ROOT, "data/tar/odd\u{1b}name/1/0_1/data", b"");
    let keys = |prefix: &str| -> Vec<(String, KeyKind)> {
        let page = local.list(prefix, None).unwrap();
        assert_eq!(page.next, None);
        page.entries
            .into_iter()
            .map(|entry| (entry.key, entry.kind))
            .collect()
    };
    assert_eq!(keys(""), [("data/".into(), KeyKind::Prefix)]);
    assert_eq!(keys("data/tar/"), [("data/tar/h_n/".into(), KeyKind::Prefix)]);
    let object = |name: &str| (format!("data/tar/h_n/1/0_1/{name}"), KeyKind::Object);
    assert_eq!(keys("data/tar/h_n/1/0_1/"), [object("data"), object("manifest")]);
    assert_eq!(keys("nowhere/"), []);
    assert_eq!(keys("data/tar/h_n/1/0_1/data/"), []);
    assert_kind(local.list("data", None), ErrorKind::Invalid);
}

#[test]
fn a_long_listing_comes_in_pages() {
    let host = host();
    for number in 0..2500 {
        host.put_file(ROOT, &format!("many/{number:05}"), b"");
    }
    let local = open();
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = local.list("many/", cursor.as_deref()).unwrap();
        assert!(page.entries.len() <= PAGE_ENTRIES);
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys.len(), 2500);
    keys.dedup();
    assert_eq!(keys.len(), 2500);
}

#[test]
fn pending_names_every_unfinished_upload_and_nothing_else() {
    let host = host();
    let local = open();
    store(&host, &local, "data/tar/a/1/0_1/data").unwrap();
    let mut begun: Vec<String> = ["data/tar/a/1/0_1/index", "data/tar/b/1/0_1/data", "top"]
        .iter()
        .map(|key| local.begin(key, None).unwrap())
        .collect();
    let uploads = |prefix: &str| -> Vec<String> {
        let page = open().pending(prefix, None).unwrap();
        assert!(page.next.is_none() && page.uploads.iter().all(|upload| upload.started.is_some()));
        page.uploads.into_iter().map(|upload| upload.upload).collect()
    };
    let mut found = uploads("");
    found.sort();
    begun.sort();
    assert_eq!(found, begun);
    assert_eq!(uploads("data/tar/b/").len(), 1);
    assert!(uploads("metadata/").is_empty());
    found.iter().for_each(|upload| local.abort(upload).unwrap());
    assert_eq!(host.paths(ROOT), ["data/tar/a/1/0_1/data"]);
}

#[test]
fn many_pending_uploads_come_in_pages() {
    let host = host();
    for number in 0..1500 {
        host.put_file(
            ROOT,
            &format!("{:03}/.data.{number:016x}.partial", number % 7),
            b"",
        );
    }
    let local = open();
    let first = local.pending("", None).unwrap();
    assert_eq!(first.uploads.len(), PAGE_ENTRIES);
    let second = local.pending("", first.next.as_deref()).unwrap();
    assert_eq!((second.uploads.len(), second.next), (500, None));
    let mut ids: Vec<String> = first
        .uploads
        .into_iter()
        .chain(second.uploads)
        .map(|upload| upload.upload)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1500);
}

#[test]
fn a_read_gives_exactly_the_range_or_an_error() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    let read = |offset, length| local.read(KEY, offset, length).and_then(|body| host.drain(&body));
    assert_eq!(read(0, None).unwrap(), b"aaaabbbbcccc");
    assert_eq!(read(3, Some(2)).unwrap(), b"ab");
    assert_eq!(read(12, None).unwrap(), b"");
    assert_kind(read(13, None), ErrorKind::Invalid);
    assert_kind(read(u64::MAX, Some(u64::MAX)), ErrorKind::Invalid);
    let message = assert_kind(read(8, Some(5)), ErrorKind::Corrupt);
    assert!(message.contains(KEY) && message.contains(ROOT), "{message}");
    assert_kind(local.read("absent", 0, None), ErrorKind::NotFound);
}

#[test]
fn remove_takes_what_was_asked_and_nothing_else() {
    let host = host();
    let local = open();
    store(&host, &local, "a/1/data").unwrap();
    store(&host, &local, "a/2/data").unwrap();
    local
        .remove(&["a/1/data".into(), "a/1/absent".into(), "nowhere/data".into()])
        .unwrap();
    assert_eq!(host.paths(ROOT), ["a/2/data"]);
    // The folder that it emptied went with it; "a/2" is a directory, and no object.
    local.remove(&["a/1".into(), "a/2".into()]).unwrap();
    let prefixes = local.list("a/", None).unwrap().entries;
    assert_eq!(prefixes.len(), 1);
    local.remove(&["a/1/data".into()]).unwrap();
    local.remove(&["a/2/data".into()]).unwrap();
    assert_eq!(local.list("", None).unwrap().entries.len(), 0);
}

#[test]
fn one_bad_key_among_many_removes_nothing() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    assert_kind(
        local.remove(&[KEY.into(), "../etc/passwd".into()]),
        ErrorKind::Invalid,
    );
    assert_kind(
        local.remove(&vec![KEY.to_owned(); PAGE_ENTRIES + 1]),
        ErrorKind::Invalid,
    );
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn bad_keys_are_refused_before_anything_is_touched() {
    let host = host();
    let local = open();
    host.clear_calls();
    for key in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a\nb",
        "a/.data.0123456789abcdef.partial",
    ] {
        assert_kind(local.stat(key), ErrorKind::Invalid);
        assert_kind(local.read(key, 0, None), ErrorKind::Invalid);
        assert_kind(
            local.put(key, &host.segment(b""), Existing::Replace),
            ErrorKind::Invalid,
        );
        assert_kind(local.begin(key, None), ErrorKind::Invalid);
        assert_kind(
            local.abort(&format!("0123456789abcdef:{key}")),
            ErrorKind::Invalid,
        );
    }
    assert!(host.calls().is_empty());
}

#[test]
fn a_missing_container_is_told_when_reading_and_made_when_writing() {
    let host = FakeHost::new();
    host.grant_directory(ROOT);
    let local = open();
    let missing = format!("container \"{ROOT}\" does not exist");
    assert_eq!(assert_kind(local.list("", None), ErrorKind::NotFound), missing);
    assert_eq!(assert_kind(local.stat(KEY), ErrorKind::NotFound), missing);
    assert_eq!(
        assert_kind(local.read(KEY, 0, None), ErrorKind::NotFound),
        missing
    );
    assert_eq!(assert_kind(local.pending("", None), ErrorKind::NotFound), missing);
    assert_eq!(assert_kind(local.usage(), ErrorKind::NotFound), missing);
    local.remove(&[KEY.into()]).unwrap();
    local.abort(&format!("0123456789abcdef:{KEY}")).unwrap();
    assert_kind(local.list("", None), ErrorKind::NotFound);
    store(&host, &local, KEY).unwrap();
    assert_eq!(local.stat(KEY).unwrap().size, 12);
}

#[test]
fn a_container_that_is_a_file_is_no_directory() {
    let host = FakeHost::new();
    host.put_file("/srv/file", "", b"not a directory");
    let local = open_at("/srv/file").unwrap();
    let told = "container \"/srv/file\" is no directory";
    assert_eq!(assert_kind(local.list("", None), ErrorKind::Invalid), told);
    assert_eq!(assert_kind(local.begin(KEY, None), ErrorKind::Invalid), told);
}

#[test]
fn a_container_that_is_not_granted_is_denied_with_its_name() {
    let _host = FakeHost::new();
    let message = assert_kind(open().list("", None), ErrorKind::Denied);
    assert!(message.contains(ROOT), "{message}");
}

#[test]
fn a_relative_container_is_refused() {
    for path in ["", "backups", "./b", "/a\0b"] {
        assert_kind(open_at(path), ErrorKind::Invalid);
    }
    assert_kind(Local::open(Settings::default()), ErrorKind::Invalid);
}

#[test]
fn a_full_disk_gives_a_clear_error_and_abort_leaves_nothing() {
    let host = host();
    host.set_capacity(ROOT, 6);
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    let message = assert_kind(put_segments(&host, &local, &upload, &[0, 1]), ErrorKind::Other);
    assert!(
        message.contains("segment 1") && message.contains("no space left"),
        "{message}"
    );
    local.abort(&upload).unwrap();
    assert!(host.paths(ROOT).is_empty());

    assert_kind(
        local.put("metadata", &host.segment(b"too long"), Existing::Refuse),
        ErrorKind::Other,
    );
    assert!(host.paths(ROOT).is_empty());
}

#[test]
fn a_read_only_directory_gives_a_clear_error_and_leaves_nothing() {
    let host = host();
    host.set_read_only(ROOT);
    let local = open();
    let message = assert_kind(local.begin(KEY, None), ErrorKind::Denied);
    assert!(message.contains(KEY) && message.contains(ROOT), "{message}");
    assert_kind(
        local.put(KEY, &host.segment(b"x"), Existing::Refuse),
        ErrorKind::Denied,
    );
    assert!(host.paths(ROOT).is_empty());
}

#[test]
fn usage_counts_objects_but_no_temporaries() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    local
        .put("metadata/a", &host.segment(b"123"), Existing::Refuse)
        .unwrap();
    local.begin("metadata/b", None).unwrap();
    let usage = local.usage().unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(
        (usage[0].name.as_str(), usage[0].objects, usage[0].bytes),
        (ROOT, 2, 15)
    );
    assert!(usage[0].available.is_some());
}

#[test]
fn a_cancelled_call_says_so() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    host.cancel();
    assert_kind(
        local.put_segment(&upload, 0, 0, &host.segment(b"aaaa")),
        ErrorKind::Cancelled,
    );
    host.mask_cancel();
    local.abort(&upload).unwrap();
    assert!(host.paths(ROOT).is_empty());
}

/// How a call goes wrong in the sweeps below.
#[derive(Clone, Copy, Debug)]
enum Breakage {
    Fails,
    AnswerLost,
}

/// Runs `attempt` with a fault at each position in turn, until it gets through unhurt.
fn sweep(attempt: impl Fn(&FakeHost, &Local) -> Result<()>, check: impl Fn(&FakeHost, &Local, Result<()>)) {
    for breakage in [Breakage::Fails, Breakage::AnswerLost] {
        for position in 0.. {
            assert!(position < 100, "the sweep doesn't end");
            let host = host();
            host.put_file(ROOT, "older", b"older");
            let local = open();
            let error = Error::unavailable("broken off");
            match breakage {
                Breakage::Fails => host.fail_call(position, error),
                Breakage::AnswerLost => host.lose_answer(position, error),
            }
            let result = attempt(&host, &local);
            if !host.fault_struck() {
                result.unwrap();
                break;
            }
            check(&host, &local, result);
            assert_eq!(
                host.file(ROOT, "older").unwrap(),
                b"older",
                "{breakage:?} at {position}"
            );
        }
    }
}

/// The files that aren't temporary.
fn visible(host: &FakeHost) -> Vec<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    host.paths(ROOT)
        .into_iter()
        .filter(|path| !is_temporary(&name(path)))
        .collect()
}

/// Removes all that `pending` finds, as the garbage collection does.
fn collect_garbage(local: &Local) {
    for pending in local.pending("", None).unwrap().uploads {
        local.abort(&pending.upload).unwrap();
    }
}

#[test]
fn an_upload_broken_at_any_call_leaves_no_half_object_and_can_be_made_again() {
    sweep(
        |host, local| store(host, local, KEY).map(|_| ()),
        |host, local, _result| {
            host.cut_power();
            if visible(host).contains(&KEY.to_owned()) {
                assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
                local.remove(&[KEY.into()]).unwrap();
            }
            collect_garbage(local);
            assert_eq!(host.paths(ROOT), ["older"]);
            store(host, local, KEY).unwrap();
        },
    );
}

#[test]
fn every_repeated_call_of_an_upload_brings_it_through() {
    /// Calls once more after a failure that the host retries.
    fn again<T>(call: impl Fn() -> Result<T>) -> Result<T> {
        call().or_else(|error| if error.is_retryable() { call() } else { Err(error) })
    }
    sweep(
        |host, local| {
            let upload = again(|| local.begin(KEY, None))?;
            let first = again(|| local.put_segment(&upload, 0, 0, &host.segment(b"aaaa")))?;
            let second = again(|| local.put_segment(&upload, 1, 4, &host.segment(b"bbbb")))?;
            again(|| local.commit(&upload, 8, &[first.clone(), second.clone()]))
        },
        |host, local, result| {
            result.unwrap();
            host.cut_power();
            assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbb");
            collect_garbage(local);
            assert_eq!(host.paths(ROOT), [KEY, "older"]);
        },
    );
}

#[test]
fn a_put_broken_at_any_call_leaves_the_old_object_or_the_new_one() {
    sweep(
        |host, local| local.put("older", &host.segment(b"newer"), Existing::Replace),
        |host, local, result| {
            result.unwrap_err();
            host.cut_power();
            let content = host.file(ROOT, "older").unwrap();
            assert!(content == b"older" || content == b"newer", "{content:?}");
            collect_garbage(local);
            assert_eq!(host.paths(ROOT), ["older"]);
            local
                .put("older", &host.segment(b"older"), Existing::Replace)
                .unwrap();
        },
    );
}

#[test]
fn a_removal_broken_at_any_call_can_be_repeated() {
    sweep(
        |host, local| {
            host.put_file(ROOT, "a", b"");
            host.put_file(ROOT, "b", b"");
            local.remove(&["a".into(), "b".into()])
        },
        |host, local, result| {
            result.unwrap_err();
            local.remove(&["a".into(), "b".into()]).unwrap();
            assert_eq!(host.paths(ROOT), ["older"]);
        },
    );
}

#[test]
fn a_broken_read_or_listing_is_an_error_never_less() {
    sweep(
        |host, local| {
            let body = local.read("older", 0, None)?;
            assert_eq!(host.drain(&body)?, b"older");
            assert_eq!(local.list("", None)?.entries.len(), 1);
            assert_eq!(local.pending("", None)?.uploads.len(), 0);
            assert_eq!(local.usage()?[0].objects, 1);
            Ok(())
        },
        |_host, _local, result| {
            assert_kind(result, ErrorKind::Unavailable);
        },
    );
}
