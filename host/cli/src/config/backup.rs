//! Judges `freezer backup`.

use freezer_agent::{OnFailure, StreamFeed};
use freezer_format::compression::Compression;
use freezer_format::level::LevelPolicy;
use freezer_format::name::HostBackupName;

use super::Config;
use super::layer::Layer;
use crate::args::{BackupArgs, CompressionText, DereferenceText, StorageFailureText};
use crate::command::{Backup, ExcludeStyle, Excludes, Links, ModeSpec, Resources, StorageSpec, StreamSpec};
use crate::exit::Failure;

/// The unit of upload and retry; the original's default too.
pub(super) const SEGMENT_BYTES: u64 = 32 << 20;
/// The whole program stays within this by default, as the original promises.
const MEMORY_BYTES: u64 = 128 << 20;
/// After this many levels, or days, a new chain begins by default: it bounds how much a damaged level spoils.
const CHAIN_LEVELS: u32 = 30;
/// See [`CHAIN_LEVELS`].
const CHAIN_DAYS: f64 = 30.0;
/// More threads than any machine this runs on has processors are a typing mistake.
const MAX_WORKERS: u16 = 1024;

impl Config {
    /// Judges the options of a backup.
    ///
    /// # Errors
    /// Whatever is missing or contradicts itself.
    pub(crate) fn backup(&self, args: BackupArgs) -> Result<Backup, Failure> {
        let (dry_run, resume) = (args.dry_run, args.resume);
        let mut layer = Layer::from(args);
        layer.name = layer.name.or_else(|| self.only_backup());
        let below = self.below(layer.name.as_deref());
        let backup = self.backup_of(layer.over(below), dry_run)?;
        Ok(Backup { resume, ..backup })
    }

    /// Makes a backup of one layer in which all others are already joined.
    ///
    /// # Errors
    /// Whatever is missing or contradicts itself.
    pub(crate) fn backup_of(&self, layer: Layer, dry_run: bool) -> Result<Backup, Failure> {
        self.backup_to(layer, None, dry_run)
    }

    /// The same to storages that are known already.
    ///
    /// # Errors
    /// Whatever is missing or contradicts itself.
    pub(crate) fn backup_to(
        &self,
        layer: Layer,
        storages: Option<Vec<StorageSpec>>,
        dry_run: bool,
    ) -> Result<Backup, Failure> {
        let name = layer.name.clone().ok_or_else(|| {
            missing(
                "the name of the backup",
                "--name NAME, or one [backup.NAME] in the configuration file",
            )
        })?;
        let stream = stream(&layer, &name);
        let mode = mode(&layer, stream.as_ref())?;
        let host = self.host(layer.host.as_deref(), &name)?;
        let storages = match storages {
            Some(storages) => storages,
            None => self.storages(&layer, "--to")?,
        };
        let compat = layer.compat.unwrap_or(false);
        let CompressionText { compression, level } = compression(layer.compression, compat)?;
        if compat && stream.is_some() {
            return Err(Failure::usage("the original can't read streams").advise("leave out --compat"));
        }
        let segment_bytes = layer.max_segment_size.map_or(SEGMENT_BYTES, |size| size.0);
        if segment_bytes == 0 {
            return Err(Failure::usage("--max-segment-size is 0").advise("leave it out for 32M"));
        }
        Ok(Backup {
            mode,
            path: layer.path.clone().filter(|_| stream.is_none()),
            stream,
            allow_empty: layer.allow_empty.unwrap_or(false),
            host,
            name,
            storages,
            policy: policy(&layer),
            cross_file_systems: layer.cross_file_systems.unwrap_or(false),
            links: match layer.dereference {
                None | Some(DereferenceText::None) => Links::Keep,
                Some(DereferenceText::Soft) => Links::Soft,
                Some(DereferenceText::Hard) => Links::Hard,
                Some(DereferenceText::All) => Links::All,
            },
            compression,
            compression_level: level,
            pass_file: layer.encrypt_pass_file.clone(),
            compat,
            segment_bytes,
            resources: self.resources(layer.workers, layer.memory)?,
            excludes: Excludes {
                style: ExcludeStyle::Gitignore,
                patterns: layer.exclude,
                files: layer.exclude_from,
                caches: layer.exclude_caches.unwrap_or(false),
            },
            on_storage_failure: match layer.on_storage_failure {
                None | Some(StorageFailureText::Continue) => OnFailure::Continue,
                Some(StorageFailureText::Abort) => OnFailure::Abort,
            },
            sync: layer.sync.unwrap_or(false),
            drop_caches: layer.drop_caches.map(Into::into).unwrap_or_default(),
            hooks: layer.hooks.judge()?,
            resume: false,
            tags: super::retention::judged_tags(layer.tag)?,
            dry_run,
            document: None,
        })
    }

    /// The only backup of the configuration file, if there is exactly one.
    fn only_backup(&self) -> Option<String> {
        let mut names = self.file.backup.keys();
        names.next().filter(|_| names.next().is_none()).cloned()
    }

    /// The host part of a name: as given, else the machine's. Checks that both together can be stored.
    ///
    /// # Errors
    /// When the names can't be a backup's.
    pub(crate) fn host(&self, host: Option<&str>, name: &str) -> Result<String, Failure> {
        let host = host.unwrap_or(&self.environment.machine).to_owned();
        HostBackupName::new(&host, name)
            .map_err(|error| Failure::usage(error.to_string()).advise("choose another --name or --host"))?;
        Ok(host)
    }

    /// Threads and memory with their defaults.
    ///
    /// # Errors
    /// When there would be no thread or no memory.
    pub(crate) fn resources(
        &self,
        workers: Option<u16>,
        memory: Option<super::size::Size>,
    ) -> Result<Resources, Failure> {
        if workers.is_some_and(|workers| workers == 0 || workers > MAX_WORKERS) {
            return Err(Failure::usage(format!("--workers must be 1 to {MAX_WORKERS}"))
                .advise("leave it out for one for each processor"));
        }
        Ok(Resources {
            workers: workers.map_or(self.environment.processors.max(1), usize::from),
            memory_bytes: memory.map_or(MEMORY_BYTES, |size| size.0),
        })
    }
}

/// The stream that is to be taken, if one is.
fn stream(layer: &Layer, name: &str) -> Option<StreamSpec> {
    match (&layer.stdin, &layer.from_command) {
        (Some(name), _) => Some(StreamSpec {
            name: name.clone(),
            feed: StreamFeed::Stdin,
        }),
        (None, Some(line)) => Some(StreamSpec {
            name: layer.stream_name.clone().unwrap_or_else(|| name.to_owned()),
            feed: StreamFeed::Command(line.clone()),
        }),
        (None, None) => None,
    }
}

/// The mode that prepares the source.
fn mode(layer: &Layer, stream: Option<&StreamSpec>) -> Result<ModeSpec, Failure> {
    let name = match (stream, &layer.mode) {
        (Some(stream), _) => stream.feed.mode().to_owned(),
        (None, Some(mode)) => mode.clone(),
        (None, None) if layer.path.is_some() => "fs".to_owned(),
        (None, None) => {
            return Err(missing(
                "what to back up",
                "a PATH after the verb, or path = \"PATH\" in its [backup.NAME] of the configuration file; or --stdin or \
                 --from-command",
            ));
        }
    };
    Ok(ModeSpec {
        name,
        settings: layer.mode_options.clone().into_iter().collect(),
    })
}

/// Something that must be given and isn't.
pub(crate) fn missing(what: &str, how: &str) -> Failure {
    Failure::usage(format!("{what} is missing")).advise(format!("give {how}"))
}

/// How to compress, gzip unless said otherwise.
fn compression(given: Option<CompressionText>, compat: bool) -> Result<CompressionText, Failure> {
    let wanted = given.unwrap_or(CompressionText {
        compression: Compression::Gzip,
        level: None,
    });
    let name = wanted.compression;
    if compat && name.original_name().is_none() {
        return Err(
            Failure::usage(format!("the original Freezer can't read compression {name}"))
                .because("--compat stores what it can restore")
                .advise("use --compression gzip, bzip2 or xz, or leave out --compat"),
        );
    }
    Ok(wanted)
}

/// The level policy; 0 switches a limit of the chain off.
fn policy(layer: &Layer) -> LevelPolicy {
    LevelPolicy {
        incremental: !layer.full.unwrap_or(false),
        differential: layer.differential.unwrap_or(false),
        max_level: layer.max_level,
        always_level: layer.always_level,
        restart_always_days: layer.restart_always_level.map(|days| days.0),
        chain_levels: Some(layer.chain_levels.unwrap_or(CHAIN_LEVELS)).filter(|levels| *levels > 0),
        chain_days: Some(layer.chain_days.map_or(CHAIN_DAYS, |days| days.0)).filter(|days| *days > 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::super::layer::{Origin, Setting};
    use super::*;
    use crate::args::{Args, Verb};
    use crate::exit::Exit;
    use clap::Parser;
    use rstest::rstest;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config {
            environment: super::super::Environment {
                machine: "machine".into(),
                processors: 2,
                host: Some("from-environment".into()),
                ..Default::default()
            },
            file: file::parse(text, Path::new("c.toml")).expect("valid"),
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    fn backup(config: &Config, arguments: &[&str]) -> Result<Backup, Failure> {
        let args = Args::try_parse_from([&["freezer", "backup"], arguments].concat()).expect("parses");
        let Some(Verb::Backup(args)) = args.verb else {
            panic!("a backup")
        };
        config.backup(*args)
    }

    const FILE: &str = "[defaults]\nhost = \"from-defaults\"\nworkers = 7\n[storage.nas]\nurl = \"local:/srv/nas\"\nfsync = true\n\
        [backup.etc]\npath = \"/etc\"\nstorage = \"nas:\"\nhost = \"from-backup\"\n[backup.home]\npath = \"/home\"";

    #[test]
    fn a_named_backup_brings_its_own_options() {
        let backup = backup(&config(FILE), &["--name", "etc"]).expect("judged");
        assert_eq!(
            (backup.path.as_deref(), backup.host.as_str()),
            (Some(Path::new("/etc")), "from-backup")
        );
        assert_eq!(backup.storages[0].url, "local:/srv/nas");
        assert_eq!(
            backup.storages[0].settings,
            [("fsync".to_owned(), Setting::new("true", Origin::Section))]
        );
        assert_eq!(backup.resources.workers, 7);
    }

    #[rstest]
    #[case(&["/x", "--name", "etc", "--to", "local:/b", "--host", "cli"], FILE, "cli")]
    #[case(&["/x", "--name", "etc", "--to", "local:/b"], FILE, "from-backup")]
    #[case(&["/x", "--name", "home", "--to", "local:/b"], FILE, "from-defaults")]
    #[case(&["/x", "--name", "home", "--to", "local:/b"], "", "from-environment")]
    fn the_nearest_to_the_user_wins(#[case] arguments: &[&str], #[case] file: &str, #[case] host: &str) {
        assert_eq!(backup(&config(file), arguments).expect("judged").host, host);
    }

    #[test]
    fn defaults_are_those_documented() {
        let backup = backup(&config(""), &["/x", "--name", "n", "--to", "local:/b"]).expect("judged");
        assert_eq!(backup.policy, LevelPolicy::default());
        assert_eq!(backup.segment_bytes, 32 << 20);
        assert_eq!(
            backup.resources,
            Resources {
                workers: 2,
                memory_bytes: 128 << 20
            }
        );
        assert_eq!(backup.compression, Compression::Gzip);
        assert!(!backup.cross_file_systems && !backup.compat && !backup.dry_run);
    }

    #[test]
    fn zero_switches_a_limit_of_the_chain_off() {
        let arguments = [
            "/x",
            "--name",
            "n",
            "--to",
            "local:/b",
            "--chain-levels",
            "0",
            "--chain-days",
            "0",
        ];
        let policy = backup(&config(""), &arguments).expect("judged").policy;
        assert_eq!((policy.chain_levels, policy.chain_days), (None, None));
    }

    #[rstest]
    #[case(&["--to", "local:/b"], "the name of the backup is missing")]
    #[case(&["--name", "n", "--to", "local:/b"], "what to back up is missing")]
    #[case(&["/x", "--name", "n"], "a storage is missing")]
    #[case(&["/x", "--name", "n", "--to", "nas:"], "no storage is named \"nas\"")]
    #[case(&["/x", "--name", "a/b", "--to", "local:/b"], "the backup name \"from-environment_a/b\" holds '/'")]
    #[case(&["/x", "--name", "n", "--to", "local:/b", "--max-segment-size", "0"], "--max-segment-size is 0")]
    #[case(&["/x", "--name", "n", "--to", "local:/b", "--workers", "0"], "--workers must be 1 to 1024")]
    #[case(&["/x", "--name", "n", "--to", "local:/b", "--compat", "--compression", "zstd"], "the original Freezer can't read compression zstd")]
    fn what_is_missing_or_wrong_is_a_usage_failure(#[case] arguments: &[&str], #[case] message: &str) {
        let failure = backup(&config(""), arguments).expect_err("refused");
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Usage, message));
    }

    #[test]
    fn a_place_below_a_named_storage_can_be_named() {
        let backup = backup(&config(FILE), &["/x", "--name", "n", "--to", "nas:sub/dir"]).expect("judged");
        assert_eq!(backup.storages[0].url, "local:/srv/nas/sub/dir");
    }
}
