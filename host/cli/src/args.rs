//! The command line of `freezer`, typed but not yet judged.
//!
//! Every option is kept as it was written, or as absent; what the values mean together with the
//! configuration file, the environment and the defaults is `config`'s work. The original's
//! command line is another one and lives in `compat`.

mod admin;
mod author;
mod backup;
mod browse;
mod copy;
mod exec;
mod hooks;
mod login;
mod snapshot;
mod plugin;
mod priority;
mod prune;
mod restore;
mod storage;
mod stream;
mod tag;
mod values;

use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::exit::Exit;

pub(crate) use admin::AdminArgs;
pub(crate) use author::{DocsArgs, KindText, LanguageText, NewArgs, PackArgs, ProjectArgs};
pub(crate) use backup::BackupArgs;
pub(crate) use browse::{CheckArgs, DumpArgs, ListArgs, LsArgs, SourceArgs, StorageArgs};
pub(crate) use copy::CopyArgs;
pub(crate) use exec::ExecArgs;
pub(crate) use hooks::{DropCachesText, HookArgs, LimitText};
pub(crate) use plugin::{
    AcceptArgs, CompletionsArgs, ConsentArgs, ManArgs, PluginArgs, PluginVerb, ScopeArgs,
};
pub(crate) use priority::{IoClassText, PriorityArgs};
pub(crate) use prune::{KeepArgs, PruneArgs};
pub(crate) use restore::RestoreArgs;
pub(crate) use storage::{InfoArgs, StorageVerb, StoragesArgs, TestArgs};
pub(crate) use tag::{PinArgs, TagArgs, TagListArgs, TagVerb};
pub(crate) use values::{
    BeforeText, CompressionText, Days, DereferenceText, IsolateText, PairText, RateText, StorageFailureText,
    StorageText,
};

/// Backs up, restores and verifies, in formats that plain tools read.
#[derive(Debug, Parser)]
#[command(
    name = "freezer",
    disable_version_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_required = false,
    max_term_width = 100,
    after_long_help = long_help(),
    after_help = Exit::help(),
)]
pub(crate) struct Args {
    /// Options of every verb.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// Print the version and leave; with --verbose also what it is made of
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Print one JSON document instead of text, for results and for errors
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Print only errors
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Say more on standard error; twice for every detail, three times for those of the libraries too
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
    /// Look for plugins here first; may be given several times
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) plugins_dir: Vec<PathBuf>,
    /// Send at most this many bytes a second to all storages together; -1 for no limit
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        allow_hyphen_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) upload_limit: Option<RateText>,
    /// Fetch at most this many bytes a second from all storages together; -1 for no limit
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        allow_hyphen_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) download_limit: Option<RateText>,
    /// Run plugins in processes of their own, which can do nothing but compute: those that didn't come with freezer, or all
    #[arg(
        long,
        global = true,
        value_name = "WHICH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "foreign",
        help_heading = "Everywhere"
    )]
    pub(crate) isolate: Option<IsolateText>,
    /// Whom it makes way for.
    #[command(flatten)]
    pub(crate) priority: PriorityArgs,
    /// Read this configuration file (TOML, or ini by its name) instead of the user's
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Back up a directory tree or a file
    Backup(Box<BackupArgs>),
    /// Restore a backup, or parts of it, as it was at a point in time
    Restore(Box<RestoreArgs>),
    /// List the backups in a storage
    List(ListArgs),
    /// List the files of a backup
    Ls(LsArgs),
    /// Write the content of one file of a backup to standard output
    Dump(DumpArgs),
    /// Verify that backups are whole, present and authentic
    Check(CheckArgs),
    /// Copy backups from one storage to another, as they are stored
    Copy(CopyArgs),
    /// Tell what storages hold: containers, objects, bytes
    Info(InfoArgs),
    /// List storages, or try one out
    Storage(StoragesArgs),
    /// Remove old backups by rules, never what a kept one needs
    Prune(Box<PruneArgs>),
    /// Give tags and pins to backups, or list them
    Tag(Box<TagArgs>),
    /// Find and remove what killed runs left in a storage
    Admin(AdminArgs),
    /// Run a command at a priority and within a time, its success or failure being freezer's
    Exec(ExecArgs),
    /// Install, inspect, grant, update and remove plugins; make, build, test and pack your own
    Plugin(PluginArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a manual page, or write all of them
    Man(ManArgs),
}

impl Args {
    /// True if a restore writes its stream to standard output.
    pub(crate) fn writes_to_stdout(&self) -> bool {
        match &self.verb {
            Some(Verb::Restore(restore)) => restore.output.as_deref() == Some(Path::new("-")),
            _ => false,
        }
    }
}

impl Verb {
    /// Its name in JSON documents.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verb::Backup(_) => "backup",
            Verb::Restore(_) => "restore",
            Verb::List(_) => "list",
            Verb::Ls(_) => "ls",
            Verb::Dump(_) => "dump",
            Verb::Check(_) => "check",
            Verb::Copy(_) => "copy",
            Verb::Info(_) => "info",
            Verb::Storage(StoragesArgs {
                verb: StorageVerb::List,
            }) => "storage list",
            Verb::Storage(StoragesArgs {
                verb: StorageVerb::Test(_),
            }) => "storage test",
            Verb::Prune(_) => "prune",
            Verb::Tag(args) => match args.verb {
                TagVerb::Add(_) => "tag add",
                TagVerb::Remove(_) => "tag remove",
                TagVerb::Pin(_) => "tag pin",
                TagVerb::Unpin(_) => "tag unpin",
                TagVerb::List(_) => "tag list",
            },
            Verb::Admin(_) => "admin",
            Verb::Exec(_) => "exec",
            Verb::Plugin(args) => args.verb.name(),
            Verb::Completions(_) => "completions",
            Verb::Man(_) => "man",
        }
    }
}

/// The clap command, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Args::command()
}

/// What `--help` says below the options.
fn long_help() -> String {
    format!(
        "A storage is written as URL: local:/srv/backups, or NAME: for [storage.NAME] of the \
         configuration file. Values are taken from the command line first, then from the \
         configuration file, then from the environment (FREEZER_STORAGE, FREEZER_HOST, \
         FREEZER_PASS_FILE, FREEZER_PLUGINS, FREEZER_CONFIG).\n\n\
         With --json standard output holds exactly one document, also for errors. Exceptions: \
         ls prints one line for each entry before it, and dump, whose output is a file's content, \
         prints it on standard error.\n\n{}",
        Exit::help()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_verb() {
        let before = Args::try_parse_from(["freezer", "--json", "list"]).expect("parses");
        let after = Args::try_parse_from(["freezer", "list", "--json", "-vv"]).expect("parses");
        assert!(before.global.json && after.global.json);
        assert_eq!(after.global.verbose, 2);
    }
}
