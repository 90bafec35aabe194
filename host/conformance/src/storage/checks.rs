//! The words of the rules: what must work, what must fail and how, what must be the same.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use freezer_pipeline::store::{ErrorKind, Existing, Store, StoreError};

use super::{Subject, Verdict, Violation};

/// How often a listing that may lag is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// More pages than any rule fills: a storage that pages for ever is told, not waited for.
const MOST_PAGES: usize = 1000;

/// Says what is wrong.
pub(super) fn wrong<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}

/// It must be so.
pub(super) fn holds(so: bool, what: impl FnOnce() -> String) -> Verdict {
    if so { Ok(()) } else { wrong(what()) }
}

/// The call must succeed.
pub(super) fn works<T>(what: &str, result: Result<T, StoreError>) -> Result<T, Violation> {
    result.map_err(|error| Violation(format!("{what} must work, but: {error} ({:?})", error.kind)))
}

/// The call must fail, with one of these kinds.
pub(super) fn fails<T>(what: &str, kinds: &[ErrorKind], result: Result<T, StoreError>) -> Verdict {
    match result {
        Ok(_) => wrong(format!("{what} must fail with {kinds:?}, but it succeeded")),
        Err(error) if kinds.contains(&error.kind) => Ok(()),
        Err(error) => wrong(format!(
            "{what} must fail with {kinds:?}, but did with {:?}: {error}",
            error.kind
        )),
    }
}

/// What is found must be what is wanted.
pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Verdict {
    holds(found == wanted, || {
        format!("{what} must be {}, but is {}", short(wanted), short(found))
    })
}

/// A value that fits into a message.
fn short(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Bytes without a pattern, the same ones for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Arc<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    Arc::new((0..length).map(next).collect())
}

/// Stores a small object.
pub(super) fn put(store: &dyn Store, key: &str, content: &[u8]) -> Verdict {
    works(
        &format!("put of {key:?}"),
        store.put(key, Arc::new(content.to_vec()), Existing::Replace),
    )
}

/// Reads a range; a failure of the call and one within the stream are told apart by the error's kind alone.
pub(super) fn read(
    store: &dyn Store,
    key: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Vec<u8>, StoreError> {
    let mut content = Vec::new();
    let mut reader = store.read(key, offset, length)?;
    reader.read_to_end(&mut content).map_err(|error| StoreError {
        kind: ErrorKind::Corrupt,
        storage: store.url().to_owned(),
        operation: "read the stream of",
        key: key.to_owned(),
        message: error.to_string(),
        cause: None,
    })?;
    Ok(content)
}

/// The object must hold exactly that.
pub(super) fn has(store: &dyn Store, key: &str, wanted: &[u8]) -> Verdict {
    let size = works(&format!("stat of {key:?}"), store.stat(key))?.map(|entry| entry.size);
    same(&format!("the size of {key:?}"), &size, &Some(wanted.len() as u64))?;
    let found = works(&format!("read of {key:?}"), read(store, key, 0, None))?;
    holds(found == wanted, || {
        format!("{key:?} must hold what was written, but its bytes differ")
    })
}

/// There must be no such object.
pub(super) fn has_not(store: &dyn Store, key: &str) -> Verdict {
    let found = works(&format!("stat of {key:?}"), store.stat(key))?;
    holds(found.is_none(), || {
        format!("{key:?} must not be there, but is: {found:?}")
    })?;
    fails(
        &format!("read of {key:?}, which isn't there,"),
        &[ErrorKind::NotFound],
        read(store, key, 0, None),
    )
}

/// Everything one level below a prefix: keys with their sizes, `None` for prefixes.
pub(super) fn list(store: &dyn Store, prefix: &str) -> Result<BTreeMap<String, Option<u64>>, Violation> {
    let mut found = BTreeMap::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let page = works(
            &format!("list of {prefix:?}"),
            store.list(prefix, cursor.as_deref()),
        )?;
        holds(page.entries.len() <= 1000, || {
            format!("a page of {prefix:?} has {} entries", page.entries.len())
        })?;
        for entry in page.entries {
            let size = (!entry.is_prefix).then_some(entry.size);
            let key = entry.key.clone();
            holds(key.starts_with(prefix) && key != prefix, || {
                format!("{key:?} doesn't lie below {prefix:?} and is listed there")
            })?;
            holds(found.insert(entry.key, size).is_none(), || {
                format!("{key:?} comes twice in the listing of {prefix:?}")
            })?;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(found),
        }
    }
    wrong(format!("the listing of {prefix:?} has no end"))
}

/// The keys of all objects below a prefix, in any depth.
pub(super) fn list_deep(store: &dyn Store, prefix: &str) -> Result<Vec<String>, Violation> {
    let mut objects = Vec::new();
    let mut folders = vec![prefix.to_owned()];
    while let Some(folder) = folders.pop() {
        for (key, size) in list(store, &folder)? {
            match size {
                Some(_) => objects.push(key),
                None => folders.push(key),
            }
        }
    }
    objects.sort();
    Ok(objects)
}

/// What a listing shows must become this, at once or within the time by which it may lag.
pub(super) fn becomes<T: PartialEq + Debug>(
    subject: &Subject,
    what: &str,
    wanted: &T,
    look: impl Fn() -> Result<T, Violation>,
) -> Verdict {
    let end = Instant::now() + subject.capabilities.listing_lag;
    loop {
        let found = look()?;
        if found == *wanted || Instant::now() >= end {
            return same(what, &found, wanted);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Does something for each number, as many at once as the storage takes.
pub(super) fn at_once(store: &dyn Store, count: usize, work: impl Fn(usize) -> Verdict + Sync) -> Verdict {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = store.limits().parallel_calls.clamp(1, 16);
    thread::scope(|scope| {
        let one = || {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                work(number)?;
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| wrong("a thread of the rule panicked"))
        })
    })
}

/// The bytes of a segment that any storage takes, and how many of them a rule about several should send.
pub(super) fn segments(store: &dyn Store) -> (usize, u32) {
    let least = usize::try_from(store.limits().min_segment_bytes).unwrap_or(usize::MAX);
    if least > 1000 { (least, 3) } else { (1000, 40) }
}

/// An upload that is being written, with all that its commit needs.
pub(super) struct Sent {
    pub(super) upload: String,
    pub(super) receipts: Vec<String>,
    pub(super) content: Vec<u8>,
}

impl Sent {
    /// Begins an upload and sends `count` segments in turn, the last one half as long.
    pub(super) fn new(store: &dyn Store, key: &str, seed: u64, count: u32) -> Result<Self, Violation> {
        let (length, _) = segments(store);
        let upload = works(&format!("begin of {key:?}"), store.begin(key, None))?;
        let mut sent = Self {
            upload,
            receipts: Vec::new(),
            content: Vec::new(),
        };
        for number in 0..count {
            let length = if number + 1 == count { length / 2 } else { length };
            let segment = noise(seed + u64::from(number), length);
            let offset = sent.content.len() as u64;
            sent.content.extend_from_slice(&segment);
            let put = store.put_segment(&sent.upload, number, offset, segment);
            let receipt = works(&format!("segment {number} of {key:?}"), put)?;
            sent.receipts.push(receipt);
        }
        Ok(sent)
    }

    /// Commits it as it is.
    pub(super) fn commit(&self, store: &dyn Store) -> Result<(), StoreError> {
        store.commit(&self.upload, self.content.len() as u64, &self.receipts)
    }

    /// Stores a large object.
    pub(super) fn stored(store: &dyn Store, key: &str, seed: u64, count: u32) -> Result<Self, Violation> {
        let sent = Self::new(store, key, seed, count)?;
        works(&format!("commit of {key:?}"), sent.commit(store))?;
        Ok(sent)
    }
}
