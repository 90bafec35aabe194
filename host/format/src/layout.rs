//! Storage keys of the original's new layout (its releases 3.0 to 19.0), with ours beside them:
//!
//! ```text
//! data/E/HN/Z/L_T/data             the stream
//! data/E/HN/Z/L_T/engine_metadata  state for the next increment (tar: the snapshot file)
//! data/E/HN/Z/L_T/index            ours: catalogue and seek table
//! data/E/HN/Z/L_T/manifest         ours: what a reader must trust
//! data/E/HN/Z/L_T/claim            ours: who writes this level
//! data/E/HN/Z/L_T/tags             ours: tags and pins that were given later
//! metadata/E/HN/Z/L_T/metadata     the commit point, written last
//! ```
//!
//! `E` engine, in ours `tar` or `stream`; `HN` host and backup name, `Z` level-0 time, `L_T` level and time. Keys are relative to the
//! container. Names that don't fit are someone else's and are passed over, never an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{HostBackupName, Level, LevelId, Timestamp};

/// What produced a backup's bytes; names a folder of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A tar stream.
    Tar,
    /// Both of the original's rsync engines.
    Rsync,
    /// A server's image.
    Nova,
    /// An image.
    Glance,
    /// A volume by way of os-brick.
    Osbrick,
    /// Ours: the bytes of a dump, an image or a command as they came, without an archive around them.
    Stream,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 6] = [
        Self::Tar,
        Self::Rsync,
        Self::Nova,
        Self::Glance,
        Self::Osbrick,
        Self::Stream,
    ];

    /// The engines that this program writes and reads.
    pub const OURS: [Self; 2] = [Self::Tar, Self::Stream];

    /// The folder name.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Rsync => "rsync",
            Self::Nova => "nova",
            Self::Glance => "glance",
            Self::Osbrick => "osbrick",
            Self::Stream => "stream",
        }
    }

    /// True if this program reads what the engine wrote.
    pub fn is_ours(self) -> bool {
        Self::OURS.contains(&self)
    }

    /// The engine of a folder name.
    pub fn from_dir(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.dir() == text)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dir())
    }
}

/// The keys of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupKeys {
    place: String,
}

impl BackupKeys {
    /// The keys of level `id` of `name`.
    pub fn new(engine: Engine, name: &HostBackupName, id: LevelId) -> Self {
        Self {
            place: format!("{engine}/{name}/{}/{}_{}", id.zero, id.level, id.time),
        }
    }

    /// The stream.
    pub fn data(&self) -> String {
        format!("data/{}/data", self.place)
    }

    /// The catalogue and seek table.
    pub fn index(&self) -> String {
        format!("data/{}/index", self.place)
    }

    /// The engine's state for the next increment.
    pub fn engine_metadata(&self) -> String {
        format!("data/{}/engine_metadata", self.place)
    }

    /// The authenticated description.
    pub fn manifest(&self) -> String {
        format!("data/{}/manifest", self.place)
    }

    /// The mark of the run that writes this level.
    pub fn claim(&self) -> String {
        format!("data/{}/claim", self.place)
    }

    /// Tags and pins that were given after the backup was made.
    pub fn tags(&self) -> String {
        format!("data/{}/tags", self.place)
    }

    /// Everything that a level may have, in the order in which it is taken away: what makes it visible first, its
    /// claim last. A copy takes the same keys in the opposite order, and leaves the claim out.
    pub fn objects(&self) -> [String; 7] {
        [
            self.metadata(),
            self.tags(),
            self.manifest(),
            self.index(),
            self.engine_metadata(),
            self.data(),
            self.claim(),
        ]
    }

    /// The folder of all of the above but the commit point, without a slash at its end.
    pub fn data_directory(&self) -> String {
        format!("data/{}", self.place)
    }

    /// The commit point.
    pub fn metadata(&self) -> String {
        format!("metadata/{}/metadata", self.place)
    }

    /// The folder of the commit point, without a slash at its end.
    pub fn metadata_directory(&self) -> String {
        format!("metadata/{}", self.place)
    }
}

/// The prefix below which lie the folders of all engines that have committed backups.
pub const METADATA_PREFIX: &str = "metadata/";

/// The prefix below which committed backup names are listed.
pub fn names_prefix(engine: Engine) -> String {
    format!("{METADATA_PREFIX}{engine}/")
}

/// The prefix below which a name's chains are listed.
pub fn chains_prefix(engine: Engine, name: &HostBackupName) -> String {
    format!("metadata/{engine}/{name}/")
}

/// The prefix below which a chain's levels are listed.
pub fn levels_prefix(engine: Engine, name: &HostBackupName, zero: Timestamp) -> String {
    format!("metadata/{engine}/{name}/{zero}/")
}

/// The prefix below which names lie that have data, committed or not.
pub fn data_names_prefix(engine: Engine) -> String {
    format!("data/{engine}/")
}

/// Where retention notes what it will remove of a name. No reader of either program looks there.
pub fn marks_key(place: &str, name: &HostBackupName) -> String {
    format!("freezer/marks/{place}/{name}")
}

/// Where the search for garbage notes what it saw.
pub const LEFTOVERS_KEY: &str = "freezer/leftovers";

/// Reads a chain's folder name.
pub fn parse_zero_directory(text: &str) -> Option<Timestamp> {
    parse_decimal(text).map(Timestamp)
}

/// Reads a level's folder name, `L_T`.
pub fn parse_level_directory(text: &str) -> Option<(Level, Timestamp)> {
    let (level, time) = text.split_once('_')?;
    let level = u32::try_from(parse_decimal(level)?).ok()?;
    Some((Level(level), Timestamp(parse_decimal(time)?)))
}

/// Only the canonical spelling counts: a key made from the number must be the key that was found.
pub(crate) fn parse_decimal(text: &str) -> Option<i64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn keys_are_the_original_s() {
        let name = HostBackupName::new("node1", "gold").unwrap();
        let id = LevelId {
            zero: Timestamp(1_795_553_005),
            level: Level(1),
            time: Timestamp(1_795_553_006),
        };
        let keys = BackupKeys::new(Engine::Tar, &name, id);
        assert_eq!(keys.data(), "data/tar/node1_gold/1795553005/1_1795553006/data");
        assert_eq!(
            keys.metadata(),
            "metadata/tar/node1_gold/1795553005/1_1795553006/metadata"
        );
        assert_eq!(
            keys.data_directory(),
            "data/tar/node1_gold/1795553005/1_1795553006"
        );
        assert_eq!(
            levels_prefix(Engine::Tar, &name, id.zero),
            "metadata/tar/node1_gold/1795553005/"
        );
    }

    #[rstest]
    #[case("0_1795553005", Some((0, 1_795_553_005)))]
    #[case("12_5", Some((12, 5)))]
    #[case("", None)]
    #[case("_", None)]
    #[case("1_", None)]
    #[case("_1", None)]
    #[case("01_5", None)]
    #[case("1_05", None)]
    #[case("+1_5", None)]
    #[case("1_-5", None)]
    #[case("1_2_3", None)]
    #[case("lost+found", None)]
    #[case("4294967296_1", None)]
    #[case("1_9223372036854775808", None)]
    fn foreign_level_folders_are_passed_over(#[case] text: &str, #[case] expected: Option<(u32, i64)>) {
        let expected = expected.map(|(level, time)| (Level(level), Timestamp(time)));
        assert_eq!(parse_level_directory(text), expected);
    }

    #[test]
    fn engines_round_trip() {
        for engine in Engine::ALL {
            assert_eq!(Engine::from_dir(engine.dir()), Some(engine));
        }
        assert_eq!(Engine::from_dir("zip"), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_would_be_written(text in "[0-9+_-]{0,12}") {
            if let Some((level, time)) = parse_level_directory(&text) {
                prop_assert_eq!(format!("{level}_{time}"), text);
            }
        }
    }
}
