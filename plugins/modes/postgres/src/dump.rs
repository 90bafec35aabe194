//! Streams that the server's own tools write, and the tool that reads one back.
//!
//! The tools log in by two files in memory that only they can see: no password stands in an argument or a variable.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::commands::{self, Child, Command};
use freezer_sdk::host::control;
use freezer_sdk::mode::{Outcome, StreamSource};
use freezer_sdk::settings::Settings;

use crate::login::Login;
use crate::note::{Kind, Note};
use crate::server::{LABEL, Server};

/// The stream of a dump.
pub(crate) const DUMP: &str = "dump";
/// The stream of a copy.
pub(crate) const BASE: &str = "base";
/// How every tool logs in.
const LOGIN: [&str; 2] = ["--dbname=service=freezer", "--no-password"];
/// The setting that says where the tools are.
const TOOLS: &str = "bin-directory";

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
    /// What the server says; `denied` names what the role lacks; `not-found` if no tool is installed.
    pub(crate) fn start(kind: Kind, login: &Login, settings: &Settings) -> Result<Self> {
        let server = Server::connect(login)?;
        let mut note = Note::new(kind, &server.version, &server.system_identifier);
        let (tool, arguments, name, suffix) = match kind {
            Kind::Base => {
                check_base(&server)?;
                ("pg_basebackup", base_arguments(), BASE, "tar")
            }
            Kind::Logical | Kind::Physical => {
                note.database = Some(check_dump(&server, login)?);
                ("pg_dump", dump_arguments(login), DUMP, "dump")
            }
        };
        // Before the tool: it has a session of its own.
        drop(server);
        let child = start(tool, &arguments, (login, settings), None)?;
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

    /// The note. What a tool said when it failed is told to the user by the host; what to do about it is added here.
    pub(crate) fn finish(self, outcome: &Outcome) -> Note {
        if let Outcome::Failed(error) = outcome {
            advice(&error.message).into_iter().for_each(control::warning);
        }
        self.note
    }
}

/// What can be done about what a tool said.
fn advice(said: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().all(|word| said.contains(word));
    if has(&["statement timeout", "LOCK TABLE"]) {
        return Some("another session holds that table: let it end, or wait longer with lock-timeout");
    }
    if has(&["server version mismatch"]) {
        return Some("the tools are older than the server: say where newer ones are with bin-directory");
    }
    if has(&["WAL", "already been removed"]) {
        return Some(
            "the server removed the beginning of its log before the copy ended: set wal_keep_size to what it writes meanwhile",
        );
    }
    if has(&["pg_hba.conf", "replication"]) {
        return Some("pg_hba.conf needs a line for the database \"replication\" and this role");
    }
    None
}

fn check_base(server: &Server) -> Result<()> {
    server.check_replication()?;
    match server.tablespaces()?.first() {
        None => Ok(()),
        Some(space) => Err(Error::unsupported(format!(
            "the server has the tablespace {:?}, and pg_basebackup can't write several into one stream: use kind=physical or \
             kind=logical",
            space.name
        ))),
    }
}

/// The database to dump: nobody means an empty one that is merely there.
fn check_dump(server: &Server, login: &Login) -> Result<String> {
    let Some(database) = &login.database else {
        return Err(Error::invalid(format!(
            "kind=logical dumps one database: name it with --mode-option database=NAME (the server has {})",
            server.databases()?
        )));
    };
    server.check_readable()?;
    Ok(database.clone())
}

fn base_arguments() -> Vec<String> {
    let more = [
        "--pgdata=-",
        "--format=tar",
        "--wal-method=fetch",
        "--checkpoint=fast",
    ];
    let mut arguments: Vec<_> = LOGIN.iter().chain(&more).map(|word| (*word).to_owned()).collect();
    arguments.push(format!("--label={LABEL}"));
    arguments
}

fn dump_arguments(login: &Login) -> Vec<String> {
    let mut arguments: Vec<_> = LOGIN.iter().map(|word| (*word).to_owned()).collect();
    arguments.push("--format=custom".to_owned());
    arguments.push(format!("--lock-wait-timeout={}", login.lock_seconds * 1000));
    arguments
}

/// Feeds a dump to pg_restore: all of it comes to be, or nothing.
///
/// # Errors
/// What the server or the tool says.
pub(crate) fn load(login: &Login, settings: &Settings, content: Body) -> Result<()> {
    // Says plainly what is wrong, before anything is fed.
    drop(Server::connect(login)?);
    let more = ["--exit-on-error", "--single-transaction"];
    let arguments: Vec<_> = LOGIN.iter().chain(&more).map(|word| (*word).to_owned()).collect();
    let exit = start("pg_restore", &arguments, (login, settings), Some(&content))?.wait()?;
    if exit.code == 0 {
        return Ok(());
    }
    let said = exit.stderr.lines().find(|line| line.contains("error:"));
    let said = said.or(exit.stderr.lines().last()).unwrap_or("it says nothing");
    Err(Error::other(format!(
        "pg_restore ended with {}, and nothing was changed: {said}",
        exit.code
    )))
}

/// Starts a tool of the server.
fn start(
    tool: &str,
    arguments: &[String],
    (login, settings): (&Login, &Settings),
    input: Option<&Body>,
) -> Result<Child> {
    let files = login.tool_files()?;
    let directory = settings.text(TOOLS)?.trim_end_matches('/');
    let command = Command::new(format!("{directory}/{tool}"), arguments.iter().cloned())
        .input("service", files.service)
        .input("passwords", files.passwords)
        .variable("PGSERVICEFILE", "{input:service}")
        .variable("PGPASSFILE", "{input:passwords}");
    commands::spawn(&command, input).map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::not_found(format!(
            "there is no {directory}/{tool}: install the server's client programs, or say where they are with {TOOLS}"
        )),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_followed_by_what_to_do() {
        for (said, wanted) in [
            (
                "ERROR:  canceling statement due to statement timeout; detail: Query was: LOCK TABLE public.t",
                Some("lock-timeout"),
            ),
            (
                "aborting because of server version mismatch",
                Some("bin-directory"),
            ),
            (
                "ERROR:  requested WAL segment 000000010000000000000002 has already been removed",
                Some("wal_keep_size"),
            ),
            (
                "FATAL:  no pg_hba.conf entry for replication connection from host \"127.0.0.1\"",
                Some("a line for the database"),
            ),
            ("server closed the connection unexpectedly", None),
        ] {
            let told = advice(said);
            assert_eq!(told.is_some(), wanted.is_some(), "{said}");
            assert!(
                told.unwrap_or_default().contains(wanted.unwrap_or_default()),
                "{said}"
            );
        }
    }
}
