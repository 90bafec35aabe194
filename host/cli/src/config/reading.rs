//! Judges the verbs that read a storage: restore, list, ls, dump and check.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use freezer_format::name::Timestamp;

use super::Config;
use super::backup::missing;
use super::date::DateText;
use super::layer::{Layer, flag, settings};
use crate::args::{CheckArgs, DumpArgs, ListArgs, LsArgs, RestoreArgs, SourceArgs, StorageArgs};
use crate::command::{Check, Dump, Filter, List, Ls, Reading, Restore, RestoreGoal, Selection};
use crate::exit::Failure;

impl Config {
    /// Judges the options of a restore.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn restore(&self, args: RestoreArgs) -> Result<Restore, Failure> {
        let below = self.below(args.source.name.as_deref());
        let resources = self.resources(args.workers.or(below.workers), args.memory.or(below.memory))?;
        let selection = self.selection(args.source)?;
        let goal = match (args.target, args.output, args.to_command, &args.mode) {
            (Some(target), ..) => RestoreGoal::Directory(target),
            (_, Some(file), ..) => RestoreGoal::File(file),
            (.., Some(line), _) => RestoreGoal::Command(line),
            (.., Some(_)) => RestoreGoal::Mode,
            _ => {
                return Err(missing(
                    "where to restore to",
                    "--target DIR; a stream can go to a file with -o FILE, or to a command with --to-command CMD",
                ));
            }
        };
        let mode_settings = settings(args.mode_option).into_iter().collect();
        Ok(Restore {
            selection,
            goal,
            mode: args.mode,
            paths: args.path.into_iter().map(below_root_or_source).collect(),
            overwrite: args.overwrite,
            stale: args.stale,
            mode_settings,
            resources,
            dry_run: args.dry_run,
        })
    }

    /// Judges the options of a list.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn list(&self, args: ListArgs) -> Result<List, Failure> {
        let reading = self.reading(args.storage, None)?;
        let recovery = match (args.recovery, &args.name) {
            (true, Some(name)) => Some(Selection {
                reading: reading.clone(),
                host: self.host_of(args.host.as_deref(), name)?,
                name: name.clone(),
                at: self.at(args.at)?,
            }),
            _ => None,
        };
        let filter = Filter {
            name: args.name,
            host: args.host,
        };
        Ok(List {
            reading,
            filter,
            verify: args.verify,
            recovery,
        })
    }

    /// Judges the options of `ls`.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn ls(&self, args: LsArgs) -> Result<Ls, Failure> {
        let path = args.path.map(below_root).unwrap_or_default();
        Ok(Ls {
            selection: self.selection(args.source)?,
            path,
            recursive: args.recursive,
        })
    }

    /// Judges the options of `dump`.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn dump(&self, args: DumpArgs) -> Result<Dump, Failure> {
        Ok(Dump {
            selection: self.selection(args.source)?,
            path: below_root(args.path),
        })
    }

    /// Judges the options of `check`.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn check(&self, args: CheckArgs) -> Result<Check, Failure> {
        let reading = self.reading(args.storage, None)?;
        let filter = Filter {
            name: args.name,
            host: args.host,
        };
        Ok(Check {
            reading,
            filter,
            read_data: args.read_data,
        })
    }

    /// Which backup, from where, as it was when.
    pub(super) fn selection(&self, args: SourceArgs) -> Result<Selection, Failure> {
        let name = args
            .name
            .ok_or_else(|| missing("the name of the backup", "--name NAME"))?;
        let host = self.host_of(args.host.as_deref(), &name)?;
        let at = self.at(args.at)?;
        Ok(Selection {
            reading: self.reading(args.storage, Some(&name))?,
            host,
            name,
            at,
        })
    }

    /// The host part of `name`: the option, else what the layers below say, else the machine's.
    fn host_of(&self, host: Option<&str>, name: &str) -> Result<String, Failure> {
        let below = self.below(Some(name)).host;
        self.host(host.or(below.as_deref()), name)
    }

    /// Where to read, with the password of the named backup.
    pub(super) fn reading(&self, args: StorageArgs, name: Option<&str>) -> Result<Reading, Failure> {
        let layer = Layer {
            storages: args.from,
            storage_options: args.login.over(settings(args.storage_option)),
            encrypt_pass_file: args.encrypt_pass_file,
            compat: flag(args.compat),
            ..Layer::default()
        };
        let layer = layer.over(self.below(name));
        Ok(Reading {
            storages: self.storages(&layer, "--from")?,
            pass_file: layer.encrypt_pass_file,
            compat: layer.compat.unwrap_or(false),
        })
    }

    /// A date in the user's time zone.
    pub(super) fn at(&self, date: Option<DateText>) -> Result<Option<Timestamp>, Failure> {
        date.map(|date| date.in_zone(&self.zone))
            .transpose()
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

/// A path as the index has it: below the root, without `/` and `./` in front and `/` behind.
fn below_root(path: OsString) -> Vec<u8> {
    let path = path.into_vec();
    let parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

/// The same with the `/` in front kept: the recipe knows where the source was and takes its path away.
fn below_root_or_source(path: OsString) -> Vec<u8> {
    let slash: &[u8] = match path.as_encoded_bytes().starts_with(b"/") {
        true => b"/",
        false => b"",
    };
    [slash, &below_root(path)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/", "")]
    #[case(".", "")]
    #[case("./etc/passwd", "etc/passwd")]
    #[case("/etc//passwd/", "etc/passwd")]
    #[case("a/../b", "a/../b")]
    fn paths_are_taken_as_below_the_root(#[case] written: &str, #[case] path: &str) {
        assert_eq!(below_root(written.into()), path.as_bytes());
    }

    #[test]
    fn a_restore_path_keeps_its_slash() {
        assert_eq!(below_root_or_source("//etc/passwd/".into()), b"/etc/passwd");
        assert_eq!(below_root_or_source("./passwd".into()), b"passwd");
    }
}
