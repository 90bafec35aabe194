//! Bodies of the fake host: bytes in memory with the rules of the contract.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::machine::{WitResult, fault};
use crate::bindings::imports::freezer::plugin::types;
use crate::error::ErrorKind;
use crate::host::bodies::{DigestAlgorithm, READ_BYTES};

/// One body.
#[derive(Clone, Debug)]
pub(super) struct FakeBody {
    content: Vec<u8>,
    position: usize,
    replayable: bool,
    /// A stream that was handed to a call, or read to its end.
    used: bool,
    /// How the stream ends, if not well.
    end: Option<types::Error>,
}

impl FakeBody {
    pub(super) fn replayable(content: &[u8]) -> Self {
        FakeBody {
            content: content.to_vec(),
            position: 0,
            replayable: true,
            used: false,
            end: None,
        }
    }

    pub(super) fn stream(content: &[u8], end: Option<types::Error>) -> Self {
        FakeBody {
            content: content.to_vec(),
            position: 0,
            replayable: false,
            used: false,
            end,
        }
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.replayable.then_some(self.content.len() as u64)
    }

    pub(super) fn is_replayable(&self) -> bool {
        self.replayable
    }

    pub(super) fn digest(&self, algorithm: DigestAlgorithm) -> WitResult<String> {
        if !self.replayable {
            return Err(fault(ErrorKind::Unsupported, "a stream has no digest"));
        }
        Ok(match algorithm {
            DigestAlgorithm::Md5 => hex::encode(Md5::digest(&self.content)),
            DigestAlgorithm::Sha1 => hex::encode(Sha1::digest(&self.content)),
            DigestAlgorithm::Sha256 => hex::encode(Sha256::digest(&self.content)),
        })
    }

    pub(super) fn read(&mut self, max: u32) -> WitResult<Vec<u8>> {
        let left = self.content.get(self.position..).unwrap_or_default();
        let wanted = left.len().min(max.clamp(1, READ_BYTES) as usize);
        let bytes = left.get(..wanted).unwrap_or_default().to_vec();
        self.position += bytes.len();
        match &self.end {
            Some(error) if bytes.is_empty() => Err(error.clone()),
            _ => Ok(bytes),
        }
    }

    /// All bytes, as another host call uses them; a stream once.
    pub(super) fn drain(&mut self) -> WitResult<Vec<u8>> {
        if self.replayable {
            return Ok(self.content.clone());
        }
        if self.used {
            return Err(fault(ErrorKind::Invalid, "this stream was used before"));
        }
        self.used = true;
        match &self.end {
            Some(error) => Err(error.clone()),
            None => Ok(self.content.split_off(self.position.min(self.content.len()))),
        }
    }
}
