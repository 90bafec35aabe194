//! A fault at every position.

use super::*;

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
