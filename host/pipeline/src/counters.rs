//! What a run counts while it goes on (polled by the progress line) and what it has to say about single paths.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Running totals; each field only rises. Readers may see them a moment apart from each other.
#[derive(Debug, Default)]
pub struct Counters {
    /// Regular files done (backup: seen; restore: written).
    pub files: AtomicU64,
    /// Directories done.
    pub directories: AtomicU64,
    /// Everything else done: symbolic links, hard links, devices, FIFOs.
    pub others: AtomicU64,
    /// Bytes of content read from the source (backup) or written to the target (restore).
    pub bytes_read: AtomicU64,
    /// Bytes handed to the storage (backup) or fetched from it (restore).
    pub bytes_stored: AtomicU64,
    /// Estimate of what `bytes_read` will be at the end; 0 while unknown.
    pub total_bytes: AtomicU64,
    /// Estimate of how many entries there are in all; 0 while unknown.
    pub total_entries: AtomicU64,
    /// Warnings given so far.
    pub warnings: AtomicU64,
    /// Whether somebody watches, for whom it is worth a walk of the tree to tell what a first backup comes to.
    pub is_watched: AtomicBool,
}

impl Counters {
    /// Adds to one of the totals.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Reads one of the totals.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningKind {
    /// A file or directory couldn't be read and isn't in this level with its present content.
    Unreadable,
    /// A file changed, grew or shrank while it was read; its stored content may be no state it ever had.
    Changed,
    /// An entry was listed and was gone when it was to be read.
    Vanished,
    /// A socket was left out.
    Socket,
    /// An entry can't be stored in this format.
    Unsupported,
    /// An entry's attribute (owner, mode, time, extended attribute) couldn't be read or set.
    Attribute,
    /// An entry was refused for safety (absolute, `..`, a link out of the target, a device without root).
    Refused,
    /// Content of an earlier level was used because the latest couldn't be read when it was backed up.
    Stale,
    /// The source as a whole: file systems, clocks, limits.
    Source,
    /// A step of an original's archive (rename record) couldn't be followed.
    Replay,
}

impl WarningKind {
    /// The kind's name in machine-readable output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Changed => "changed",
            Self::Vanished => "vanished",
            Self::Socket => "socket",
            Self::Unsupported => "unsupported",
            Self::Attribute => "attribute",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Source => "source",
            Self::Replay => "replay",
        }
    }
}

/// One thing that the user should know about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The path below the root, raw bytes; empty if it is about the whole run.
    pub path: Vec<u8>,
    /// What it is about.
    pub kind: WarningKind,
    /// What happened, without the path.
    pub message: String,
    /// Whether it makes the result partial.
    pub partial: bool,
}

/// Longest path in a warning's text, in bytes before escaping: no name of a real tree is longer, and it fills a screen.
const SHOWN_PATH_BYTES: usize = 1024;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        let (shown, cut) = self.shown_path();
        write!(f, "{}{cut}: {}", shown.escape_ascii(), self.message)
    }
}

impl Warning {
    /// As much of the path as people are shown, and what follows it: `…` if something was cut off.
    #[must_use]
    pub fn shown_path(&self) -> (&[u8], &'static str) {
        match self.path.get(..SHOWN_PATH_BYTES) {
            Some(shown) if self.path.len() > SHOWN_PATH_BYTES => (shown, "…"),
            _ => (&self.path, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_for_people() {
        let warning = |path: Vec<u8>| Warning {
            path,
            kind: WarningKind::Unsupported,
            message: "left out".to_owned(),
            partial: true,
        };
        assert_eq!(
            warning(vec![b'n'; 1024]).to_string(),
            format!("{}: left out", "n".repeat(1024))
        );
        assert_eq!(
            warning(vec![b'n'; 30_000]).to_string(),
            format!("{}…: left out", "n".repeat(1024))
        );
        assert_eq!(warning(Vec::new()).to_string(), "left out");
    }
}
