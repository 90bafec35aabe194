//! Each rule of the storage, and a fault at every position, against the fake host.

mod uploads;
mod listings;
mod refusals;
mod faults;

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
