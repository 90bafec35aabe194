//! `sql`: held connections to databases, as far as they are granted, made by `freezer_io::sql`.

use std::sync::Arc;

use freezer_io::http::Trust;
use freezer_io::sql::{self, Failure};
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::reach;
use super::resources::SqlConnection;
use super::trust;
use crate::bindings::v1::imports::freezer::plugin::sql::{
    Engine, Host, HostConnection, Password, Rows, Target, Tls, Value,
};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::convert;
use crate::grants::Network;
use crate::guest::{GuestState, PluginContext};
use crate::run::Guard;

/// The longest statement; ours have a few hundred bytes.
const MAX_STATEMENT_BYTES: usize = 1 << 20;

/// A session in the registry of the run: its locks end with the run, however that ends.
struct Held(Arc<sql::Connection>);

impl Guard for Held {
    fn description(&self) -> String {
        format!("connection to the database at {}", self.0.place())
    }

    fn release(self: Box<Self>) -> Result<(), String> {
        self.0.cut();
        Ok(())
    }
}

impl Host for GuestState {
    async fn connect(&mut self, target: Target) -> wasmtime::Result<Result<Resource<SqlConnection>, Error>> {
        let _in_host = self.clock.host();
        let target = self.request().await.and_then(|()| native(&self.context, target));
        let target = match target {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        let permission = reach::permission(&self.context.grants, Network::Sql, target.port);
        let connection = match sql::Connection::open(&target, &permission, &self.stop()).await {
            Ok(connection) => Arc::new(connection),
            Err(failure) => return Ok(Err(told(failure))),
        };
        let guard = self.context.run.hold(Box::new(Held(Arc::clone(&connection))));
        Ok(Ok(self.table.push(SqlConnection { connection, guard })?))
    }
}

impl HostConnection for GuestState {
    async fn execute(
        &mut self,
        connection: Resource<SqlConnection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let _in_host = self.clock.host();
        let _in_host = self.clock.host();
        if let Err(error) = self.request().await.and_then(|()| check(&statement)) {
            return Ok(Err(error));
        }
        let stop = self.stop();
        let connection = Arc::clone(&self.table.get(&connection)?.connection);
        let parameters = parameters.into_iter().map(parameter).collect();
        Ok(connection
            .execute(statement, parameters, &stop)
            .await
            .map_err(told))
    }

    async fn query(
        &mut self,
        connection: Resource<SqlConnection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        let _in_host = self.clock.host();
        let _in_host = self.clock.host();
        if let Err(error) = self.request().await.and_then(|()| check(&statement)) {
            return Ok(Err(error));
        }
        let stop = self.stop();
        let connection = Arc::clone(&self.table.get(&connection)?.connection);
        let parameters = parameters.into_iter().map(parameter).collect();
        let answer = connection.query(statement, parameters, &stop).await;
        Ok(answer.map(rows).map_err(told))
    }

    async fn drop(&mut self, connection: Resource<SqlConnection>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        let held = self.table.delete(connection)?;
        held.connection.close().await;
        // Closed already: only the registry's entry goes.
        if let Err(error) = self.context.run.release(held.guard) {
            tracing::debug!(error, "a closed connection couldn't be released");
        }
        Ok(())
    }
}

/// The target with what its names of settings stand for, once the place is granted.
fn native(context: &PluginContext, target: Target) -> Result<sql::Target, Error> {
    let mut native = sql::Target {
        engine: match target.engine {
            Engine::Mysql => sql::Engine::MySql,
            Engine::Postgres => sql::Engine::Postgres,
        },
        host: target.host,
        port: target.port,
        user: target.user,
        password: None,
        database: target.database,
        tls: None,
        timeout_ms: target.timeout_ms,
    };
    context.grants.network(Network::Sql, &native.place())?;
    native.password = match target.password {
        None => None,
        Some(Password::Secret(setting)) => Some(Zeroizing::new(context.secret(&setting)?.to_owned())),
        Some(Password::Known(password)) => Some(Zeroizing::new(password)),
    };
    native.tls = trusted(context, &target.tls, &native.place())?;
    Ok(native)
}

/// Whose certificates count, if any do.
fn trusted(context: &PluginContext, tls: &Tls, place: &str) -> Result<Option<Trust>, Error> {
    Ok(match tls {
        Tls::Off => None,
        Tls::System => Some(Trust::System),
        Tls::Certificates(setting) => Some(trust::certificates(context, setting)?),
        Tls::Anything(setting) => Some(trust::anything(context, setting, Some(place))?),
    })
}

fn check(statement: &str) -> Result<(), Error> {
    if statement.len() <= MAX_STATEMENT_BYTES {
        return Ok(());
    }
    let message = format!("a statement has at most {MAX_STATEMENT_BYTES} bytes");
    Err(convert::error(ErrorKind::Invalid, message))
}

fn told(failure: Failure) -> Error {
    Error {
        code: failure.code,
        ..failure.error.into()
    }
}

fn parameter(value: Value) -> sql::Value {
    match value {
        Value::Null => sql::Value::Null,
        Value::Text(text) => sql::Value::Text(text),
        Value::Integer(number) => sql::Value::Integer(number),
        Value::Real(number) => sql::Value::Real(number),
        Value::Bytes(bytes) => sql::Value::Bytes(bytes),
    }
}

fn rows(rows: sql::Rows) -> Rows {
    let value = |value| match value {
        sql::Value::Null => Value::Null,
        sql::Value::Text(text) => Value::Text(text),
        sql::Value::Integer(number) => Value::Integer(number),
        sql::Value::Real(number) => Value::Real(number),
        sql::Value::Bytes(bytes) => Value::Bytes(bytes),
    };
    Rows {
        columns: rows.columns,
        rows: rows
            .rows
            .into_iter()
            .map(|row| row.into_iter().map(value).collect())
            .collect(),
    }
}
