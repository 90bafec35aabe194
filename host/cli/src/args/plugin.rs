//! `freezer plugin`, `completions` and `man`.

use std::path::PathBuf;

use clap::Subcommand;

/// `freezer plugin VERB`.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginArgs {
    /// What to do with plugins.
    #[command(subcommand)]
    pub(crate) verb: PluginVerb,
}

/// The verbs of `freezer plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// List the plugins that are found, also those that can't be used
    List,
    /// Show a plugin's settings, limits, and the grants it asks for and has
    Inspect(InspectArgs),
}

/// Options of `freezer plugin inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Options of `freezer completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Options of `freezer man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The verb whose page to print [default: the page of freezer itself]
    #[arg(value_name = "VERB")]
    pub(crate) verb: Option<String>,
    /// Write the pages of all verbs into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    pub(crate) output_dir: Option<PathBuf>,
}
