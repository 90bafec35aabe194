//! A held connection to a database server: to lock, ask and unlock. Needs the grant `sql`.

use crate::error::Result;
use crate::host::backend::sql as backend;

pub use crate::bindings::imports::freezer::plugin::sql::{Engine, Password, Rows, Target, Tls, Value};

/// Connects and logs in; each call opens a session of its own.
///
/// # Errors
/// `denied` (no grant, refused login); `unavailable`; `not-found`.
pub fn connect(target: &Target) -> Result<Connection> {
    Ok(Connection(backend::connect(target)?))
}

/// One session; dropping it closes it, which releases its locks.
#[derive(Debug)]
pub struct Connection(backend::Connection);

impl Connection {
    /// Runs one statement and gives the number of affected rows.
    ///
    /// # Errors
    /// `denied`, `invalid` (with the server's code); `unavailable` if the connection is gone, and its locks with it.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<u64> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Runs one statement and gives its rows, at most 10 000.
    ///
    /// # Errors
    /// As [`Connection::execute`], and `invalid` for an answer above the limits.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(self.0.query(statement, parameters)?)
    }
}
