//! `bodies`: runs of bytes that the host holds.

use freezer_io::digest::{Algorithm, hex_digest};
use wasmtime::component::Resource;

use super::resources::{Body, Origin};
use crate::bindings::v1::imports::freezer::plugin::bodies::{DigestAlgorithm, Host, HostBody};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::convert;
use crate::guest::GuestState;

/// The largest body that a plugin may make, as the contract says.
const MAX_MADE_BYTES: usize = 16 << 20;
/// The most bytes that one `read` answers, as the contract says.
const MAX_READ_BYTES: u32 = 1 << 20;

/// Says that a guest holds too much in bodies that it made.
#[derive(Debug, thiserror::Error)]
#[error("the plugin holds too much in bodies")]
pub(crate) struct BodiesExceeded;

/// Says that a guest read too much in one call.
#[derive(Debug, thiserror::Error)]
#[error("the plugin read too much from bodies")]
pub(crate) struct ReadExceeded;

impl Host for GuestState {}

impl HostBody for GuestState {
    async fn new(&mut self, content: Vec<u8>) -> wasmtime::Result<Resource<Body>> {
        let _in_host = self.clock.host();
        if content.len() > MAX_MADE_BYTES {
            return Err(wasmtime::format_err!(
                "a body made by a plugin has at most {MAX_MADE_BYTES} bytes"
            ));
        }
        let charge = self.bodies.take(content.len());
        let charge = charge.ok_or_else(|| wasmtime::Error::new(BodiesExceeded))?;
        Ok(self.table.push(Body::made(content, charge))?)
    }

    async fn size(&mut self, body: Resource<Body>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&body)?.size())
    }

    async fn is_replayable(&mut self, body: Resource<Body>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&body)?.replayable().is_some())
    }

    async fn digest(
        &mut self,
        body: Resource<Body>,
        algorithm: DigestAlgorithm,
    ) -> wasmtime::Result<Result<String, Error>> {
        let _in_host = self.clock.host();
        let body = self.table.get(&body)?;
        let algorithm = match algorithm {
            DigestAlgorithm::Md5 => Algorithm::Md5,
            DigestAlgorithm::Sha1 => Algorithm::Sha1,
            DigestAlgorithm::Sha256 => Algorithm::Sha256,
        };
        Ok(match body.replayable() {
            Some(bytes) => Ok(hex_digest(algorithm, bytes)),
            None => Err(convert::error(
                ErrorKind::Unsupported,
                "a stream flows once: it has no digest beforehand",
            )),
        })
    }

    async fn read(&mut self, body: Resource<Body>, max: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let _in_host = self.clock.host();
        let body = self.table.get_mut(&body)?;
        if body.origin() == Origin::Backup
            && let Err(refusal) = self.context.grants.bodies()
        {
            return Ok(Err(refusal.into()));
        }
        let most = usize::try_from(max.clamp(1, MAX_READ_BYTES)).unwrap_or(1);
        match body.read(most) {
            Some(Ok(piece)) => {
                self.count_read(piece.len())?;
                Ok(Ok(piece))
            }
            Some(Err(error)) => Ok(Err(freezer_io::error::Error::from_io(&error).into())),
            None => Ok(Err(used_up())),
        }
    }

    async fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        self.table.delete(body)?;
        Ok(())
    }
}

/// What a second use of a stream answers.
pub(crate) fn used_up() -> Error {
    convert::error(ErrorKind::Invalid, "this stream was used before")
}
