//! Why a call ended in the engine and not in an answer.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::engine;
use crate::error::{LimitHit, PluginError};
use crate::escape;
use crate::guest::PluginContext;
use crate::interfaces::bodies::{BodiesExceeded, ReadExceeded};
use crate::interfaces::resources::BodyBudget;
use crate::limits::CpuExceeded;

/// The longest words of the engine that are shown.
const MAX_WORDS: usize = 1000;

/// A cause of death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Death {
    /// It computed for too long.
    Cpu,
    /// Its handles were used up.
    Handles,
    /// It read too much from bodies.
    Read,
    /// It held too much in bodies.
    Bodies,
    /// It passed too much at once.
    Transfer,
    /// It got no more memory.
    Memory,
    /// Its tables were too large.
    Table,
    /// The machine has no memory, in the engine's words.
    NoMemory(String),
    /// It crashed, in the engine's words.
    Trap(String),
}

impl Death {
    /// Reads an error of the engine; `refused` is what the guest wanted last and didn't get.
    pub(crate) fn of(error: &wasmtime::Error, refused: Option<LimitHit>) -> Self {
        if error.downcast_ref::<CpuExceeded>().is_some() {
            return Self::Cpu;
        }
        if matches!(
            error.downcast_ref::<ResourceTableError>(),
            Some(ResourceTableError::Full)
        ) {
            return Self::Handles;
        }
        if error.downcast_ref::<ReadExceeded>().is_some() {
            return Self::Read;
        }
        if error.downcast_ref::<BodiesExceeded>().is_some() {
            return Self::Bodies;
        }
        if engine::is_without_memory(error) {
            return Self::NoMemory(engine::reason(error));
        }
        let text = error.root_cause().to_string();
        // wasmtime has no type for this one.
        if text.contains("fuel allocated for hostcalls") {
            return Self::Transfer;
        }
        // A guest that gets no memory panics: the refusal before it is the cause.
        match refused {
            Some(LimitHit::Memory(_)) => return Self::Memory,
            Some(_) => return Self::Table,
            None => {}
        }
        Self::Trap(match error.downcast_ref::<Trap>() {
            Some(Trap::UnreachableCodeReached) => "it panicked".to_owned(),
            Some(Trap::StackOverflow) => "it ran out of stack".to_owned(),
            Some(trap) => trap.to_string(),
            None => escape::line(&text, MAX_WORDS),
        })
    }

    /// The error that names the plugin.
    pub(crate) fn told(self, context: &PluginContext, call: &'static str) -> PluginError {
        let limits = &context.limits;
        let limit = match self {
            Self::Trap(why) => {
                return PluginError::Trap {
                    plugin: context.name.clone(),
                    call,
                    // From a process of its own they may be anything.
                    why: escape::line(&why, MAX_WORDS),
                };
            }
            Self::NoMemory(why) => return engine::no_memory(&context.name, &escape::line(&why, MAX_WORDS)),
            Self::Cpu => LimitHit::Cpu(limits.cpu),
            Self::Handles => LimitHit::Handles(limits.handles),
            Self::Read => LimitHit::Read(limits.read_bytes),
            Self::Bodies => LimitHit::Bodies(BodyBudget::MAX_BYTES),
            Self::Transfer => LimitHit::Transfer(limits.transfer_bytes),
            Self::Memory => LimitHit::Memory(limits.memory_bytes),
            Self::Table => LimitHit::Table(limits.table_elements),
        };
        PluginError::Limit {
            plugin: context.name.clone(),
            call,
            limit,
        }
    }
}
