//! `processes`: commands of this machine, as far as they are granted. Nothing starts them yet.

use wasmtime::component::Resource;

use super::resources::{Body, Child};
use crate::bindings::v1::imports::freezer::plugin::commands::Command;
use crate::bindings::v1::imports::freezer::plugin::processes::Host;
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::convert::unsupported;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn spawn(
        &mut self,
        command: Command,
        _input: Option<Resource<Body>>,
    ) -> wasmtime::Result<Result<Resource<Child>, Error>> {
        let _in_host = self.clock.host();
        let granted = self.context.grants.command(&command.program, &command.arguments);
        Ok(Err(
            granted.map_or_else(Error::from, |()| unsupported("run commands"))
        ))
    }
}
