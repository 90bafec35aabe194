//! `tcp`: byte connections, as far as they are granted. Nothing connects yet.

use wasmtime::component::Resource;

use super::resources::{Body, TcpConnection};
use crate::bindings::v1::imports::freezer::plugin::tcp::{Host, HostConnection, Tls};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::convert::unsupported;
use crate::grants::Network;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn connect(
        &mut self,
        host: String,
        port: u16,
        _tls: Option<Tls>,
    ) -> wasmtime::Result<Result<Resource<TcpConnection>, Error>> {
        let _in_host = self.clock.host();
        let granted = self
            .context
            .grants
            .network(Network::Tcp, &format!("{host}:{port}"));
        Ok(Err(
            granted.map_or_else(Error::from, |()| unsupported("connect by TCP"))
        ))
    }
}

impl HostConnection for GuestState {
    async fn write(
        &mut self,
        connection: Resource<TcpConnection>,
        _bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn read(
        &mut self,
        connection: Resource<TcpConnection>,
        _max: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn send(
        &mut self,
        connection: Resource<TcpConnection>,
        _content: Resource<Body>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn receive(
        &mut self,
        connection: Resource<TcpConnection>,
        _length: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<Body>, Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn shut(&mut self, connection: Resource<TcpConnection>) -> wasmtime::Result<Result<(), Error>> {
        match *self.table.get(&connection)? {}
    }

    async fn drop(&mut self, connection: Resource<TcpConnection>) -> wasmtime::Result<()> {
        match self.table.delete(connection)? {}
    }
}
