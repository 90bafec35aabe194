//! How to connect and log in.

use std::path::Path;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection, PgConnection};

use super::Target;
use crate::http::Trust;

/// How much later than here a server ends a statement: whose time it was is told here.
const SERVER_DELAY: Duration = Duration::from_secs(1);
/// What the name of a socket of PostgreSQL begins with; its port follows.
const SOCKET_PREFIX: &str = ".s.PGSQL.";

/// Logs in at `host`, which stands for the target's name.
pub(super) async fn mysql(target: &Target, host: &str) -> Result<MySqlConnection, sqlx::Error> {
    let mode = match (&target.tls, target.host.starts_with('/')) {
        // Nobody can read along, but MySQL's library sends a password in full only through TLS: so it is used where it is there.
        (None, true) => MySqlSslMode::Preferred,
        (None, false) => MySqlSslMode::Disabled,
        (Some(_), true) => return Err(socket_with_tls()),
        (Some(Trust::Anything), _) => MySqlSslMode::Required,
        (Some(Trust::System | Trust::Certificates(_)), _) => MySqlSslMode::VerifyIdentity,
    };
    // What the session is by itself: statements like SET GLOBAL sql_mode of others must not be mixed with ours.
    let mut options = MySqlConnectOptions::new()
        .username(&target.user)
        .ssl_mode(mode)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging();
    options = match target.host.starts_with('/') {
        true => options.socket(&target.host),
        false => options.host(host).port(target.port),
    };
    if let Some(password) = &target.password {
        options = options.password(password);
    }
    if let Some(database) = &target.database {
        options = options.database(database);
    }
    if let Some(Trust::Certificates(path)) = &target.tls {
        options = options.ssl_ca(path);
    }
    options.connect().await
}

/// Logs in. The server is told how long a statement may take, too: while it works it doesn't notice that a client is gone, and would
/// go on with what nobody waits for.
pub(super) async fn postgres(
    target: &Target,
    host: &str,
    patience: Duration,
) -> Result<PgConnection, sqlx::Error> {
    let mode = match (&target.tls, target.host.starts_with('/')) {
        (None, _) => PgSslMode::Disable,
        (Some(_), true) => return Err(socket_with_tls()),
        (Some(Trust::Anything), _) => PgSslMode::Require,
        (Some(Trust::System | Trust::Certificates(_)), _) => PgSslMode::VerifyFull,
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .username(&target.user)
        .ssl_mode(mode)
        .application_name("freezer")
        // Always set, since the library would look for one in the environment.
        .password(target.password.as_ref().map_or("", |password| password.as_str()))
        .database(target.database.as_deref().unwrap_or("postgres"))
        .disable_statement_logging();
    options = match socket(target) {
        Some((directory, port)) => options.socket(directory).port(port),
        None => options.host(host).port(target.port),
    };
    if let Some(Trust::Certificates(path)) = &target.tls {
        options = options.ssl_root_cert(path);
    }
    let mut driver = options.connect().await?;
    let limit = (patience + SERVER_DELAY).as_millis();
    let statement = format!("SET statement_timeout = {limit}");
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut driver)
        .await?;
    Ok(driver)
}

/// The directory of a socket and the port that its name holds.
fn socket(target: &Target) -> Option<(&Path, u16)> {
    if !target.host.starts_with('/') {
        return None;
    }
    let path = Path::new(&target.host);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let port = name
        .strip_prefix(SOCKET_PREFIX)
        .and_then(|port| port.parse().ok());
    match (port, path.parent()) {
        (Some(port), Some(directory)) => Some((directory, port)),
        _ => Some((path, target.port)),
    }
}

fn socket_with_tls() -> sqlx::Error {
    sqlx::Error::Configuration("a socket needs no TLS, and can't have it here".into())
}
