//! What a mode offers for a backup: asked before a place is claimed, since it decides which kind of place.

use freezer_format::layout::Engine;
use freezer_plugin::{ModeSource, Outcome};

use crate::error::AgentError;
use crate::mode::{BackupMode, PreparedBackup};
use crate::plan::Plan;
use crate::restore::told;

/// A prepared mode and its one source.
pub(super) struct Offer {
    pub(super) prepared: Box<dyn PreparedBackup>,
    source: Option<ModeSource>,
    engine: Engine,
}

impl Offer {
    /// Prepares the mode for a level and asks for its source. On an error nothing stays frozen.
    pub(super) fn ask(mode: &dyn BackupMode, plan: &Plan) -> Result<Self, AgentError> {
        let parent_note = plan.parent().and_then(|parent| parent.manifest()?.note.clone());
        let mut offer = Self {
            prepared: mode.prepare(plan.id.level.0, parent_note)?,
            source: None,
            engine: plan.engine,
        };
        match offer.take_first() {
            Ok(()) => Ok(offer),
            Err(error) => Err(offer.give_up(error)),
        }
    }

    fn take_first(&mut self) -> Result<(), AgentError> {
        let source = self.prepared.next_source()?;
        self.engine = match source {
            Some(ModeSource::Tree { .. }) => Engine::Tar,
            Some(ModeSource::Stream { .. }) => Engine::Stream,
            Some(ModeSource::External { .. }) => return Err(not_yet("data that the service keeps")),
            None => return Err(not_yet("no source at all")),
        };
        self.source = source;
        Ok(())
    }

    /// The kind of place that the source needs.
    pub(super) fn engine(&self) -> Engine {
        self.engine
    }

    /// The source, once.
    pub(super) fn take_source(&mut self) -> Result<ModeSource, AgentError> {
        self.source.take().ok_or_else(|| not_yet("no source at all"))
    }

    /// Ends the mode because the backup can't be made; answers why it can't.
    pub(super) fn give_up(self, error: AgentError) -> AgentError {
        // Whatever feeds a stream may wait for a reader, and the mode for what feeds it.
        drop(self.source);
        if let Err(second) = self.prepared.finish(&told(&error)) {
            tracing::debug!(%second, "after a failed preparation");
        }
        error
    }

    /// Ends the mode after everything was read, or failed to be; answers its note.
    pub(super) fn finish(self, outcome: &Outcome) -> Result<String, AgentError> {
        Ok(self.prepared.finish(outcome)?)
    }

    /// There may be no second source.
    pub(super) fn require_end(&mut self) -> Result<(), AgentError> {
        match self.prepared.next_source()? {
            None => Ok(()),
            Some(_) => Err(not_yet("several sources")),
        }
    }
}

fn not_yet(what: &str) -> AgentError {
    AgentError::Unsupported {
        reason: format!(
            "the mode offers {what}; this version backs up exactly one tree of files or one stream"
        ),
        next: "use another mode, or a version that knows this one".to_owned(),
    }
}
