//! Every decision about what a plugin may do; no other file allows or refuses anything.
//!
//! Nothing is granted by default. A component whose digest was pinned when this binary was built gets what its
//! plugin.toml asks for; any other gets what a grants.toml grants to exactly that digest. Holes like `{path}` are
//! filled from the settings of the run, so "the directory that the user named" needs no line per directory. A refusal
//! names the plugin, the request and the line of grants.toml that would allow it.

mod http;
mod processes;
mod snapshots;
mod tcp;

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::Refusal;
use crate::manifest::PluginManifest;
use crate::settings::Settings;
use processes::Command;

/// How a directory may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Listing and reading.
    ReadOnly,
    /// Also writing, renaming and removing.
    ReadWrite,
}

impl Access {
    /// The word in plugin.toml and grants.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

/// A directory of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesGrant {
    /// An absolute path, a hole, or `named`: the path that the user named.
    pub root: String,
    /// How it may be used.
    pub access: Access,
}

/// A program of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessGrant {
    /// An absolute path.
    pub program: String,
    /// What its arguments must look like: one word for each argument, in which `*` stands for anything. Without it: no
    /// arguments.
    /// `{input:NAME}` stands for itself: the file is made by the host.
    #[serde(default)]
    pub arguments: Option<String>,
    /// Names of variables that it may set, besides those of language and time zone.
    #[serde(default)]
    pub environment: Vec<String>,
}

/// A set of grants, asked for in plugin.toml or given in grants.toml. Both have the same shape.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GrantSet {
    /// Directories of this machine.
    pub files: Vec<FilesGrant>,
    /// Origins such as `https://s3.example.org`, or `site:{setting}`: those that belong to the site of the setting's URL.
    pub http: Vec<String>,
    /// `host:port` for raw connections.
    pub tcp: Vec<String>,
    /// `host:port` for SSH.
    pub ssh: Vec<String>,
    /// `host:port` or a socket's path for databases.
    pub sql: Vec<String>,
    /// Programs of this machine.
    pub processes: Vec<ProcessGrant>,
    /// Paths whose volume may be frozen; `named` is the path that the user named.
    pub snapshots: Vec<String>,
    /// Secret settings that it may read.
    pub secrets: Vec<String>,
    /// Whether it may read the backup's own bytes.
    pub bodies: bool,
}

impl GrantSet {
    /// The settings that are used as the root of a directory: their values must be absolute paths.
    pub(crate) fn root_settings(&self) -> impl Iterator<Item = &str> {
        let roots = self.files.iter().map(|grant| &grant.root).chain(&self.snapshots);
        roots.filter_map(|root| root.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')))
    }

    /// The writable directories whose roots are settings, filled in.
    pub(crate) fn own_directories(&self, settings: &Settings) -> Vec<PathBuf> {
        let own = self
            .files
            .iter()
            .filter(|grant| grant.access == Access::ReadWrite);
        let own = own.filter(|grant| grant.root.starts_with('{'));
        own.filter_map(|grant| fill(&grant.root, settings).map(PathBuf::from))
            .collect()
    }

    /// Checks that every hole names a setting of the plugin.
    pub(crate) fn check(&self, manifest: &PluginManifest) -> Result<(), String> {
        for text in self.texts() {
            for hole in holes(text).filter(|hole| !hole.starts_with(INPUT)) {
                let Some(setting) = manifest.settings.iter().find(|setting| setting.name == hole) else {
                    return Err(format!("{text:?} has a hole for {hole:?}, which is no setting"));
                };
                if setting.secret {
                    return Err(format!("{text:?} would show the secret setting {hole:?}"));
                }
            }
        }
        for secret in &self.secrets {
            if !manifest
                .settings
                .iter()
                .any(|setting| setting.secret && setting.name == *secret)
            {
                return Err(format!("secrets: {secret:?} is no setting marked secret"));
            }
        }
        Ok(())
    }

    /// Everything in which a hole may stand.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let programs = self
            .processes
            .iter()
            .flat_map(|grant| std::iter::once(&grant.program).chain(&grant.arguments));
        let places = [&self.http, &self.tcp, &self.ssh, &self.sql, &self.snapshots]
            .into_iter()
            .flatten();
        self.files
            .iter()
            .map(|grant| &grant.root)
            .chain(programs)
            .chain(places)
    }

    /// Adds what `more` grants.
    pub(crate) fn extend(&mut self, more: Self) {
        self.files.extend(more.files);
        self.http.extend(more.http);
        self.tcp.extend(more.tcp);
        self.ssh.extend(more.ssh);
        self.sql.extend(more.sql);
        self.processes.extend(more.processes);
        self.snapshots.extend(more.snapshots);
        self.secrets.extend(more.secrets);
        self.bodies |= more.bodies;
    }

    /// The same with its holes filled; an entry whose setting isn't set grants nothing.
    fn fill(&self, settings: &Settings) -> Self {
        let places = |texts: &[String]| texts.iter().filter_map(|text| fill(text, settings)).collect();
        Self {
            files: self
                .files
                .iter()
                .filter_map(|grant| {
                    Some(FilesGrant {
                        root: fill(&grant.root, settings)?,
                        access: grant.access,
                    })
                })
                .collect(),
            http: places(&self.http),
            tcp: places(&self.tcp),
            ssh: places(&self.ssh),
            sql: places(&self.sql),
            // Filled by `Command::new`, which keeps values and wildcards apart.
            processes: Vec::new(),
            snapshots: places(&self.snapshots),
            secrets: self.secrets.clone(),
            bodies: self.bodies,
        }
    }
}

/// How a hole begins that isn't one: the host fills it in when the command is started.
const INPUT: &str = "input:";

/// The names between braces.
fn holes(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Fills the holes of one text. A hole whose setting isn't set or is empty fills nothing: `{path}/` must not become `/`.
fn fill(text: &str, settings: &Settings) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        filled.push_str(before);
        if name.starts_with(INPUT) {
            filled.push_str(&rest[before.len()..rest.len() - after.len()]);
            rest = after;
            continue;
        }
        let value = settings.get(name)?.to_string();
        if value.is_empty() {
            return None;
        }
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

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
    fn key(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Sql => "sql",
            Self::Tcp => "tcp",
        }
    }
}

/// A directory that may be opened: `root` as the operator or the user wrote it, `below` what the plugin adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenableDirectory {
    pub(crate) root: PathBuf,
    pub(crate) below: PathBuf,
}

/// What one plugin may do in one run.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    plugin: String,
    sha256: String,
    granted: GrantSet,
    commands: Vec<Command>,
    origins: Vec<http::OriginGrant>,
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
        }
    }

    /// May it open this directory? `named` are the paths that the user named, and the views of them.
    pub(crate) fn directory(
        &self,
        asked: &str,
        access: Access,
        named: &[PathBuf],
    ) -> Result<OpenableDirectory, Refusal> {
        let line = || {
            format!(
                "files = [{{ root = {asked:?}, access = \"{}\" }}]",
                access.as_str()
            )
        };
        let request = || format!("to open directory {asked:?} {}", access.as_str());
        let path = Path::new(asked);
        if !is_plain_absolute(path) {
            return Err(self.refuse(
                format!("{}: the path must be absolute and without ..", request()),
                line(),
            ));
        }
        let allowing = self.granted.files.iter().filter(|grant| grant.access >= access);
        let mut roots = allowing.flat_map(|grant| match grant.root == NAMED_PATH {
            true => named.to_vec(),
            false => vec![PathBuf::from(&grant.root)],
        });
        let below = |root: PathBuf| {
            let below = path.strip_prefix(&root).ok()?.to_owned();
            is_plain_absolute(&root).then_some(OpenableDirectory { root, below })
        };
        if let Some(openable) = roots.find_map(below) {
            return Ok(openable);
        }
        Err(self.refuse(request(), line()))
    }

    /// May the host walk this tree for it? It must lie in a granted root, a snapshot of the run or a path that the user
    /// named, links resolved, and not merely by its name.
    pub(crate) fn tree(&self, root: &Path, allowed: &[PathBuf]) -> Result<(), Refusal> {
        let granted = self.granted.files.iter().map(|grant| Path::new(&grant.root));
        let mut roots = allowed
            .iter()
            .map(PathBuf::as_path)
            .chain(granted)
            .filter(|path| is_plain_absolute(path));
        let inside = is_plain_absolute(root) && roots.any(|allowed| lies_in(root, allowed));
        if inside {
            return Ok(());
        }
        let line = format!("files = [{{ root = {root:?}, access = \"read-only\" }}]");
        Err(self.refuse(format!("to back up {root:?}, which you didn't name"), line))
    }

    /// May the host restore into this directory for it? It must be the target that the user named, or lie in a root granted
    /// for writing.
    pub(crate) fn target(&self, root: &Path, named: Option<&Path>) -> Result<(), Refusal> {
        let writable = self
            .granted
            .files
            .iter()
            .filter(|grant| grant.access == Access::ReadWrite);
        let mut roots = writable.map(|grant| Path::new(&grant.root)).chain(named);
        if is_plain_absolute(root)
            && roots.any(|allowed| is_plain_absolute(allowed) && lies_in(root, allowed))
        {
            return Ok(());
        }
        let line = format!("files = [{{ root = {root:?}, access = \"read-write\" }}]");
        Err(self.refuse(format!("to restore into {root:?}, which you didn't name"), line))
    }

    /// May it read the backup's own bytes?
    pub(crate) fn bodies(&self) -> Result<(), Refusal> {
        if self.granted.bodies {
            return Ok(());
        }
        Err(self.refuse(
            "to read the backup's own bytes".to_owned(),
            "bodies = true".to_owned(),
        ))
    }

    /// May it read this secret setting?
    pub(crate) fn secret(&self, name: &str) -> Result<(), Refusal> {
        if self.granted.secrets.iter().any(|granted| granted == name) {
            return Ok(());
        }
        Err(self.refuse(
            format!("to read the secret {name:?}"),
            format!("secrets = [{name:?}]"),
        ))
    }

    /// May it connect to this `host:port`?
    pub(crate) fn network(&self, network: Network, place: &str) -> Result<(), Refusal> {
        let granted = match network {
            Network::Ssh => &self.granted.ssh,
            Network::Sql => &self.granted.sql,
            Network::Tcp => &self.granted.tcp,
        };
        if granted.iter().any(|granted| granted.eq_ignore_ascii_case(place)) {
            return Ok(());
        }
        let key = network.key();
        Err(self.refuse(
            format!("to connect to {place:?} by {key}"),
            format!("{key} = [{place:?}]"),
        ))
    }

    fn refuse(&self, request: String, line: String) -> Refusal {
        Refusal {
            plugin: self.plugin.clone(),
            request,
            line,
            sha256: self.sha256.clone(),
        }
    }
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
