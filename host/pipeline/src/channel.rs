//! The hand-over between the thread that walks, the workers that compress and the one thread that puts out.
//!
//! Frames, index blocks and snapshot bytes stand in **one** ordered queue, so that the order of everything written is
//! that of the walk, whatever the workers' speed. A frame's place in the queue is taken when its compression begins.
//! Buffers travel in a circle: raw and compressed buffer of a frame are one token, there are [`crate::memory::Plan`]
//! `.frames` of them, and as tokens are given out in order, the oldest frame always has one: no deadlock.

use crossbeam_channel::{Receiver, Sender, bounded};
use freezer_format::index::Block;
use sha2::{Digest, Sha256};

use crate::compress::FrameEncoder;
use crate::error::BackupError;

/// Index blocks and snapshot pieces that may wait, 64 KiB each: 1 MiB.
const QUEUE_ITEMS: usize = 16;

/// Why a side of the hand-over stops.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It failed itself.
    Failed(BackupError),
    /// The other side is gone; ask that one why.
    Closed,
}

impl<E: Into<BackupError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The two buffers of a frame.
#[derive(Default)]
pub(crate) struct FrameBuffers {
    /// The frame as it comes from the archive.
    pub(crate) raw: Vec<u8>,
    /// Bytes of `raw` that count.
    pub(crate) raw_bytes: usize,
    /// The frame as it is stored, before encryption.
    pub(crate) encoded: Vec<u8>,
}

/// A frame that is to be compressed.
pub(crate) struct FrameJob {
    buffers: FrameBuffers,
    answer: Sender<Encoded>,
}

/// A frame that was compressed.
pub(crate) struct EncodedFrame {
    /// Its buffers, to be given back.
    pub(crate) buffers: FrameBuffers,
    /// Bytes of `buffers.encoded` that count.
    pub(crate) bytes: usize,
    /// SHA-256 of these bytes.
    pub(crate) sha256: [u8; 32],
}

type Encoded = Result<EncodedFrame, BackupError>;

/// One thing to be written, in the order of the walk.
pub(crate) enum Item {
    /// A frame of the data object, ready or being compressed.
    Frame(Receiver<Encoded>),
    /// A block of the index.
    Block(Block),
    /// Bytes of the snapshot file.
    Snar(Vec<u8>),
    /// The end: without it, whoever puts out must not commit.
    End,
}

/// The walking thread's end.
pub(crate) struct Inlet {
    free: Receiver<FrameBuffers>,
    jobs: Sender<FrameJob>,
    queue: Sender<Item>,
}

/// The putting-out thread's end.
pub(crate) struct Drain {
    free: Sender<FrameBuffers>,
    queue: Receiver<Item>,
}

/// Makes a hand-over with so many frames in circulation: one end each for the walk, the workers and the output.
pub(crate) fn hand_over(frames: usize) -> (Inlet, Receiver<FrameJob>, Drain) {
    let (free_sender, free) = bounded(frames);
    for _ in 0..frames {
        if free_sender.send(FrameBuffers::default()).is_err() {
            tracing::debug!("a channel closed while both ends are here");
        }
    }
    let (jobs, jobs_receiver) = bounded(frames);
    let (queue, queue_receiver) = bounded(QUEUE_ITEMS);
    let drain = Drain {
        free: free_sender,
        queue: queue_receiver,
    };
    (Inlet { free, jobs, queue }, jobs_receiver, drain)
}

impl Inlet {
    /// Waits for the buffers of the next frame.
    pub(crate) fn buffers(&self) -> Result<FrameBuffers, Halt> {
        self.free.recv().map_err(|_| Halt::Closed)
    }

    /// Sends a frame on its way.
    pub(crate) fn frame(&self, buffers: FrameBuffers) -> Result<(), Halt> {
        let (answer, encoded) = bounded(1);
        self.jobs
            .send(FrameJob { buffers, answer })
            .map_err(|_| Halt::Closed)?;
        self.item(Item::Frame(encoded))
    }

    /// Sends anything else on its way.
    pub(crate) fn item(&self, item: Item) -> Result<(), Halt> {
        self.queue.send(item).map_err(|_| Halt::Closed)
    }
}

impl Drain {
    /// Waits for the next thing to be written.
    pub(crate) fn next(&self) -> Result<Item, Halt> {
        self.queue.recv().map_err(|_| Halt::Closed)
    }

    /// Gives the buffers of a frame back.
    pub(crate) fn recycle(&self, buffers: FrameBuffers) {
        // The walk may be over already; then the buffers are of no use.
        drop(self.free.send(buffers));
    }
}

/// Compresses frames until the walk hangs up.
pub(crate) fn run_worker(mut encoder: FrameEncoder, jobs: &Receiver<FrameJob>) {
    for FrameJob { mut buffers, answer } in jobs {
        let raw = &buffers.raw[..buffers.raw_bytes];
        let encoded = match encoder.encode(raw, &mut buffers.encoded) {
            Ok(bytes) => {
                let sha256 = Sha256::digest(&buffers.encoded[..bytes]).into();
                Ok(EncodedFrame {
                    buffers,
                    bytes,
                    sha256,
                })
            }
            Err(source) => Err(BackupError::Compress {
                compression: encoder.name(),
                source,
            }),
        };
        if answer.send(encoded).is_err() {
            tracing::debug!("nobody waits for the frame any more");
        }
    }
}
