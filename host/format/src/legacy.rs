//! The original's old layout (kilo, liberty, mitaka), read only:
//!
//! ```text
//! HN/Z/HN_T_L               the stream; note that the time stands before the level
//! HN/Z/tar_metadata_HN_T_L  the tar snapshot file after this level
//! ```
//!
//! Neither compression nor encryption is recorded; readers tell both from the first bytes.

use crate::layout::parse_decimal;
use crate::name::{HostBackupName, Level, LevelId, Timestamp};

/// What precedes the id in the name of a level's tar snapshot file.
pub const SNAR_PREFIX: &str = "tar_metadata_";

/// The parts of an old backup id, `HN_T_L`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyId {
    /// Host and backup name.
    pub name: String,
    /// Time of the backup.
    pub time: Timestamp,
    /// Its level.
    pub level: Level,
}

/// Reads an old backup id; anything else, tar snapshot files included, is `None`.
pub fn parse_legacy_id(text: &str) -> Option<LegacyId> {
    if text.starts_with(SNAR_PREFIX) {
        return None;
    }
    let (rest, level) = text.rsplit_once('_')?;
    let (name, time) = rest.rsplit_once('_')?;
    if name.is_empty() {
        return None;
    }
    let level = u32::try_from(parse_decimal(level)?).ok()?;
    Some(LegacyId {
        name: name.to_owned(),
        time: Timestamp(parse_decimal(time)?),
        level: Level(level),
    })
}

/// The keys of one backup in the old layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyKeys {
    directory: String,
    id: String,
}

impl LegacyKeys {
    /// The keys of level `id` of `name`.
    pub fn new(name: &HostBackupName, id: LevelId) -> Self {
        Self {
            directory: format!("{name}/{}", id.zero),
            id: format!("{name}_{}_{}", id.time, id.level),
        }
    }

    /// The stream.
    pub fn data(&self) -> String {
        format!("{}/{}", self.directory, self.id)
    }

    /// The tar snapshot file.
    pub fn snar(&self) -> String {
        format!("{}/{SNAR_PREFIX}{}", self.directory, self.id)
    }
}

/// The prefix below which a name's chains are listed.
pub fn legacy_chains_prefix(name: &HostBackupName) -> String {
    format!("{name}/")
}

/// The prefix below which a chain's objects are listed.
pub fn legacy_levels_prefix(name: &HostBackupName, zero: Timestamp) -> String {
    format!("{name}/{zero}/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn an_id_has_its_time_before_its_level() {
        let id = parse_legacy_id("node1_my_gold_1795553006_1").unwrap();
        assert_eq!(id.name, "node1_my_gold");
        assert_eq!((id.time, id.level), (Timestamp(1_795_553_006), Level(1)));
    }

    #[rstest]
    #[case("tar_metadata_node1_gold_1795553005_0")]
    #[case("node1_gold")]
    #[case("_5_0")]
    #[case("node1_gold_5_00")]
    #[case("node1_gold_x_0")]
    #[case("")]
    fn other_names_are_passed_over(#[case] text: &str) {
        assert_eq!(parse_legacy_id(text), None);
    }

    #[test]
    fn keys_are_the_original_s() {
        let name = HostBackupName::new("node1", "gold").unwrap();
        let id = LevelId {
            zero: Timestamp(5),
            level: Level(1),
            time: Timestamp(6),
        };
        let keys = LegacyKeys::new(&name, id);
        assert_eq!(keys.data(), "node1_gold/5/node1_gold_6_1");
        assert_eq!(keys.snar(), "node1_gold/5/tar_metadata_node1_gold_6_1");
    }
}
