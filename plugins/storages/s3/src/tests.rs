//! Each rule of the storage, and a fault at every position, against a service in memory.

mod fake;
mod uploads;
mod listings;
mod refusals;
mod faults;

use super::*;
use fake::{Conditions, Service as FakeService, refusal, status};
use freezer_sdk::host::http::Trust;
use freezer_sdk::settings::SettingValue;
use freezer_sdk::storage::PAGE_ENTRIES;
use freezer_sdk::testing::{FakeHost, FakeResponse};
use std::time::Duration;

const KEY: &str = "data/tar/web01_etc/1700000000/0_1700000000/data";
/// The least the protocol demands doesn't bind the service in memory.
const SEGMENT: u64 = 4;

fn start() -> (FakeHost, FakeService) {
    let host = FakeHost::new();
    let service = FakeService::start(&host);
    (host, service)
}

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.into())
}

fn open_with(more: &[(&str, SettingValue)]) -> Result<S3> {
    let common = [
        ("bucket", text("web")),
        ("endpoint", text("http://store:9000")),
        ("region", text("us-east-1")),
        ("access-key", text("AK")),
        ("path-style", SettingValue::Flag(true)),
    ];
    let kept = common
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    S3::open(Settings::new(kept.chain(more.iter().cloned())))
}

fn open() -> S3 {
    open_with(&[]).unwrap()
}

/// Puts segments of 4 bytes in the given order and returns the receipts by number.
fn put_segments(host: &FakeHost, s3: &S3, upload: &str, order: &[u32]) -> Result<Vec<String>> {
    let mut receipts = vec![String::new(); order.len()];
    for &number in order {
        let content = [b'a' + number as u8; 4];
        receipts[number as usize] = s3.put_segment(
            upload,
            number,
            u64::from(number) * SEGMENT,
            &host.segment(&content),
        )?;
    }
    Ok(receipts)
}

fn store(host: &FakeHost, s3: &S3, key: &str) -> Result<String> {
    let upload = s3.begin(key, None)?;
    let receipts = put_segments(host, s3, &upload, &[0, 1, 2])?;
    s3.commit(&upload, 12, &receipts)?;
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
