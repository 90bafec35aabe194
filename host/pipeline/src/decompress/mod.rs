//! From stored bytes back to the archive: single frames of ours (`frame`), or a whole stream of any writer (`stream`).
//!
//! A frame is decompressed only after its digest matched, and never beyond the frame size. A stream has no digests;
//! its memory is bounded by the codec's window and its end must be clean.

mod frame;
mod stream;

pub(crate) use frame::FrameDecoder;
pub(crate) use stream::{ArchiveStream, StreamError, open_stream};
