//! Why a step on the author's road failed, and what to do then.

use std::path::PathBuf;

use freezer_plugin::PluginError;
use freezer_plugin::manifest::ManifestError;
use freezer_plugin::pack::PackError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// The folder holds no plugin.
    #[error("there is no plugin.toml in {}", .0.display())]
    NoProject(PathBuf),
    /// Its language isn't known.
    #[error("{} holds neither Cargo.toml nor app.py", .0.display())]
    NoLanguage(PathBuf),
    /// A plugin.toml that the host wouldn't take.
    #[error("can't use {}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A name that no plugin can have.
    #[error("no plugin can be named {name:?}: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        why: String,
    },
    /// A new plugin's folder is there already.
    #[error("{} is there already and isn't empty", .0.display())]
    Exists(PathBuf),
    /// No SDK where it was said to be.
    #[error("{} holds no SDK", .0.display())]
    NoSdk(PathBuf),
    /// A licence that is none.
    #[error("--{0}")]
    License(String),
    /// A file can't be read or written.
    #[error("can't {action} {}", path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing here compiles components.
    #[error("nothing here compiles plugins: {why}")]
    Toolchain {
        /// What is missing.
        why: String,
        /// How to get it, a step each.
        steps: Vec<String>,
    },
    /// A program can't be started.
    #[error("can't run {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program failed; what it said was shown as it ran.
    #[error("{program} failed with {status}")]
    Program {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The build made no component.
    #[error("the build made no component: {0}")]
    NoComponent(String),
    /// What was built is no component.
    #[error("can't pack {}", path.display())]
    Component {
        /// The component.
        path: PathBuf,
        /// What is wrong with it.
        source: freezer_format::component::ComponentError,
    },
    /// A freezer-test.toml that can't be used.
    #[error("can't use {}: {why}", path.display())]
    Trial {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The host says no.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A packed plugin that the host wouldn't take.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Something that a packed plugin must say and doesn't.
    #[error("plugin.toml: {0}")]
    Unfit(String),
    /// A secret key that can't sign.
    #[error("can't sign with {}: {why}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl AuthorError {
    /// What to do about it, a step each.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let one = |step: &str| vec![step.to_owned()];
        match self {
            Self::NoProject(_) => one(
                "run it in a plugin's folder, or name the folder; freezer plugin new --kind mode NAME makes one",
            ),
            Self::NoLanguage(_) => one("compile it yourself and name the component: --component FILE"),
            Self::Manifest { .. } | Self::Unfit(_) => {
                one("docs/plugins.md lists the keys of plugin.toml and what they may hold")
            }
            Self::Name { .. } => {
                one("take lower-case letters, digits and '-', first a letter, at most 32 of them")
            }
            Self::Exists(_) => one("take another name, or name another folder: --dir DIR"),
            Self::NoSdk(_) => one("name a clone of freezer, or leave --sdk out and take the built-in SDK"),
            Self::Toolchain { steps, .. } => steps.clone(),
            Self::License(_) => one("name it with --license, or leave that out for Apache-2.0"),
            Self::Component { .. } => {
                one("name a component that was compiled and not packed yet: --component FILE")
            }
            Self::Start { program, .. } if program == "python3" => one(
                "install Python 3.10 or newer with its module venv, on Debian and Ubuntu: apt-get install python3-venv",
            ),
            Self::Start { program, .. } if program == "minisign" => {
                one("install minisign: https://jedisct1.github.io/minisign, apt-get install minisign")
            }
            Self::Start { program, .. } => vec![format!("install {program}, or put it on the PATH")],
            Self::Program { .. } => one("mend what it says above, and run this again"),
            Self::NoComponent(_) => {
                one("its Cargo.toml needs crate-type = [\"cdylib\", \"rlib\"] below [lib]")
            }
            Self::Trial { .. } => one("docs/plugins.md, Testing, says what freezer-test.toml holds"),
            Self::Key { .. } => one("minisign -G makes a pair of keys; the secret one is minisign.key"),
            _ => Vec::new(),
        }
    }
}
