//! What is to be done with plugins.

use std::path::PathBuf;

use freezer_plugin::grants::Grant;
use freezer_plugin::{InstallAsk, Scope};

use super::AuthorCommand;

/// One verb of `freezer plugin`.
#[derive(Debug)]
pub(crate) enum PluginCommand {
    /// List them.
    List,
    /// Show one.
    Inspect(String),
    /// Install one.
    Install {
        /// A file, a folder or a URL.
        source: String,
        /// What is accepted.
        accept: Accept,
        /// Consent given beforehand.
        consent: Option<Consent>,
        /// For whom.
        scope: Scope,
    },
    /// Replace one.
    Update {
        /// Its name.
        name: String,
        /// Where the new one is, if not where the old one came from.
        source: Option<String>,
        /// What is accepted.
        accept: Accept,
        /// Consent given beforehand.
        consent: Option<Renewal>,
        /// For whom.
        scope: Scope,
    },
    /// Remove one.
    Remove(String, Scope),
    /// Check these, or all.
    Verify(Vec<String>),
    /// Allow one more.
    Grant {
        /// Its name.
        name: String,
        /// What.
        grants: Consent,
        /// Whose file it is written into.
        scope: Scope,
    },
    /// Take grants back.
    Revoke {
        /// Its name.
        name: String,
        /// Which; all if there are none.
        grants: Vec<Grant>,
        /// Whose file they are taken out of.
        scope: Scope,
    },
    /// List what is trusted and revoked.
    Keys,
    /// Trust a key.
    Trust {
        /// The key, or its file.
        key: String,
        /// Whose it is.
        name: String,
        /// For whom.
        scope: Scope,
    },
    /// Revoke a key or a component.
    Distrust {
        /// The key, its file, or `sha256:…`.
        what: String,
        /// Why.
        why: String,
        /// For whom.
        scope: Scope,
    },
    /// Make, compile, try out, pack or describe one's own.
    Author(AuthorCommand),
}

/// What is accepted of a component that is to be installed.
#[derive(Debug, Clone)]
pub(crate) struct Accept {
    /// What the plugin host judges.
    pub(crate) ask: InstallAsk,
    /// Also an older version than the installed one.
    pub(crate) downgrade: bool,
    /// Who else may have certified its server.
    pub(crate) authorities: Option<PathBuf>,
}

/// What is allowed to a plugin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consent {
    /// All that it asks for.
    pub(crate) asked: bool,
    /// These.
    pub(crate) grants: Vec<Grant>,
}

/// What is allowed to a plugin's new version.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    /// What the old version had.
    pub(crate) keep: bool,
    /// What else.
    pub(crate) more: Consent,
}
