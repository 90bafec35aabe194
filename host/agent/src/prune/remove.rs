//! Taking one level away: what makes it visible first, its claim last, each step repeatable.

use freezer_format::legacy::LegacyKeys;
use freezer_pipeline::store::{ErrorKind, Store, StoreError};

use crate::catalogue::{Place, StoredLevel};

/// Removes a level. A crash in between leaves it whole, or no longer visible.
pub(super) fn remove_level(store: &dyn Store, level: &StoredLevel) -> Result<(), StoreError> {
    let keys: Vec<String> = match level.place {
        Place::New(_) => level.keys().objects().into(),
        Place::Old => {
            let keys = LegacyKeys::new(&level.name, level.id);
            vec![keys.data(), keys.snar()]
        }
    };
    let Some((visible, rest)) = keys.split_first() else {
        return Ok(());
    };
    store.remove(std::slice::from_ref(visible))?;
    // Its parts go only when nobody can take it for a backup any more.
    if store.stat(visible)?.is_some() {
        return Err(StoreError {
            kind: ErrorKind::Unavailable,
            storage: store.url().to_owned(),
            operation: "remove",
            key: visible.clone(),
            message: "it was removed and can still be seen".to_owned(),
            cause: None,
        });
    }
    rest.iter()
        .try_for_each(|key| store.remove(std::slice::from_ref(key)))
}
