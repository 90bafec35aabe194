//! Every decision about what a plugin may do; no other file allows or refuses anything.
//!
//! Nothing is granted by default. A component whose digest was pinned when this binary was built gets what its
//! plugin.toml asks for; any other gets what a grants.toml grants to exactly that digest. Holes like `{path}` are
//! filled from the settings of the run, so "the directory that the user named" needs no line per directory. A refusal
//! names the plugin, the request and the line of grants.toml that would allow it.

mod set;
mod entry;
mod words;
mod http;
mod processes;
mod addresses;
mod snapshots;
mod forbidden;
pub(crate) mod admission;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::audit::{AuditLog, Decision};
use crate::error::Refusal;
use crate::policy::Rule;
use crate::settings::Settings;
use processes::Command;

pub use entry::{Grant, GrantTextError};
pub(crate) use forbidden::{forbids, rules};
pub use set::{Access, FilesGrant, GrantKind, GrantSet, ProcessGrant};
use set::{fill, holes};

/// What stands for the path that the user named among the grants for files and snapshots.
const NAMED_PATH: &str = "named";

/// A place on the network, for a decision and its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Ssh,
    Sql,
    Tcp,
}

impl Network {
    fn kind(self) -> GrantKind {
        match self {
            Self::Ssh => GrantKind::Ssh,
            Self::Sql => GrantKind::Sql,
            Self::Tcp => GrantKind::Tcp,
        }
    }
}

/// A directory that may be opened: `root` as the operator or the user wrote it, `below` what the plugin adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenableDirectory {
    pub(crate) root: PathBuf,
    pub(crate) below: PathBuf,
}

/// What a plugin asks for.
struct Ask<'a> {
    /// The kind of grant that it needs; none for what the user named himself.
    kind: Option<GrantKind>,
    access: Option<Access>,
    /// The host that it would reach.
    host: Option<&'a str>,
    /// In words that follow "isn't allowed".
    request: String,
    /// The line of grants.toml that would allow it.
    line: String,
}

impl<'a> Ask<'a> {
    fn new(kind: GrantKind, request: String, line: String) -> Self {
        Self {
            kind: Some(kind),
            access: None,
            host: None,
            request,
            line,
        }
    }

    fn with_access(self, access: Access) -> Self {
        Self {
            access: Some(access),
            ..self
        }
    }

    fn reaching(self, host: Option<&'a str>) -> Self {
        Self { host, ..self }
    }

    /// The same where the user named the thing: no grant is needed, so no rule about grants holds.
    fn named(self, named: bool) -> Self {
        let kind = self.kind.filter(|_| !named);
        Self { kind, ..self }
    }
}

/// What one plugin may do in one run.
#[derive(Clone)]
pub(crate) struct Grants {
    plugin: String,
    sha256: String,
    granted: GrantSet,
    commands: Vec<Command>,
    origins: Vec<http::OriginGrant>,
    /// What is forbidden whatever was granted.
    rules: Vec<Rule>,
    audit: Option<Arc<AuditLog>>,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Grants({}, {:?})", self.plugin, self.granted)
    }
}

impl Grants {
    /// What `granted` allows with these settings.
    pub(crate) fn new(plugin: &str, sha256: &str, granted: &GrantSet, settings: &Settings) -> Self {
        let filled = granted.fill(settings);
        Self {
            plugin: plugin.to_owned(),
            sha256: sha256.to_owned(),
            origins: filled
                .http
                .iter()
                .filter_map(|text| http::OriginGrant::parse(text))
                .collect(),
            granted: filled,
            commands: granted
                .processes
                .iter()
                .filter_map(|grant| Command::new(grant, settings))
                .collect(),
            rules: Vec::new(),
            audit: None,
        }
    }

    /// The same under the rules of a policy.
    pub(crate) fn under(self, rules: Vec<Rule>) -> Self {
        Self { rules, ..self }
    }

    /// The same with each decision written down.
    pub(crate) fn noted_in(self, audit: Option<Arc<AuditLog>>) -> Self {
        Self { audit, ..self }
    }

    /// Decides: `allowed` is what the grants allow, and a rule of a policy comes before it. The one place through which
    /// every decision of a run goes.
    fn decide<T>(&self, ask: Ask<'_>, allowed: Option<T>) -> Result<T, Refusal> {
        let rule = forbidden::rule(&self.rules, &ask).map(|rule| rule.line.clone());
        let allowed = allowed.filter(|_| rule.is_none());
        if let Some(audit) = &self.audit {
            let decision = Decision {
                grant: ask.kind,
                request: ask.request.clone(),
                allowed: allowed.is_some(),
                rule: rule.as_ref().map(ToString::to_string),
            };
            audit.decided(&self.plugin, &self.sha256, decision);
        }
        allowed.ok_or_else(|| Refusal {
            plugin: self.plugin.clone(),
            request: ask.request,
            line: ask.line,
            sha256: self.sha256.clone(),
            rule,
        })
    }

    /// May it open this directory? `named` are the paths that the user named, and the views of them.
    pub(crate) fn directory(
        &self,
        asked: &str,
        access: Access,
        named: &[PathBuf],
    ) -> Result<OpenableDirectory, Refusal> {
        let words = access.as_str();
        let line = format!("files = [{{ root = {asked:?}, access = \"{words}\" }}]");
        let mut request = format!("to open directory {asked:?} {words}");
        let path = Path::new(asked);
        let plain = is_plain_absolute(path);
        if !plain {
            request.push_str(": the path must be absolute and without ..");
        }
        let allowing = self.granted.files.iter().filter(|grant| grant.access >= access);
        let mut roots = allowing.flat_map(|grant| match grant.root == NAMED_PATH {
            true => named.to_vec(),
            false => vec![PathBuf::from(&grant.root)],
        });
        let openable = |root: PathBuf| {
            let below = path.strip_prefix(&root).ok()?.to_owned();
            is_plain_absolute(&root).then_some(OpenableDirectory { root, below })
        };
        let allowed = roots.find_map(openable).filter(|_| plain);
        let ask = Ask::new(GrantKind::Files, request, line).with_access(access);
        self.decide(ask, allowed)
    }

    /// May the host walk this tree for it? It must lie in a granted root, a snapshot of the run or a path that the user
    /// named, links resolved, and not merely by its name.
    pub(crate) fn tree(&self, root: &Path, allowed: &[PathBuf]) -> Result<(), Refusal> {
        let granted = self.granted.files.iter().map(|grant| Path::new(&grant.root));
        let named = lies_in_any(root, allowed.iter().map(PathBuf::as_path));
        let inside = named || lies_in_any(root, granted);
        let line = format!("files = [{{ root = {root:?}, access = \"read-only\" }}]");
        let mut request = format!("to back up {root:?}");
        if !named {
            request.push_str(", which you didn't name");
        }
        let ask = Ask::new(GrantKind::Files, request, line).with_access(Access::ReadOnly);
        self.decide(ask.named(named), inside.then_some(()))
    }

    /// May the host restore into this directory for it? It must be the target that the user named, or lie in a root granted
    /// for writing.
    pub(crate) fn target(&self, root: &Path, named: Option<&Path>) -> Result<(), Refusal> {
        let writable = self
            .granted
            .files
            .iter()
            .filter(|grant| grant.access == Access::ReadWrite);
        let named = lies_in_any(root, named.into_iter());
        let inside = named || lies_in_any(root, writable.map(|grant| Path::new(&grant.root)));
        let line = format!("files = [{{ root = {root:?}, access = \"read-write\" }}]");
        let mut request = format!("to restore into {root:?}");
        if !named {
            request.push_str(", which you didn't name");
        }
        let ask = Ask::new(GrantKind::Files, request, line).with_access(Access::ReadWrite);
        self.decide(ask.named(named), inside.then_some(()))
    }

    /// May it read the backup's own bytes?
    pub(crate) fn bodies(&self) -> Result<(), Refusal> {
        let request = "to read the backup's own bytes".to_owned();
        let ask = Ask::new(GrantKind::Bodies, request, "bodies = true".to_owned());
        self.decide(ask, self.granted.bodies.then_some(()))
    }

    /// May it read this secret setting?
    pub(crate) fn secret(&self, name: &str) -> Result<(), Refusal> {
        let granted = self.granted.secrets.iter().any(|granted| granted == name);
        let (request, line) = (
            format!("to read the secret {name:?}"),
            format!("secrets = [{name:?}]"),
        );
        self.decide(Ask::new(GrantKind::Secrets, request, line), granted.then_some(()))
    }

    /// The granted places of one kind.
    fn places(&self, network: Network) -> &[String] {
        match network {
            Network::Ssh => &self.granted.ssh,
            Network::Sql => &self.granted.sql,
            Network::Tcp => &self.granted.tcp,
        }
    }

    /// May it connect to this `host:port`?
    pub(crate) fn network(&self, network: Network, place: &str) -> Result<(), Refusal> {
        let mut entries = self.places(network).iter();
        let granted = entries.any(|granted| granted.eq_ignore_ascii_case(place));
        let key = network.kind().key();
        let (request, line) = (
            format!("to connect to {place:?} by {key}"),
            format!("{key} = [{place:?}]"),
        );
        let ask = Ask::new(network.kind(), request, line).reaching(forbidden::host_of(place));
        self.decide(ask, granted.then_some(()))
    }
}

/// Tells whether a path is one of these or lies below it, links resolved.
fn lies_in_any<'a>(path: &Path, mut roots: impl Iterator<Item = &'a Path>) -> bool {
    is_plain_absolute(path) && roots.any(|root| is_plain_absolute(root) && lies_in(path, root))
}

/// Absolute, and without `.` and `..`, so that comparing components means what it seems to mean.
fn is_plain_absolute(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(plain)
}

/// Tells whether `path` is `root` or lies below it once every symlink on the way is resolved.
fn lies_in(path: &Path, root: &Path) -> bool {
    if path == root {
        return true;
    }
    if !path.starts_with(root) {
        return false;
    }
    match (path.canonicalize(), root.canonicalize()) {
        (Ok(path), Ok(root)) => path.starts_with(root),
        // What can't be resolved now may lead anywhere by the time it is walked.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingValue;

    fn grants(toml: &str) -> Grants {
        let mut settings = Settings::new();
        settings.set("path", SettingValue::Text("/srv/b".to_owned()));
        settings.set("host", SettingValue::Text("db1".to_owned()));
        settings.set("port", SettingValue::Integer(3306));
        Grants::new("p", "00", &toml::from_str(toml).unwrap(), &settings)
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = grants("");
        assert!(none.directory("/", Access::ReadOnly, &[]).is_err());
        assert!(none.tree(Path::new("/srv"), &[]).is_err());
        assert!(none.target(Path::new("/srv"), None).is_err());
        assert!(none.bodies().is_err() && none.secret("x").is_err() && none.snapshot("/srv", &[]).is_err());
        assert!(none.network(Network::Tcp, "h:1").is_err() && none.command("/bin/true", &[], &[]).is_err());
    }

    #[test]
    fn holes_are_filled_from_settings_and_unset_ones_grant_nothing() {
        let filled =
            grants("files = [{ root = \"{path}\", access = \"read-write\" }]\nsql = [\"{host}:{port}\"]");
        let opened = filled.directory("/srv/b/x/y", Access::ReadOnly, &[]).unwrap();
        assert_eq!(
            (opened.root, opened.below),
            (PathBuf::from("/srv/b"), PathBuf::from("x/y"))
        );
        assert!(filled.network(Network::Sql, "db1:3306").is_ok());
        assert!(
            filled.network(Network::Tcp, "db1:3306").is_err(),
            "a grant is for one kind"
        );
        let unset = grants("files = [{ root = \"{other}/\", access = \"read-write\" }]");
        assert!(unset.directory("/", Access::ReadOnly, &[]).is_err());
    }

    #[test]
    fn a_directory_is_compared_by_whole_names_and_by_access() {
        let read = grants("files = [{ root = \"/srv/b\", access = \"read-only\" }]");
        assert!(read.directory("/srv/b", Access::ReadOnly, &[]).is_ok());
        for asked in ["/srv/bad", "/srv", "/srv/b/../c", "srv/b", "", "/"] {
            assert!(read.directory(asked, Access::ReadOnly, &[]).is_err(), "{asked}");
        }
        let refusal = read.directory("/srv/b", Access::ReadWrite, &[]).unwrap_err();
        assert_eq!(
            refusal.line,
            "files = [{ root = \"/srv/b\", access = \"read-write\" }]"
        );
        let relative = grants("files = [{ root = \"srv\", access = \"read-only\" }]");
        assert!(relative.directory("/srv", Access::ReadOnly, &[]).is_err());
    }

    #[test]
    fn the_named_path_may_be_opened_where_that_is_granted() {
        let named = [PathBuf::from("/srv/data"), PathBuf::from("relative")];
        let granted = grants("files = [{ root = \"named\", access = \"read-only\" }]");
        let opened = granted
            .directory("/srv/data/base", Access::ReadOnly, &named)
            .unwrap();
        assert_eq!(
            (opened.root, opened.below),
            (PathBuf::from("/srv/data"), PathBuf::from("base"))
        );
        assert!(granted.directory("/srv/data", Access::ReadWrite, &named).is_err());
        for asked in ["/srv", "/srv/data2", "/srv/data/../x", "relative", "named"] {
            assert!(
                granted.directory(asked, Access::ReadOnly, &named).is_err(),
                "{asked}"
            );
        }
        assert!(granted.directory("/srv/data", Access::ReadOnly, &[]).is_err());
        assert!(
            grants("")
                .directory("/srv/data", Access::ReadOnly, &named)
                .is_err()
        );
    }

    #[test]
    fn a_tree_below_a_named_path_must_really_lie_there() {
        let temp = tempfile::tempdir().unwrap();
        let named = temp.path().join("named");
        std::fs::create_dir_all(named.join("sub")).unwrap();
        std::os::unix::fs::symlink("/etc", named.join("link")).unwrap();
        let (none, allowed) = (grants(""), [named.clone()]);
        assert!(none.tree(&named, &allowed).is_ok());
        assert!(none.tree(&named.join("sub"), &allowed).is_ok());
        assert!(none.tree(&named.join("link"), &allowed).is_err());
        assert!(none.tree(&named.join("../x"), &allowed).is_err());
        assert!(none.tree(temp.path(), &allowed).is_err());
        assert!(
            none.tree(&named.join("absent"), &allowed).is_err(),
            "it may become a link before it is walked"
        );
    }

    #[test]
    fn a_value_is_no_wildcard_and_an_empty_one_grants_nothing() {
        let mut settings = Settings::new();
        settings.set("database", SettingValue::Text("*".to_owned()));
        settings.set("path", SettingValue::Text(String::new()));
        let text = "processes = [{ program = \"/bin/dump\", arguments = \"--db={database}\" }]\n\
                    files = [{ root = \"{path}/\", access = \"read-write\" }]\nsnapshots = [\"{path}\"]";
        let granted = Grants::new("p", "00", &toml::from_str(text).unwrap(), &settings);
        let dump = |argument: &str| granted.command("/bin/dump", &[argument.to_owned()], &[]);
        assert!(dump("--db=*").is_ok() && dump("--db=other").is_err());
        assert!(granted.directory("/etc", Access::ReadOnly, &[]).is_err());
        assert!(granted.snapshot("/etc", &[]).is_err());
    }
}
