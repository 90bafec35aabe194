//! `leftovers`: what would outlive a killed run is written down before it is made.

use crate::bindings::v1::imports::freezer::plugin::leftovers::Host;
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::convert;
use crate::escape;
use crate::guest::GuestState;
use crate::journal::MAX_UNDO_BYTES;

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 1000;

impl Host for GuestState {
    async fn announce(&mut self, description: String, undo: String) -> wasmtime::Result<Result<u64, Error>> {
        let _in_host = self.clock.host();
        if undo.len() > MAX_UNDO_BYTES || description.len() > MAX_DESCRIPTION {
            let message = format!("a leftover has at most {MAX_UNDO_BYTES} bytes to undo it");
            return Ok(Err(convert::error(ErrorKind::Invalid, message)));
        }
        let Some(journal) = &self.context.journal else {
            let message = "there is no state directory in which leftovers could be written down";
            return Ok(Err(convert::error(ErrorKind::Other, message)));
        };
        let announced = journal.announce(escape::line(&description, MAX_DESCRIPTION), undo);
        Ok(announced.map_err(|error| convert::error(ErrorKind::Other, error.to_string())))
    }

    async fn settle(&mut self, leftover: u64) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let settled = self
            .context
            .journal
            .as_ref()
            .map_or(Ok(false), |journal| journal.settle(leftover));
        Ok(match settled {
            Ok(true) => Ok(()),
            Ok(false) => Err(convert::error(
                ErrorKind::NotFound,
                format!("no leftover {leftover} was announced"),
            )),
            Err(error) => Err(convert::error(ErrorKind::Other, error.to_string())),
        })
    }
}
