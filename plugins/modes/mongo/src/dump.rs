//! The stream that mongodump writes, and mongorestore, which reads it back.
//!
//! Both log in by a file in memory that only they can see: no password stands in an argument or a variable.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::commands::{self, Child, Command};
use freezer_sdk::host::control;
use freezer_sdk::mode::StreamSource;

use crate::login::Login;
use crate::member::Wanted;
use crate::note::{Kind, Note};
use crate::physical::note;
use crate::server::Server;

/// The name of the source.
pub(crate) const SOURCE: &str = "dump";
/// The tool's own file of settings.
const LOGIN: &str = "--config={input:login}";
/// Both write to, or read from, one stream.
const ARCHIVE: &str = "--archive";

/// A dump that is ready to be read.
#[derive(Debug)]
pub(crate) struct Dump {
    source: Option<StreamSource>,
    note: Note,
}

impl Dump {
    /// Asks whether this is the right member, and starts the tool.
    ///
    /// # Errors
    /// What the server says; `not-found` if the tool isn't installed.
    pub(crate) fn start(login: &Login) -> Result<Self> {
        let server = Server::connect(login)?;
        let mut note = note(&server, Kind::Logical);
        if server.hello.is_router() {
            control::warning(format!(
                "{} is a router: each shard is dumped as of another moment",
                server.place
            ));
        } else {
            server
                .hello
                .check(&server.place, login.wanted, login.set.as_deref())?;
        }
        note.oplog = server.hello.has_oplog();
        if !note.oplog {
            control::warning(format!(
                "{} keeps no oplog: collections are dumped as of different moments if somebody writes meanwhile",
                server.place
            ));
        }
        let arguments: &[&str] = match note.oplog {
            true => &[LOGIN, ARCHIVE, "--oplog"],
            false => &[LOGIN, ARCHIVE],
        };
        let child = start("mongodump", arguments, login, None)?;
        note.summary = Some(format!(
            "mongodump of {} ({}){}",
            server.place,
            server.hello.description(),
            if note.oplog {
                ", with what was written meanwhile"
            } else {
                ""
            }
        ));
        let source = StreamSource {
            name: SOURCE.to_owned(),
            suffix: "archive".to_owned(),
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

/// Feeds a dump to mongorestore.
///
/// # Errors
/// What the server or the tool says; `invalid` names the member that takes writes.
pub(crate) fn load(login: &Login, note: &Note, drop: bool, content: &Body) -> Result<()> {
    let server = Server::connect(login)?;
    if !server.hello.is_router() {
        server
            .hello
            .check(&server.place, Wanted::Primary, login.set.as_deref())?;
    }
    let mut arguments = vec![LOGIN, ARCHIVE];
    if note.oplog {
        arguments.push("--oplogReplay");
    }
    if drop {
        arguments.push("--drop");
    }
    let exit = start("mongorestore", &arguments, login, Some(content))?.wait()?;
    if exit.code == 0 {
        return Ok(());
    }
    let line = exit.stderr.lines().last().unwrap_or("it says nothing").to_owned();
    Err(Error::other(format!(
        "mongorestore ended with {}: {line}",
        exit.code
    )))
}

fn start(tool: &str, arguments: &[&str], login: &Login, input: Option<&Body>) -> Result<Child> {
    let program = format!("/usr/bin/{tool}");
    let command = Command::new(&program, arguments.iter().copied()).input("login", login.tool_config()?);
    commands::spawn(&command, input).map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::not_found(format!(
            "there is no {program}: install the MongoDB Database Tools"
        )),
        _ => error,
    })
}
