//! The storage's own clock: ages of what others wrote are told by it alone, since machines' clocks differ.

use std::sync::Arc;

use freezer_format::name::Timestamp;
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{Existing, Store, StoreError};

/// An object of no meaning that is written to be looked at.
const PROBE_KEY: &str = "freezer/clock";

/// So long may a run take, and its claim says nothing about when it will end: claims aren't renewed.
pub(crate) const LEASE_SECONDS: i64 = 7 * 86_400;

/// What the storage stamps on an object that is written now; the machine's clock where it stamps none.
pub(crate) fn storage_now(store: &dyn Store, context: &RunContext<'_>) -> Result<Timestamp, StoreError> {
    store.put(PROBE_KEY, Arc::new(b"clock\n".to_vec()), Existing::Replace)?;
    let stamped = store.stat(PROBE_KEY)?.and_then(|entry| entry.modified);
    Ok(stamped.unwrap_or_else(|| machine_now(context)))
}

/// The machine's clock in whole seconds.
pub(crate) fn machine_now(context: &RunContext<'_>) -> Timestamp {
    Timestamp((context.now)().seconds)
}

/// True if something last changed so long ago; what has no time is never old.
pub(crate) fn is_older(modified: Option<Timestamp>, seconds: i64, now: Timestamp) -> bool {
    modified.is_some_and(|modified| now.0.saturating_sub(modified.0) >= seconds)
}
