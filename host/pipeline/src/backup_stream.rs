//! A stream's way into a storage: the bytes as they come, in frames, and an index of one file.
//!
//! The stream isn't wrapped into an archive, whose header would need its length beforehand; so decompressing what is
//! stored gives the dump or image itself. Its end counts only if what feeds it ended well.

use std::io::{self, Read};

use freezer_format::index::{Entry, EntryBlocks, EntryKind, Header, State};
use freezer_format::time::Time;

use crate::channel::{Halt, Inlet, Item};
use crate::counters::Counters;
use crate::error::BackupError;
use crate::framing::FrameWriter;
use crate::job::{BackupReport, Counts, RunContext, StreamJob};
use crate::road::Road;

/// Who may read a file that a stream is restored to: dumps hold what only their owner may see.
const FILE_MODE: u32 = 0o600;

/// Backs up a stream to one storage as a level 0: data and index are written and committed, durable, in this order.
/// Manifest and metadata, which make a backup of them, are the caller's.
///
/// # Errors
/// See [`BackupError`]; [`BackupError::Stream`] if the stream fails, [`BackupError::EmptyStream`] if nothing comes.
/// Nothing is visible in the storage then, as far as the storage still answered.
pub fn backup_stream(job: StreamJob<'_>) -> Result<BackupReport, BackupError> {
    let StreamJob { content, context, .. } = job;
    let road = Road {
        store: &*job.store,
        keys: &job.keys,
        encoding: &job.encoding,
        levels: &job.levels,
        flags: Header::STREAM,
        data_salt: job.data_salt,
        segment_bytes: job.segment_bytes,
        memory_bytes: job.memory_bytes,
        workers: job.workers,
        context,
    };
    let plan = StreamPlan {
        file_name: &job.file_name,
        time: job.time,
        allow_empty: job.allow_empty,
        frame_bytes: job.encoding.compression.frame_bytes(),
        context,
    };
    let (bytes, written) = road.run(|inlet| plan.run(content, inlet))?;
    Ok(BackupReport {
        data: written.data,
        index: written.index,
        engine_metadata: None,
        counts: Counts {
            files: 1,
            new: 1,
            bytes,
            ..Counts::default()
        },
        warnings: Vec::new(),
        warning_count: 0,
        partial: false,
        file_system: None,
    })
}

struct StreamPlan<'a> {
    file_name: &'a str,
    time: Time,
    allow_empty: bool,
    frame_bytes: u64,
    context: &'a RunContext<'a>,
}

impl StreamPlan<'_> {
    /// Passes all of the stream on; answers its bytes.
    fn run(&self, mut content: Box<dyn Read + Send + '_>, inlet: &Inlet) -> Result<u64, Halt> {
        let mut frames = FrameWriter::new(inlet, self.frame_bytes);
        loop {
            self.context.cancel.check()?;
            match content.read(frames.room()?) {
                Ok(0) => break,
                Ok(count) => {
                    frames.advance(count)?;
                    Counters::add(&self.context.counters.bytes_read, count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
        // Whatever feeds it may end for good only when nobody reads any more.
        drop(content);
        let bytes = frames.position();
        if bytes == 0 && !self.allow_empty {
            let name = self.file_name.to_owned();
            return Err(BackupError::EmptyStream { name }.into());
        }
        // Also of nothing there is a frame: a decompressor refuses an empty file.
        if bytes == 0 || !bytes.is_multiple_of(self.frame_bytes) {
            frames.flush()?;
        }
        self.list(bytes, inlet)?;
        inlet.item(Item::End)?;
        Counters::add(&self.context.counters.files, 1);
        Ok(bytes)
    }

    fn failed(&self, source: io::Error) -> Halt {
        if let Err(cancelled) = self.context.cancel.check() {
            return cancelled.into();
        }
        let name = self.file_name.to_owned();
        BackupError::Stream { name, source }.into()
    }

    /// The index's one row.
    fn list(&self, bytes: u64, inlet: &Inlet) -> Result<(), Halt> {
        let mut entry = Entry::new(self.file_name.as_bytes(), EntryKind::File);
        (entry.size, entry.mode, entry.mtime) = (bytes, FILE_MODE, self.time);
        let state = State {
            inode: 0,
            ctime: self.time,
            nlink: 1,
            racy: true,
        };
        let mut rows = EntryBlocks::new();
        let full = rows.push(&entry, &state).map_err(BackupError::Index)?;
        for (entries, states) in [full, rows.flush()].into_iter().flatten() {
            inlet.item(Item::Block(entries))?;
            inlet.item(Item::Block(states))?;
        }
        Ok(())
    }
}
