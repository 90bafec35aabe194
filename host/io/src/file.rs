//! A range of a file as a stream that can't end early unnoticed.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// Reads exactly the announced bytes of a file, by position: nobody else's reads disturb it.
#[derive(Debug)]
pub struct FileReader {
    file: OwnedFd,
    /// For messages.
    path: String,
    offset: u64,
    remaining: u64,
}

impl FileReader {
    /// Reads `length` bytes from `offset` on; the caller has seen that the file is at least that long.
    pub(crate) fn new(file: OwnedFd, path: String, offset: u64, length: u64) -> Self {
        Self {
            file,
            path,
            offset,
            remaining: length,
        }
    }

    /// The bytes that are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count =
            rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut buffer[..most], self.offset))?;
        if count == 0 {
            let message = format!(
                "{} became shorter: {} bytes are missing",
                self.path, self.remaining
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.offset += count as u64;
        self.remaining -= count as u64;
        Ok(count)
    }
}
