//! One host call of a run that fails by script: a test of a plugin breaks every position once, and looks at what is left.
//!
//! It stands where every waiting host call asks whether the run is cancelled, before the call has any effect. Only runs that
//! tests make have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The call that is to fail.
#[derive(Debug)]
pub struct Fault {
    position: u64,
    calls: AtomicU64,
}

impl Fault {
    /// Lets the host call of this number fail, counted from 0 over all instances of the run.
    #[must_use]
    pub fn at(position: u64) -> Arc<Self> {
        Arc::new(Self {
            position,
            calls: AtomicU64::new(0),
        })
    }

    /// True once it has struck. A run that ends without it makes fewer calls than that.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > self.position
    }

    /// Counts a call; true if it is the one.
    pub(crate) fn strikes(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) == self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_call_is_struck() {
        let fault = Fault::at(2);
        let struck: Vec<bool> = (0..5).map(|_| fault.strikes()).collect();
        assert_eq!(struck, [false, false, true, false, false]);
        assert!(fault.struck());
        assert!(!Fault::at(0).struck());
    }
}
