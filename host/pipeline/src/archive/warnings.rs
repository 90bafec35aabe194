//! Everything the walk has to say: to the user at once, into the index in full, into the report up to a limit.

use freezer_format::index::{Block, WarningRows};

use crate::counters::{Counters, Warning, WarningKind};
use crate::job::RunContext;

/// Warnings that the report and the manifest hold.
const REPORTED: usize = 100;

/// Gathers warnings.
pub(super) struct Warnings<'a> {
    context: &'a RunContext<'a>,
    rows: WarningRows,
    /// The first ones.
    pub(super) reported: Vec<Warning>,
    /// All of them.
    pub(super) count: u64,
    /// Whether one of them makes the result partial.
    pub(super) is_partial: bool,
}

impl<'a> Warnings<'a> {
    pub(super) fn new(context: &'a RunContext<'a>) -> Self {
        Self {
            context,
            rows: WarningRows::new(),
            reported: Vec::new(),
            count: 0,
            is_partial: false,
        }
    }

    /// Gives a warning; answers a block for the index when one is full.
    pub(super) fn give(
        &mut self,
        path: &[u8],
        kind: WarningKind,
        message: String,
        partial: bool,
    ) -> Option<Block> {
        let warning = Warning {
            path: path.to_vec(),
            kind,
            message,
            partial,
        };
        (self.context.warn)(&warning);
        Counters::add(&self.context.counters.warnings, 1);
        self.count += 1;
        self.is_partial |= partial;
        let block = self.rows.push(&format!("{}: {warning}", kind.name()));
        if self.reported.len() < REPORTED {
            self.reported.push(warning);
        }
        block
    }

    /// The last block for the index.
    pub(super) fn flush(&mut self) -> Option<Block> {
        self.rows.flush()
    }
}
