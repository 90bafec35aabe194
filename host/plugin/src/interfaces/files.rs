//! `files`: directories of this machine, as far as they are granted.

use freezer_io::directory::{self, Directory};
use wasmtime::component::Resource;

use super::resources;
use crate::bindings::v1::imports::freezer::plugin::directories::Access;
use crate::bindings::v1::imports::freezer::plugin::files::Host;
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::grants;
use crate::guest::GuestState;

impl Host for GuestState {
    async fn open(
        &mut self,
        root: String,
        access: Access,
    ) -> wasmtime::Result<Result<Resource<resources::Directory>, Error>> {
        let _in_host = self.clock.host();
        let (asked, native) = match access {
            Access::ReadOnly => (grants::Access::ReadOnly, directory::Access::ReadOnly),
            Access::ReadWrite => (grants::Access::ReadWrite, directory::Access::ReadWrite),
        };
        let run = &self.context.run;
        let named = [run.named_paths(), &run.views()].concat();
        let opened = match self.context.grants.directory(&root, asked, &named) {
            Ok(allowed) => Directory::open(&allowed.root, &allowed.below, native).map_err(Error::from),
            Err(refusal) => Err(refusal.into()),
        };
        Ok(match opened {
            Ok(directory) => Ok(self.table.push(Box::new(directory) as resources::Directory)?),
            Err(error) => Err(error),
        })
    }
}
