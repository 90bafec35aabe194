//! Restoring a stream to where streams go: an output, a command of the user's, or the mode that made it.
//!
//! Whoever takes the bytes learns that they are all only after the last of them was verified; before that, it is cut off.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use freezer_format::name::{HostBackupName, Level as LevelNumber, Timestamp};
use freezer_pipeline::RunContext;
use freezer_pipeline::restore::{LevelData, RestoreError};
use freezer_plugin::Destination;

use crate::error::AgentError;
use crate::mode::{PreparedRestore, RestoreMode};
use crate::restore::{OpenBackup, outcome_of};
use crate::stream_command::CommandSink;

/// Pieces that may wait for a mode that takes them.
const PIECES: usize = 4;

/// Where a stream goes.
pub enum StreamGoal<'a> {
    /// To an output, which is flushed at the end.
    Output(&'a mut dyn Write),
    /// To the standard input of a line for `sh -c`. It must end with status 0.
    Command(SinkCommand<'a>),
    /// To the mode that made it.
    Mode(&'a dyn RestoreMode),
    /// Nowhere: it is read and verified.
    Nowhere,
}

/// A command that takes a stream.
#[derive(Debug, Clone, Copy)]
pub struct SinkCommand<'a> {
    /// The line for `sh -c`.
    pub line: &'a OsStr,
    /// Variables of the environment that it doesn't see.
    pub hidden: &'a [String],
    /// Whether what it says goes to standard error: a document stands alone on standard output.
    pub is_told_apart: bool,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct StreamOutcome {
    /// Host and backup name.
    pub name: HostBackupName,
    /// Its level, always 0.
    pub level: LevelNumber,
    /// Its date.
    pub time: Timestamp,
    /// The name of its file.
    pub file_name: String,
    /// True if all of it was authenticated by the password.
    pub authentic: bool,
    /// Bytes.
    pub bytes: u64,
}

/// Restores a stream.
///
/// # Errors
/// The backup is a tree of files, something stored is missing or damaged, or whoever takes the bytes fails.
pub fn restore_stream(
    backup: &OpenBackup,
    goal: StreamGoal<'_>,
    context: &RunContext<'_>,
) -> Result<StreamOutcome, AgentError> {
    let (stored, file_name) = (backup.newest().stored.clone(), backup.stream());
    let level = stored.id.level.0;
    let failed = |source| AgentError::Restore {
        operation: "restoring",
        backup: stored.label(),
        source,
    };
    let (Some(file_name), Some(data)) = (file_name, backup.newest_data()) else {
        return Err(failed(RestoreError::NotAStream { level }));
    };
    let write =
        |out: &mut dyn Write| freezer_pipeline::restore::write_stream(data, out, context).map_err(failed);
    context.cancel.check()?;
    let bytes = match goal {
        StreamGoal::Output(out) => write(out),
        StreamGoal::Nowhere => write(&mut io::sink()),
        StreamGoal::Command(command) => {
            let ended = |source| AgentError::SinkCommand {
                backup: stored.label(),
                source,
            };
            let stdout = match command.is_told_apart {
                true => io::stderr().as_fd().try_clone_to_owned().map(Stdio::from),
                false => Ok(Stdio::inherit()),
            };
            let sink = stdout
                .and_then(|stdout| CommandSink::start(command.line, stdout, command.hidden, context.cancel));
            let mut sink = sink.map_err(ended)?;
            let written = freezer_pipeline::restore::write_stream(data, &mut sink, context);
            match written {
                Ok(bytes) => sink.finish().map(|()| bytes).map_err(ended),
                Err(RestoreError::Output(error)) => Err(ended(error)),
                Err(error) => Err(failed(error)),
            }
        }
        StreamGoal::Mode(mode) => to_mode(mode, backup, data, context),
    };
    // What a command or an output says of its end when the run was stopped isn't the reason.
    let bytes = bytes.or_else(|error| context.cancel.check().map_err(AgentError::from).and(Err(error)))?;
    Ok(StreamOutcome {
        name: stored.name.clone(),
        level: stored.id.level,
        time: stored.id.time,
        file_name: file_name.to_owned(),
        authentic: backup.is_authentic(),
        bytes,
    })
}

fn to_mode(
    mode: &dyn RestoreMode,
    backup: &OpenBackup,
    data: &LevelData,
    context: &RunContext<'_>,
) -> Result<u64, AgentError> {
    let label = backup.newest().stored.label();
    let (source, note) = backup.note().unwrap_or_default();
    let mut prepared = mode.prepare(None, note)?;
    let result = match prepared.destination(&source) {
        Ok(Destination::Receive) => hand_over(&mut *prepared, (&source, &label), data, context),
        Ok(Destination::Skip) => Ok(0),
        Ok(Destination::Directory(_) | Destination::External) => Err(AgentError::Unsupported {
            reason: format!("the mode of {label} doesn't take a stream"),
            next: "restore it into a directory with --target, to a file with -o, or to a command with --to-command".to_owned(),
        }),
        Err(error) => Err(error.into()),
    };
    let finished = prepared.finish(&outcome_of(&result));
    let bytes = result?;
    finished?;
    Ok(bytes)
}

/// Reads on a thread of its own, while the mode takes what was read.
fn hand_over(
    prepared: &mut dyn PreparedRestore,
    (source, label): (&str, &str),
    data: &LevelData,
    context: &RunContext<'_>,
) -> Result<u64, AgentError> {
    let (sender, receiver) = sync_channel(PIECES);
    let (read, received) = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut pipe = Pipe(sender);
            let read = freezer_pipeline::restore::write_stream(data, &mut pipe, context);
            if read.is_ok() {
                // The end is said in so many words: a reader that just stops is a failure.
                drop(pipe.0.send(Vec::new()));
            }
            read
        });
        let pieces = Pieces {
            receiver,
            piece: Vec::new(),
            at: 0,
            is_over: false,
        };
        let received = prepared.receive(source, Box::new(pieces));
        match reading.join() {
            Ok(read) => (read, received),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    match (read, received) {
        (Ok(bytes), Ok(())) => Ok(bytes),
        // A mode that hung up has its reasons, or else took less than all.
        (Err(RestoreError::Output(_)) | Ok(_), Err(error)) => Err(error.into()),
        (Err(source), _) => Err(AgentError::Restore {
            operation: "restoring",
            backup: label.to_owned(),
            source,
        }),
    }
}

/// The writing end of what goes to a mode.
struct Pipe(SyncSender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            let sent = self.0.send(bytes.to_vec());
            sent.map_err(|_| io::Error::other("the mode took no more"))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reading end; it fails where the writing end is gone without an empty piece.
struct Pieces {
    receiver: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.is_over {
            let next = self.receiver.recv();
            self.piece = next.map_err(|_| io::Error::other("the backup can't be read on"))?;
            self.at = 0;
            self.is_over = self.piece.is_empty();
        }
        let available = &self.piece[self.at..];
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.at += count;
        Ok(count)
    }
}
