//! The way from the generated exports to the traits, and the two export macros. Compiled into components only.
//!
//! Owns the one `unsafe` of the crate: lending a borrowed body as the wrapper type.
#![expect(
    unsafe_code,
    reason = "a borrowed handle is wrapped without being owned, see `lend`"
)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use crate::bindings::imports::freezer::plugin::{bodies as wit_bodies, types};
use crate::bindings::mode_plugin::exports::freezer::plugin::mode as wit_mode;
use crate::bindings::storage_plugin::exports::freezer::plugin::storage as wit_storage;
use crate::host::bodies::Body;
use crate::mode::{Backup, BackupRequest, Mode, Outcome, Restore, RestoreRequest, Source};
use crate::storage::{Existing, Storage};

type WitResult<T> = std::result::Result<T, types::Error>;

/// Turns a [`Mode`] into the exports of a component.
#[derive(Debug)]
pub struct ModeComponent<T>(PhantomData<T>);

/// A prepared backup in the host's hands. Calls come one at a time, so that the cell is never borrowed twice.
#[derive(Debug)]
pub struct BackupCell<T>(RefCell<T>);

/// A prepared restore in the host's hands.
#[derive(Debug)]
pub struct RestoreCell<T>(RefCell<T>);

impl<T: Mode> wit_mode::Guest for ModeComponent<T> {
    type Backup = BackupCell<T::Backup>;
    type Restore = RestoreCell<T::Restore>;

    fn prepare_backup(request: wit_mode::BackupRequest) -> WitResult<wit_mode::Backup> {
        let backup = T::prepare_backup(BackupRequest {
            path: request.path,
            settings: request.settings.into(),
            level: request.level,
            parent_note: request.parent_note,
        })?;
        Ok(wit_mode::Backup::new(BackupCell(RefCell::new(backup))))
    }

    fn prepare_restore(request: wit_mode::RestoreRequest) -> WitResult<wit_mode::Restore> {
        let restore = T::prepare_restore(RestoreRequest {
            target: request.target,
            settings: request.settings.into(),
            note: request.note,
        })?;
        Ok(wit_mode::Restore::new(RestoreCell(RefCell::new(restore))))
    }

    fn remove(settings: Vec<types::Setting>, note: String) -> WitResult<()> {
        Ok(T::remove(settings.into(), note)?)
    }

    fn undo(settings: Vec<types::Setting>, leftover: String) -> WitResult<()> {
        Ok(T::undo(settings.into(), leftover)?)
    }
}

impl<T: Backup> wit_mode::GuestBackup for BackupCell<T> {
    fn next(&self) -> WitResult<Option<wit_mode::Source>> {
        let source = self.0.borrow_mut().next()?;
        Ok(source.map(|source| match source {
            Source::Tree(tree) => wit_mode::Source::Tree(tree),
            Source::External(external) => wit_mode::Source::External(external),
            Source::Stream(stream) => wit_mode::Source::Stream(wit_mode::StreamSource {
                name: stream.name,
                suffix: stream.suffix,
                content: stream.content.0,
            }),
        }))
    }

    fn finish(this: wit_mode::Backup, outcome: wit_mode::Outcome) -> WitResult<String> {
        Ok(this.into_inner::<Self>().0.into_inner().finish(outcome.into())?)
    }
}

impl<T: Restore> wit_mode::GuestRestore for RestoreCell<T> {
    fn destination(&self, source: String) -> WitResult<wit_mode::Destination> {
        Ok(self.0.borrow_mut().destination(&source)?)
    }

    fn receive(&self, source: String, content: wit_bodies::Body) -> WitResult<()> {
        Ok(self.0.borrow_mut().receive(&source, Body(content))?)
    }

    fn finish(this: wit_mode::Restore, outcome: wit_mode::Outcome) -> WitResult<()> {
        Ok(this.into_inner::<Self>().0.into_inner().finish(outcome.into())?)
    }
}

impl From<wit_mode::Outcome> for Outcome {
    fn from(outcome: wit_mode::Outcome) -> Self {
        match outcome {
            wit_mode::Outcome::Done => Outcome::Done,
            wit_mode::Outcome::Failed(error) => Outcome::Failed(error.into()),
            wit_mode::Outcome::Cancelled => Outcome::Cancelled,
        }
    }
}

/// Turns a [`Storage`] into the exports of a component.
#[derive(Debug)]
pub struct StorageComponent<T>(PhantomData<T>);

/// An opened storage in the host's hands.
#[derive(Debug)]
pub struct StoreCell<T>(T);

impl<T: Storage> wit_storage::Guest for StorageComponent<T> {
    type Store = StoreCell<T>;

    fn open(settings: Vec<types::Setting>) -> WitResult<wit_storage::Store> {
        Ok(wit_storage::Store::new(StoreCell(T::open(settings.into())?)))
    }
}

impl<T: Storage> wit_storage::GuestStore for StoreCell<T> {
    fn limits(&self) -> wit_storage::Limits {
        self.0.limits()
    }

    fn list(&self, prefix: String, cursor: Option<String>) -> WitResult<wit_storage::KeyPage> {
        Ok(self.0.list(&prefix, cursor.as_deref())?)
    }

    fn stat(&self, key: String) -> WitResult<wit_storage::KeyEntry> {
        Ok(self.0.stat(&key)?)
    }

    fn read(&self, key: String, offset: u64, length: Option<u64>) -> WitResult<wit_bodies::Body> {
        Ok(self.0.read(&key, offset, length)?.0)
    }

    fn put(&self, key: String, content: &wit_bodies::Body, existing: wit_storage::Existing) -> WitResult<()> {
        let existing = match existing {
            wit_storage::Existing::Replace => Existing::Replace,
            wit_storage::Existing::Refuse => Existing::Refuse,
        };
        Ok(lend(content, |content| self.0.put(&key, content, existing))?)
    }

    fn remove(&self, keys: Vec<String>) -> WitResult<()> {
        Ok(self.0.remove(&keys)?)
    }

    fn begin(&self, key: String, size: Option<u64>) -> WitResult<String> {
        Ok(self.0.begin(&key, size)?)
    }

    fn put_segment(
        &self,
        upload: String,
        number: u32,
        offset: u64,
        content: &wit_bodies::Body,
    ) -> WitResult<String> {
        Ok(lend(content, |content| {
            self.0.put_segment(&upload, number, offset, content)
        })?)
    }

    fn commit(&self, upload: String, size: u64, receipts: Vec<String>) -> WitResult<()> {
        Ok(self.0.commit(&upload, size, &receipts)?)
    }

    fn abort(&self, upload: String) -> WitResult<()> {
        Ok(self.0.abort(&upload)?)
    }

    fn pending(&self, prefix: String, cursor: Option<String>) -> WitResult<wit_storage::PendingPage> {
        Ok(self.0.pending(&prefix, cursor.as_deref())?)
    }

    fn usage(&self) -> WitResult<Vec<wit_storage::ContainerUsage>> {
        Ok(self.0.usage()?)
    }
}

/// Lends a borrowed body as the wrapper type.
fn lend<R>(content: &wit_bodies::Body, call: impl FnOnce(&Body) -> R) -> R {
    // SAFETY: the handle is valid while `content` is borrowed, which is longer than the call; the second owner is never dropped.
    let lent = ManuallyDrop::new(Body(unsafe { wit_bodies::Body::from_handle(content.handle()) }));
    call(&lent)
}
