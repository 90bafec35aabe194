//! What was asked of the storage in memory: names of its calls, and counters.

use std::collections::BTreeMap;

/// The calls of a [`Store`](crate::store::Store), as counters and faults name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `list`
    List,
    /// `stat`
    Stat,
    /// `read`
    Read,
    /// `put`
    Put,
    /// `remove`
    Remove,
    /// `begin`
    Begin,
    /// `put_segment`
    PutSegment,
    /// `commit`
    Commit,
    /// `abort`
    Abort,
    /// `pending`
    Pending,
    /// `usage`
    Usage,
}

impl Operation {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stat => "look at",
            Self::Read => "read",
            Self::Put => "write",
            Self::Remove => "remove",
            Self::Begin => "begin",
            Self::PutSegment => "write a segment of",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Pending => "list uploads of",
            Self::Usage => "measure",
        }
    }
}

/// What was asked of the storage so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// Calls per operation, failed ones included.
    pub calls: BTreeMap<Operation, u64>,
    /// Bytes that `read` promised to deliver.
    pub bytes_read: u64,
    /// Bytes that `put` and `put_segment` took.
    pub bytes_written: u64,
    /// The largest number of `put_segment` calls under way at once.
    pub most_parallel: u32,
    /// The largest number of bytes held by `put_segment` calls under way.
    pub most_bytes_in_flight: u64,
}

impl Requests {
    /// The number of calls of one operation.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.calls.get(&operation).copied().unwrap_or(0)
    }

    /// The number of all calls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }
}
