//! The big object of a trial: written and read with one call at a time and with as many as the storage takes.
//!
//! Its content is one block of randomness with the number of the segment in front, so that neither compression on the
//! way nor a mix-up of segments stays unnoticed.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use freezer_pipeline::store::StoreError;

use super::{Answer, Stopped, Trial, TrialOptions};
use crate::objects::read_error;

/// Segments of the big object: enough to keep several calls busy.
const SEGMENTS: u64 = 8;
/// The smallest segment that says something about speed.
const MIN_SEGMENT: u64 = 64 << 10;
/// The largest one that is made: as many of them as there are calls are in memory.
const MAX_SEGMENT: u64 = 8 << 20;
/// More calls at once than this only cost memory.
const MAX_CALLS: u32 = 16;
/// Bytes that are read and compared at once.
const BLOCK: usize = 256 << 10;

/// How the big object is cut.
struct Plan {
    block: Vec<u8>,
    segments: u32,
    calls: u32,
}

impl Plan {
    fn new(trial: &Trial<'_>, options: TrialOptions) -> Plan {
        let limits = trial.store.limits();
        let least = limits.min_segment_bytes.max(MIN_SEGMENT);
        let most = limits.max_segment_bytes.min(MAX_SEGMENT).max(least);
        let segment = (options.size_bytes / SEGMENTS).clamp(least, most);
        let segments = (options.size_bytes / segment).clamp(1, u64::from(limits.max_segments.max(1)));
        let mut block = vec![0; usize::try_from(segment).unwrap_or(usize::MAX)];
        (trial.context.random)(&mut block);
        Plan {
            block,
            segments: u32::try_from(segments).unwrap_or(u32::MAX),
            calls: limits.parallel_calls.clamp(1, MAX_CALLS),
        }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.segments) * self.block.len() as u64
    }

    fn offset(&self, number: u32) -> u64 {
        u64::from(number) * self.block.len() as u64
    }

    /// The number that begins a segment.
    fn mark(&self, number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    fn segment(&self, number: u32) -> Vec<u8> {
        let mut segment = self.block.clone();
        segment[..4].copy_from_slice(&self.mark(number));
        segment
    }
}

/// Writes and reads the big object.
pub(super) fn run(trial: &mut Trial<'_>, options: TrialOptions) -> Result<(), Stopped> {
    let plan = Plan::new(trial, options);
    let bytes = Some(plan.bytes());
    let key = trial.key("large");
    let written = trial.step("upload, one at a time", bytes, |trial| {
        upload(trial, &plan, &key, 1)
    })?;
    if plan.calls > 1 {
        let key = trial.key("large-at-once");
        trial.step("upload, several at once", bytes, |trial| {
            upload(trial, &plan, &key, plan.calls)
        })?;
    }
    if !written {
        return Ok(());
    }
    trial.step("look up a large object", None, |trial| {
        trial.look_up(&key, plan.bytes())
    })?;
    trial.step("download, one at a time", bytes, |trial| {
        download(trial, &plan, &key, 1)
    })?;
    if plan.calls > 1 {
        trial.step("download, several at once", bytes, |trial| {
            download(trial, &plan, &key, plan.calls)
        })?;
    }
    Ok(())
}

/// Writes the object with so many calls at once. Before it is committed nobody may see it.
fn upload(trial: &Trial<'_>, plan: &Plan, key: &str, calls: u32) -> Answer {
    let upload = match trial.begin(key, plan.bytes()) {
        Ok(upload) => upload,
        Err(error) => return Answer::Error(error),
    };
    let receipts = Mutex::new(vec![String::new(); plan.segments as usize]);
    let sent = at_once(trial, plan, calls, |number| {
        let content = Arc::new(plan.segment(number));
        let receipt = trial
            .store
            .put_segment(&upload, number, plan.offset(number), content)?;
        receipts.lock().unwrap_or_else(PoisonError::into_inner)[number as usize] = receipt;
        Ok(())
    });
    if let Err(error) = sent {
        return Answer::Error(error);
    }
    match trial.store.stat(key) {
        Ok(None) => {}
        Ok(Some(_)) => return Answer::Bad("the object is there before it is committed".to_owned()),
        Err(error) => return Answer::Error(error),
    }
    let receipts = receipts.into_inner().unwrap_or_else(PoisonError::into_inner);
    match trial.store.commit(&upload, plan.bytes(), &receipts) {
        Ok(()) => Answer::Good(told(calls)),
        Err(error) => Answer::Error(error),
    }
}

/// Reads the object and compares it.
fn download(trial: &Trial<'_>, plan: &Plan, key: &str, calls: u32) -> Answer {
    let wrong = AtomicBool::new(false);
    let read = match calls {
        1 => compare(trial, plan, (key, 0, plan.segments), &wrong),
        _ => at_once(trial, plan, calls, |number| {
            compare(trial, plan, (key, number, 1), &wrong)
        }),
    };
    match read {
        Err(error) => Answer::Error(error),
        Ok(()) if wrong.into_inner() => Answer::Bad("what comes back isn't what was written".to_owned()),
        Ok(()) => Answer::Good(told(calls)),
    }
}

fn told(calls: u32) -> String {
    match calls {
        1 => String::new(),
        _ => format!("{calls} at once"),
    }
}

/// Reads `count` segments from `first` on and compares them; what differs is noted in `wrong`.
fn compare(
    trial: &Trial<'_>,
    plan: &Plan,
    (key, first, count): (&str, u32, u32),
    wrong: &AtomicBool,
) -> Result<(), StoreError> {
    let length = u64::from(count) * plan.block.len() as u64;
    let mut reader = trial.store.read(key, plan.offset(first), Some(length))?;
    let mut buffer = vec![0; BLOCK.min(plan.block.len())];
    for number in first..first + count {
        let mark = plan.mark(number);
        let mut at = 0;
        while at < plan.block.len() {
            let piece = buffer.len().min(plan.block.len() - at);
            let buffer = &mut buffer[..piece];
            reader
                .read_exact(buffer)
                .map_err(|error| read_error(trial.store, key, &error))?;
            let same = match at {
                0 => buffer[..4] == mark && buffer[4..] == plan.block[4..piece],
                _ => *buffer == plan.block[at..at + piece],
            };
            if !same {
                wrong.store(true, Ordering::Relaxed);
                return Ok(());
            }
            at += piece;
        }
    }
    Ok(())
}

/// Does `work` for each segment with so many threads; the first error stops all.
fn at_once(
    trial: &Trial<'_>,
    plan: &Plan,
    calls: u32,
    work: impl Fn(u32) -> Result<(), StoreError> + Sync,
) -> Result<(), StoreError> {
    let next = AtomicU32::new(0);
    let failed: Mutex<Option<StoreError>> = Mutex::new(None);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..calls {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= plan.segments {
                        return;
                    }
                    if let Err(error) = work(number) {
                        stop.store(true, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.get_or_insert(error);
                    }
                    if trial.context.cancel.is_raised() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed {
        Some(error) => Err(error),
        None if stop.into_inner() => Err(StoreError {
            kind: freezer_pipeline::store::ErrorKind::Cancelled,
            storage: trial.store.url().to_owned(),
            operation: "try out",
            key: trial.prefix.clone(),
            message: "interrupted".to_owned(),
            cause: None,
        }),
        None => Ok(()),
    }
}
