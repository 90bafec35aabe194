//! What the border between freezer and a process carries: whole values, and never more than was allowed.

use proptest::prelude::*;
use wasmtime::component::Resource;

use super::imports;
use super::wire::{Nonsense, Put, Reader, Take};
use crate::bindings::v1::imports::freezer::plugin::{http, sql, types};
use crate::bindings::v1::mode::exports::freezer::plugin::mode;
use crate::death::Death;

const BUDGET: usize = 1 << 16;

/// Writes a value, reads it, writes that: the bytes are the same and all of them are used.
#[track_caller]
fn assert_carried<T: Put + Take>(value: &T) {
    let (mut written, mut again) = (Vec::new(), Vec::new());
    value.put(&mut written);
    let mut reader = Reader::new(&written, BUDGET);
    T::take(&mut reader).expect("it is read").put(&mut again);
    reader.end().expect("all of it is read");
    assert_eq!(written, again);
    // Less of it is no value.
    if let Some(less) = written.len().checked_sub(1) {
        let mut reader = Reader::new(&written[..less], BUDGET);
        assert!(T::take(&mut reader).is_err());
    }
}

fn error() -> types::Error {
    types::Error {
        kind: types::ErrorKind::Busy,
        message: "not now".to_owned(),
        code: Some("later".to_owned()),
        retry_after_ms: Some(7),
    }
}

#[test]
fn values_pass_whole() {
    assert_carried(&error());
    let values = vec![
        sql::Value::Null,
        sql::Value::Text("text".to_owned()),
        sql::Value::Integer(i64::MIN),
        sql::Value::Real(-0.5),
        sql::Value::Bytes(vec![0, 255]),
    ];
    assert_carried(&Ok::<_, types::Error>(sql::Rows {
        columns: vec!["a".to_owned(), String::new()],
        rows: vec![values, Vec::new()],
    }));
    assert_carried(&Err::<(), _>(error()));
    assert_carried(&http::Response {
        status: 200,
        headers: Vec::new(),
        content: Resource::new_own(u32::MAX),
    });
    assert_carried(&Some(mode::Source::Stream(mode::StreamSource {
        name: "dump".to_owned(),
        suffix: "sql".to_owned(),
        content: Resource::new_own(3),
    })));
    assert_carried(&Death::Trap("it panicked".to_owned()));
}

#[test]
fn a_list_is_paid_for_before_it_is_made() {
    // 1000 nulls have 1000 bytes here and many times as many in memory.
    let mut written = 1000_u32.to_le_bytes().to_vec();
    written.resize(1004, 0);
    let needs = 1000 * size_of::<sql::Value>();
    let take =
        |budget| Vec::<sql::Value>::take(&mut Reader::new(&written, budget)).map(|values| values.len());
    assert_eq!(take(needs), Ok(1000));
    assert_eq!(take(needs - 1), Err(Nonsense::TooLarge));
}

proptest! {
    /// Whatever a process says is a question or is refused, and what is no question is seen before anything is done.
    #[test]
    fn anything_is_a_question_or_refused(
        number in 0_u16..120,
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..200),
    ) {
        if let Ok(again) = imports::carried(number, Reader::new(&bytes, BUDGET)) {
            prop_assert_eq!(again, bytes);
        }
    }
}
