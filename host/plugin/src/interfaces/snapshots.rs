//! `snapshots`: frozen views of local volumes, as far as they are granted. Nothing makes them yet.

use wasmtime::component::Resource;

use super::resources::Snapshot;
use crate::bindings::v1::imports::freezer::plugin::snapshots::{Host, HostSnapshot};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, Field};
use crate::convert::unsupported;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn create(
        &mut self,
        path: String,
        _options: Vec<Field>,
    ) -> wasmtime::Result<Result<Resource<Snapshot>, Error>> {
        let _in_host = self.clock.host();
        let granted = self.context.grants.snapshot(&path);
        Ok(Err(
            granted.map_or_else(Error::from, |()| unsupported("make snapshots"))
        ))
    }
}

impl HostSnapshot for GuestState {
    async fn path(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<String> {
        match *self.table.get(&snapshot)? {}
    }

    async fn description(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<String> {
        match *self.table.get(&snapshot)? {}
    }

    async fn drop(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<()> {
        match self.table.delete(snapshot)? {}
    }
}
