//! The original's old layout (kilo, liberty, mitaka), shown as if it lay in folders. It is read and removed, never written.
//!
//! ```text
//! object                key
//! HN_T_L                HN/Z/HN_T_L                 Z: the time of the level 0 that it builds on
//! tar_metadata_HN_T_L   HN/Z/tar_metadata_HN_T_L
//! ```
//! Liberty and mitaka put them into container `freezer_NAME` where the given name didn't begin so: both are looked into.

use std::collections::{BTreeMap, BTreeSet};

use freezer_sdk::error::{ErrorKind, Result};
use freezer_sdk::storage::{KeyEntry, KeyKind, KeyPage, PAGE_ENTRIES};

use crate::object::Layout;
use crate::place::object_path;
use crate::session::Call;
use crate::{Swift, listing, status};

/// What precedes an id in the name of a tar snapshot file.
const SNAR: &str = "tar_metadata_";
/// What the original put before the name of a container.
const CONTAINER: &str = "freezer_";
/// Cursors of pages in this layout. No object's name begins so.
const CURSOR: &str = "/old:";

/// The id of an old backup: name, time, level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id<'a> {
    name: &'a str,
    time: u64,
    level: u32,
}

impl<'a> Id<'a> {
    /// Reads `HN_T_L`; anything else is `None`.
    fn parse(text: &'a str) -> Option<Self> {
        let (rest, level) = text.rsplit_once('_')?;
        let (name, time) = rest.rsplit_once('_')?;
        // Names are a host's and a backup's, joined.
        if !name.contains('_') || name.starts_with(SNAR) {
            return None;
        }
        Some(Id {
            name,
            time: decimal(time)?,
            level: u32::try_from(decimal(level)?).ok()?,
        })
    }
}

/// True for the names of objects in this layout.
pub(crate) fn is_object(name: &str) -> bool {
    Id::parse(name.strip_prefix(SNAR).unwrap_or(name)).is_some()
}

/// The object of a key that looks as if it lay in folders.
fn object(key: &str) -> Option<&str> {
    let parts: Vec<&str> = key.split('/').collect();
    let [name, zero, last] = parts[..] else {
        return None;
    };
    let id = Id::parse(last.strip_prefix(SNAR).unwrap_or(last))?;
    (id.name == name && decimal(zero).is_some()).then_some(last)
}

/// The page behind a cursor of this layout.
pub(crate) fn page_of(cursor: Option<&str>) -> Option<usize> {
    cursor?.strip_prefix(CURSOR)?.parse().ok()
}

impl Swift {
    /// The path of a key's object, which is another one in the old layout.
    ///
    /// # Errors
    /// As a request's.
    pub(crate) fn path_of(&self, key: &str) -> Result<String> {
        let Some(object) = object(key).filter(|_| self.place.prefix.is_empty()) else {
            return Ok(self.path(key));
        };
        for container in self.old_containers() {
            let path = object_path(&container, object);
            let call = Call::new("HEAD", path.clone()).query(crate::object::ITSELF);
            let response = self.session.send(&call)?;
            match response.status {
                404 => {}
                status if status::is_success(status) => return Ok(path),
                _ => return Err(status::error(&response)),
            }
        }
        Ok(self.path(key))
    }

    /// True if the old layout may have something below that prefix: names, a name's chains, or a chain's levels.
    pub(crate) fn may_be_old(&self, prefix: &str) -> bool {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix);
        let (name, rest) = folder.split_once('/').unwrap_or((folder, ""));
        let is_chain = rest.is_empty() || decimal(rest).is_some();
        self.place.prefix.is_empty() && is_chain && (folder.is_empty() || name.contains('_'))
    }

    /// The cursor of the first page in this layout.
    pub(crate) fn old_cursor() -> String {
        format!("{CURSOR}0")
    }

    /// One page of the old layout below a prefix.
    ///
    /// # Errors
    /// As a request's; `not-found` if there is no container.
    pub(crate) fn old_page(&self, prefix: &str, page: usize) -> Result<KeyPage> {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix);
        let (name, zero) = folder.split_once('/').unwrap_or((folder, ""));
        let objects = self.old_objects(name)?;
        let mut entries: Vec<KeyEntry> = Vec::new();
        if name.is_empty() {
            let names = objects.keys().filter_map(|object| Id::parse(object));
            let names: BTreeSet<&str> = names.map(|id| id.name).collect();
            entries.extend(names.into_iter().map(|name| folder_entry(format!("{name}/"))));
        } else {
            let chains = chains(name, &objects);
            if zero.is_empty() {
                let zeros: BTreeSet<u64> = chains.values().copied().collect();
                let zeros = zeros.into_iter().map(|zero| format!("{name}/{zero}/"));
                entries.extend(zeros.map(folder_entry));
            } else {
                let wanted = decimal(zero);
                let levels = chains.iter().filter(|(_, zero)| Some(**zero) == wanted);
                for id in levels.map(|(id, _)| id) {
                    for object in [id.clone(), format!("{SNAR}{id}")] {
                        if let Some(facts) = objects.get(&object) {
                            entries.extend(self.old_entry(format!("{prefix}{object}"), *facts)?);
                        }
                    }
                }
            }
        }
        let all = entries.len();
        let start = page.saturating_mul(PAGE_ENTRIES);
        let entries = entries.into_iter().skip(start).take(PAGE_ENTRIES).collect();
        let next = (all > start.saturating_add(PAGE_ENTRIES)).then(|| format!("{CURSOR}{}", page + 1));
        Ok(KeyPage { entries, next })
    }

    /// An object as an entry. What has no bytes is a manifest: its segments have.
    fn old_entry(&self, key: String, (bytes, modified): (u64, Option<i64>)) -> Result<Option<KeyEntry>> {
        let size = match bytes {
            0 => self.inspect(&key)?.map(|(stored, _)| stored.size()),
            bytes => Some(bytes),
        };
        Ok(size.map(|size| KeyEntry {
            key,
            kind: KeyKind::Object,
            size,
            modified: modified.map(crate::read::at),
        }))
    }

    /// True if the segments of an old backup lie where the original put them: in `NAME_segments`, below the backup's id.
    pub(crate) fn is_old(&self, key: &str, layout: &Layout) -> bool {
        let given = &self.place.container;
        let bare = given.strip_prefix(CONTAINER).unwrap_or(given);
        let containers = [format!("{bare}_segments"), format!("{CONTAINER}{bare}_segments")];
        object(key).is_some_and(|object| {
            containers.contains(&layout.container) && layout.folder.starts_with(&format!("{object}/"))
        })
    }

    /// All objects of the old layout whose names begin so, with their listed sizes and times.
    fn old_objects(&self, name: &str) -> Result<BTreeMap<String, (u64, Option<i64>)>> {
        let mut objects = BTreeMap::new();
        let mut absent = None;
        let mut any = false;
        let prefixes = match name {
            "" => vec![String::new()],
            name => vec![format!("{name}_"), format!("{SNAR}{name}_")],
        };
        for container in self.old_containers() {
            for prefix in &prefixes {
                let listed = listing::all(&self.session, (&container, prefix), |listed| {
                    if is_object(&listed.name) {
                        let modified = listed.last_modified.as_deref().and_then(listing::seconds);
                        objects.entry(listed.name).or_insert((listed.bytes, modified));
                    }
                    Ok(())
                });
                match listed {
                    Err(error) if error.kind == ErrorKind::NotFound => absent = Some(error),
                    // Who may look into the one container needn't be allowed to look into the other.
                    Err(error) if error.kind == ErrorKind::Denied && container != self.place.container => {}
                    listed => {
                        listed?;
                        any = true;
                    }
                }
            }
        }
        match absent {
            Some(error) if !any => Err(error),
            _ => Ok(objects),
        }
    }

    fn old_containers(&self) -> Vec<String> {
        let given = self.place.container.clone();
        if given.starts_with(CONTAINER) {
            return vec![given];
        }
        let prefixed = format!("{CONTAINER}{given}");
        vec![given, prefixed]
    }
}

/// The chain of each backup of a name: a level 0 begins one, and what follows in time belongs to it.
fn chains(name: &str, objects: &BTreeMap<String, (u64, Option<i64>)>) -> BTreeMap<String, u64> {
    let ids = objects.keys().filter_map(|object| Id::parse(object));
    let mut ids: Vec<Id<'_>> = ids.filter(|id| id.name == name).collect();
    ids.sort_by_key(|id| (id.time, id.level));
    let mut zero = None;
    let mut chains = BTreeMap::new();
    for id in ids {
        if id.level == 0 {
            zero = Some(id.time);
        }
        // An increment without a level 0 before it is none, as with the original.
        if let Some(zero) = zero {
            chains.insert(format!("{}_{}_{}", id.name, id.time, id.level), zero);
        }
    }
    chains
}

fn folder_entry(key: String) -> KeyEntry {
    KeyEntry {
        key,
        kind: KeyKind::Prefix,
        size: 0,
        modified: None,
    }
}

/// A number as the original writes it.
fn decimal(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = plain.then(|| text.parse().ok()).flatten()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_are_told_from_others() {
        let id = Id::parse("web01_etc_1700000000_2").unwrap();
        assert_eq!((id.name, id.time, id.level), ("web01_etc", 1_700_000_000, 2));
        for name in ["web01_etc_1700000000_2", "tar_metadata_web01_etc_1700000000_2"] {
            assert!(is_object(name));
            let key = format!("web01_etc/1700000000/{name}");
            assert_eq!(object(&key), Some(name));
        }
        for name in [
            "data",
            "a_1_0",
            "web_etc_x_0",
            "web_etc_1_00",
            "web_etc_+1_0",
            "",
            "_",
        ] {
            assert!(!is_object(name), "{name}");
        }
        for key in [
            "web_etc_1_0",
            "other_etc/1/web_etc_1_0",
            "web_etc/x/web_etc_1_0",
            "a/web_etc/1/web_etc_1_0",
        ] {
            assert_eq!(object(key), None, "{key}");
        }
    }

    #[test]
    fn an_increment_belongs_to_the_level_0_before_it() {
        let names = [
            "h_n_5_1",
            "h_n_10_0",
            "h_n_11_1",
            "h_n_20_0",
            "h_n_20_1",
            "h_n_x_30_1",
        ];
        let objects = names.map(|name| (name.to_owned(), (0, None))).into();
        let chains = chains("h_n", &objects);
        let wanted = [
            ("h_n_10_0", 10),
            ("h_n_11_1", 10),
            ("h_n_20_0", 20),
            ("h_n_20_1", 20),
        ];
        assert_eq!(chains.len(), wanted.len());
        assert!(wanted.iter().all(|(id, zero)| chains.get(*id) == Some(zero)));
    }
}
