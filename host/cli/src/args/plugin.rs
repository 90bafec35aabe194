//! `freezer plugin`, `completions` and `man`.

use std::path::PathBuf;

use clap::Subcommand;

use super::author::{DocsArgs, NewArgs, PackArgs, ProjectArgs};

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
    /// Show a plugin: what it asks for, has and used, its limits, imports, signature, and where it came from
    Inspect(InspectArgs),
    /// Install a plugin from a file, a folder or a URL, after showing what it may do
    Install(InstallArgs),
    /// Replace an installed plugin by another version, after showing what changes
    Update(UpdateArgs),
    /// Remove an installed plugin and what it was granted
    Remove(NameArgs),
    /// Check installed plugins: digest, signature, key, and who could have changed the files
    Verify(VerifyArgs),
    /// Allow a plugin more
    Grant(GrantArgs),
    /// Take grants back: those that are named, or all
    Revoke(RevokeArgs),
    /// Trust a key's signatures from now on; without a key, list what is trusted and revoked
    Trust(TrustArgs),
    /// Revoke a key with all that it signed, or one component by its digest
    Distrust(DistrustArgs),
    /// Make a new plugin: a folder that builds and passes its tests as it is
    New(NewArgs),
    /// Compile a plugin and pack its plugin.toml into the component
    Build(ProjectArgs),
    /// Run a plugin's own tests, then try the real component in the real host, with what it asks for
    Test(ProjectArgs),
    /// Pack a plugin for others, and sign it
    Pack(PackArgs),
    /// Print a plugin's reference page in Markdown
    Docs(DocsArgs),
}

impl PluginVerb {
    /// Its name in JSON documents.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::List => "plugin list",
            Self::Inspect(_) => "plugin inspect",
            Self::Install(_) => "plugin install",
            Self::Update(_) => "plugin update",
            Self::Remove(_) => "plugin remove",
            Self::Verify(_) => "plugin verify",
            Self::Grant(_) => "plugin grant",
            Self::Revoke(_) => "plugin revoke",
            Self::Trust(_) => "plugin trust",
            Self::Distrust(_) => "plugin distrust",
            Self::New(_) => "plugin new",
            Self::Build(_) => "plugin build",
            Self::Test(_) => "plugin test",
            Self::Pack(_) => "plugin pack",
            Self::Docs(_) => "plugin docs",
        }
    }
}

/// Whose files are changed.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct ScopeArgs {
    /// For all users of this machine, in /etc/freezer and /usr/lib/freezer/plugins, instead of this user
    #[arg(long)]
    pub(crate) system: bool,
}

/// Options of `freezer plugin inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// What is accepted of a component that is to be installed.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AcceptArgs {
    /// Take it without a signature by a trusted key
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
    /// Take it if it has this digest, signed or not
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
    /// Take it though a newer version is installed
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    /// Authorities, in PEM form, that may have certified the URL's server, beside those that this machine trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
}

/// The operator's consent, given beforehand.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConsentArgs {
    /// Don't ask; it gets what --grant says and nothing else
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Allow this: `http=https://s3.example.org`, files=/srv:read-only, secrets=password; may be given several times. All that
    /// it asks for: asked
    #[arg(long, value_name = "GRANT")]
    pub(crate) grant: Vec<String>,
}

/// Options of `freezer plugin install`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    /// NAME-VERSION.wasm, a folder that holds it, or its https URL; its signature is looked for beside it (.minisig)
    #[arg(value_name = "FILE|DIR|URL")]
    pub(crate) source: String,
    /// What is accepted.
    #[command(flatten)]
    pub(crate) accept: AcceptArgs,
    /// Consent.
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Options of `freezer plugin update`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpdateArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where the new version is [default: where the installed one came from]
    #[arg(value_name = "FILE|DIR|URL")]
    pub(crate) source: Option<String>,
    /// With --yes: renew what it was granted before
    #[arg(long, requires = "yes")]
    pub(crate) keep_grants: bool,
    /// What is accepted.
    #[command(flatten)]
    pub(crate) accept: AcceptArgs,
    /// Consent.
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Options of `freezer plugin remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Options of `freezer plugin verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The plugins' names [default: all that weren't built together with this program]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Options of `freezer plugin grant`.
#[derive(Debug, clap::Args)]
pub(crate) struct GrantArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What to allow: `http=https://s3.example.org`, files=/srv:read-only, secrets=password; asked for all that it asks for
    #[arg(value_name = "GRANT", required = true)]
    pub(crate) grants: Vec<String>,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Options of `freezer plugin revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What to take back, as inspect shows it [default: all]
    #[arg(value_name = "GRANT")]
    pub(crate) grants: Vec<String>,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Options of `freezer plugin trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// A public key of minisign: the line that begins with RW, or its file
    #[arg(value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Whose it is, for messages
    #[arg(long, value_name = "TEXT", requires = "key", default_value = "")]
    pub(crate) name: String,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Options of `freezer plugin distrust`.
#[derive(Debug, clap::Args)]
pub(crate) struct DistrustArgs {
    /// The key or its file, or sha256:DIGEST for one component
    #[arg(value_name = "KEY|sha256:DIGEST")]
    pub(crate) what: String,
    /// Why, for messages
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,
    /// For whom.
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
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
