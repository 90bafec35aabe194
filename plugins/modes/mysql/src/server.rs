//! A session with the server: what it is, where its files lie, and the lock under which they don't change.

use std::time::Instant;

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::sql::{self, Connection, Value};

use crate::login::Login;
use crate::note::Position;

/// Directories that a server may have beside its data directory.
const OTHER_DIRECTORIES: [&str; 3] = [
    "innodb_data_home_dir",
    "innodb_log_group_home_dir",
    "innodb_undo_directory",
];

/// A session; dropping it gives back its lock.
#[derive(Debug)]
pub(crate) struct Server {
    connection: Connection,
    /// As the server says it: "10.11.6-MariaDB-log".
    pub(crate) version: String,
    lock_seconds: u64,
}

/// The way a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// `BACKUP STAGE`, MariaDB 10.4 and later: readers and most writers go on until the last step.
    BackupStage,
    /// `FLUSH TABLES WITH READ LOCK`.
    ReadLock,
}

impl LockKind {
    /// Its statement, for the note.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BackupStage => "BACKUP STAGE",
            Self::ReadLock => "FLUSH TABLES WITH READ LOCK",
        }
    }
}

/// A lock that is held, and since when.
#[derive(Debug)]
pub(crate) struct Lock {
    /// How it was taken.
    pub(crate) kind: LockKind,
    since: Instant,
}

impl Server {
    /// Connects and asks who answers.
    ///
    /// # Errors
    /// What the host says: refused login, no server.
    pub(crate) fn connect(login: &Login) -> Result<Self> {
        let connection = sql::connect(&login.target()?)?;
        let mut server = Self {
            connection,
            version: String::new(),
            lock_seconds: login.lock_seconds,
        };
        server.version = server.text("SELECT VERSION()")?.unwrap_or_default();
        Ok(server)
    }

    /// Tells whether it is a MariaDB.
    pub(crate) fn is_mariadb(&self) -> bool {
        self.version.contains("MariaDB")
    }

    /// Which lock it knows.
    pub(crate) fn lock_kind(&self) -> LockKind {
        if self.is_mariadb() && number_of(&self.version) >= (10, 4) {
            LockKind::BackupStage
        } else {
            LockKind::ReadLock
        }
    }

    /// Makes sure that all of the server's files lie at or below `path`.
    ///
    /// # Errors
    /// `invalid` names what lies elsewhere.
    pub(crate) fn check_directories(&self, path: &str) -> Result<String> {
        let data = self.text("SELECT @@datadir")?.unwrap_or_default();
        let data = data.trim_end_matches('/').to_owned();
        if !lies_in(&data, path) {
            return Err(Error::invalid(format!(
                "the server keeps its data in {data:?}, but {path:?} is to be backed up: name {data:?}"
            )));
        }
        for name in OTHER_DIRECTORIES {
            let asked = format!("SHOW GLOBAL VARIABLES LIKE '{name}'");
            let Some(other) = self.column(&asked, 1)? else {
                continue;
            };
            if other.starts_with('/') && !lies_in(other.trim_end_matches('/'), path) {
                return Err(Error::invalid(format!(
                    "{name} of the server is {other:?}, outside of {path:?}: a snapshot of one moment needs all in one place; \
                     name a directory that holds both, or use kind=logical or kind=hot"
                )));
            }
        }
        Ok(data)
    }

    /// Waits until nobody changes anything, and keeps it so.
    ///
    /// # Errors
    /// `denied` says which privilege is missing; `busy` if somebody holds a table for too long.
    pub(crate) fn lock(&self, kind: LockKind) -> Result<Lock> {
        let seconds = self.lock_seconds;
        self.connection
            .execute(&format!("SET SESSION lock_wait_timeout = {seconds}"), &[])?;
        control::progress("waiting for the read lock", None);
        let statements: &[&str] = match kind {
            LockKind::BackupStage => &[
                "BACKUP STAGE START",
                "BACKUP STAGE FLUSH",
                "BACKUP STAGE BLOCK_DDL",
                "BACKUP STAGE BLOCK_COMMIT",
            ],
            LockKind::ReadLock => &["FLUSH TABLES WITH READ LOCK"],
        };
        let mut since = Instant::now();
        for statement in statements {
            // Writers wait from the last one on, also while it waits itself.
            since = Instant::now();
            self.connection
                .execute(statement, &[])
                .map_err(|error| self.refused(statement, error))?;
        }
        Ok(Lock { kind, since })
    }

    /// Lets everybody go on; answers how long they waited, in milliseconds.
    ///
    /// # Errors
    /// If the connection broke meanwhile: then nobody knows since when the lock was gone.
    pub(crate) fn unlock(&self, lock: &Lock) -> Result<u64> {
        let statement = match lock.kind {
            LockKind::BackupStage => "BACKUP STAGE END",
            LockKind::ReadLock => "UNLOCK TABLES",
        };
        let released = self.connection.execute(statement, &[]);
        released.map_err(|error| {
            Error::new(
                error.kind,
                format!(
                    "the read lock was lost before it was given back: {}",
                    error.message
                ),
            )
        })?;
        Ok(milliseconds(lock.since))
    }

    /// Where the binary log stands; none if there is none.
    ///
    /// # Errors
    /// `denied` says which privilege is missing.
    pub(crate) fn position(&self) -> Result<Option<Position>> {
        let statement = if !self.is_mariadb() && number_of(&self.version) >= (8, 4) {
            "SHOW BINARY LOG STATUS"
        } else {
            "SHOW MASTER STATUS"
        };
        let answer = self.connection.query(statement, &[])?;
        let Some(row) = answer.rows.first() else {
            return Ok(None);
        };
        let (Some(file), Some(Value::Integer(position))) = (row.first().and_then(text), row.get(1)) else {
            return Err(Error::corrupt(format!("{statement} has no file and position")));
        };
        let gtid = if self.is_mariadb() {
            self.text("SELECT @@global.gtid_binlog_pos")?
        } else {
            self.text("SELECT @@global.gtid_executed")?
        };
        Ok(Some(Position {
            file,
            position: *position,
            gtid: gtid.filter(|gtid| !gtid.is_empty()),
        }))
    }

    /// Checks that the user has these privileges everywhere. Those of roles can't be told apart from here: then the server judges.
    ///
    /// # Errors
    /// `denied` names those that are missing.
    pub(crate) fn check_privileges(&self, wanted: &[&str]) -> Result<()> {
        let grants = self.connection.query("SHOW GRANTS", &[])?;
        let lines: Vec<String> = grants
            .rows
            .iter()
            .filter_map(|row| row.first().and_then(text))
            .collect();
        let missing = missing_privileges(&lines, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let user = self.text("SELECT CURRENT_USER()")?.unwrap_or_default();
        Err(Error::denied(format!(
            "{user} lacks the privilege {}: as an administrator, GRANT {} ON *.* TO that user",
            missing.join(", "),
            missing.join(", ")
        )))
    }

    /// Says what to do about a lock that wasn't had.
    fn refused(&self, statement: &str, error: Error) -> Error {
        if error.kind == ErrorKind::Busy {
            let holder = self.oldest_session().unwrap_or_default();
            return Error::busy(format!(
                "{statement} waited {} s for another session that holds a table{holder}: let it end, or wait longer with \
                 lock-timeout ({})",
                self.lock_seconds, error.message
            ));
        }
        Error::new(error.kind, format!("{statement}: {}", error.message))
    }

    /// The session that is there for the longest time, if we may see others.
    fn oldest_session(&self) -> Option<String> {
        let asked = "SELECT CONCAT(' (perhaps session ', ID, ' of ', USER, ', there for ', TIME, ' s)') \
                     FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER <> 'system user' \
                     AND COMMAND <> 'Daemon' ORDER BY TIME DESC LIMIT 1";
        self.text(asked).ok().flatten()
    }

    fn text(&self, statement: &str) -> Result<Option<String>> {
        self.column(statement, 0)
    }

    fn column(&self, statement: &str, column: usize) -> Result<Option<String>> {
        let answer = self.connection.query(statement, &[])?;
        let value = answer.rows.first().and_then(|row| row.get(column));
        Ok(value.and_then(text))
    }
}

/// How long ago that is.
pub(crate) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The privileges of `wanted` that no line of `SHOW GRANTS` gives everywhere.
fn missing_privileges(lines: &[String], wanted: &[&str]) -> Vec<String> {
    let mut given = Vec::new();
    for line in lines {
        let Some(rest) = line.strip_prefix("GRANT ") else {
            continue;
        };
        let Some((privileges, object)) = rest.split_once(" ON ") else {
            // A role.
            return Vec::new();
        };
        if object.starts_with("*.*") {
            given.extend(privileges.split(", ").map(str::to_owned));
        }
    }
    if given
        .iter()
        .any(|privilege| privilege == "ALL PRIVILEGES" || privilege == "SUPER")
    {
        return Vec::new();
    }
    let has = |privilege: &str| {
        let other_name = match privilege {
            "BINLOG MONITOR" => "REPLICATION CLIENT",
            other => other,
        };
        given
            .iter()
            .any(|given| given == privilege || given == other_name)
    };
    let missing = wanted.iter().filter(|privilege| !has(privilege));
    missing.map(|privilege| (*privilege).to_owned()).collect()
}

/// The first two numbers of a version.
fn number_of(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn lies_in(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A value as text; servers send some texts as bytes.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_count_where_they_hold_everywhere() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let wanted = ["SELECT", "BINLOG MONITOR"];
        for (given, missing) in [
            (
                vec!["GRANT USAGE ON *.* TO `weak`@`%`"],
                vec!["SELECT", "BINLOG MONITOR"],
            ),
            (vec!["GRANT SELECT, REPLICATION CLIENT ON *.* TO `a`@`%`"], vec![]),
            (
                vec!["GRANT SELECT ON `shop`.* TO `a`@`%`"],
                vec!["SELECT", "BINLOG MONITOR"],
            ),
            (
                vec!["GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION"],
                vec![],
            ),
            (
                vec!["GRANT USAGE ON *.* TO `a`@`%`", "GRANT `backup` TO `a`@`%`"],
                vec![],
            ),
        ] {
            assert_eq!(missing_privileges(&lines(&given), &wanted), missing, "{given:?}");
        }
    }

    #[test]
    fn versions_and_directories_are_read() {
        assert_eq!(number_of("10.11.6-MariaDB-0+deb12u1-log"), (10, 11));
        assert_eq!(number_of("8.4.0"), (8, 4));
        assert_eq!(number_of(""), (0, 0));
        assert!(lies_in("/srv/mysql", "/srv/mysql") && lies_in("/srv/mysql", "/srv/") && lies_in("/a", "/"));
        assert!(!lies_in("/srv/mysql2", "/srv/mysql") && !lies_in("/srv", "/srv/mysql"));
    }
}
