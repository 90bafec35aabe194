//! The calls into a mode.

use wasmtime::Store;
use wasmtime::component::{InstancePre, ResourceAny};

use super::{Call, Exports, GivenBody, Lent, calls, thing};
use crate::apart::{Nonsense, Put, Reader, Take, Unanswered};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, Setting};
use crate::bindings::v1::mode::exports::freezer::plugin::mode::{
    BackupRequest, Destination as SourceDestination, Outcome, RestoreRequest, Source,
};
use crate::bindings::v1::mode::{ModePlugin, ModePluginPre};
use crate::manifest::PluginKind;

impl Exports for ModePlugin {
    type Linked<T: 'static> = ModePluginPre<T>;

    const KIND: PluginKind = PluginKind::Mode;

    fn link<T: 'static>(linked: InstancePre<T>) -> wasmtime::Result<ModePluginPre<T>> {
        ModePluginPre::new(linked)
    }

    async fn start<T: Send + 'static>(
        linked: &ModePluginPre<T>,
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

calls! { <'a> ModePlugin, |plugin, store, opened| {
    /// `prepare-backup`; `next` and one `finish` are calls on what it opens.
    1 PrepareBackup<'a> { request: &'a BackupRequest } -> Result<(), Error> {
        let answer = plugin.freezer_plugin_mode().call_prepare_backup(store, request).await?;
        Ok(answer.map(|backup| *opened = Some(backup)))
    }
    /// `prepare-restore`; `destination`, `receive` and one `finish` are calls on what it opens.
    2 PrepareRestore<'a> { request: &'a RestoreRequest } -> Result<(), Error> {
        let answer = plugin.freezer_plugin_mode().call_prepare_restore(store, request).await?;
        Ok(answer.map(|restore| *opened = Some(restore)))
    }
    /// `next`.
    3 Next {} -> Result<Option<Source>, Error> {
        plugin.freezer_plugin_mode().backup().call_next(store, thing(*opened)?).await
    }
    /// `finish` of a backup.
    4 FinishBackup<'a> { outcome: &'a Outcome } -> Result<String, Error> {
        plugin.freezer_plugin_mode().backup().call_finish(store, thing(opened.take())?, outcome).await
    }
    /// `destination`.
    5 Destination<'a> { source: &'a str } -> Result<SourceDestination, Error> {
        plugin.freezer_plugin_mode().restore().call_destination(store, thing(*opened)?, source).await
    }
    /// `receive`.
    6 Receive<'a> { source: &'a str, content: GivenBody } -> Result<(), Error> {
        let (exports, content) = (plugin.freezer_plugin_mode(), content.handle());
        exports.restore().call_receive(store, thing(*opened)?, source, content).await
    }
    /// `finish` of a restore.
    7 FinishRestore<'a> { outcome: &'a Outcome } -> Result<(), Error> {
        plugin.freezer_plugin_mode().restore().call_finish(store, thing(opened.take())?, outcome).await
    }
    /// `undo`.
    8 Undo<'a> { settings: &'a [Setting], leftover: &'a str } -> Result<(), Error> {
        plugin.freezer_plugin_mode().call_undo(store, settings, leftover).await
    }
} }
