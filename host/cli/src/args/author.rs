//! The author's verbs of `freezer plugin`: `new`, `build`, `test`, `pack`, `docs`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Options of `freezer plugin new`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Its name: lower-case letters, digits and '-'; a storage serves URLs of that scheme
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A mode says what is backed up, a storage where it goes
    #[arg(long, value_enum)]
    pub(crate) kind: KindText,
    /// The language that it is written in
    #[arg(long, value_enum, default_value_t = LanguageText::Rust)]
    pub(crate) lang: LanguageText,
    /// Where to make it [default: a folder NAME here]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Its licence, an SPDX expression
    #[arg(long, value_name = "SPDX", default_value = "Apache-2.0")]
    pub(crate) license: String,
    /// Use the SDK of this clone of freezer instead of a copy of the built-in one
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

/// The kinds of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindText {
    /// A mode.
    Mode,
    /// A storage.
    Storage,
}

/// The languages of new plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LanguageText {
    /// Rust.
    Rust,
    /// Python, by componentize-py.
    Python,
}

/// Which plugin is meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProjectArgs {
    /// The plugin's folder, which holds plugin.toml
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Take this component, compiled by other means and not packed yet, instead of compiling
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
}

/// Options of `freezer plugin pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct PackArgs {
    /// Which plugin.
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Sign it by minisign with this secret key
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
}

/// Options of `freezer plugin docs`.
#[derive(Debug, clap::Args)]
pub(crate) struct DocsArgs {
    /// The plugin's folder, which holds plugin.toml
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}
