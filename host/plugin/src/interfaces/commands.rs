//! `commands`: running commands. None can be started yet, so no handle exists.

use wasmtime::component::Resource;

use super::resources::{Body, Child};
use crate::bindings::v1::imports::freezer::plugin::commands::{Host, HostChild};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::guest::GuestState;

impl Host for GuestState {}

impl HostChild for GuestState {
    async fn output(&mut self, child: Resource<Child>) -> wasmtime::Result<Result<Resource<Body>, Error>> {
        match *self.table.get(&child)? {}
    }

    async fn wait(&mut self, child: Resource<Child>) -> wasmtime::Result<Result<(i32, String), Error>> {
        match *self.table.get(&child)? {}
    }

    async fn kill(&mut self, child: Resource<Child>) -> wasmtime::Result<Result<(), Error>> {
        match *self.table.get(&child)? {}
    }

    async fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        match self.table.delete(child)? {}
    }
}
