//! A session with the server: what it is, where its files lie, what the role may do, and backup mode.

use std::time::Instant;

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::sql::{self, Connection, Value};

use crate::login::Login;
use crate::note::{BackupMode, Tablespace};

/// What a backup is called at the server.
pub(crate) const LABEL: &str = "freezer";
/// The oldest version whose backup mode is told to go on without waiting for the archive.
const OLDEST: i64 = 100_000;
/// From this version on the functions have their new names.
const NEW_NAMES: i64 = 150_000;
/// Of how many databases a message tells.
const MAX_NAMES: usize = 20;

/// A table that somebody who reads everything couldn't read: what extensions bring isn't dumped.
const UNREADABLE: &str = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' \
    AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
    AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1 LIMIT 1";

/// A session; dropping it ends backup mode.
#[derive(Debug)]
pub(crate) struct Server {
    connection: Connection,
    /// As the server says it: "15.8 (Debian 15.8-0+deb12u1)".
    pub(crate) version: String,
    /// The number that all copies of its data directory share.
    pub(crate) system_identifier: String,
    number: i64,
    user: String,
    checkpoint_seconds: u64,
}

/// Backup mode that is on.
#[derive(Debug)]
pub(crate) struct Begun {
    start_lsn: String,
    since: Instant,
}

impl Server {
    /// Connects and asks who answers.
    ///
    /// # Errors
    /// What the host says: refused login, no server, no such database.
    pub(crate) fn connect(login: &Login) -> Result<Self> {
        let connection = sql::connect(&login.target()?)?;
        let mut server = Self {
            connection,
            version: String::new(),
            system_identifier: String::new(),
            number: 0,
            user: login.user.clone(),
            checkpoint_seconds: login.checkpoint_seconds,
        };
        server.version = server.text("SHOW server_version")?;
        let number = server.text("SHOW server_version_num")?;
        server.number = number.parse().unwrap_or(0);
        if server.number < OLDEST {
            return Err(Error::unsupported(format!(
                "the server is PostgreSQL {}: this mode needs 10 or later",
                server.version
            )));
        }
        server.system_identifier = server.text("SELECT system_identifier::text FROM pg_control_system()")?;
        Ok(server)
    }

    /// Tells whether it is a standby that replays somebody else's log.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) fn is_standby(&self) -> Result<bool> {
        self.truth("SELECT pg_is_in_recovery()")
    }

    /// Where its files are. Only those may ask who can see all settings.
    ///
    /// # Errors
    /// `denied` says which role is missing.
    pub(crate) fn data_directory(&self) -> Result<String> {
        let sees = "SELECT pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')";
        if !self.truth(sees)? {
            let role =
                "the role pg_read_all_settings, without which it can't see where the data directory is";
            return Err(self.lacks(role, "GRANT pg_read_all_settings TO"));
        }
        let directory = self.text("SHOW data_directory")?;
        Ok(directory.trim_end_matches('/').to_owned())
    }

    /// The tablespaces beside those that lie in the data directory.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) fn tablespaces(&self) -> Result<Vec<Tablespace>> {
        let asked = "SELECT oid::text, spcname::text, pg_tablespace_location(oid) FROM pg_tablespace \
                     WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid";
        let answer = self.connection.query(asked, &[])?;
        let of_row = |row: &Vec<Value>| {
            let mut texts = row.iter().filter_map(text);
            Some(Tablespace {
                oid: texts.next()?,
                name: texts.next()?,
                location: texts.next()?.trim_end_matches('/').to_owned(),
            })
        };
        let spaces: Option<Vec<_>> = answer.rows.iter().map(of_row).collect();
        let spaces = spaces.ok_or_else(|| Error::corrupt("the list of tablespaces has no names"))?;
        // Part of paths later on.
        match spaces.iter().find(|space| !is_number(&space.oid)) {
            Some(space) => Err(Error::corrupt(format!(
                "{:?} is no number of a tablespace",
                space.oid
            ))),
            None => Ok(spaces),
        }
    }

    /// Makes sure that the role may turn backup mode on and off.
    ///
    /// # Errors
    /// `denied` says which functions it may not call.
    pub(crate) fn check_backup_mode(&self) -> Result<()> {
        let (start, stop) = match self.number >= NEW_NAMES {
            true => ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"),
            false => (
                "pg_start_backup(text, boolean, boolean)",
                "pg_stop_backup(boolean, boolean)",
            ),
        };
        for function in [start, stop] {
            let asked = format!("SELECT has_function_privilege('{function}', 'EXECUTE')");
            if !self.truth(&asked)? {
                let database = self.text("SELECT current_database()::text")?;
                let right = format!("the right to call {start} and {stop} in the database {database:?}");
                return Err(self.lacks(&right, &format!("GRANT EXECUTE ON FUNCTION {start}, {stop} TO")));
            }
        }
        Ok(())
    }

    /// Makes sure that the role may copy the server.
    ///
    /// # Errors
    /// `denied` without the attribute REPLICATION.
    pub(crate) fn check_replication(&self) -> Result<()> {
        let asked = "SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user";
        if self.truth(asked)? {
            return Ok(());
        }
        Err(Error::denied(format!(
            "{} lacks the attribute REPLICATION: as a superuser, ALTER ROLE {} REPLICATION",
            self.user,
            quoted(&self.user)
        )))
    }

    /// Makes sure that the role may read all tables of this database.
    ///
    /// # Errors
    /// `denied` names one that it may not.
    pub(crate) fn check_readable(&self) -> Result<()> {
        let answer = self.connection.query(UNREADABLE, &[])?;
        let table = answer.rows.first().and_then(|row| row.first()).and_then(text);
        match table {
            Some(table) => Err(self.lacks(
                &format!("the right to read {table}, and perhaps others"),
                "GRANT pg_read_all_data TO",
            )),
            None => Ok(()),
        }
    }

    /// The databases that can be dumped, for a message.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) fn databases(&self) -> Result<String> {
        let asked =
            "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
        let answer = self.connection.query(asked, &[])?;
        let names = answer.rows.iter().filter_map(|row| row.first().and_then(text));
        let mut names: Vec<_> = names.collect();
        if names.len() > MAX_NAMES {
            names.truncate(MAX_NAMES);
            names.push("…".to_owned());
        }
        Ok(names.join(", "))
    }

    /// Turns backup mode on, which waits for a checkpoint. It lasts as long as this session at most.
    ///
    /// # Errors
    /// What the server says; `unavailable` if the checkpoint takes too long.
    pub(crate) fn begin(&self) -> Result<Begun> {
        control::progress("waiting for a checkpoint", None);
        let statement = match self.number >= NEW_NAMES {
            true => format!("SELECT pg_backup_start('{LABEL}', true)::text"),
            false => format!("SELECT pg_start_backup('{LABEL}', true, false)::text"),
        };
        let since = Instant::now();
        let start_lsn = self.text(&statement).map_err(|error| {
            // Anything that is done by then is no matter of time.
            let is_late =
                error.kind == ErrorKind::Unavailable && since.elapsed().as_secs() >= self.checkpoint_seconds;
            let advice = match is_late {
                true => "; if it has much to write, wait longer with checkpoint-timeout",
                false => "",
            };
            Error::new(
                error.kind,
                format!("backup mode can't be turned on: {}{advice}", error.message),
            )
        })?;
        let since = Instant::now();
        checked_lsn(start_lsn).map(|start_lsn| Begun { start_lsn, since })
    }

    /// Turns backup mode off, and answers what the server says about it. It isn't waited for the archive: what the backup needs is
    /// in it already.
    ///
    /// # Errors
    /// If the session was lost meanwhile: then nobody knows since when backup mode was off.
    pub(crate) fn end(&self, begun: &Begun) -> Result<BackupMode> {
        let function = match self.number >= NEW_NAMES {
            true => "pg_backup_stop(false)",
            false => "pg_stop_backup(false, false)",
        };
        let asked = format!("SELECT lsn::text, labelfile, spcmapfile FROM {function}");
        let answer = self.connection.query(&asked, &[]).map_err(|error| {
            let message = format!("backup mode was lost before it was turned off: {}", error.message);
            Error::new(error.kind, message)
        })?;
        let row = answer.rows.first().map_or(&[][..], Vec::as_slice);
        let column = |index: usize| row.get(index).and_then(text).unwrap_or_default();
        let (stop_lsn, backup_label) = (checked_lsn(column(0))?, column(1));
        let facts = Label::parse(&backup_label)
            .ok_or_else(|| Error::corrupt("the server's backup_label names no log file and no timeline"))?;
        let last_wal_file = self.text(&format!("SELECT pg_walfile_name('{stop_lsn}')::text"))?;
        Ok(BackupMode {
            label: LABEL.to_owned(),
            start_lsn: begun.start_lsn.clone(),
            stop_lsn,
            timeline: facts.timeline,
            first_wal_file: facts.wal_file,
            last_wal_file,
            backup_label,
            tablespace_map: column(2),
            milliseconds: u64::try_from(begun.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn lacks(&self, right: &str, statement: &str) -> Error {
        Error::denied(format!(
            "{} lacks {right}: as a superuser, {statement} {}",
            self.user,
            quoted(&self.user)
        ))
    }

    fn truth(&self, statement: &str) -> Result<bool> {
        Ok(self.text(statement)? == "t")
    }

    fn text(&self, statement: &str) -> Result<String> {
        let answer = self.connection.query(statement, &[])?;
        let value = answer.rows.first().and_then(|row| row.first());
        Ok(value.and_then(text).unwrap_or_default())
    }
}

/// What a `backup_label` says.
#[derive(Debug, PartialEq, Eq)]
struct Label {
    wal_file: String,
    timeline: u32,
}

impl Label {
    /// Reads `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`, whose first eight digits are the timeline.
    fn parse(text: &str) -> Option<Self> {
        let line = text
            .lines()
            .find(|line| line.starts_with("START WAL LOCATION: "))?;
        let file = line.split_once("(file ")?.1.strip_suffix(')')?;
        // It becomes part of a path.
        if file.len() != 24 || !file.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self {
            wal_file: file.to_owned(),
            timeline: u32::from_str_radix(file.get(..8)?, 16).ok()?,
        })
    }
}

/// A place in the log, which becomes part of a statement.
fn checked_lsn(text: String) -> Result<String> {
    let part =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_once('/') {
        Some((high, low)) if part(high) && part(low) => Ok(text),
        _ => Err(Error::corrupt(format!(
            "{text:?} is no place in the log of a server"
        ))),
    }
}

/// Reads a value as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bytes(_) => None,
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name as statements have it, for one to be copied.
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match is_plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_where_the_log_begins() {
        let label =
            "START WAL LOCATION: 0/2000028 (file 0000000A0000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n";
        let parsed = Label::parse(label).unwrap();
        assert_eq!(parsed.wal_file, "0000000A0000000000000002");
        assert_eq!(parsed.timeline, 10);
        for bad in [
            "",
            "START WAL LOCATION: 0/2000028",
            "START WAL LOCATION: 0/1 (file ../../../etc/passwd00000)",
            "START WAL LOCATION: 0/1 (file 00000001)",
        ] {
            assert_eq!(Label::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_becomes_part_of_a_statement_or_a_path_is_looked_at() {
        assert!(checked_lsn("16/B374D848".into()).is_ok());
        for bad in ["", "0", "0/", "/0", "0/1'; DROP TABLE t; --", "0/123456789"] {
            assert!(checked_lsn(bad.into()).is_err(), "{bad}");
        }
        assert!(is_number("16384") && !is_number("") && !is_number("../x") && !is_number("12345678901"));
        assert_eq!(quoted("freezer"), "freezer");
        assert_eq!(quoted("a\"B"), "\"a\"\"B\"");
    }
}
