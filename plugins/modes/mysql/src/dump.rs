//! Streams that the server's own tools write, and the client that reads one back.
//!
//! The tools log in by an option file in memory that only they can see: no password stands in an argument or a variable.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::commands::{self, Child, Command};
use freezer_sdk::mode::StreamSource;

use crate::login::Login;
use crate::note::{Kind, Note};
use crate::server::Server;

/// The option file, in arguments.
const LOGIN: &str = "--defaults-file={input:login}";
/// What a dump of all databases needs everywhere.
const DUMP_PRIVILEGES: [&str; 5] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "LOCK TABLES"];
/// What it needs of MySQL besides: for the list of tablespaces, and for a moment of which the transactions' ids are known.
const MYSQL_DUMP_PRIVILEGES: [&str; 2] = ["PROCESS", "RELOAD"];
/// What mariadb-backup needs.
const HOT_PRIVILEGES: [&str; 4] = ["RELOAD", "PROCESS", "LOCK TABLES", "BINLOG MONITOR"];

/// The program that bears this name may be one of two makers.
const MYSQLDUMP: &str = "/usr/bin/mysqldump";
/// More than any program says of its version.
const MAX_VERSION_BYTES: usize = 4096;

/// A tool that is ready to write its stream.
#[derive(Debug)]
pub(crate) struct Dump {
    source: Option<StreamSource>,
    note: Note,
}

impl Dump {
    /// Logs in to see that it can be done, and starts the tool.
    ///
    /// # Errors
    /// What the server says; `denied` names missing privileges; `not-found` if no tool is installed.
    pub(crate) fn start(kind: Kind, login: &Login) -> Result<Self> {
        let server = Server::connect(login)?;
        let privileges: &[&str] = match kind {
            Kind::Hot => &HOT_PRIVILEGES,
            Kind::Logical | Kind::Physical => &DUMP_PRIVILEGES,
        };
        let more: &[&str] = match kind {
            Kind::Logical if !server.is_mariadb() => &MYSQL_DUMP_PRIVILEGES,
            _ => &[],
        };
        server.check_privileges(&[privileges, more].concat())?;
        let mut note = Note::new(kind, &server.version);
        let timeout = format!("--ftwrl-wait-timeout={}", login.lock_seconds);
        let dump: &[&str] = &[
            LOGIN,
            "--single-transaction",
            "--quick",
            "--routines",
            "--triggers",
            "--events",
            "--all-databases",
        ];
        let hot: &[&str] = &[LOGIN, "--backup", "--stream=xbstream", &timeout];
        let (tools, arguments, name, suffix): (&[_], _, _, _) = match kind {
            Kind::Hot => (&["mariadb-backup"], hot, "copy", "xbstream"),
            Kind::Logical | Kind::Physical => (&tools(&server, "dump"), dump, "dump", "sql"),
        };
        if kind == Kind::Logical && !server.is_mariadb() {
            check_own()?;
        }
        let (tool, child) = start(tools, arguments, login, None)?;
        note.tool = Some(tool);
        let source = StreamSource {
            name: name.to_owned(),
            suffix: suffix.to_owned(),
            content: child.output()?,
        };
        Ok(Self {
            source: Some(source),
            note,
        })
    }

    /// The stream, once.
    pub(crate) fn next(&mut self) -> Option<StreamSource> {
        self.source.take()
    }

    /// The note.
    pub(crate) fn finish(self) -> Note {
        self.note
    }
}

/// Feeds a dump to the server's client.
///
/// # Errors
/// What the server or the client says.
pub(crate) fn load(login: &Login, content: Body) -> Result<()> {
    let server = Server::connect(login)?;
    let arguments = [LOGIN, "--binary-mode"];
    let (tool, child) = start(&tools(&server, ""), &arguments, login, Some(&content))?;
    let exit = child.wait()?;
    if exit.code == 0 {
        return Ok(());
    }
    let line = exit.stderr.lines().last().unwrap_or("it says nothing").to_owned();
    Err(Error::other(format!("{tool} ended with {}: {line}", exit.code)))
}

/// The client's tools of that kind, the server's own family first.
fn tools(server: &Server, kind: &str) -> Vec<&'static str> {
    match (kind, server.is_mariadb()) {
        ("dump", true) => vec!["mariadb-dump", "mysqldump"],
        ("dump", false) => vec!["mysqldump"],
        (_, true) => vec!["mariadb", "mysql"],
        (_, false) => vec!["mysql", "mariadb"],
    }
}

/// Makes sure that `mysqldump` is MySQL's own: MariaDB's writes MySQL's own tables so that no server takes them back.
///
/// # Errors
/// `unsupported` if it isn't; what its start says.
fn check_own() -> Result<()> {
    let asked = commands::spawn(&Command::new(MYSQLDUMP, ["--version"]), None)?;
    let version = asked.output()?.read_to_end(MAX_VERSION_BYTES)?;
    let version = String::from_utf8_lossy(&version);
    if !version.contains("MariaDB") {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{MYSQLDUMP} is MariaDB's program, and no server takes back what it writes of MySQL's own tables ({}): install MySQL's client \
         programs, or use kind=physical",
        version.trim()
    )))
}

/// Starts the first tool that is installed.
fn start(
    tools: &[&'static str],
    arguments: &[&str],
    login: &Login,
    input: Option<&Body>,
) -> Result<(String, Child)> {
    for tool in tools {
        let command = Command::new(format!("/usr/bin/{tool}"), arguments.iter().copied())
            .input("login", login.option_file()?);
        match commands::spawn(&command, input) {
            Ok(child) => return Ok(((*tool).to_owned(), child)),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let names: Vec<_> = tools.iter().map(|tool| format!("/usr/bin/{tool}")).collect();
    Err(Error::not_found(format!(
        "there is no {}: install the server's client programs",
        names.join(" and no ")
    )))
}
