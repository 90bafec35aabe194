//! What can be granted: the shape that `[grants]` of plugin.toml and the tables of grants.toml share, and how its holes are
//! filled. What follows from it is decided in the files beside this one.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::manifest::PluginManifest;
use crate::settings::Settings;

/// A kind of grant: a key of plugin.toml and grants.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantKind {
    /// Directories of this machine.
    Files,
    /// Requests to origins.
    Http,
    /// Raw connections.
    Tcp,
    /// Connections by SSH.
    Ssh,
    /// Connections to databases.
    Sql,
    /// Programs of this machine.
    Processes,
    /// Frozen views of volumes.
    Snapshots,
    /// Secret settings.
    Secrets,
    /// The backup's own bytes.
    Bodies,
}

impl GrantKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Files,
        Self::Http,
        Self::Tcp,
        Self::Ssh,
        Self::Sql,
        Self::Processes,
        Self::Snapshots,
        Self::Secrets,
        Self::Bodies,
    ];

    /// The key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Ssh => "ssh",
            Self::Sql => "sql",
            Self::Processes => "processes",
            Self::Snapshots => "snapshots",
            Self::Secrets => "secrets",
            Self::Bodies => "bodies",
        }
    }

    /// The kind of a key.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }
}

impl fmt::Display for GrantKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.key())
    }
}

/// The most grants of one plugin: who is asked reads them all, and none may hide among thousands.
const MAX_GRANTS: usize = 100;

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
    /// An absolute path, or a hole.
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

    /// Checks that every hole names a setting of the plugin, and that a person can read them all.
    pub(crate) fn check(&self, manifest: &PluginManifest) -> Result<(), String> {
        let count = self.grants().len();
        if count > MAX_GRANTS {
            return Err(format!("{count} of them, at most {MAX_GRANTS} are allowed"));
        }
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
    pub(super) fn fill(&self, settings: &Settings) -> Self {
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
pub(super) fn holes(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Fills the holes of one text. A hole whose setting isn't set or is empty fills nothing: `{path}/` must not become `/`.
pub(super) fn fill(text: &str, settings: &Settings) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use crate::manifest::PluginManifest;

    #[test]
    fn nobody_is_asked_for_more_grants_than_can_be_read() {
        let parse = |count: usize| {
            let hosts = vec!["\"https://a\""; count].join(", ");
            let text = format!(
                "name = \"acme\"\nkind = \"mode\"\nversion = \"1.0.0\"\ncontract = \"1.0.0\"\nlicense = \"MIT\"\n\
                 description = \"d\"\n[grants]\nhttp = [{hosts}]\n"
            );
            PluginManifest::parse(text.as_bytes())
        };
        assert!(parse(100).is_ok());
        let error = parse(101).unwrap_err().to_string();
        assert_eq!(error, "grants: 101 of them, at most 100 are allowed");
    }
}
