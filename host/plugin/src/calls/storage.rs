//! The calls into a storage.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource, ResourceAny};

use super::{Call, Exports, Lent, LentBody, calls, thing};
use crate::apart::{Nonsense, Put, Reader, Take, Unanswered};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, Setting};
pub(crate) use crate::bindings::v1::storage::exports::freezer::plugin::storage::Existing;
use crate::bindings::v1::storage::exports::freezer::plugin::storage::{
    ContainerUsage, KeyEntry, KeyPage, Limits as StorageLimits, PendingPage,
};
use crate::bindings::v1::storage::{StoragePlugin, StoragePluginPre};
use crate::interfaces::resources::Body;
use crate::manifest::PluginKind;

impl Exports for StoragePlugin {
    type Linked<T: 'static> = StoragePluginPre<T>;

    const KIND: PluginKind = PluginKind::Storage;

    fn link<T: 'static>(linked: InstancePre<T>) -> wasmtime::Result<StoragePluginPre<T>> {
        StoragePluginPre::new(linked)
    }

    async fn start<T: Send + 'static>(
        linked: &StoragePluginPre<T>,
        store: &mut Store<T>,
    ) -> wasmtime::Result<Self> {
        linked.instantiate_async(store).await
    }

    async fn answer<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
        opened: &mut Option<ResourceAny>,
        call: (u16, Reader<'_>),
        out: &mut Vec<u8>,
    ) -> Result<(), Unanswered> {
        answer(self, store, opened, call, out).await
    }
}

calls! { <'a> StoragePlugin, |plugin, store, opened| {
    /// `open`; all others are calls on what it opens.
    1 Open<'a> { settings: &'a [Setting] } -> Result<(), Error> {
        let answer = plugin.freezer_plugin_storage().call_open(store, settings).await?;
        Ok(answer.map(|store| *opened = Some(store)))
    }
    /// `limits`.
    2 Limits {} -> StorageLimits {
        plugin.freezer_plugin_storage().store().call_limits(store, thing(*opened)?).await
    }
    /// `list`.
    3 List<'a> { prefix: &'a str, cursor: Option<&'a str> } -> Result<KeyPage, Error> {
        plugin.freezer_plugin_storage().store().call_list(store, thing(*opened)?, prefix, cursor).await
    }
    /// `stat`.
    4 Stat<'a> { key: &'a str } -> Result<KeyEntry, Error> {
        plugin.freezer_plugin_storage().store().call_stat(store, thing(*opened)?, key).await
    }
    /// `read`.
    5 Read<'a> { key: &'a str, offset: u64, length: Option<u64> } -> Result<Resource<Body>, Error> {
        plugin.freezer_plugin_storage().store().call_read(store, thing(*opened)?, key, offset, length).await
    }
    /// `put`.
    6 PutObject<'a> { key: &'a str, content: LentBody, existing: Existing } -> Result<(), Error> {
        let store_exports = plugin.freezer_plugin_storage();
        store_exports.store().call_put(store, thing(*opened)?, key, content.handle(), existing).await
    }
    /// `remove`.
    7 Remove<'a> { keys: &'a [String] } -> Result<(), Error> {
        plugin.freezer_plugin_storage().store().call_remove(store, thing(*opened)?, keys).await
    }
    /// `begin`.
    8 Begin<'a> { key: &'a str, size: Option<u64> } -> Result<String, Error> {
        plugin.freezer_plugin_storage().store().call_begin(store, thing(*opened)?, key, size).await
    }
    /// `put-segment`.
    9 PutSegment<'a> { upload: &'a String, number: u32, offset: u64, content: LentBody } -> Result<String, Error> {
        let (exports, content) = (plugin.freezer_plugin_storage(), content.handle());
        exports.store().call_put_segment(store, thing(*opened)?, upload, number, offset, content).await
    }
    /// `commit`.
    10 Commit<'a> { upload: &'a String, size: u64, receipts: &'a [String] } -> Result<(), Error> {
        plugin.freezer_plugin_storage().store().call_commit(store, thing(*opened)?, upload, size, receipts).await
    }
    /// `abort`.
    11 Abort<'a> { upload: &'a String } -> Result<(), Error> {
        plugin.freezer_plugin_storage().store().call_abort(store, thing(*opened)?, upload).await
    }
    /// `pending`.
    12 Pending<'a> { prefix: &'a str, cursor: Option<&'a str> } -> Result<PendingPage, Error> {
        plugin.freezer_plugin_storage().store().call_pending(store, thing(*opened)?, prefix, cursor).await
    }
    /// The drop of what `open` opened.
    14 Close {} -> () {
        match opened.take() {
            Some(opened) => opened.resource_drop_async(store).await,
            None => Ok(()),
        }
    }
    /// `usage`.
    13 Usage {} -> Result<Vec<ContainerUsage>, Error> {
        plugin.freezer_plugin_storage().store().call_usage(store, thing(*opened)?).await
    }
} }
