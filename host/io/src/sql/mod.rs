//! Held connections to MySQL, MariaDB and PostgreSQL: to lock, ask and unlock, not to move data.
//!
//! Without parameters a statement goes by the text protocol, since FLUSH and LOCK can't be prepared. Whatever breaks a call in the
//! middle (time, cancelling, the network) closes the connection: nobody could tell what the server would answer next, and a
//! closed connection gives its locks back. Needs a tokio runtime with timers and I/O.

mod answer;
mod failure;
mod login;
mod postgres_value;
mod reach;
mod value;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection as _, MySqlConnection, PgConnection};
use zeroize::Zeroizing;

pub use answer::{MAX_ANSWER_BYTES, MAX_ROWS, Rows};
pub use failure::Failure;
pub use value::Value;

use crate::address::AddressPermission;
use crate::error::{Error, ErrorKind};
use crate::http::Trust;
use crate::stop::{self, Stop};
use answer::Collector;

/// How long a connection may take to come about, login included.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a goodbye may take; afterwards the connection is just cut.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a statement may take, unless the caller asks for another time.
const STATEMENT: Duration = Duration::from_secs(60);
/// The longest time that a caller can ask for.
const MAX_STATEMENT: Duration = Duration::from_secs(600);

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

/// Where to connect to, and as whom.
pub struct Target {
    /// The protocol.
    pub engine: Engine,
    /// Name or address, or the path of a socket.
    pub host: String,
    /// Port; for a socket it is looked at only to find it in a directory.
    pub port: u16,
    /// The database user.
    pub user: String,
    /// The password; none to log in without one.
    pub password: Option<Zeroizing<String>>,
    /// The database to use, if any.
    pub database: Option<String>,
    /// Whose certificates count; none to speak in the clear.
    pub tls: Option<Trust>,
    /// Milliseconds that one statement may take: 60 000 without it, at most 600 000.
    pub timeout_ms: Option<u32>,
}

impl Target {
    /// Where it is, for grants and messages: `host:port`, or the path of a socket.
    #[must_use]
    pub fn place(&self) -> String {
        if self.host.starts_with('/') {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

enum Driver {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

/// One session with a server; its locks last as long as it does.
pub struct Connection {
    /// Taken out while a call goes on: a call that is given up takes the session with it.
    driver: Mutex<Option<Driver>>,
    place: String,
    patience: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Connection").field(&self.place).finish()
    }
}

impl Connection {
    /// Connects to an address that is permitted, and logs in.
    ///
    /// # Errors
    /// `Denied` (refused login, untrusted certificate); `Unavailable`; `Busy` (too many connections); `NotFound` (no such host or
    /// database); `Invalid`; `Cancelled`.
    pub async fn open(
        target: &Target,
        permission: &AddressPermission<'_>,
        stop: &Stop,
    ) -> Result<Self, Failure> {
        let place = target.place();
        let patience = target.timeout_ms.map(|time| Duration::from_millis(time.into()));
        let patience = patience.unwrap_or(STATEMENT).min(MAX_STATEMENT);
        let found = within(CONNECT, stop, reach::look_up(target)).await;
        let late = || format!("no connection within {} s", CONNECT.as_secs());
        let found = found.map_err(|ended| ended.failure(&place, late))?;
        let hosts = reach::hosts(target, found, permission)?;
        let driver = within(CONNECT, stop, log_in(target, &hosts, patience)).await;
        let driver = driver.map_err(|ended| ended.failure(&place, late))?;
        Ok(Self {
            driver: Mutex::new(Some(driver)),
            place,
            patience,
        })
    }

    /// Runs one statement and gives the number of affected rows.
    ///
    /// # Errors
    /// What the server says; `Unavailable` if the connection is gone; `Cancelled`.
    pub async fn execute(
        &self,
        statement: String,
        parameters: Vec<Value>,
        stop: &Stop,
    ) -> Result<u64, Failure> {
        let collected = self
            .run(statement, parameters, Collector::counting(), stop)
            .await?;
        Ok(collected.affected())
    }

    /// Runs one statement and gives its rows.
    ///
    /// # Errors
    /// As [`Connection::execute`]; `Invalid` for an answer above the limits, after which the connection is closed.
    pub async fn query(
        &self,
        statement: String,
        parameters: Vec<Value>,
        stop: &Stop,
    ) -> Result<Rows, Failure> {
        let collected = self
            .run(statement, parameters, Collector::keeping(), stop)
            .await?;
        Ok(collected.into_rows())
    }

    /// Says goodbye and closes the connection. One that is closed stays so.
    pub async fn close(&self) {
        let goodbye = match self.take() {
            Some(Driver::MySql(driver)) => tokio::time::timeout(GOODBYE, driver.close()).await,
            Some(Driver::Postgres(driver)) => tokio::time::timeout(GOODBYE, driver.close()).await,
            None => return,
        };
        if !matches!(goodbye, Ok(Ok(()))) {
            tracing::debug!(place = self.place, "the server didn't hear the goodbye");
        }
    }

    /// Closes the connection without a word, which a server notices at once.
    pub fn cut(&self) {
        drop(self.take());
    }

    /// Where it leads, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn take(&self) -> Option<Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn run(
        &self,
        statement: String,
        parameters: Vec<Value>,
        collector: Collector,
        stop: &Stop,
    ) -> Result<Collector, Failure> {
        let mut driver = self.take().ok_or_else(|| self.gone())?;
        let mut collector = collector;
        let running = async {
            match &mut driver {
                Driver::MySql(driver) => answer::mysql(driver, statement, parameters, &mut collector).await,
                Driver::Postgres(driver) => {
                    answer::postgres(driver, statement, parameters, &mut collector).await
                }
            }
        };
        let ended = within(self.patience, stop, running).await;
        // The session lives on only if the server itself ended the call.
        let refused = |ended: &Ended| matches!(ended, Ended::Failed(error) if failure::is_refusal(error));
        if ended.as_ref().err().is_none_or(refused) && collector.fault().is_none() {
            *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        }
        let late = || {
            let time = self.patience.as_millis();
            format!("no answer within {time} ms, so the connection was closed")
        };
        ended.map_err(|ended| ended.failure(&self.place, late))?;
        match collector.fault() {
            Some(why) => Err(Error::new(ErrorKind::Invalid, format!("{}: {why}", self.place)).into()),
            None => Ok(collector),
        }
    }

    fn gone(&self) -> Failure {
        let message = format!("{}: the connection was closed before", self.place);
        Error::new(ErrorKind::Unavailable, message).into()
    }
}

/// Logs in at the first of the hosts that answers.
async fn log_in(target: &Target, hosts: &[String], patience: Duration) -> Result<Driver, sqlx::Error> {
    let mut last = sqlx::Error::Io(std::io::ErrorKind::NotFound.into());
    for host in hosts {
        let driver = match target.engine {
            Engine::MySql => login::mysql(target, host).await.map(Driver::MySql),
            Engine::Postgres => login::postgres(target, host, patience)
                .await
                .map(Driver::Postgres),
        };
        match driver {
            Err(sqlx::Error::Io(error)) => last = sqlx::Error::Io(error),
            answered => return answered,
        }
    }
    Err(last)
}

/// Why something didn't come about.
enum Ended {
    Failed(sqlx::Error),
    Late,
    Stopped,
}

impl Ended {
    fn failure(self, place: &str, late: impl FnOnce() -> String) -> Failure {
        match self {
            Self::Failed(error) => failure::of(place, &error),
            Self::Late => Error::new(ErrorKind::Unavailable, format!("{place}: {}", late())).into(),
            Self::Stopped => stop::cancelled().into(),
        }
    }
}

async fn within<T>(
    time: Duration,
    stop: &Stop,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Ended> {
    tokio::select! {
        done = tokio::time::timeout(time, work) => match done {
            Ok(done) => done.map_err(Ended::Failed),
            Err(_) => Err(Ended::Late),
        },
        () = stop.raised() => Err(Ended::Stopped),
    }
}
