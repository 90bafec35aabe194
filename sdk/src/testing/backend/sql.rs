//! Fake `sql`.

use crate::bindings::imports::freezer::plugin::sql::{Rows, Target, Value};
use crate::bindings::imports::freezer::plugin::types::Error;
use crate::testing::machine::{Machine, OpenHandle, call};
use crate::testing::{FakeAnswer, unanswered};

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Connection(OpenHandle);

impl Connection {
    /// `sql.connection.execute`.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<u64, Error> {
        call("sql.execute", statement, |machine| {
            Ok(answer(machine, statement, parameters)?.affected)
        })
    }

    /// `sql.connection.query`.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows, Error> {
        call("sql.query", statement, |machine| {
            let answer = answer(machine, statement, parameters)?;
            Ok(Rows {
                columns: answer.columns,
                rows: answer.rows,
            })
        })
    }
}

/// `sql.connect`.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    call("sql.connect", target.host.clone(), |machine| {
        Ok(Connection(OpenHandle::new(machine)))
    })
}

fn answer(machine: &Machine, statement: &str, parameters: &[Value]) -> Result<FakeAnswer, Error> {
    let mut answer = machine.state().sql.take().ok_or_else(|| unanswered("sql"))?;
    let result = answer(statement, parameters);
    machine.state().sql = Some(answer);
    Ok(result?)
}
