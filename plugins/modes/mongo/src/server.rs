//! A session with a server: commands and their answers, and the login.

use std::cell::Cell;

use bson::raw::RawBsonRef;
use bson::spec::BinarySubtype;
use bson::{Binary, RawDocument, RawDocumentBuf, rawdoc};
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::tcp::{self, Connection};

use crate::login::Login;
use crate::member::Hello;
use crate::message;
use crate::scram::{Exchange, Mechanism};

/// Messages of one login: two of SCRAM, and one that older servers want at the end.
const MAX_ROUNDS: usize = 4;

/// The server's codes that tell more than that something failed.
mod code {
    pub(super) const UNAUTHORIZED: i32 = 13;
    pub(super) const AUTHENTICATION_FAILED: i32 = 18;
    pub(super) const LOCK_TIMEOUT: i32 = 46;
    pub(super) const TOO_LONG: i32 = 50;
    pub(super) const NO_SUCH_COMMAND: i32 = 59;
    pub(super) const SHUTTING_DOWN: i32 = 91;
    pub(super) const INTERRUPTED_BY_SHUTDOWN: i32 = 11600;
    pub(super) const TIME_LIMIT: i32 = 262;
}

/// A session; dropping it gives back no lock.
#[derive(Debug)]
pub(crate) struct Server {
    connection: Connection,
    /// Where it is, for messages.
    pub(crate) place: String,
    request: Cell<i32>,
    /// What it says it is.
    pub(crate) hello: Hello,
    /// Its version.
    pub(crate) version: String,
}

impl Server {
    /// Connects, asks who answers, and logs in.
    ///
    /// # Errors
    /// What the host says; `denied` for a refused login; `other` for what is no MongoDB.
    pub(crate) fn connect(login: &Login) -> Result<Self> {
        let connection = tcp::connect(&login.target())?;
        let mut server = Self {
            connection,
            place: login.place(),
            request: Cell::new(0),
            hello: Hello::default(),
            version: String::new(),
        };
        let offered = server.greet(login)?;
        if login.user.is_some() {
            server.log_in(login, offered.as_deref())?;
        }
        server.version = server.build_version()?;
        Ok(server)
    }

    /// Runs a command on the database `admin`, and holds its answer to success.
    ///
    /// # Errors
    /// What the server says, with its code; `unavailable` if the connection is gone.
    pub(crate) fn command(&self, command: &RawDocumentBuf) -> Result<RawDocumentBuf> {
        self.command_on("admin", command)
    }

    fn command_on(&self, database: &str, command: &RawDocumentBuf) -> Result<RawDocumentBuf> {
        let request = self.request.get().wrapping_add(1);
        self.request.set(request);
        let mut command = command.clone();
        command.append(bson::raw::cstr!("$db"), database);
        let name = name_of(&command);
        let told = |error: Error| Error {
            message: format!("{}: {}", self.place, error.message),
            ..error
        };
        // The host names the place itself.
        let broken = |error: Error| match error.message.starts_with(&self.place) {
            true => error,
            false => told(error),
        };
        self.connection
            .write(&message::frame(request, &command))
            .map_err(broken)?;
        let answer = message::receive(&self.connection, request).map_err(broken)?;
        check(&name, &answer).map_err(told)?;
        Ok(answer)
    }

    /// Says hello; answers by which mechanisms the user can log in, if the server tells.
    fn greet(&mut self, login: &Login) -> Result<Option<Vec<String>>> {
        let ask = |name: &str| {
            let mut hello = RawDocumentBuf::new();
            hello.append(&*key(name)?, 1);
            if let Some(user) = &login.user {
                let asked = format!("{}.{user}", login.source);
                hello.append(bson::raw::cstr!("saslSupportedMechs"), asked.as_str());
            }
            self.command(&hello)
        };
        let answer = match ask("hello") {
            // Before 4.4.2 it has another name.
            Err(error) if error.kind == ErrorKind::Unsupported => ask("isMaster")?,
            answer => answer?,
        };
        self.hello = Hello::read(&answer);
        let Ok(offered) = answer.get_array("saslSupportedMechs") else {
            return Ok(None);
        };
        let names = offered
            .into_iter()
            .filter_map(|name| name.ok()?.as_str().map(str::to_owned));
        Ok(Some(names.take(16).collect()))
    }

    fn log_in(&self, login: &Login, offered: Option<&[String]>) -> Result<()> {
        let user = login.user.as_deref().unwrap_or_default();
        let Some(password) = login.password()? else {
            return Err(Error::invalid(format!(
                "user {user:?} needs a password: in the file of mongo-conf, as FREEZER_MONGO_PASSWORD, or password=@FILE"
            )));
        };
        let mechanism = Mechanism::choose(offered)?;
        let (mut exchange, first) = Exchange::begin(mechanism, user, password.expose())?;
        let start = rawdoc! {
            "saslStart": 1,
            "mechanism": mechanism.name(),
            "payload": binary(first),
            "options": { "skipEmptyExchange": true },
        };
        let refused = |error: Error| match error.kind {
            ErrorKind::Denied => error.context(format!("login of {user:?} by {}", mechanism.name())),
            _ => error,
        };
        let mut answer = self.command_on(&login.source, &start).map_err(refused)?;
        for _ in 0..MAX_ROUNDS {
            let done = answer.get_bool("done").unwrap_or(false);
            let payload = answer.get_binary("payload").map(|payload| payload.bytes.to_vec());
            let conversation = number(&answer, "conversationId").unwrap_or(1);
            let next = exchange
                .answer(&payload.unwrap_or_default())
                .map_err(|error| Error {
                    message: format!("{}: {}", self.place, error.message),
                    ..error
                })?;
            if done && exchange.is_done() {
                return Ok(());
            }
            if done {
                break;
            }
            let go_on = rawdoc! {
                "saslContinue": 1,
                "conversationId": i32::try_from(conversation).unwrap_or(1),
                "payload": binary(next),
            };
            answer = self.command_on(&login.source, &go_on).map_err(refused)?;
        }
        Err(Error::denied(format!(
            "{}: the server ends the login without proving that it knows the password",
            self.place
        )))
    }

    fn build_version(&self) -> Result<String> {
        let answer = self.command(&rawdoc! { "buildInfo": 1 })?;
        Ok(answer.get_str("version").unwrap_or_default().to_owned())
    }

    /// The directory with its data; none if it doesn't tell.
    ///
    /// # Errors
    /// `denied` names the role that is missing.
    pub(crate) fn data_directory(&self) -> Result<Option<String>> {
        let answer = match self.command(&rawdoc! { "getCmdLineOpts": 1 }) {
            Err(error) if error.kind == ErrorKind::Denied => {
                return Err(error.context("the role clusterMonitor is needed"));
            }
            answer => answer?,
        };
        let storage = answer
            .get_document("parsed")
            .and_then(|parsed| parsed.get_document("storage"));
        let path = storage.and_then(|storage| storage.get_str("dbPath"));
        Ok(path.ok().map(|path| path.trim_end_matches('/').to_owned()))
    }
}

/// The name of a command: its first key.
fn name_of(command: &RawDocument) -> String {
    let first = command.iter().next().and_then(std::result::Result::ok);
    first.map(|(name, _)| name.to_string()).unwrap_or_default()
}

fn key(name: &str) -> Result<bson::raw::CString> {
    bson::raw::CString::try_from(name).map_err(|error| Error::other(error.to_string()))
}

fn binary(bytes: Vec<u8>) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes,
    }
}

/// A number of whatever width.
pub(crate) fn number(document: &RawDocument, key: &str) -> Option<i64> {
    match document.get(key).ok()?? {
        RawBsonRef::Int32(number) => Some(number.into()),
        RawBsonRef::Int64(number) => Some(number),
        // Servers write small whole numbers as doubles, too.
        RawBsonRef::Double(number) if number.abs() < 9e15 => Some(number as i64),
        RawBsonRef::Boolean(flag) => Some(flag.into()),
        _ => None,
    }
}

/// Holds an answer to success.
fn check(command: &str, answer: &RawDocument) -> Result<()> {
    if number(answer, "ok") == Some(1) {
        return Ok(());
    }
    let words = answer.get_str("errmsg").unwrap_or("no reason");
    let code = number(answer, "code")
        .and_then(|code| i32::try_from(code).ok())
        .unwrap_or(0);
    let kind = match code {
        code::UNAUTHORIZED | code::AUTHENTICATION_FAILED => ErrorKind::Denied,
        code::LOCK_TIMEOUT | code::TOO_LONG | code::TIME_LIMIT => ErrorKind::Busy,
        code::NO_SUCH_COMMAND => ErrorKind::Unsupported,
        code::SHUTTING_DOWN | code::INTERRUPTED_BY_SHUTDOWN => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    let words: String = words.chars().take(500).collect();
    Err(Error::new(kind, format!("{command}: {words} ({code})")).with_code(code.to_string()))
}
