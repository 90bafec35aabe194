//! What is to be done for a plugin's author.

use std::path::PathBuf;

use freezer_author::scaffold::Scaffold;

/// One of the author's verbs.
#[derive(Debug)]
pub(crate) enum AuthorCommand {
    /// Make a new plugin's folder.
    New(Box<Scaffold>),
    /// Compile it and pack its plugin.toml in.
    Build(Work),
    /// Try it out.
    Test(Work),
    /// Make what is given to others; sign with this secret key.
    Pack(Work, Option<PathBuf>),
    /// Print its reference page.
    Docs(PathBuf),
}

/// A plugin's folder and, if it isn't to be compiled, its component.
#[derive(Debug)]
pub(crate) struct Work {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// The component.
    pub(crate) component: Option<PathBuf>,
}
