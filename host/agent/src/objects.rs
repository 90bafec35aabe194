//! Small stored objects, read whole and never larger than their cap.

use std::io::Read;

use freezer_pipeline::store::{ErrorKind, Store, StoreError};
use sha2::{Digest, Sha256};

/// Reads a small object; `None` if it isn't there. More than `cap` bytes are never fetched: the answer then has
/// `cap + 1` bytes, which every parser refuses.
pub(crate) fn read_small(store: &dyn Store, key: &str, cap: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let reader = match store.read(key, 0, None) {
        Ok(reader) => reader,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    match reader.take(cap as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(read_error(store, key, &error)),
    }
}

/// The digest of a part of an object.
pub(crate) fn digest_of_range(
    store: &dyn Store,
    key: &str,
    offset: u64,
    bytes: u64,
) -> Result<[u8; 32], StoreError> {
    let reader = store.read(key, offset, Some(bytes))?;
    digest_of_reader(store, key, reader).map(|(_, digest)| digest)
}

/// Reads an object to its end and answers its length and digest.
pub(crate) fn digest_of(store: &dyn Store, key: &str) -> Result<(u64, [u8; 32]), StoreError> {
    let reader = store.read(key, 0, None)?;
    digest_of_reader(store, key, reader)
}

fn digest_of_reader(
    store: &dyn Store,
    key: &str,
    mut reader: Box<dyn Read + Send>,
) -> Result<(u64, [u8; 32]), StoreError> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((bytes, digest.finalize().into())),
            Ok(length) => {
                digest.update(&buffer[..length]);
                bytes += length as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(store, key, &error)),
        }
    }
}

/// A read that broke off, as the storage's error; the one inside is kept if there is one.
pub(crate) fn read_error(store: &dyn Store, key: &str, error: &std::io::Error) -> StoreError {
    if let Some(inner) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<StoreError>())
    {
        return inner.clone();
    }
    let kind = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    StoreError {
        kind,
        storage: store.url().to_owned(),
        operation: "read",
        key: key.to_owned(),
        message: error.to_string(),
        cause: None,
    }
}
