//! `ssh`: other machines, as far as they are granted. Nothing connects yet.

use wasmtime::component::Resource;

use super::resources::{Body, Child, Directory, SshConnection};
use crate::bindings::v1::imports::freezer::plugin::commands::Command;
use crate::bindings::v1::imports::freezer::plugin::directories::Access;
use crate::bindings::v1::imports::freezer::plugin::ssh::{Host, HostConnection, Target};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::convert::unsupported;
use crate::grants::Network;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn connect(&mut self, target: Target) -> wasmtime::Result<Result<Resource<SshConnection>, Error>> {
        let _in_host = self.clock.host();
        let place = format!("{}:{}", target.host, target.port);
        let granted = self.context.grants.network(Network::Ssh, &place);
        Ok(Err(
            granted.map_or_else(Error::from, |()| unsupported("connect by SSH"))
        ))
    }
}

impl HostConnection for GuestState {
    async fn open(
        &mut self,
        connection: Resource<SshConnection>,
        _root: String,
        _access: Access,
    ) -> wasmtime::Result<Result<Resource<Directory>, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn spawn(
        &mut self,
        connection: Resource<SshConnection>,
        _command: Command,
        _input: Option<Resource<Body>>,
    ) -> wasmtime::Result<Result<Resource<Child>, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn drop(&mut self, connection: Resource<SshConnection>) -> wasmtime::Result<()> {
        match self.table.delete(connection)? {}
    }
}
