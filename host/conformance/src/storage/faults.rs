//! Every host call of a storage breaks once: nothing half is ever seen, and a second attempt succeeds.
//!
//! The break is the host's: the call fails before it does anything, with an error that the host doesn't try again. So what is
//! seen is how the plugin itself leaves things. Each trial opens the storage in a run of its own and looks from another.

use std::sync::Arc;

use freezer_pipeline::store::{Existing, Store, StoreError};
use freezer_plugin::{Fault, PluginError};

use super::checks::{Sent, fails, has, has_not, holds, list, noise, put, read, segments, works};
use super::{Capabilities, ErrorKind, Verdict, Violation};
use crate::{Finding, break_each_call};

/// Opens the storage under test in a run of its own, in which this fault strikes.
pub type Open<'a> = dyn Fn(&Arc<Fault>) -> Result<Arc<dyn Store>, PluginError> + 'a;

/// What was stored before, and what a replacement holds.
const OLD: &[u8] = b"what was there before";

/// A storage whose host calls can be broken.
pub struct Breaking<'a> {
    /// Opens it with a fault.
    pub open: &'a Open<'a>,
    /// The same container without faults.
    pub whole: Arc<dyn Store>,
    /// What the storage says of itself.
    pub capabilities: Capabilities,
}

/// A storage that breaks, while something is tried with it.
struct Tried<'a> {
    store: &'a dyn Store,
    fault: &'a Fault,
    whole: &'a dyn Store,
    capabilities: &'a Capabilities,
}

impl Tried<'_> {
    /// Who makes the second attempt: the same instance once it has broken. Before that it would break in what isn't tried.
    fn second(&self) -> &dyn Store {
        match self.fault.struck() {
            true => self.store,
            false => self.whole,
        }
    }
}

/// One trial below a prefix of its own.
type Trial = fn(&Tried<'_>, &str) -> Verdict;

/// All trials, with what they show.
const TRIALS: &[(&str, Trial)] = &[
    ("a_broken_put_leaves_the_old_object_or_the_new_one", put_again),
    ("a_broken_first_put_leaves_nothing_or_the_object", put_first),
    ("a_broken_upload_shows_nothing_and_can_be_made_again", upload),
    ("a_broken_read_never_looks_whole", read_it),
    ("a_broken_remove_can_be_repeated", remove),
    ("a_broken_abort_can_be_repeated", abort),
    ("a_broken_listing_never_looks_whole", list_it),
];

impl Breaking<'_> {
    /// Breaks each host call of each trial once, and tells of each trial.
    pub fn break_every_call(&self, mut tell: impl FnMut(Finding)) {
        for (rule, trial) in TRIALS {
            let mut number = 0;
            tell(break_each_call(rule, |fault| {
                number += 1;
                let place = format!("faults/{rule}/{number}/");
                match (self.open)(fault) {
                    Ok(store) => {
                        let tried = Tried {
                            store: &*store,
                            fault,
                            whole: &*self.whole,
                            capabilities: &self.capabilities,
                        };
                        trial(&tried, &place).map_err(|why| why.to_string())
                    }
                    // A storage that looks at the service when it is opened may fail there, if it can be opened afterwards.
                    Err(_) if fault.struck() => Ok(()),
                    Err(error) => Err(format!("it can't be opened: {error}")),
                }
            }));
        }
    }
}

/// What is there must be one of the two, whole.
fn has_either(store: &dyn Store, key: &str, wanted: [&[u8]; 2]) -> Verdict {
    let found = works(&format!("read of {key:?} afterwards"), read(store, key, 0, None))?;
    holds(wanted.contains(&found.as_slice()), || {
        format!(
            "{key:?} holds {} bytes that are neither the old nor the new ones",
            found.len()
        )
    })
}

/// Either there is nothing, or it is whole.
fn has_nothing_or(store: &dyn Store, key: &str, wanted: &[u8]) -> Verdict {
    match works(&format!("stat of {key:?} afterwards"), store.stat(key))? {
        None => has_not(store, key),
        Some(_) => has(store, key, wanted),
    }
}

/// What is listed afterwards must be whole objects.
fn shows_at_most(store: &dyn Store, place: &str, key: &str) -> Verdict {
    let shown = list(store, place)?;
    let strange = shown.keys().find(|shown| *shown != key);
    holds(strange.is_none(), || {
        format!(
            "{} is listed, which nobody stored",
            strange.map_or("", String::as_str)
        )
    })
}

fn put_again(tried: &Tried<'_>, place: &str) -> Verdict {
    let (whole, key) = (tried.whole, format!("{place}object"));
    put(whole, &key, OLD)?;
    let new = noise(3, 5000);
    let stored = tried.store.put(&key, Arc::clone(&new), Existing::Replace);
    match stored {
        Ok(()) => has(whole, &key, &new)?,
        Err(_) => has_either(whole, &key, [OLD, &new])?,
    }
    shows_at_most(whole, place, &key)?;
    put(tried.second(), &key, &new)?;
    has(whole, &key, &new)
}

fn put_first(tried: &Tried<'_>, place: &str) -> Verdict {
    let (whole, key) = (tried.whole, format!("{place}object"));
    let new = noise(4, 5000);
    if tried
        .store
        .put(&key, Arc::clone(&new), Existing::Replace)
        .is_err()
    {
        has_nothing_or(whole, &key, &new)?;
    }
    shows_at_most(whole, place, &key)?;
    put(tried.second(), &key, &new)?;
    has(whole, &key, &new)
}

fn upload(tried: &Tried<'_>, place: &str) -> Verdict {
    let (whole, key) = (tried.whole, format!("{place}object"));
    let (content, begun, sent) = send(tried.store, &key);
    has_nothing_or(whole, &key, &content)?;
    shows_at_most(whole, place, &key)?;
    if sent.is_ok() {
        return has(whole, &key, &content);
    }
    if let Some(upload) = begun {
        works("abort of what was broken", tried.second().abort(&upload))?;
    }
    if tried.capabilities.pending {
        // Of a broken `begin` nobody knows the name: what it left is found here.
        for left in works("pending", whole.pending(place, None))?.uploads {
            works("abort of what was found", whole.abort(&left.upload))?;
        }
    }
    if works("stat", whole.stat(&key))?.is_some() {
        // The commit took effect, and only its answer was lost.
        return has(whole, &key, &content);
    }
    let again = Sent::stored(tried.second(), &key, 8, 2)?;
    has(whole, &key, &again.content)
}

/// Sends an upload of two segments as far as it gets: its content, its name once it has one, and how it ended.
fn send(store: &dyn Store, key: &str) -> (Vec<u8>, Option<String>, Result<(), StoreError>) {
    let (length, _) = segments(store);
    let (first, second) = (noise(8, length), noise(9, length / 2));
    let content = [first.as_slice(), second.as_slice()].concat();
    let mut begun = None;
    let mut all = || {
        let upload = begun.insert(store.begin(key, None)?);
        let one = store.put_segment(upload, 0, 0, Arc::clone(&first))?;
        let two = store.put_segment(upload, 1, length as u64, Arc::clone(&second))?;
        store.commit(upload, (length + length / 2) as u64, &[one, two])
    };
    let sent = all();
    (content, begun, sent)
}

fn read_it(tried: &Tried<'_>, place: &str) -> Verdict {
    let (whole, key) = (tried.whole, format!("{place}object"));
    let content = noise(5, 5000);
    put(whole, &key, &content)?;
    if let Ok(found) = read(tried.store, &key, 0, None) {
        holds(found == *content, || {
            format!(
                "the read succeeds with {} of {} bytes",
                found.len(),
                content.len()
            )
        })?;
    }
    has(tried.second(), &key, &content)
}

fn remove(tried: &Tried<'_>, place: &str) -> Verdict {
    let (whole, key, other) = (tried.whole, format!("{place}object"), format!("{place}other"));
    put(whole, &key, OLD)?;
    put(whole, &other, OLD)?;
    let keys = std::slice::from_ref(&key);
    match tried.store.remove(keys) {
        Ok(()) => has_not(whole, &key)?,
        Err(_) => has_nothing_or(whole, &key, OLD)?,
    }
    works("the same remove again", tried.second().remove(keys))?;
    has_not(whole, &key)?;
    has(whole, &other, OLD)
}

fn abort(tried: &Tried<'_>, place: &str) -> Verdict {
    let (whole, key) = (tried.whole, format!("{place}object"));
    let sent = Sent::new(whole, &key, 6, 2)?;
    if tried.store.abort(&sent.upload).is_err() {
        works("the same abort again", tried.second().abort(&sent.upload))?;
    }
    has_not(whole, &key)?;
    fails(
        "commit of what was aborted",
        &[ErrorKind::NotFound, ErrorKind::Unavailable],
        sent.commit(whole),
    )?;
    holds(list(whole, place)?.is_empty(), || {
        "something of the aborted upload is listed".to_owned()
    })
}

fn list_it(tried: &Tried<'_>, place: &str) -> Verdict {
    let whole = tried.whole;
    for name in ["a", "b", "folder/c"] {
        put(whole, &format!("{place}{name}"), OLD)?;
    }
    let wanted = list(whole, place)?;
    if let Ok(page) = tried.store.list(place, None) {
        let found = page.entries.len();
        holds(found == wanted.len() || page.next.is_some(), || {
            format!("the listing succeeds with {found} of {} entries", wanted.len())
        })?;
    }
    let again =
        list(tried.second(), place).map_err(|Violation(why)| Violation(format!("afterwards: {why}")))?;
    holds(again == wanted, || "the next listing is another one".to_owned())
}
