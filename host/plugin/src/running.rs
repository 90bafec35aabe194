//! A guest, wherever it runs: in this process, or in one of its own.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceAny;

use crate::apart::{self, Apart, Take};
use crate::calls::{Call, Exports};
use crate::engine::EngineState;
use crate::error::PluginError;
use crate::guest::{Cancelling, Guest, GuestState, PluginContext};

/// A plugin that can be started.
pub(crate) enum Program<E: Exports> {
    /// In this process.
    Here(E::Linked<GuestState>),
    /// In processes of its own.
    Apart(Arc<apart::Program>),
}

/// An instance.
pub(crate) enum Running<E> {
    /// In this process.
    Here {
        guest: Guest,
        exports: E,
        /// What an earlier call opened.
        opened: Option<ResourceAny>,
    },
    /// In a process of its own.
    Apart(Box<Apart>),
}

impl<E: Exports> Program<E> {
    /// Starts an instance.
    ///
    /// # Errors
    /// `Load` if it can't be linked or fails on the way, `Limit` if it needs too much for that, `Engine` if there can't be
    /// a process for it.
    pub(crate) fn start(
        &self,
        engine: &Arc<EngineState>,
        context: &Arc<PluginContext>,
    ) -> Result<Running<E>, PluginError> {
        Ok(match self {
            Self::Here(linked) => {
                let mut guest = Guest::new(engine, context);
                let exports = guest.start(async |store| E::start(linked, store).await)?;
                Running::Here {
                    guest,
                    exports,
                    opened: None,
                }
            }
            Self::Apart(program) => Running::Apart(Box::new(Apart::start(program, engine, context)?)),
        })
    }
}

impl<E: Exports> Running<E> {
    /// Makes one call; `within` replaces the plugin's own time limit.
    ///
    /// # Errors
    /// `Trap`, `Limit` or `Broken`, after which the guest is dead.
    pub(crate) fn call<C: Call<E>>(
        &mut self,
        name: &'static str,
        (cancelling, within): (Cancelling, Option<Duration>),
        call: C,
    ) -> Result<C::Answer, PluginError> {
        match self {
            Self::Here {
                guest,
                exports,
                opened,
            } => guest.call(name, cancelling, within, async |store| {
                call.make(exports, store, opened).await
            }),
            Self::Apart(apart) => {
                let mut arguments = Vec::new();
                call.put(&mut arguments);
                apart.call(
                    name,
                    (cancelling, within),
                    (C::NUMBER, &arguments),
                    C::Answer::take,
                )
            }
        }
    }

    /// The state, between calls.
    pub(crate) fn state(&mut self) -> &mut GuestState {
        match self {
            Self::Here { guest, .. } => guest.state(),
            Self::Apart(apart) => apart.state(),
        }
    }
}
