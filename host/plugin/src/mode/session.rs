//! One instance of a mode between `prepare` and `finish`, and what replaces `finish` when it is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::Outcome;
use crate::bindings::v1::imports::freezer::plugin::types;
use crate::bindings::v1::mode::exports::freezer::plugin::mode::{self as wit, Guest as ModeExports};
use crate::bindings::v1::mode::{ModePlugin, ModePluginPre};
use crate::convert;
use crate::engine::EngineState;
use crate::error::PluginError;
use crate::guest::{Cancelling, Guest, GuestState, PluginContext};
use crate::journal::Leftover;

/// How long a cancelled run waits for `finish`: long enough to thaw, short enough for somebody who pressed Ctrl-C.
const CANCELLED_GRACE: Duration = Duration::from_secs(10);

/// What makes instances of one mode.
pub(crate) struct ModeOpener {
    pub(crate) engine: Arc<EngineState>,
    pub(crate) plugin: ModePluginPre<GuestState>,
    pub(crate) context: Arc<PluginContext>,
    pub(crate) settings: Vec<types::Setting>,
}

impl ModeOpener {
    /// A fresh instance.
    pub(crate) fn start(&self) -> Result<(Guest, ModePlugin), PluginError> {
        let mut guest = Guest::new(&self.engine, &self.context);
        let exports = guest.start(async |store| self.plugin.instantiate_async(store).await)?;
        Ok((guest, exports))
    }

    /// Undoes one leftover in a fresh instance.
    pub(crate) fn undo(&self, leftover: &Leftover) -> Result<(), PluginError> {
        let (mut guest, exports) = self.start()?;
        let undone = guest.call("undo", Cancelling::Masked, None, async |store| {
            exports
                .freezer_plugin_mode()
                .call_undo(store, &self.settings, &leftover.undo)
                .await
        })?;
        undone.map_err(|error| convert::reported(&self.context.name, "undo", &error))
    }

    /// Undoes what this run announced and didn't settle, the last first; goes on after a failure and answers the first.
    pub(super) fn undo_open(&self) -> Result<(), PluginError> {
        let Some(journal) = &self.context.journal else {
            return Ok(());
        };
        let mut result = Ok(());
        for leftover in journal.open() {
            let undone = self
                .undo(&leftover)
                .and_then(|()| journal.settle(leftover.number).map(drop));
            if let Err(error) = undone {
                let description = &leftover.description;
                self.context.run.warn(format!(
                    "{description} is left behind, the next run tries again: {error}"
                ));
                result = result.and(Err(error));
            }
        }
        result
    }

    /// A path for the guest.
    pub(super) fn utf8(&self, setting: &str, path: &Path) -> Result<String, PluginError> {
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| PluginError::Setting {
                plugin: self.context.name.clone(),
                setting: setting.to_owned(),
                why: format!("must be valid UTF-8, but is {path:?}"),
            })
    }

    /// Says that the guest broke the contract.
    pub(super) fn broken(&self, call: &'static str, why: String) -> PluginError {
        PluginError::Broken {
            plugin: self.context.name.clone(),
            call,
            why,
        }
    }
}

/// A prepared instance.
pub(super) struct Session {
    pub(super) opener: ModeOpener,
    /// `None` once it was finished or broke.
    live: Option<Live>,
    /// Why it broke.
    lost: Option<String>,
    finished: bool,
}

struct Live {
    guest: Guest,
    exports: ModePlugin,
    handle: ResourceAny,
}

impl Session {
    /// Starts an instance and prepares. On an error nothing is left behind.
    pub(super) fn prepare(
        opener: ModeOpener,
        call: &'static str,
        make: impl AsyncFnOnce(
            &ModeExports,
            &mut Store<GuestState>,
        ) -> wasmtime::Result<Result<ResourceAny, types::Error>>,
    ) -> Result<Self, PluginError> {
        let (mut guest, exports) = opener.start()?;
        let mode = exports.freezer_plugin_mode();
        let prepared = guest
            .call(call, Cancelling::Heeded, None, async |store| {
                make(mode, store).await
            })
            .and_then(|answer| answer.map_err(|error| convert::reported(&opener.context.name, call, &error)));
        match prepared {
            Ok(handle) => Ok(Self {
                opener,
                live: Some(Live {
                    guest,
                    exports,
                    handle,
                }),
                lost: None,
                finished: false,
            }),
            Err(error) => {
                drop(guest);
                // The first error is the cause; what couldn't be undone was said as a warning.
                if let Err(undone) = opener.undo_open() {
                    tracing::debug!(%undone, "after a failed preparation");
                }
                Err(error)
            }
        }
    }

    /// Makes one call on the prepared handle.
    pub(super) fn call<T>(
        &mut self,
        call: &'static str,
        make: impl AsyncFnOnce(
            &ModeExports,
            &mut Store<GuestState>,
            ResourceAny,
        ) -> wasmtime::Result<Result<T, types::Error>>,
    ) -> Result<T, PluginError> {
        self.call_within(call, None, make)
    }

    /// The same within a time of its own.
    pub(super) fn call_within<T>(
        &mut self,
        call: &'static str,
        within: Option<Duration>,
        make: impl AsyncFnOnce(
            &ModeExports,
            &mut Store<GuestState>,
            ResourceAny,
        ) -> wasmtime::Result<Result<T, types::Error>>,
    ) -> Result<T, PluginError> {
        let Some(live) = &mut self.live else {
            return Err(gone(&self.opener, self.lost.as_deref(), call));
        };
        let (mode, handle) = (live.exports.freezer_plugin_mode(), live.handle);
        let answer = live.guest.call(call, Cancelling::Heeded, within, async |store| {
            make(mode, store, handle).await
        });
        let answer = answer.inspect_err(|error| {
            self.lost = Some(error.to_string());
            self.live = None;
        })?;
        answer.map_err(|error| convert::reported(&self.opener.context.name, call, &error))
    }

    /// The opener and the living guest.
    pub(super) fn parts(&mut self, call: &'static str) -> Result<(&ModeOpener, &mut Guest), PluginError> {
        match &mut self.live {
            Some(live) => Ok((&self.opener, &mut live.guest)),
            None => Err(gone(&self.opener, self.lost.as_deref(), call)),
        }
    }

    /// Gives the instance up after an error that leaves it in no known state.
    pub(super) fn lose(&mut self, error: &PluginError) {
        if error.is_fatal() {
            self.lost = Some(error.to_string());
            self.live = None;
        }
    }

    /// Ends it: `finish` if the instance lives, then undo what it left.
    pub(super) fn finish<T>(
        &mut self,
        outcome: &Outcome,
        make: impl AsyncFnOnce(
            &ModeExports,
            &mut Store<GuestState>,
            ResourceAny,
            &wit::Outcome,
        ) -> wasmtime::Result<Result<T, types::Error>>,
    ) -> Result<T, PluginError> {
        self.finished = true;
        let Some(mut live) = self.live.take() else {
            self.opener.undo_open()?;
            return Err(gone(&self.opener, self.lost.as_deref(), "finish"));
        };
        let within = (*outcome == Outcome::Cancelled).then_some(CANCELLED_GRACE);
        let outcome = wit_outcome(outcome);
        let (mode, handle) = (live.exports.freezer_plugin_mode(), live.handle);
        let answer = live
            .guest
            .call("finish", Cancelling::Masked, within, async |store| {
                make(mode, store, handle, &outcome).await
            });
        if answer.is_ok() {
            live.guest.ended();
        }
        drop(live);
        let undone = self.opener.undo_open();
        let note = answer?.map_err(|error| convert::reported(&self.opener.context.name, "finish", &error))?;
        undone.map(|()| note)
    }

    /// What happens if nobody called `finish`: a panic, or an early return.
    pub(super) fn abandon(
        &mut self,
        make: impl AsyncFnOnce(
            &ModeExports,
            &mut Store<GuestState>,
            ResourceAny,
            &wit::Outcome,
        ) -> wasmtime::Result<Result<(), types::Error>>,
    ) -> Result<(), PluginError> {
        if self.finished {
            return Ok(());
        }
        self.finish(&Outcome::Cancelled, make)
    }
}

fn gone(opener: &ModeOpener, lost: Option<&str>, call: &'static str) -> PluginError {
    let why = match lost {
        Some(lost) => format!("its instance is gone since an earlier failure: {lost}"),
        None => "it was finished already".to_owned(),
    };
    PluginError::Trap {
        plugin: opener.context.name.clone(),
        call,
        why,
    }
}

fn wit_outcome(outcome: &Outcome) -> wit::Outcome {
    match outcome {
        Outcome::Done => wit::Outcome::Done,
        Outcome::Failed { kind, message } => {
            wit::Outcome::Failed(convert::error(convert::wit_kind(*kind), message))
        }
        Outcome::Cancelled => wit::Outcome::Cancelled,
    }
}
