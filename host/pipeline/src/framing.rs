//! A stream as frames: bytes go straight into the buffer of the frame that is being filled.

use freezer_format::tar::padding;

use crate::channel::{FrameBuffers, Halt, Inlet};

/// Writes a stream, cut into frames of equal size.
pub(crate) struct FrameWriter<'a> {
    inlet: &'a Inlet,
    frame_bytes: usize,
    buffers: Option<FrameBuffers>,
    filled: usize,
    /// Bytes in frames that were sent.
    sent: u64,
}

impl<'a> FrameWriter<'a> {
    pub(crate) fn new(inlet: &'a Inlet, frame_bytes: u64) -> Self {
        let frame_bytes = usize::try_from(frame_bytes).unwrap_or(usize::MAX);
        Self {
            inlet,
            frame_bytes,
            buffers: None,
            filled: 0,
            sent: 0,
        }
    }

    /// Bytes written so far: where the next member begins.
    pub(crate) fn position(&self) -> u64 {
        self.sent + self.filled as u64
    }

    /// Lends room for at least one byte; [`FrameWriter::advance`] tells how much of it was used.
    pub(crate) fn room(&mut self) -> Result<&mut [u8], Halt> {
        if self.buffers.is_none() {
            let mut buffers = self.inlet.buffers()?;
            if buffers.raw.len() < self.frame_bytes {
                // Fresh zeros cost nothing until they are written to, unlike those of a resize.
                buffers.raw = vec![0; self.frame_bytes];
            }
            self.buffers = Some(buffers);
        }
        let filled = self.filled;
        match &mut self.buffers {
            Some(buffers) => Ok(&mut buffers.raw[filled..]),
            None => Err(Halt::Closed),
        }
    }

    /// Counts bytes that were put into [`FrameWriter::room`].
    pub(crate) fn advance(&mut self, bytes: usize) -> Result<(), Halt> {
        self.filled += bytes;
        if self.filled == self.frame_bytes {
            self.flush()
        } else {
            Ok(())
        }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Halt> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let taken = room.len().min(bytes.len());
            room[..taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.advance(taken)?;
        }
        Ok(())
    }

    pub(crate) fn zeros(&mut self, mut count: u64) -> Result<(), Halt> {
        while count > 0 {
            let room = self.room()?;
            let taken = room.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            room[..taken].fill(0);
            count -= taken as u64;
            self.advance(taken)?;
        }
        Ok(())
    }

    /// Fills content of so many bytes up to a whole block.
    pub(crate) fn pad(&mut self, content_bytes: u64) -> Result<(), Halt> {
        self.zeros(padding(content_bytes) as u64)
    }

    /// Sends the frame as it is; only the last one may be shorter than the others.
    pub(crate) fn flush(&mut self) -> Result<(), Halt> {
        if let Some(mut buffers) = self.buffers.take() {
            buffers.raw_bytes = self.filled;
            self.sent += self.filled as u64;
            self.filled = 0;
            self.inlet.frame(buffers)?;
        }
        Ok(())
    }
}
