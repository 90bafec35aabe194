//! What would be said on standard error, kept for the document that is printed instead.

use std::sync::{Arc, Mutex, PoisonError};

/// More lines than this aren't kept: a document is held in memory.
const MAX_LINES: usize = 200;

/// Lines for a document; its clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    /// Keeps a line.
    pub(super) fn add(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MAX_LINES {
            lines.push(line.to_owned());
        }
    }

    /// All of them, in the order in which they came.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_lines_and_there_are_only_so_many() {
        let (said, clone) = (Said::default(), Said::default());
        let same = said.clone();
        same.add("a warning");
        assert_eq!(
            (said.lines(), clone.lines()),
            (vec!["a warning".to_owned()], vec![])
        );
        (0..2 * MAX_LINES).for_each(|_| same.add("more"));
        assert_eq!(said.lines().len(), MAX_LINES);
    }
}
