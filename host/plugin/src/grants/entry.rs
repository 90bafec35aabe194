//! One grant by itself, and the text by which an operator names it: `http=https://s3.example.org`.
//!
//! | Text | Grants |
//! |---|---|
//! | `files=/srv:read-only`, `files=/srv:read-write` | a directory |
//! | `http=https://s3.example.org`, `http=site:https://…` | an origin, a site |
//! | `tcp=host:port`, `ssh=host:port`, `sql=host:port` | connections |
//! | `processes=/usr/bin/pg_dump --file=*` | a program; `PGPASSFILE=` before it is a variable that may be set |
//! | `snapshots=/srv`, `snapshots=named` | frozen views |
//! | `secrets=password` | a secret setting |
//! | `bodies` | the backup's own bytes |

use std::fmt;

use super::{Access, FilesGrant, GrantKind, GrantSet, ProcessGrant};

/// The longest text of a grant.
const MAX_TEXT: usize = 4096;

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A directory.
    Files(FilesGrant),
    /// An origin or a site.
    Http(String),
    /// Raw connections to a place.
    Tcp(String),
    /// SSH to a place.
    Ssh(String),
    /// A database.
    Sql(String),
    /// A program.
    Process(ProcessGrant),
    /// Frozen views of a path.
    Snapshots(String),
    /// A secret setting.
    Secret(String),
    /// The backup's own bytes.
    Bodies,
}

/// Why a text names no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no grant: {why}")]
pub struct GrantTextError {
    text: String,
    why: String,
}

impl Grant {
    /// Reads the text by which an operator names it.
    ///
    /// # Errors
    /// [`GrantTextError`].
    pub fn parse(text: &str) -> Result<Self, GrantTextError> {
        let bad = |why: &str| GrantTextError {
            text: crate::escape::line(text, 100),
            why: why.to_owned(),
        };
        if text.len() > MAX_TEXT {
            return Err(bad("it is too long"));
        }
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value).filter(|value| !value.is_empty())),
            None => (text, None),
        };
        let kinds = GrantKind::ALL.map(GrantKind::key).join(", ");
        let kind = GrantKind::parse(key).ok_or_else(|| bad(&format!("it must begin with one of {kinds}")))?;
        if kind == GrantKind::Bodies {
            return match text == "bodies" {
                true => Ok(Self::Bodies),
                false => Err(bad("bodies has no value")),
            };
        }
        let value = value
            .ok_or_else(|| bad(&format!("write {kind}=VALUE")))?
            .to_owned();
        Ok(match kind {
            GrantKind::Files => Self::Files(parse_files(&value).map_err(bad)?),
            GrantKind::Processes => Self::Process(parse_process(&value).map_err(bad)?),
            GrantKind::Http => Self::Http(value),
            GrantKind::Tcp => Self::Tcp(value),
            GrantKind::Ssh => Self::Ssh(value),
            GrantKind::Sql => Self::Sql(value),
            GrantKind::Snapshots => Self::Snapshots(value),
            GrantKind::Secrets | GrantKind::Bodies => Self::Secret(value),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> GrantKind {
        match self {
            Self::Files(_) => GrantKind::Files,
            Self::Http(_) => GrantKind::Http,
            Self::Tcp(_) => GrantKind::Tcp,
            Self::Ssh(_) => GrantKind::Ssh,
            Self::Sql(_) => GrantKind::Sql,
            Self::Process(_) => GrantKind::Processes,
            Self::Snapshots(_) => GrantKind::Snapshots,
            Self::Secret(_) => GrantKind::Secrets,
            Self::Bodies => GrantKind::Bodies,
        }
    }
}

/// `ROOT:read-only` or `ROOT:read-write`; how much is never guessed.
fn parse_files(value: &str) -> Result<FilesGrant, &'static str> {
    let accesses = [Access::ReadOnly, Access::ReadWrite];
    let (root, access) = value
        .rsplit_once(':')
        .and_then(|(root, word)| {
            let access = accesses.into_iter().find(|access| access.as_str() == word)?;
            Some((root, access))
        })
        .ok_or("write files=/DIRECTORY:read-only or files=/DIRECTORY:read-write")?;
    Ok(FilesGrant {
        root: root.to_owned(),
        access,
    })
}

/// `[VARIABLE= …] /PROGRAM [ARGUMENT …]`.
fn parse_process(value: &str) -> Result<ProcessGrant, &'static str> {
    let mut words = value.split_ascii_whitespace().peekable();
    let mut environment = Vec::new();
    while let Some(name) = words.peek().and_then(|word| word.strip_suffix('=')) {
        if name.contains('/') {
            break;
        }
        environment.push(name.to_owned());
        words.next();
    }
    let program = words
        .next()
        .filter(|program| program.starts_with(['/', '{']))
        .ok_or("write processes=/PROGRAM ARGUMENTS, the program's path being absolute")?;
    let arguments = words.collect::<Vec<_>>().join(" ");
    Ok(ProcessGrant {
        program: program.to_owned(),
        arguments: Some(arguments).filter(|arguments| !arguments.is_empty()),
        environment,
    })
}

impl fmt::Display for Grant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Files(grant) => write!(out, "{kind}={}:{}", grant.root, grant.access.as_str()),
            Self::Http(value)
            | Self::Tcp(value)
            | Self::Ssh(value)
            | Self::Sql(value)
            | Self::Snapshots(value)
            | Self::Secret(value) => write!(out, "{kind}={value}"),
            Self::Process(grant) => {
                write!(out, "{kind}=")?;
                for name in &grant.environment {
                    write!(out, "{name}= ")?;
                }
                write!(out, "{}", grant.program)?;
                match &grant.arguments {
                    Some(arguments) => write!(out, " {arguments}"),
                    None => Ok(()),
                }
            }
            Self::Bodies => out.write_str("bodies"),
        }
    }
}

impl GrantSet {
    /// Its grants one by one.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        let texts =
            |texts: &[String], make: fn(String) -> Grant| texts.iter().cloned().map(make).collect::<Vec<_>>();
        let mut all: Vec<Grant> = self.files.iter().cloned().map(Grant::Files).collect();
        all.extend(texts(&self.http, Grant::Http));
        all.extend(texts(&self.tcp, Grant::Tcp));
        all.extend(texts(&self.ssh, Grant::Ssh));
        all.extend(texts(&self.sql, Grant::Sql));
        all.extend(self.processes.iter().cloned().map(Grant::Process));
        all.extend(texts(&self.snapshots, Grant::Snapshots));
        all.extend(texts(&self.secrets, Grant::Secret));
        all.extend(self.bodies.then_some(Grant::Bodies));
        all
    }

    /// Those that the other set lacks.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<Grant> {
        let there = other.grants();
        self.grants()
            .into_iter()
            .filter(|grant| !there.contains(grant))
            .collect()
    }
}

impl FromIterator<Grant> for GrantSet {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        let mut set = Self::default();
        for grant in grants {
            match grant {
                Grant::Files(grant) => set.files.push(grant),
                Grant::Http(value) => set.http.push(value),
                Grant::Tcp(value) => set.tcp.push(value),
                Grant::Ssh(value) => set.ssh.push(value),
                Grant::Sql(value) => set.sql.push(value),
                Grant::Process(grant) => set.processes.push(grant),
                Grant::Snapshots(value) => set.snapshots.push(value),
                Grant::Secret(value) => set.secrets.push(value),
                Grant::Bodies => set.bodies = true,
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_and_its_text_are_the_same() {
        for text in [
            "files=/srv/a:b:read-only",
            "files={path}:read-write",
            "http=https://s3.example.org",
            "http=site:{auth-url}",
            "tcp=h:1",
            "ssh=[::1]:22",
            "sql=/run/db.sock",
            "processes=/bin/true",
            "processes=PGPASSFILE= LANG= /usr/bin/pg_dump --file=* --x=",
            "snapshots=named",
            "secrets=password",
            "bodies",
        ] {
            let grant = Grant::parse(text).unwrap();
            assert_eq!(grant.to_string(), text);
            let set: GrantSet = [grant.clone()].into_iter().collect();
            assert_eq!(set.grants(), [grant]);
        }
    }

    #[test]
    fn what_is_no_grant_says_what_to_write() {
        for (text, says) in [
            (
                "file=/srv",
                "\"file=/srv\" is no grant: it must begin with one of files, http, tcp, ssh, sql, processes, snapshots, secrets, bodies",
            ),
            ("files=/srv", "write files=/DIRECTORY:read-only or"),
            ("http=", "write http=VALUE"),
            ("http", "write http=VALUE"),
            ("bodies=true", "bodies has no value"),
            ("processes=pg_dump", "the program's path being absolute"),
            ("processes=A= B=", "the program's path being absolute"),
        ] {
            let error = Grant::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_one_set_lacks_is_told_grant_by_grant() {
        let set =
            |texts: &[&str]| -> GrantSet { texts.iter().map(|text| Grant::parse(text).unwrap()).collect() };
        let (more, less) = (set(&["bodies", "http=a", "http=b"]), set(&["http=a", "tcp=h:1"]));
        assert_eq!(more.without(&less), [Grant::Http("b".to_owned()), Grant::Bodies]);
        assert_eq!(less.without(&more), [Grant::Tcp("h:1".to_owned())]);
    }
}
