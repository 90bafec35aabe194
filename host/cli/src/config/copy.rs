//! Judges `freezer copy`.

use freezer_agent::CopyWhich;

use super::Config;
use super::backup::SEGMENT_BYTES;
use super::layer::{Layer, settings};
use crate::args::{CopyArgs, StorageText};
use crate::command::{Copy, Filter, StorageSpec};
use crate::exit::Failure;

impl Config {
    /// Judges the options of a copy.
    ///
    /// # Errors
    /// Whatever is missing, or both storages are one.
    pub(crate) fn copy(&self, args: CopyArgs) -> Result<Copy, Failure> {
        let below = self.below(args.name.as_deref());
        let resources = self.resources(None, args.memory.or(below.memory))?;
        let layer = Layer {
            storage_options: args.login.over(settings(args.storage_option)),
            ..Layer::default()
        };
        let layer = layer.over(below);
        let from = self.end(args.from, &layer, "--from")?;
        let to = self.end(args.to, &layer, "--to")?;
        if from.url == to.url {
            return Err(Failure::usage("--from and --to are the same storage").advise("name two storages"));
        }
        Ok(Copy {
            from,
            to,
            filter: Filter {
                name: args.name,
                host: args.host,
            },
            which: match (args.all, self.at(args.at)?) {
                (true, _) => CopyWhich::All,
                (false, Some(at)) => CopyWhich::At(at),
                (false, None) => CopyWhich::Newest,
            },
            segment_bytes: layer.max_segment_size.map_or(SEGMENT_BYTES, |size| size.0.max(1)),
            memory_bytes: resources.memory_bytes,
            dry_run: args.dry_run,
        })
    }

    /// One end of a copy: never one that only the configuration file names as everybody's storage.
    fn end(&self, text: Option<StorageText>, layer: &Layer, option: &str) -> Result<StorageSpec, Failure> {
        let layer = Layer {
            storages: text.into_iter().collect(),
            ..layer.clone()
        };
        let missing = || super::backup::missing("a storage", &format!("{option} URL"));
        self.storages(&layer, option)?.pop().ok_or_else(missing)
    }
}
