//! `sql`: held connections to databases, as far as they are granted. Nothing connects yet.

use wasmtime::component::Resource;

use super::resources::SqlConnection;
use crate::bindings::v1::imports::freezer::plugin::sql::{Host, HostConnection, Rows, Target, Value};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::convert::unsupported;
use crate::grants::Network;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn connect(&mut self, target: Target) -> wasmtime::Result<Result<Resource<SqlConnection>, Error>> {
        let _in_host = self.clock.host();
        // A host that begins with / is a socket's path and has no port.
        let place = match target.host.starts_with('/') {
            true => target.host,
            false => format!("{}:{}", target.host, target.port),
        };
        let granted = self.context.grants.network(Network::Sql, &place);
        Ok(Err(granted.map_or_else(Error::from, |()| {
            unsupported("connect to databases")
        })))
    }
}

impl HostConnection for GuestState {
    async fn execute(
        &mut self,
        connection: Resource<SqlConnection>,
        _statement: String,
        _parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn query(
        &mut self,
        connection: Resource<SqlConnection>,
        _statement: String,
        _parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn drop(&mut self, connection: Resource<SqlConnection>) -> wasmtime::Result<()> {
        match self.table.delete(connection)? {}
    }
}
