//! Which of several storages a backup is read from: the first that holds the wanted state whole.

use std::sync::Arc;

use freezer_format::name::Timestamp;
use freezer_pipeline::store::Store;

use super::{FailedStorage, Storage};
use crate::date::date;
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::chain_text;
use crate::restore::OpenedChain;
use crate::select::{Wanted, target};

/// A storage that was chosen.
pub struct Picked {
    /// The storage.
    pub store: Arc<dyn Store>,
    /// Its place among those that were asked.
    pub place: usize,
    /// Those that were passed over, with the reason.
    pub passed_over: Vec<FailedStorage>,
}

/// What a storage answered: itself and the time of the state that it would give.
type Found = Result<(Arc<dyn Store>, Timestamp), AgentError>;

/// Chooses the first storage that holds the wanted state whole. Of a name's newest state that is the newest of any
/// storage: one that lacks it is passed over. A single storage is taken as it is.
///
/// # Errors
/// No storage holds it: the error of the first that has the state, or of the first at all.
pub fn pick(storages: Vec<Storage>, wanted: &Wanted, keyring: &Keyring) -> Result<Picked, AgentError> {
    let is_single = storages.len() == 1;
    let mut looked: Vec<(String, Found)> = Vec::with_capacity(storages.len());
    for Storage { url, opened } in storages {
        let found = match opened {
            Ok(store) if is_single => {
                return Ok(Picked {
                    store,
                    place: 0,
                    passed_over: Vec::new(),
                });
            }
            Ok(store) => target(&*store, wanted).map(|(_, level)| (store, level.id.time)),
            Err(error) => Err(error),
        };
        match found {
            Err(error) if error.exit_class() == ExitClass::Interrupted => return Err(error),
            found => looked.push((url, found)),
        }
    }
    choose(looked, wanted, keyring)
}

/// The first storage whose state is the newest of all and whole.
fn choose(looked: Vec<(String, Found)>, wanted: &Wanted, keyring: &Keyring) -> Result<Picked, AgentError> {
    let newest = looked
        .iter()
        .filter_map(|(_, found)| found.as_ref().ok().map(|(_, time)| *time))
        .max();
    let mut passed_over = Vec::new();
    let (mut of_holder, mut of_other) = (None, None);
    for (place, (storage, found)) in looked.into_iter().enumerate() {
        let pass = |reason: String| FailedStorage { storage, reason };
        match found {
            Ok((store, time)) if Some(time) == newest => match OpenedChain::open(&store, wanted, keyring) {
                Ok(_) => {
                    return Ok(Picked {
                        store,
                        place,
                        passed_over,
                    });
                }
                Err(error) if error.exit_class() == ExitClass::Interrupted => return Err(error),
                Err(error) => {
                    passed_over.push(pass(chain_text(&error)));
                    of_holder.get_or_insert(error);
                }
            },
            Ok((_, time)) => {
                let reason = format!("its newest state of then is only of {}", date(time));
                passed_over.push(pass(reason));
            }
            Err(error) => {
                passed_over.push(pass(chain_text(&error)));
                of_other.get_or_insert(error);
            }
        }
    }
    Err(of_holder.or(of_other).unwrap_or(AgentError::Interrupted))
}
