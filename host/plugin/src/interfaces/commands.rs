//! `commands`: running commands, whoever started them.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::resources::{Body, Child, Origin};
use crate::bindings::v1::imports::freezer::plugin::commands::{Host, HostChild};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::guest::GuestState;

impl Host for GuestState {}

impl HostChild for GuestState {
    async fn output(&mut self, child: Resource<Child>) -> wasmtime::Result<Result<Resource<Body>, Error>> {
        let _in_host = self.clock.host();
        let stop = self.stop();
        let command = Arc::clone(self.table.get(&child)?);
        Ok(match command.output(stop) {
            Ok(reader) => Ok(self.table.push(Body::stream(reader, None, Origin::Plugin))?),
            Err(error) => Err(error.into()),
        })
    }

    async fn wait(&mut self, child: Resource<Child>) -> wasmtime::Result<Result<(i32, String), Error>> {
        let _in_host = self.clock.host();
        let stop = self.stop();
        let command = Arc::clone(self.table.get(&child)?);
        let exit = command.process().wait(&stop).await;
        Ok(exit.map(|exit| (exit.code, exit.stderr)).map_err(Error::from))
    }

    async fn kill(&mut self, child: Resource<Child>) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let command = Arc::clone(self.table.get(&child)?);
        Ok(command.process().stop().map_err(Error::from))
    }

    async fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        self.table.delete(child)?;
        Ok(())
    }
}
