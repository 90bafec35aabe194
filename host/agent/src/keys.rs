//! The password of a run and the chain keys that it opened.
//!
//! Opening a chain key is slow by intention, so each wrapped text is opened once per run, whatever the number of
//! levels and chains. The ring also holds the reader's policy: with a password, what isn't authenticated by
//! it is refused, unless `compat` says that the storage is trusted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use freezer_format::chain_key::{ChainKey, KeyError, KeyInfo};
use freezer_format::openssl::Passphrase;

/// Most opened keys that are kept: a storage full of forged ones must not fill the memory.
const MAX_KEPT: usize = 1000;

/// The password, the policy and the keys opened so far.
#[derive(Debug)]
pub struct Keyring {
    passphrase: Option<Passphrase>,
    compat: bool,
    opened: Mutex<HashMap<KeyInfo, Result<ChainKey, KeyError>>>,
}

impl Keyring {
    /// Makes a ring. `compat` accepts levels that aren't authenticated, as the original's never are.
    pub fn new(passphrase: Option<Passphrase>, compat: bool) -> Self {
        Self {
            passphrase,
            compat,
            opened: Mutex::default(),
        }
    }

    /// The password, if one was given.
    pub fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    /// True if levels must be authenticated by the password.
    pub fn demands_authenticity(&self) -> bool {
        self.passphrase.is_some() && !self.compat
    }

    /// Opens a chain key, or answers what came of it before; `None` without a password.
    pub fn open(&self, info: &KeyInfo) -> Option<Result<ChainKey, KeyError>> {
        let passphrase = self.passphrase.as_ref()?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = opened.get(info) {
            return Some(result.clone());
        }
        let result = info.unwrap(passphrase);
        if opened.len() < MAX_KEPT {
            opened.insert(info.clone(), result.clone());
        }
        Some(result)
    }
}
