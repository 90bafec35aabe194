//! Reads archives member by member: ours, and every form GNU tar and the original wrote.
//!
//! pax `x` and `g` headers, GNU long names `L` and `K`, dumpdirs in a record or as data of `D`, sparse files of all four
//! forms, base-256 numbers, volume labels (skipped). It never searches for the next header: what isn't one is an error.
//! Memory: one member's headers, bounded by the limits of this module; claims of a size allocate nothing.

use std::io::{self, Read};

use super::decode;
use super::extended::Extended;
use super::header::{self, Header};
use super::sparse::MapParser;
use super::{BLOCK, DUMPDIR_MAX, Member, MemberKind, RECORD_MAX, RECORDS_MAX, TarError, padding};

/// How an archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Takes zero blocks for nothing rather than for the end, as `tar --ignore-zeros`: archives may stand one after
    /// another, and only the end of the stream ends them.
    pub ignore_zeros: bool,
}

/// How an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With two zero blocks.
    Marked,
    /// At the border of a member without them: whole or cut, only the manifest knows.
    Unmarked,
}

/// Reads an archive from `R`; as [`Read`] it gives the content of the current member.
///
/// Content is what is stored: for a sparse file its pieces back to back. What isn't read is skipped.
#[derive(Debug)]
pub struct MemberReader<R> {
    inner: R,
    options: ReadOptions,
    position: u64,
    member_offset: u64,
    content_left: u64,
    padding_left: usize,
    globals: Extended,
    end: Option<End>,
}

/// Pieces of content that are skipped at once.
const SKIP: usize = 16 * 1024;

/// Largest global pax header in bytes: its records are copied for each member.
const GLOBALS_MAX: u64 = 64 * 1024;

impl<R: Read> MemberReader<R> {
    /// Makes a reader of an archive, or of the rest of one: `position` is the offset in the archive where `inner` begins.
    ///
    /// Reads are of 512 bytes between contents, so `inner` should be buffered.
    pub fn new(inner: R, position: u64, options: ReadOptions) -> MemberReader<R> {
        MemberReader {
            inner,
            options,
            position,
            member_offset: position,
            content_left: 0,
            padding_left: 0,
            globals: Extended::default(),
            end: None,
        }
    }

    /// Skips the rest of the current member and returns the next one; `None` at the end and after an error.
    ///
    /// # Errors
    /// [`TarError::Truncated`], [`TarError::Damaged`], [`TarError::Unsupported`], [`TarError::Io`].
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let result = self.read_member();
        if result.is_err() {
            self.content_left = 0;
            self.end = Some(End::Unmarked);
        }
        result
    }

    /// Returns the offset in the archive of the next byte to be read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the offset in the archive of the current member's first header, as the index has it.
    pub fn member_offset(&self) -> u64 {
        self.member_offset
    }

    /// Returns the bytes of the current member's content that weren't read yet.
    pub fn content_left(&self) -> u64 {
        self.content_left
    }

    /// Returns how the archive ended; `None` before it did.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns the reader below, positioned after what was read so far.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn read_member(&mut self) -> Result<Option<Member>, TarError> {
        self.skip_content()?;
        let mut extended = self.globals.clone();
        let mut has_extended = false;
        loop {
            let offset = self.position;
            let Some(header) = self.read_header()? else {
                return match has_extended {
                    true => Err(TarError::Truncated { offset }),
                    false => Ok(None),
                };
            };
            if !has_extended {
                self.member_offset = offset;
            }
            match header.typeflag() {
                b'x' | b'X' => {
                    let mut body = self.body(&header, DUMPDIR_MAX + RECORDS_MAX)?;
                    extended
                        .apply(&mut body)
                        .map_err(|reason| TarError::Damaged { offset, reason })?;
                }
                b'g' => {
                    let mut body = self.body(&header, GLOBALS_MAX)?;
                    self.globals
                        .apply(&mut body)
                        .map_err(|reason| TarError::Damaged { offset, reason })?;
                    self.globals.keep_common();
                    extended = self.globals.clone();
                    continue;
                }
                b'L' => extended.path = Some(self.long_name(&header)?),
                b'K' => extended.link = Some(self.long_name(&header)?),
                b'V' => {
                    let size = self.stored_size(&header, None)?;
                    self.set_content(size);
                    self.skip_content()?;
                    continue;
                }
                _ => return self.member(&header, extended).map(Some),
            }
            has_extended = true;
        }
    }

    /// Makes the member of a header, up to where its content starts.
    fn member(&mut self, header: &Header, mut extended: Extended) -> Result<Member, TarError> {
        let offset = self.position - BLOCK as u64;
        let damaged = |reason| TarError::Damaged { offset, reason };
        let typeflag = header.typeflag();
        let kind = decode::kind(header).ok_or(TarError::Unsupported {
            offset,
            typeflag: char::from(typeflag),
        })?;
        let stored = self.stored_size(header, extended.size)?;
        let mut member = decode::member(header, kind, &mut extended).map_err(damaged)?;
        if typeflag == b'D' {
            member.dumpdir = Some(self.body(header, DUMPDIR_MAX)?);
            return Ok(member);
        }
        // A hard link has no content, whatever its size field says: GNU tar reads it so.
        self.set_content(if kind == MemberKind::HardLink { 0 } else { stored });
        if kind != MemberKind::File {
            return Ok(member);
        }
        member.size = stored;
        let records = &mut extended.sparse;
        if typeflag == b'S' {
            let size = decode::real_size(header).map_err(damaged)?;
            let mut pieces = decode::first_pieces(header).map_err(damaged)?;
            let mut has_more = decode::has_more_pieces(header);
            while has_more {
                let block = self.block()?.ok_or(TarError::Truncated {
                    offset: self.position,
                })?;
                has_more = decode::more_pieces(&block.bytes, &mut pieces).map_err(damaged)?;
            }
            decode::set_sparse(&mut member, pieces, size, stored).map_err(damaged)?;
        } else if records.major == 1 && records.minor == 0 {
            let size = records.size.ok_or_else(|| damaged("a sparse file has no size"))?;
            let pieces = self.map()?;
            decode::set_sparse(&mut member, pieces, size, self.content_left).map_err(damaged)?;
        } else if records.major != 0 {
            return Err(damaged("a sparse file has an unknown form"));
        } else if records.is_sparse() {
            let size = records.size.ok_or_else(|| damaged("a sparse file has no size"))?;
            let pieces = std::mem::take(&mut records.pieces);
            decode::set_sparse(&mut member, pieces, size, stored).map_err(damaged)?;
        }
        Ok(member)
    }

    /// Reads the map before the content of a sparse file.
    fn map(&mut self) -> Result<Vec<(u64, u64)>, TarError> {
        let mut parser = MapParser::default();
        loop {
            let offset = self.position;
            let damaged = |reason| TarError::Damaged { offset, reason };
            let left = self.content_left.checked_sub(BLOCK as u64);
            self.content_left =
                left.ok_or_else(|| damaged("a sparse file's map is longer than its content"))?;
            let block = self.block()?.ok_or(TarError::Truncated { offset })?;
            if let Some(pieces) = parser.feed(&block.bytes).map_err(damaged)? {
                return Ok(pieces);
            }
        }
    }

    /// Reads the next header; `None` at the end of the archive.
    fn read_header(&mut self) -> Result<Option<Header>, TarError> {
        loop {
            let offset = self.position;
            let Some(header) = self.block()? else {
                self.end = Some(End::Unmarked);
                return Ok(None);
            };
            if header.is_zero() {
                if self.options.ignore_zeros {
                    continue;
                }
                // GNU tar stops at a lone zero block too.
                let is_marked = self.block()?.is_some_and(|second| second.is_zero());
                self.end = Some(if is_marked { End::Marked } else { End::Unmarked });
                return Ok(None);
            }
            if !header.is_sealed() {
                return Err(TarError::Damaged {
                    offset,
                    reason: "the header's checksum is wrong",
                });
            }
            return Ok(Some(header));
        }
    }

    /// Reads a block; `None` if the stream ends right before it.
    fn block(&mut self) -> Result<Option<Header>, TarError> {
        let mut bytes = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => {
                    return Err(TarError::Truncated {
                        offset: self.position,
                    });
                }
                Ok(count) => {
                    filled += count;
                    self.position = self.position.saturating_add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(TarError::Io {
                        offset: self.position,
                        source,
                    });
                }
            }
        }
        Ok(Some(Header { bytes }))
    }

    /// Reads the data of a header that describes another one, with the padding after it.
    fn body(&mut self, header: &Header, most: u64) -> Result<Vec<u8>, TarError> {
        let size = self.stored_size(header, None)?;
        let offset = self.position;
        if size > most {
            return Err(TarError::Damaged {
                offset,
                reason: "an extended header is too large",
            });
        }
        self.set_content(size);
        let mut body = Vec::new();
        // Grows with the bytes that are there, not with those that are claimed.
        self.read_to_end(&mut body)
            .map_err(|source| into_tar_error(source, offset))?;
        self.skip_content()?;
        Ok(body)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let mut name = self.body(header, RECORD_MAX)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn stored_size(&self, header: &Header, extended: Option<u64>) -> Result<u64, TarError> {
        let field = || {
            header
                .number(header::SIZE)
                .and_then(|size| u64::try_from(size).ok())
        };
        extended.or_else(field).ok_or(TarError::Damaged {
            offset: self.position,
            reason: "the size of a member can't be read",
        })
    }

    fn set_content(&mut self, size: u64) {
        self.content_left = size;
        self.padding_left = padding(size);
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; SKIP];
        let offset = self.position;
        while self.content_left > 0 {
            self.read(&mut buffer)
                .map_err(|source| into_tar_error(source, offset))?;
        }
        while self.padding_left > 0 {
            self.content_left = std::mem::take(&mut self.padding_left) as u64;
            while self.content_left > 0 {
                self.read(&mut buffer)
                    .map_err(|source| into_tar_error(source, offset))?;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for MemberReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content_left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(TarError::Truncated {
                offset: self.position,
            }
            .into());
        }
        self.content_left -= count as u64;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

/// Turns a failed read of content back into what it was.
fn into_tar_error(source: io::Error, offset: u64) -> TarError {
    let is_truncated = source.kind() == io::ErrorKind::UnexpectedEof;
    if is_truncated {
        TarError::Truncated { offset }
    } else {
        TarError::Io { offset, source }
    }
}
