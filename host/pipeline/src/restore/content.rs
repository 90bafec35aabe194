//! Makes one file out of a member and its content, for the restore by index and the one front to back.
//!
//! A failure to write concerns this file alone and is reported; a failure to read is the caller's to judge.

use std::io::{self, Read};

use freezer_format::tar::Member;
use rustix::io::Errno;

use super::RestoreError;
use super::report::Reporter;
use super::target::{EntryError, NewFile, TargetWriter};
use crate::cancel::Cancelled;
use crate::counters::Counters;
use crate::job::RunContext;

/// Content is moved in pieces of this size; most files are one piece.
const PIECE_BYTES: usize = 256 * 1024;

/// Why a file's content couldn't be moved.
#[derive(Debug)]
pub(super) enum ContentError {
    /// The archive can't be read.
    Read(io::Error),
    /// The archive ends early, or the holes don't fit the file.
    Short,
    /// The run must end.
    Fatal(RestoreError),
}

impl From<RestoreError> for ContentError {
    fn from(error: RestoreError) -> Self {
        Self::Fatal(error)
    }
}

impl From<Cancelled> for ContentError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Fatal(cancelled.into())
    }
}

/// Moves contents; keeps the buffer.
pub(super) struct ContentMover {
    buffer: Vec<u8>,
}

impl ContentMover {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; PIECE_BYTES],
        }
    }

    /// Makes a file, or only reads its content if there is no writer. Answers whether it is there now.
    pub(super) fn make_file(
        &mut self,
        writer: Option<&mut TargetWriter<'_>>,
        member: &Member,
        content: &mut impl Read,
        reporter: &Reporter<'_>,
    ) -> Result<bool, ContentError> {
        let Some(writer) = writer else {
            let bytes = self.pass_on(member, content, reporter.context, |_, _| Ok(()))?;
            reporter.count_file(bytes);
            return Ok(true);
        };
        let made = match writer.create_file(member) {
            Ok(mut file) => match self.fill(&mut file, member, content, reporter.context) {
                Ok(Ok(bytes)) => writer.finish_file(file, member).map(|outcome| (outcome, bytes)),
                Ok(Err(error)) => {
                    writer.drop_file(&member.path);
                    Err(error)
                }
                Err(error) => {
                    writer.drop_file(&member.path);
                    return Err(error);
                }
            },
            Err(error) => Err(error),
        };
        match made {
            Ok((outcome, bytes)) => {
                reporter.count_file(bytes);
                reporter.attributes(&member.path, outcome)?;
                Ok(true)
            }
            Err(error) => {
                reporter.left_out(&member.path, &error)?;
                Ok(false)
            }
        }
    }

    /// Writes the content into a new file. The outer result is about reading, the inner one about writing.
    fn fill(
        &mut self,
        file: &mut NewFile,
        member: &Member,
        content: &mut impl Read,
        context: &RunContext<'_>,
    ) -> Result<Result<u64, EntryError>, ContentError> {
        let has_holes = member.sparse.is_some();
        let mut failure = None;
        let passed = self.pass_on(member, content, context, |offset, bytes| {
            let written = if has_holes {
                file.write_at(offset, bytes)
            } else {
                file.write(bytes)
            };
            written.map_err(|error| failure = Some(error))
        });
        let sized = if has_holes && failure.is_none() {
            file.set_size(member.size)
        } else {
            Ok(())
        };
        match failure.or(sized.err()) {
            None => Ok(Ok(passed?)),
            Some(error) => {
                // Without a number it wasn't the system that refused, so the disk isn't broken.
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
                Ok(Err(EntryError::system("write the file")(errno)))
            }
        }
    }

    /// Reads the content and hands it on, each piece with its place in the file. Answers the number of bytes.
    /// Once `write` fails, the rest isn't read.
    pub(super) fn pass_on(
        &mut self,
        member: &Member,
        content: &mut impl Read,
        context: &RunContext<'_>,
        mut write: impl FnMut(u64, &[u8]) -> Result<(), ()>,
    ) -> Result<u64, ContentError> {
        let whole = [(0, member.size)];
        let mut passed = 0;
        for (start, length) in member.sparse.as_deref().unwrap_or(&whole) {
            let end = start
                .checked_add(*length)
                .filter(|end| *end <= member.size)
                .ok_or(ContentError::Short)?;
            let mut at = *start;
            while at < end {
                let wanted = (end - at).min(self.buffer.len() as u64) as usize;
                let piece = &mut self.buffer[..wanted];
                content.read_exact(piece).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => ContentError::Short,
                    _ => ContentError::Read(error),
                })?;
                if write(at, piece).is_err() {
                    return Ok(passed);
                }
                at += wanted as u64;
                passed += wanted as u64;
                Counters::add(&context.counters.bytes_read, wanted as u64);
                context.cancel.check()?;
            }
        }
        Ok(passed)
    }
}
