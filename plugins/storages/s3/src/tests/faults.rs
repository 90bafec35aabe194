//! A fault at every position.

use super::*;

/// How a call goes wrong in the sweeps below.
#[derive(Clone, Copy, Debug)]
enum Breakage {
    Fails,
    AnswerLost,
}

/// Runs `attempt` with a fault at each position in turn, until it gets through unhurt; on services of each sort.
fn sweep(
    attempt: impl Fn(&FakeHost, &S3) -> Result<()>,
    check: impl Fn(&FakeHost, &S3, &FakeService, Result<()>),
) {
    for (breakage, conditions) in [
        (Breakage::Fails, Conditions::Honoured),
        (Breakage::AnswerLost, Conditions::Honoured),
        (Breakage::AnswerLost, Conditions::NotImplemented),
        (Breakage::AnswerLost, Conditions::Overlooked),
    ] {
        for position in 0.. {
            assert!(position < 100, "the sweep doesn't end");
            let (host, service) = start();
            service.with(|state| state.conditions = conditions);
            service.put("older", b"older");
            let s3 = open();
            let error = Error::unavailable("broken off");
            match breakage {
                Breakage::Fails => host.fail_call(position, error),
                Breakage::AnswerLost => host.lose_answer(position, error),
            }
            let result = attempt(&host, &s3);
            if !host.fault_struck() {
                result.unwrap();
                break;
            }
            check(&host, &s3, &service, result);
            assert_eq!(
                service.content("older").unwrap(),
                b"older",
                "{breakage:?} at {position}"
            );
        }
    }
}

/// Calls once more after a failure that the host retries.
fn again<T>(call: impl Fn() -> Result<T>) -> Result<T> {
    call().or_else(|error| if error.is_retryable() { call() } else { Err(error) })
}

/// Removes all that `pending` finds, as the garbage collection does.
fn collect_garbage(s3: &S3) {
    for pending in s3.pending("", None).unwrap().uploads {
        s3.abort(&pending.upload).unwrap();
    }
}

#[test]
fn an_upload_broken_at_any_call_leaves_no_half_object_and_can_be_made_again() {
    sweep(
        |host, s3| store(host, s3, KEY).map(|_| ()),
        |host, s3, service, result| {
            // A refusal without its text is still understood by its status.
            assert!(result.is_err() || service.content(KEY).is_some());
            if let Some(content) = service.content(KEY) {
                assert_eq!(content, b"aaaabbbbcccc");
                s3.remove(&[KEY.into()]).unwrap();
            }
            collect_garbage(s3);
            assert_eq!(service.uploads(), 0);
            store(host, s3, KEY).unwrap();
        },
    );
}

#[test]
fn every_repeated_call_of_an_upload_brings_it_through() {
    sweep(
        |host, s3| {
            let upload = again(|| s3.begin(KEY, None))?;
            let first = again(|| s3.put_segment(&upload, 0, 0, &host.segment(b"aaaa")))?;
            let second = again(|| s3.put_segment(&upload, 1, 4, &host.segment(b"bbbb")))?;
            again(|| s3.commit(&upload, 8, &[first.clone(), second.clone()]))
        },
        |_host, s3, service, result| {
            result.unwrap();
            assert_eq!(service.content(KEY).unwrap(), b"aaaabbbb");
            collect_garbage(s3);
            assert_eq!((service.keys().len(), service.uploads()), (2, 0));
        },
    );
}

#[test]
fn a_put_broken_at_any_call_leaves_the_old_object_or_the_new_one() {
    sweep(
        |host, s3| s3.put("older", &host.segment(b"newer"), Existing::Replace),
        |host, s3, service, result| {
            result.unwrap_err();
            let content = service.content("older").unwrap();
            assert!(content == b"older" || content == b"newer", "{content:?}");
            s3.put("older", &host.segment(b"older"), Existing::Replace)
                .unwrap();
        },
    );
}

#[test]
fn a_removal_broken_at_any_call_can_be_repeated() {
    sweep(
        |host, s3| {
            for key in ["a", "b", "c"] {
                s3.put(key, &host.segment(b""), Existing::Replace)?;
            }
            s3.remove(&["a".into(), "b".into()])?;
            s3.remove(&["c".into()])
        },
        |_host, s3, service, result| {
            result.unwrap_err();
            s3.remove(&["a".into(), "b".into(), "c".into()]).unwrap();
            assert_eq!(service.keys(), ["older"]);
        },
    );
}

#[test]
fn a_broken_read_or_listing_is_an_error_never_less() {
    sweep(
        |host, s3| {
            assert_eq!(host.drain(&s3.read("older", 0, None)?)?, b"older");
            assert_eq!(host.drain(&s3.read("older", 5, None)?)?, b"");
            assert_eq!(s3.list("", None)?.entries.len(), 1);
            assert_eq!(s3.pending("", None)?.uploads.len(), 0);
            assert_eq!(s3.usage()?[0].objects, 1);
            Ok(())
        },
        |_host, _s3, _service, result| {
            assert_kind(result, ErrorKind::Unavailable);
        },
    );
}
