//! The one thread that puts out: orders frames, index and snapshot bytes into their objects, encrypts, commits.
//!
//! Being alone it makes every object's bytes a function of the walk. It commits only after [`Item::End`]:
//! a walk that stops halfway leaves nothing visible.

use freezer_format::chain_key::Cipher;
use freezer_format::index::{Block, FrameRows, Header, IndexWriter, LevelRow, SegmentRows};
use sha2::{Digest, Sha256};

use crate::cancel::Cancel;
use crate::channel::{Drain, EncodedFrame, Halt, Item};
use crate::encrypt::Encryptor;
use crate::error::BackupError;
use crate::job::{DataFacts, IndexFacts, ObjectFacts, ObjectKeys};
use crate::memory::Plan;
use crate::segment::{DigestOf, ObjectNumber, Outlet};
use crate::shared_buffer::SharedBuffer;

/// What the output thread is told beforehand.
pub(crate) struct OutputPlan<'a> {
    pub(crate) keys: &'a ObjectKeys,
    pub(crate) levels: &'a [LevelRow],
    /// Marks of the index's header.
    pub(crate) flags: u32,
    pub(crate) plan: Plan,
    pub(crate) frame_bytes: u64,
    pub(crate) data_cipher: Option<&'a Cipher>,
    pub(crate) index_cipher: Option<&'a Cipher>,
    /// Fresh salts of data and index; used only with a cipher.
    pub(crate) salts: [[u8; 8]; 2],
    pub(crate) cancel: &'a Cancel,
}

/// What was committed.
pub(crate) struct Written {
    pub(crate) data: DataFacts,
    pub(crate) index: IndexFacts,
    pub(crate) engine_metadata: Option<ObjectFacts>,
}

/// Puts out everything that comes through `drain`, then commits. On any failure nothing stays behind.
pub(crate) fn run_output(
    plan: &OutputPlan<'_>,
    drain: &Drain,
    mut outlet: Outlet<'_>,
) -> Result<Written, Halt> {
    match write_all(plan, drain, &mut outlet) {
        Ok(written) => Ok(written),
        Err(halt) => {
            outlet.shut();
            Err(halt)
        }
    }
}

fn write_all(plan: &OutputPlan<'_>, drain: &Drain, outlet: &mut Outlet<'_>) -> Result<Written, Halt> {
    let mut output = Output::new(plan, outlet)?;
    loop {
        plan.cancel.check().map_err(BackupError::from)?;
        match drain.next()? {
            Item::Frame(encoded) => {
                let EncodedFrame {
                    buffers,
                    bytes,
                    sha256,
                } = encoded.recv().map_err(|_| Halt::Closed)??;
                output.frame(&buffers.encoded[..bytes], &sha256, buffers.raw_bytes as u64)?;
                drain.recycle(buffers);
            }
            Item::Block(block) => output.block(block)?,
            Item::Snar(bytes) => output.snar(&bytes)?,
            Item::End => break,
        }
    }
    Ok(output.finish(plan)?)
}

/// An object with the encryption before it.
struct Lane {
    object: ObjectNumber,
    encryptor: Encryptor,
}

impl Lane {
    fn new(outlet: &mut Outlet<'_>, object: ObjectNumber, encryptor: Encryptor) -> Result<Self, BackupError> {
        outlet.write(object, &encryptor.header())?;
        Ok(Self { object, encryptor })
    }

    fn write(&mut self, outlet: &mut Outlet<'_>, bytes: &[u8]) -> Result<(), BackupError> {
        let object = self.object;
        self.encryptor
            .write(bytes, &mut |piece: &[u8]| outlet.write(object, piece))
    }

    fn finish(&mut self, outlet: &mut Outlet<'_>) -> Result<(), BackupError> {
        let object = self.object;
        self.encryptor
            .finish(&mut |piece: &[u8]| outlet.write(object, piece))?;
        outlet.finish(object)
    }
}

struct Output<'o, 'a> {
    outlet: &'o mut Outlet<'a>,
    data: Lane,
    index: Lane,
    engine_metadata: Option<ObjectNumber>,
    writer: IndexWriter<SharedBuffer>,
    pending: SharedBuffer,
    frames: FrameRows,
    segments: SegmentRows,
    segment_count: u64,
    segment_list: Sha256,
    /// Bytes of the data object before encryption.
    compressed_bytes: u64,
    plain_bytes: u64,
}

impl<'o, 'a> Output<'o, 'a> {
    fn new(plan: &OutputPlan<'_>, outlet: &'o mut Outlet<'a>) -> Result<Self, BackupError> {
        let sizes = plan.plan;
        let [data_salt, index_salt] = plan.salts;
        let data = outlet.open(&plan.keys.data, sizes.segment_bytes, DigestOf::Segments);
        let index = outlet.open(&plan.keys.index, sizes.side_segment_bytes, DigestOf::Whole);
        let engine_metadata = plan.keys.engine_metadata.as_ref();
        let engine_metadata =
            engine_metadata.map(|key| outlet.open(key, sizes.side_segment_bytes, DigestOf::Whole));
        let header = Header {
            flags: plan.flags,
            frame_size: plan.frame_bytes,
            segment_size: sizes.segment_bytes,
        };
        let pending = SharedBuffer::default();
        Ok(Self {
            data: Lane::new(outlet, data, Encryptor::new(plan.data_cipher, data_salt))?,
            index: Lane::new(outlet, index, Encryptor::new(plan.index_cipher, index_salt))?,
            outlet,
            engine_metadata,
            writer: IndexWriter::new(pending.clone(), &header).map_err(BackupError::Index)?,
            pending,
            frames: FrameRows::new(),
            segments: SegmentRows::new(),
            segment_count: 0,
            segment_list: Sha256::new(),
            compressed_bytes: 0,
            plain_bytes: 0,
        })
    }

    fn frame(&mut self, bytes: &[u8], sha256: &[u8; 32], plain_bytes: u64) -> Result<(), BackupError> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let offset = self.compressed_bytes;
        let block = self
            .frames
            .push(offset, length, sha256)
            .map_err(BackupError::Index)?;
        self.compressed_bytes += bytes.len() as u64;
        self.plain_bytes += plain_bytes;
        self.data.write(self.outlet, bytes)?;
        self.segment_rows()?;
        block.map_or(Ok(()), |block| self.block(block))
    }

    fn segment_rows(&mut self) -> Result<(), BackupError> {
        for sha256 in self.outlet.take_segment_digests(self.data.object) {
            self.segment_list.update(sha256);
            self.segment_count += 1;
            if let Some(block) = self.segments.push(&sha256, None) {
                self.block(block)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, block: Block) -> Result<(), BackupError> {
        self.writer.write(block).map_err(BackupError::Index)?;
        self.drain_pending()
    }

    fn drain_pending(&mut self) -> Result<(), BackupError> {
        self.pending.drain(|bytes| self.index.write(self.outlet, bytes))
    }

    fn snar(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.engine_metadata
            .map_or(Ok(()), |object| self.outlet.write(object, bytes))
    }

    fn finish(mut self, plan: &OutputPlan<'_>) -> Result<Written, BackupError> {
        self.data.finish(self.outlet)?;
        self.segment_rows()?;
        for block in [self.frames.flush(), self.segments.flush()].into_iter().flatten() {
            self.block(block)?;
        }
        let finished = self.writer.finish(plan.levels).map_err(BackupError::Index)?;
        self.pending.drain(|bytes| self.index.write(self.outlet, bytes))?;
        self.index.finish(self.outlet)?;
        if let Some(object) = self.engine_metadata {
            self.outlet.finish(object)?;
        }
        self.outlet.settle()?;
        plan.cancel.check()?;
        // The order of the stored format: data, index, engine state. Manifest and metadata follow elsewhere.
        self.outlet.commit(self.data.object)?;
        self.outlet.commit(self.index.object)?;
        let engine_metadata = self.engine_metadata.map(|object| -> Result<_, BackupError> {
            self.outlet.commit(object)?;
            let bytes = self.outlet.bytes(object);
            Ok(ObjectFacts {
                bytes,
                sha256: self.outlet.whole_digest(object),
            })
        });
        Ok(Written {
            data: DataFacts {
                bytes: self.outlet.bytes(self.data.object),
                plain: self.plain_bytes,
                segment: plan.plan.segment_bytes,
                segments: self.segment_count,
                sha256: self.segment_list.finalize().into(),
                salt: self.data.encryptor.salt(),
            },
            index: IndexFacts {
                bytes: self.outlet.bytes(self.index.object),
                sha256: self.outlet.whole_digest(self.index.object),
                trailer: finished.trailer,
                salt: self.index.encryptor.salt(),
            },
            engine_metadata: engine_metadata.transpose()?,
        })
    }
}
