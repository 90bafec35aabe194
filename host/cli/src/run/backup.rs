//! `backup`: from the judged command to the recipe, and its outcome to the user.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use freezer_agent::{
    BackupMode, BackupOptions, BackupOutcome, DropCaches, Excludes as Patterns, Keyring, PluginMode, Storage,
    StreamFeed, StreamMode,
};
use freezer_format::manifest::PluginUse;
use freezer_format::name::HostBackupName;
use freezer_pipeline::Dereference;
use freezer_plugin::Plugin;
use serde_json::{Map, Value, json};

use super::hooks::{self, Hooked};
use super::session::{Session, absolute, passphrase};
use super::{Context, failure};
use crate::command::{Backup, ExcludeStyle, Excludes, Links};
use crate::compat::document::Facts;
use crate::exit::{Exit, Failure};
use crate::render::{Style, summary, units};

/// The largest file of patterns; real ones have a few kilobytes.
const MAX_PATTERN_FILE: u64 = 16 << 20;

/// Backs up.
///
/// # Errors
/// Whatever kept the backup from being made.
pub(super) fn run(backup: &Backup, context: &Context) -> Result<Exit, Failure> {
    let started = Instant::now();
    let hooked = hooks::around(backup, context, || make(backup, context))?;
    tell(backup, &hooked, started, context)?;
    Ok(hooked.exit)
}

/// Makes the backup, without what is around it.
fn make(backup: &Backup, context: &Context) -> Result<(BackupOutcome, Exit), Failure> {
    let path = backup.path.as_deref().map(absolute).transpose()?;
    let keyring = Keyring::new(
        passphrase(backup.pass_file.as_deref(), &context.output)?,
        backup.compat,
    );
    let excludes = patterns(&backup.excludes)?;
    let session = Session::start(context, path.iter().cloned().collect())?;
    let opened = session.open_all(&backup.storages)?;
    let mode = Mode::find(backup, path.as_deref(), &session, context)?;
    session.undo_leftovers();
    flush(backup, context);
    warn_of_odd_options(backup, &excludes, &opened.storages, context);
    let name =
        HostBackupName::new(&backup.host, &backup.name).map_err(|error| Failure::usage(error.to_string()))?;
    let options = BackupOptions {
        journal: session.journal(),
        seen: session.seen(),
        plugins: plugin_uses(&opened.plugins, mode.plugin()),
        storage_directories: opened.directories,
        ..options(backup, (name, path), excludes)
    };
    let result = session.with_context(|recipe| {
        freezer_agent::backup(opened.storages, &options, &keyring, mode.as_mode(), recipe)
    });
    drop(mode);
    match result {
        Ok(outcome) => {
            let exit = session.end_with(failure::exit(outcome.exit_class()));
            Ok((outcome, exit))
        }
        Err(error) => {
            drop(session.end());
            Err(failure::of_agent(&error))
        }
    }
}

/// What prepares the source.
enum Mode<'a> {
    Plugin(Box<PluginMode<'a>>),
    Stream(StreamMode),
}

impl<'a> Mode<'a> {
    fn find(
        backup: &Backup,
        path: Option<&Path>,
        session: &'a Session<'_>,
        context: &Context,
    ) -> Result<Self, Failure> {
        let Some(stream) = &backup.stream else {
            let (plugin, settings) = session.mode(&backup.mode.name, &backup.mode.settings)?;
            return Ok(Self::Plugin(Box::new(PluginMode {
                host: &session.host,
                plugin,
                settings,
                path: path.map(Path::to_owned),
                run: std::sync::Arc::clone(&session.run),
            })));
        };
        if stream.feed == StreamFeed::Stdin && std::io::stdin().is_terminal() {
            return Err(
                Failure::usage("standard input is a terminal, so there is no stream to back up").advise(
                    "pipe something into it: pg_dump db | freezer backup --stdin db.sql --name db --to URL",
                ),
            );
        }
        let hidden = hooks::secret_variables(context)?;
        let mode = StreamMode::new(&stream.name, stream.feed.clone(), hidden, session.cancel());
        mode.map(Self::Stream).map_err(|error| {
            error
                .next()
                .into_iter()
                .fold(Failure::usage(error.to_string()), Failure::advise)
        })
    }

    fn plugin(&self) -> Option<&Plugin> {
        match self {
            Self::Plugin(mode) => Some(&mode.plugin),
            Self::Stream(_) => None,
        }
    }

    fn as_mode(&self) -> &dyn BackupMode {
        match self {
            Self::Plugin(mode) => &**mode,
            Self::Stream(mode) => mode,
        }
    }
}

/// The options as the recipe takes them, but for what the session knows.
fn options(
    backup: &Backup,
    (name, path): (HostBackupName, Option<PathBuf>),
    excludes: Patterns,
) -> BackupOptions {
    BackupOptions {
        name,
        host: backup.host.clone(),
        policy: backup.policy.clone(),
        path,
        mode: backup.mode.name.clone(),
        plugins: Vec::new(),
        tool: format!("freezer {}", env!("CARGO_PKG_VERSION")),
        options: recorded(backup),
        excludes,
        storage_directories: Vec::new(),
        one_file_system: !backup.cross_file_systems,
        dereference: match backup.links {
            Links::Keep => Dereference::None,
            Links::Soft => Dereference::Soft,
            Links::Hard => Dereference::Hard,
            Links::All => Dereference::All,
        },
        compression: backup.compression,
        compression_level: backup.compression_level,
        compat: backup.compat,
        wrap_iterations: None,
        segment_bytes: backup.segment_bytes,
        memory_bytes: backup.resources.memory_bytes,
        workers: backup.resources.workers,
        allow_empty: backup.allow_empty,
        dry_run: backup.dry_run,
        on_failure: backup.on_storage_failure,
        gives_memory_back: backup.drop_caches != DropCaches::None,
        resume: backup.resume,
        journal: None,
        seen: None,
    }
}

/// Has the kernel write its buffered memory out, and drops what is clean afterwards, as far as that was asked for.
fn flush(backup: &Backup, context: &Context) {
    if backup.dry_run {
        return;
    }
    if backup.sync {
        tracing::info!("writing the kernel's buffered memory to all disks");
        freezer_agent::sync_file_systems();
    }
    if backup.drop_caches == DropCaches::All
        && let Err(error) = freezer_agent::drop_all_pages()
    {
        context.output.warn(&format!(
            "the machine's buffered memory isn't dropped ({error}): only root may; going on without"
        ));
    }
}

/// Shows the outcome in the style asked for.
fn tell(backup: &Backup, hooked: &Hooked, started: Instant, context: &Context) -> Result<(), Failure> {
    let output = &context.output;
    let outcome = &hooked.outcome;
    match (output.style, &backup.document) {
        (Style::Text, _) => {
            if !output.quiet {
                output.print(&summary::backup(outcome, (started.elapsed(), &context.usage())))?;
            }
            Ok(())
        }
        (Style::Json, _) => {
            let mut document = summary::backup_document(outcome, started.elapsed());
            document["hooks"] = hooked.document(backup);
            context.finish(hooked.exit, document)
        }
        (Style::Original(_), Some(document)) => {
            let facts = Facts {
                level: outcome.id.level.0,
                path: backup
                    .path
                    .as_deref()
                    .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
                time: outcome.id.time.0,
            };
            match (&document.target, document.to_stdout()) {
                // Quiet means that nothing is printed.
                (None, _) if output.quiet => Ok(()),
                (None, _) => output.print(&document.table(&facts)),
                (Some(_), true) => output.print_raw(document.json(&facts).as_bytes()),
                (Some(path), false) => std::fs::write(path, document.json(&facts)).map_err(|error| {
                    Failure::new(
                        Exit::Failed,
                        format!("can't write {path:?}; the backup itself is stored"),
                    )
                    .because(error.to_string())
                    .advise("name another file with --metadata-out")
                }),
            }
        }
        (Style::Original(_), None) => Ok(()),
    }
}

/// The patterns, those of files included.
fn patterns(excludes: &Excludes) -> Result<Patterns, Failure> {
    let mut all = Vec::with_capacity(excludes.patterns.len());
    for pattern in &excludes.patterns {
        let text = pattern.to_str().ok_or_else(|| {
            Failure::usage(format!("the pattern {pattern:?} is not UTF-8"))
                .advise("use ? or * for the bytes that are no text")
        })?;
        all.push(text.to_owned());
    }
    for path in &excludes.files {
        let failed = |error: std::io::Error| {
            Failure::usage(format!("can't read the patterns in {path:?}"))
                .because(error.to_string())
                .advise("name a file of UTF-8 lines with --exclude-from, one pattern each")
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        for line in std::io::BufReader::new(std::io::Read::take(file, MAX_PATTERN_FILE)).lines() {
            all.push(line.map_err(failed)?);
        }
    }
    Ok(match excludes.style {
        ExcludeStyle::Gitignore => Patterns {
            gitignore: all,
            tar: Vec::new(),
            caches: excludes.caches,
        },
        ExcludeStyle::Tar => Patterns {
            gitignore: Vec::new(),
            tar: all,
            caches: excludes.caches,
        },
    })
}

/// Says what is accepted but hardly meant, or can't be kept to.
fn warn_of_odd_options(backup: &Backup, excludes: &Patterns, storages: &[Storage], context: &Context) {
    let odd = excludes.gitignore.iter();
    for pattern in odd.filter(|pattern| has_open_bracket(pattern)) {
        let text = format!("the pattern {pattern:?} has a [ without ]: it stands for itself");
        context.output.warn(&text);
    }
    if backup.stream.is_some() && has_tree_options(backup, excludes) {
        context.output.warn(
            "options that choose what of a tree is taken, and those of modes, have no part in a stream",
        );
    }
    let kind = (backup.compression, backup.compression_level);
    let least = |storage: &Storage| {
        let limits = storage.limits()?;
        Some(freezer_pipeline::least_memory(
            backup.segment_bytes,
            &limits,
            kind,
        ))
    };
    // Segments suit the storage that takes the smallest.
    let least = storages.iter().filter_map(least).min().unwrap_or(0);
    if backup.resources.memory_bytes < least {
        let (asked, least) = (units::bytes(backup.resources.memory_bytes), units::bytes(least));
        context.output.warn(&format!(
            "--memory {asked} is too little: {least} are used; a smaller --max-segment-size needs less"
        ));
    }
}

/// True if something was asked for that only a tree has.
fn has_tree_options(backup: &Backup, excludes: &Patterns) -> bool {
    let has_patterns = !excludes.gitignore.is_empty() || !excludes.tar.is_empty() || excludes.caches;
    has_patterns
        || backup.cross_file_systems
        || backup.links != Links::Keep
        || !backup.mode.settings.is_empty()
}

/// True for a `[` that no `]` closes, which is taken as a plain character: hardly what was meant.
fn has_open_bracket(pattern: &str) -> bool {
    let plain = pattern.replace("\\[", "");
    plain
        .rsplit_once('[')
        .is_some_and(|(_, after)| !after.contains(']'))
}

/// The options that shape the content, for the manifest.
fn recorded(backup: &Backup) -> Map<String, Value> {
    let mut map = Map::new();
    let patterns: Vec<_> = backup
        .excludes
        .patterns
        .iter()
        .map(|pattern| pattern.to_string_lossy())
        .collect();
    let mut record = |key: &str, said: bool, value: Value| {
        if said {
            map.insert(key.to_owned(), value);
        }
    };
    record("exclude", !patterns.is_empty(), json!(patterns));
    record(
        "exclude-from",
        !backup.excludes.files.is_empty(),
        json!(backup.excludes.files.len()),
    );
    record("exclude-caches", backup.excludes.caches, json!(true));
    record(
        freezer_agent::TAGS_OPTION,
        !backup.tags.is_empty(),
        json!(backup.tags),
    );
    record("cross-file-systems", backup.cross_file_systems, json!(true));
    let links = match backup.links {
        Links::Keep => "none",
        Links::Soft => "soft",
        Links::Hard => "hard",
        Links::All => "all",
    };
    record("dereference", backup.links != Links::Keep, json!(links));
    map
}

/// All plugins of a run as the manifest names them, each once.
fn plugin_uses(storages: &[Plugin], mode: Option<&Plugin>) -> Vec<PluginUse> {
    let mut uses: Vec<PluginUse> = Vec::with_capacity(storages.len() + 1);
    for plugin in storages.iter().chain(mode) {
        let one = plugin_use(plugin);
        if !uses.contains(&one) {
            uses.push(one);
        }
    }
    uses
}

/// A plugin as the manifest names it.
fn plugin_use(plugin: &Plugin) -> PluginUse {
    PluginUse {
        name: plugin.manifest().name.clone(),
        version: plugin.manifest().version.clone(),
        sha256: plugin.sha256().to_owned(),
    }
}
