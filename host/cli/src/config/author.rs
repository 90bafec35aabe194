//! Judges the options of the author's verbs.

use std::path::PathBuf;

use freezer_author::Language;
use freezer_author::scaffold::Scaffold;
use freezer_plugin::PluginKind;

use crate::args::{DocsArgs, KindText, LanguageText, NewArgs, PackArgs, ProjectArgs};
use crate::command::{AuthorCommand, Work};

/// What `freezer plugin new` makes.
pub(super) fn new(args: NewArgs) -> AuthorCommand {
    let folder = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
    AuthorCommand::New(Box::new(Scaffold {
        kind: match args.kind {
            KindText::Mode => PluginKind::Mode,
            KindText::Storage => PluginKind::Storage,
        },
        language: match args.lang {
            LanguageText::Rust => Language::Rust,
            LanguageText::Python => Language::Python,
        },
        name: args.name,
        folder,
        license: args.license,
        sdk: args.sdk,
    }))
}

/// Which plugin is meant.
pub(super) fn work(args: ProjectArgs) -> Work {
    Work {
        folder: args.dir,
        component: args.component,
    }
}

/// What is packed, and who signs it.
pub(super) fn pack(args: PackArgs) -> AuthorCommand {
    AuthorCommand::Pack(work(args.project), args.sign)
}

/// Whose page is printed.
pub(super) fn docs(args: DocsArgs) -> AuthorCommand {
    AuthorCommand::Docs(args.dir)
}
