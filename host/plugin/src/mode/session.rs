//! One instance of a mode between `prepare` and `finish`, and what replaces `finish` when it is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Outcome;
use crate::bindings::v1::imports::freezer::plugin::types;
use crate::bindings::v1::mode::ModePlugin;
use crate::bindings::v1::mode::exports::freezer::plugin::mode as wit;
use crate::calls::{Call, mode as calls};
use crate::convert;
use crate::engine::EngineState;
use crate::error::PluginError;
use crate::guest::{Cancelling, PluginContext};
use crate::journal::Leftover;
use crate::running::{Program, Running};

/// How long a cancelled run waits for `finish`: long enough to thaw, short enough for somebody who pressed Ctrl-C.
const CANCELLED_GRACE: Duration = Duration::from_secs(10);

/// What makes instances of one mode.
pub(crate) struct ModeOpener {
    pub(crate) engine: Arc<EngineState>,
    pub(crate) plugin: Program<ModePlugin>,
    pub(crate) context: Arc<PluginContext>,
    pub(crate) settings: Vec<types::Setting>,
}

impl ModeOpener {
    /// A fresh instance.
    pub(crate) fn start(&self) -> Result<Running<ModePlugin>, PluginError> {
        self.plugin.start(&self.engine, &self.context)
    }

    /// Undoes one leftover in a fresh instance.
    pub(crate) fn undo(&self, leftover: &Leftover) -> Result<(), PluginError> {
        let undo = calls::Undo {
            settings: &self.settings,
            leftover: &leftover.undo,
        };
        let undone = self.start()?.call("undo", (Cancelling::Masked, None), undo)?;
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
    live: Option<Running<ModePlugin>>,
    /// Why it broke.
    lost: Option<String>,
    finished: bool,
}

impl Session {
    /// Starts an instance and prepares. On an error nothing is left behind.
    pub(super) fn prepare(
        opener: ModeOpener,
        call: &'static str,
        prepare: impl Call<ModePlugin, Answer = Result<(), types::Error>>,
    ) -> Result<Self, PluginError> {
        let mut guest = opener.start()?;
        let prepared = guest
            .call(call, (Cancelling::Heeded, None), prepare)
            .and_then(|answer| answer.map_err(|error| convert::reported(&opener.context.name, call, &error)));
        match prepared {
            Ok(()) => Ok(Self {
                opener,
                live: Some(guest),
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
        make: impl Call<ModePlugin, Answer = Result<T, types::Error>>,
    ) -> Result<T, PluginError> {
        self.call_within(call, None, make)
    }

    /// The same within a time of its own.
    pub(super) fn call_within<T>(
        &mut self,
        call: &'static str,
        within: Option<Duration>,
        make: impl Call<ModePlugin, Answer = Result<T, types::Error>>,
    ) -> Result<T, PluginError> {
        let Some(live) = &mut self.live else {
            return Err(gone(&self.opener, self.lost.as_deref(), call));
        };
        let answer = live.call(call, (Cancelling::Heeded, within), make);
        let answer = answer.inspect_err(|error| {
            self.lost = Some(error.to_string());
            self.live = None;
        })?;
        answer.map_err(|error| convert::reported(&self.opener.context.name, call, &error))
    }

    /// The opener and the living guest.
    pub(super) fn parts(
        &mut self,
        call: &'static str,
    ) -> Result<(&ModeOpener, &mut Running<ModePlugin>), PluginError> {
        match &mut self.live {
            Some(live) => Ok((&self.opener, live)),
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
    pub(super) fn finish<T, C: Call<ModePlugin, Answer = Result<T, types::Error>>>(
        &mut self,
        outcome: &Outcome,
        finish: C,
    ) -> Result<T, PluginError> {
        self.finished = true;
        let Some(mut live) = self.live.take() else {
            self.opener.undo_open()?;
            return Err(gone(&self.opener, self.lost.as_deref(), "finish"));
        };
        let within = (*outcome == Outcome::Cancelled).then_some(CANCELLED_GRACE);
        let answer = live.call("finish", (Cancelling::Masked, within), finish);
        if answer.is_ok() {
            live.state().ended();
        }
        drop(live);
        let undone = self.opener.undo_open();
        let note = answer?.map_err(|error| convert::reported(&self.opener.context.name, "finish", &error))?;
        undone.map(|()| note)
    }

    /// What happens if nobody called `finish`: a panic, or an early return.
    pub(super) fn abandon<T>(
        &mut self,
        finish: impl Call<ModePlugin, Answer = Result<T, types::Error>>,
    ) -> Result<(), PluginError> {
        if self.finished {
            return Ok(());
        }
        self.finish(&Outcome::Cancelled, finish).map(drop)
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

pub(super) fn wit_outcome(outcome: &Outcome) -> wit::Outcome {
    match outcome {
        Outcome::Done => wit::Outcome::Done,
        Outcome::Failed { kind, message } => {
            wit::Outcome::Failed(convert::error(convert::wit_kind(*kind), message))
        }
        Outcome::Cancelled => wit::Outcome::Cancelled,
    }
}
