//! `directories`: work below an opened directory, done by `freezer_io::directory` or, on another machine, `freezer_io::ssh`.

use std::io::Read;

use freezer_io::directory::{self, Entry as NativeEntry};
use freezer_io::limiter::Throttled;
use wasmtime::component::Resource;

use super::bodies::used_up;
use super::resources::{Body, Directory, Origin, Taken};
use crate::bindings::v1::imports::freezer::plugin::directories::{
    Entry, EntryKind, EntryPage, Existing, Host, HostDirectory,
};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, Timestamp};
use crate::guest::GuestState;
use crate::log_gate::Level;

impl Host for GuestState {}

impl GuestState {
    /// The directory behind a handle, for one call.
    fn opened(&self, directory: &Resource<Directory>) -> wasmtime::Result<&Directory> {
        let directory = self.table.get(directory)?;
        directory.stop_by(self.stop());
        Ok(directory)
    }
}

impl HostDirectory for GuestState {
    async fn list(
        &mut self,
        directory: Resource<Directory>,
        path: String,
        cursor: Option<String>,
    ) -> wasmtime::Result<Result<EntryPage, Error>> {
        let _in_host = self.clock.host();
        let directory = self.opened(&directory)?;
        let page = match self
            .check_cancel()
            .and_then(|()| Ok(directory.list(&path, cursor.as_deref())?))
        {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        if page.unreadable_names > 0 {
            let message = format!(
                "{} names in {path:?} aren't UTF-8 and were left out",
                page.unreadable_names
            );
            self.context.log(Level::Warning, &message);
        }
        Ok(Ok(EntryPage {
            entries: page.entries.into_iter().map(entry).collect(),
            next: page.next,
        }))
    }

    async fn stat(
        &mut self,
        directory: Resource<Directory>,
        path: String,
    ) -> wasmtime::Result<Result<Entry, Error>> {
        let _in_host = self.clock.host();
        let directory = self.opened(&directory)?;
        Ok(self
            .check_cancel()
            .and_then(|()| Ok(entry(directory.stat(&path)?))))
    }

    async fn read(
        &mut self,
        directory: Resource<Directory>,
        path: String,
        offset: u64,
        length: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<Body>, Error>> {
        let _in_host = self.clock.host();
        let directory = self.opened(&directory)?;
        let opened = self
            .check_cancel()
            .and_then(|()| Ok(directory.read(&path, offset, length)?));
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let limit = &self.context.run.bandwidth().download;
        let content: Box<dyn Read + Send> = if limit.is_limited() {
            Box::new(Throttled::new(reader.content, limit.clone(), self.stop()))
        } else {
            reader.content
        };
        let body = Body::stream(content, Some(reader.size), Origin::Plugin);
        Ok(Ok(self.table.push(body)?))
    }

    async fn write(
        &mut self,
        directory: Resource<Directory>,
        path: String,
        offset: u64,
        content: Resource<Body>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let _in_host = self.clock.host();
        if let Err(error) = self.check_cancel() {
            return Ok(Err(error));
        }
        let (directory, content) = (self.opened(&directory)?, self.table.get(&content)?);
        let limit = &self.context.run.bandwidth().upload;
        Ok(match content.take() {
            Some(taken) if limit.is_limited() => {
                let mut limited = Throttled::new(taken.into_reader(), limit.clone(), self.stop());
                directory.write(&path, offset, &mut limited).map_err(Error::from)
            }
            Some(Taken::Bytes(bytes)) => directory.write_bytes(&path, offset, &bytes).map_err(Error::from),
            Some(Taken::Stream(mut stream)) => {
                directory.write(&path, offset, &mut stream).map_err(Error::from)
            }
            None => Err(used_up()),
        })
    }

    async fn publish(
        &mut self,
        directory: Resource<Directory>,
        source: String,
        target: String,
        existing: Existing,
    ) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let directory = self.opened(&directory)?;
        let existing = match existing {
            Existing::Replace => directory::Existing::Replace,
            Existing::Refuse => directory::Existing::Refuse,
        };
        Ok(self
            .check_cancel()
            .and_then(|()| Ok(directory.publish(&source, &target, existing)?)))
    }

    async fn make_directory(
        &mut self,
        directory: Resource<Directory>,
        path: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let directory = self.opened(&directory)?;
        Ok(self
            .check_cancel()
            .and_then(|()| Ok(directory.make_directory(&path)?)))
    }

    async fn remove(
        &mut self,
        directory: Resource<Directory>,
        path: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let directory = self.opened(&directory)?;
        Ok(self.check_cancel().and_then(|()| Ok(directory.remove(&path)?)))
    }

    async fn space(&mut self, directory: Resource<Directory>) -> wasmtime::Result<Result<(u64, u64), Error>> {
        let _in_host = self.clock.host();
        let space = self.opened(&directory)?.space();
        Ok(space
            .map(|space| (space.used, space.available))
            .map_err(Error::from))
    }

    async fn drop(&mut self, directory: Resource<Directory>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        self.table.delete(directory)?;
        Ok(())
    }
}

fn entry(entry: NativeEntry) -> Entry {
    Entry {
        name: entry.name,
        kind: match entry.kind {
            directory::EntryKind::File => EntryKind::File,
            directory::EntryKind::Directory => EntryKind::Directory,
            directory::EntryKind::Symlink => EntryKind::Symlink,
            directory::EntryKind::Other => EntryKind::Other,
        },
        size: entry.size,
        modified: Timestamp {
            seconds: entry.modified_seconds,
            nanoseconds: entry.modified_nanoseconds,
        },
    }
}
