//! What lies in a local storage, read by its documented layout and not by our code.

use std::fs;
use std::path::{Path, PathBuf};

/// One stored object of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The tar stream.
    Data,
    /// The index beside it.
    Index,
    /// The sealed manifest.
    Manifest,
    /// The snapshot file that the original reads.
    EngineMetadata,
    /// The commit point.
    Metadata,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Data,
        Self::Index,
        Self::Manifest,
        Self::EngineMetadata,
        Self::Metadata,
    ];

    /// The last part of the object's key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::EngineMetadata => "engine_metadata",
            Self::Metadata => "metadata",
        }
    }
}

/// One committed level in a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backup {
    /// Time of the chain's level 0.
    pub zero: i64,
    /// Its level.
    pub level: u32,
    /// Its own time.
    pub time: i64,
    container: PathBuf,
    host_name: String,
}

impl Backup {
    /// Where one of its objects lies.
    pub fn object(&self, part: Part) -> PathBuf {
        let tree = if part == Part::Metadata {
            "metadata"
        } else {
            "data"
        };
        self.container
            .join(tree)
            .join("tar")
            .join(&self.host_name)
            .join(self.zero.to_string())
            .join(format!("{}_{}", self.level, self.time))
            .join(part.name())
    }
}

/// The committed levels of a name, oldest chain first, by level and time in each.
pub fn backups(container: &Path, host_name: &str) -> Vec<Backup> {
    let names = |directory: &Path| -> Vec<String> {
        fs::read_dir(directory)
            .map(|entries| {
                entries
                    .flatten()
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect()
            })
            .unwrap_or_default()
    };
    let chains = container.join("metadata/tar").join(host_name);
    let mut found = Vec::new();
    for zero in names(&chains) {
        for level in names(&chains.join(&zero)) {
            let numbers = level
                .split_once('_')
                .and_then(|(l, t)| Some((l.parse().ok()?, t.parse().ok()?)));
            let (Ok(zero), Some((level, time))) = (zero.parse(), numbers) else {
                continue;
            };
            let backup = Backup {
                zero,
                level,
                time,
                container: container.to_path_buf(),
                host_name: host_name.to_owned(),
            };
            if backup.object(Part::Metadata).is_file() {
                found.push(backup);
            }
        }
    }
    found.sort();
    found
}
