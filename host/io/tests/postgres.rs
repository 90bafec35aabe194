//! `sql` against a real PostgreSQL: values, refusals, time limits, TLS, sockets, and sessions that hold what they took.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use freezer_io::error::ErrorKind;
use freezer_io::http::Trust;
use freezer_io::sql::{Connection, Engine, Failure, Target, Value};
use freezer_io::stop::Stop;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// A server: the shared one of the test run, or one of its own.
struct Server {
    folder: PathBuf,
    own: Option<TempDir>,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "the variable by which a test run names its server"
    )]
    fn shared() -> Self {
        match std::env::var_os("FREEZER_TEST_POSTGRES") {
            Some(folder) => Self {
                folder: folder.into(),
                own: None,
            },
            None => Self::start(&["tls"]),
        }
    }

    fn start(words: &[&str]) -> Self {
        let own = tempfile::Builder::new().prefix("freezer-sql.").tempdir().unwrap();
        let server = Self {
            folder: own.path().to_owned(),
            own: Some(own),
        };
        server.act("up", words);
        server
    }

    fn act(&self, action: &str, words: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/postgres.sh");
        let run = Command::new(script)
            .arg(action)
            .arg(&self.folder)
            .args(words)
            .output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    fn value(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join("env")).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap().to_owned()
    }

    fn target(&self, user: &str) -> Target {
        Target {
            engine: Engine::Postgres,
            host: "127.0.0.1".to_owned(),
            port: self.value("PORT").parse().unwrap(),
            user: user.to_owned(),
            password: Some(Zeroizing::new("secret".to_owned())),
            database: None,
            tls: None,
            timeout_ms: Some(20_000),
        }
    }

    fn session(&self, user: &str) -> Session {
        Session::open(&self.target(user)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.act("down", &[]);
        }
    }
}

/// A connection with what drives it.
#[derive(Debug)]
struct Session {
    runtime: Runtime,
    connection: Connection,
}

impl Session {
    fn open(target: &Target) -> Result<Self, Failure> {
        let runtime = Runtime::new().unwrap();
        let connection = runtime.block_on(Connection::open(target, &|_| Ok(()), &Stop::never()))?;
        Ok(Self { runtime, connection })
    }

    fn query(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        let stop = Stop::never();
        let call = self
            .connection
            .query(statement.to_owned(), parameters.to_vec(), &stop);
        self.runtime.block_on(call).map(|rows| rows.rows)
    }

    /// The only value of an answer.
    #[track_caller]
    fn one(&self, statement: &str, parameters: &[Value]) -> Value {
        let rows = self.query(statement, parameters).unwrap();
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{statement}");
        rows[0][0].clone()
    }

    #[track_caller]
    fn refused(&self, statement: &str) -> Failure {
        self.query(statement, &[]).unwrap_err()
    }

    /// Asks until it is answered with true.
    #[track_caller]
    fn await_true(&self, statement: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.one(statement, &[]) != text("t") {
            assert!(Instant::now() < end, "{statement}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[track_caller]
fn assert_failed(failure: &Failure, kind: ErrorKind, code: Option<&str>, words: &str) {
    assert_eq!(failure.error.kind, kind, "{failure}");
    assert_eq!(failure.code.as_deref(), code, "{failure}");
    assert!(failure.to_string().contains(words), "{failure}");
}

mod needs_postgres {
    use super::*;

    #[test]
    fn values_come_as_what_they_are_by_both_protocols() {
        let server = Server::shared();
        let session = server.session("postgres");
        let nothing = [text("")];
        for (expression, value) in [
            ("NULL", Value::Null),
            ("1::int2", Value::Integer(1)),
            ("(-2147483648)::int4", Value::Integer(-2_147_483_648)),
            ("9223372036854775807::int8", Value::Integer(i64::MAX)),
            ("0.5::float4", Value::Real(0.5)),
            ("(-0.25)::float8", Value::Real(-0.25)),
            ("true", text("t")),
            ("1 > 2", text("f")),
            ("'zwölf €'::text", text("zwölf €")),
            ("'a'::varchar(10)", text("a")),
            ("'a'::char(3)", text("a  ")),
            ("current_user", text("postgres")),
            ("'\\x00ff'::bytea", Value::Bytes(vec![0, 255])),
            ("'{\"a\": 1}'::json", text("{\"a\": 1}")),
        ] {
            let statement = format!("SELECT {expression}");
            assert_eq!(session.one(&statement, &[]), value, "{statement}");
            let statement = format!("SELECT {expression} WHERE $1 = ''");
            assert_eq!(session.one(&statement, &nothing), value, "{statement}");
        }
    }

    #[test]
    fn other_types_are_text_without_parameters_and_refused_with_them() {
        let server = Server::shared();
        for (expression, value) in [
            ("1.50::numeric", "1.50"),
            ("'16/B374D848'::pg_lsn", "16/B374D848"),
            ("4294967295::oid", "4294967295"),
            ("'2026-11-25 06:05:04+00'::timestamptz", "2026-11-25 06:05:04+00"),
            ("'{1,2}'::int[]", "{1,2}"),
            (
                "'00000000-0000-0000-0000-000000000001'::uuid",
                "00000000-0000-0000-0000-000000000001",
            ),
        ] {
            let session = server.session("postgres");
            assert_eq!(session.one(&format!("SELECT {expression}"), &[]), text(value));
            let statement = format!("SELECT {expression} WHERE $1 = ''");
            let failure = session.query(&statement, &[text("")]).unwrap_err();
            assert_failed(&failure, ErrorKind::Invalid, None, "cast it to text");
            // It was closed, since the rest of the answer wasn't read.
            assert!(session.refused("SELECT 1").to_string().contains("closed before"));
            let session = server.session("postgres");
            let statement = format!("SELECT ({expression})::text WHERE $1 = ''");
            assert_eq!(session.one(&statement, &[text("")]), text(value));
        }
    }

    #[test]
    fn parameters_arrive_as_what_they_are() {
        let server = Server::shared();
        let session = server.session("postgres");
        for (kind, value) in [
            ("text", text("it's \"quoted\"; --")),
            ("int8", Value::Integer(i64::MIN)),
            ("float8", Value::Real(1.5)),
            ("bytea", Value::Bytes(vec![0, 1, 255])),
            ("text", Value::Null),
        ] {
            let statement = format!("SELECT $1::{kind}");
            assert_eq!(session.one(&statement, std::slice::from_ref(&value)), value);
        }
    }

    #[test]
    fn refusals_have_a_kind_and_the_session_goes_on() {
        let server = Server::shared();
        let session = server.session("weak");
        for (statement, kind, code, words) in [
            ("SELEC 1", ErrorKind::Invalid, "42601", "syntax error"),
            ("SELECT * FROM nothing", ErrorKind::NotFound, "42P01", "nothing"),
            ("SELECT 1/0", ErrorKind::Invalid, "22012", "division by zero"),
            (
                "SHOW data_directory",
                ErrorKind::Denied,
                "42501",
                "pg_read_all_settings",
            ),
            (
                "SELECT pg_backup_start('x', true)",
                ErrorKind::Denied,
                "42501",
                "pg_backup_start",
            ),
        ] {
            assert_failed(&session.refused(statement), kind, Some(code), words);
            assert_eq!(session.one("SELECT 1", &[]), Value::Integer(1));
        }
        let many = session.refused("SELECT generate_series(1, 20000)");
        assert_failed(&many, ErrorKind::Invalid, None, "more than 10000 rows");
    }

    #[test]
    fn logins_are_refused_with_the_servers_own_words() {
        let server = Server::shared();
        let open = |change: fn(&mut Target)| {
            let mut target = server.target("weak");
            change(&mut target);
            Session::open(&target).unwrap_err()
        };
        let wrong = open(|target| target.password = Some(Zeroizing::new("wrong-canary".to_owned())));
        assert_failed(
            &wrong,
            ErrorKind::Denied,
            Some("28P01"),
            "password authentication failed for user \"weak\"",
        );
        assert!(!format!("{wrong:?}").contains("wrong-canary"));
        assert_failed(
            &open(|target| target.password = None),
            ErrorKind::Denied,
            Some("28P01"),
            "weak",
        );
        let nobody = open(|target| target.user = "nobody".to_owned());
        assert_failed(&nobody, ErrorKind::Denied, Some("28P01"), "nobody");
        let nowhere = open(|target| target.database = Some("nowhere".to_owned()));
        assert_failed(
            &nowhere,
            ErrorKind::NotFound,
            Some("3D000"),
            "\"nowhere\" does not exist",
        );
        let closed = open(|target| target.port = 1);
        assert_failed(
            &closed,
            ErrorKind::Unavailable,
            None,
            "127.0.0.1:1: Connection refused",
        );
        let nohost = open(|target| target.host = "nowhere.invalid".to_owned());
        assert_failed(&nohost, ErrorKind::NotFound, None, "nowhere.invalid");
    }

    #[test]
    fn a_socket_is_found_by_its_name_and_in_its_directory() {
        let server = Server::shared();
        for place in ["SOCKET", "SOCKETS"] {
            let mut target = server.target("freezer");
            target.host = server.value(place);
            if place == "SOCKET" {
                target.port = 1;
            }
            let session = Session::open(&target).unwrap();
            assert_eq!(session.one("SELECT inet_client_addr() IS NULL", &[]), text("t"));
        }
        let mut target = server.target("freezer");
        target.host = "/nonexistent".to_owned();
        let failure = Session::open(&target).unwrap_err();
        assert_failed(&failure, ErrorKind::NotFound, None, "/nonexistent");
    }

    #[test]
    fn tls_is_had_from_a_trusted_server_or_not_at_all() {
        let server = Server::shared();
        let mut target = server.target("tlsonly");
        let failure = Session::open(&target).unwrap_err();
        assert_failed(&failure, ErrorKind::Denied, Some("28000"), "no encryption");
        target.tls = Some(Trust::System);
        let failure = Session::open(&target).unwrap_err();
        assert_failed(&failure, ErrorKind::Denied, None, "certificate isn't trusted");
        for trust in [
            Trust::Certificates(server.value("AUTHORITY").into()),
            Trust::Anything,
        ] {
            target.tls = Some(trust);
            let session = Session::open(&target).unwrap();
            let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            assert_eq!(session.one(encrypted, &[]), text("t"));
        }
        let bare = Server::start(&[]);
        let mut target = bare.target("freezer");
        target.tls = Some(Trust::Anything);
        let failure = Session::open(&target).unwrap_err();
        assert_failed(&failure, ErrorKind::Denied, None, "TLS");
    }

    #[test]
    fn a_session_holds_what_it_took_until_it_is_closed_or_cut() {
        let server = Server::shared();
        let other = server.session("postgres");
        // Other tests use the same server.
        let key = i64::from(std::process::id());
        let free = format!("SELECT pg_try_advisory_lock({key}) AND pg_advisory_unlock({key})");
        for close in [true, false] {
            let session = server.session("postgres");
            session
                .query(&format!("SELECT pg_advisory_lock({key})::text"), &[])
                .unwrap();
            session.query("SELECT 1", &[]).unwrap();
            assert_eq!(other.one(&free, &[]), text("f"));
            match close {
                true => session.runtime.block_on(session.connection.close()),
                false => session.connection.cut(),
            }
            other.await_true(&free);
            assert_failed(
                &session.refused("SELECT 1"),
                ErrorKind::Unavailable,
                None,
                "closed before",
            );
        }
    }

    #[test]
    fn a_statement_that_takes_too_long_ends_the_session_here_and_there() {
        let server = Server::shared();
        let other = server.session("postgres");
        let mut target = server.target("postgres");
        target.timeout_ms = Some(300);
        let session = Session::open(&target).unwrap();
        let mark = format!("SELECT pg_sleep(60) /* {} */", std::process::id());
        let started = Instant::now();
        let failure = session.refused(&mark);
        assert_failed(&failure, ErrorKind::Unavailable, None, "no answer within 300 ms");
        assert!(started.elapsed() < Duration::from_secs(10));
        // The server doesn't look after its clients while it works.
        let gone = format!(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%/* {} */%' AND pid <> pg_backend_pid()",
            std::process::id()
        );
        other.await_true(&gone);
    }

    #[test]
    fn a_stopped_run_and_a_terminated_session_end_it() {
        let server = Server::shared();
        let other = server.session("postgres");
        let session = server.session("postgres");
        let Value::Integer(pid) = session.one("SELECT pg_backend_pid()", &[]) else {
            panic!("no pid")
        };
        assert_eq!(
            other.one(&format!("SELECT pg_terminate_backend({pid})"), &[]),
            text("t")
        );
        other.await_true(&format!(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {pid}"
        ));
        let failure = session.refused("SELECT 1");
        assert_eq!(failure.error.kind, ErrorKind::Unavailable, "{failure}");
        assert!(session.refused("SELECT 1").to_string().contains("closed before"));
        let session = server.session("postgres");
        let stop = Stop::when(|| true);
        let call = session
            .connection
            .query("SELECT pg_sleep(60)".to_owned(), Vec::new(), &stop);
        let failure = session.runtime.block_on(call).unwrap_err();
        assert_eq!(failure.error.kind, ErrorKind::Cancelled);
    }

    #[test]
    fn a_server_without_a_free_session_is_busy() {
        let server = Server::start(&[]);
        let admin = server.session("postgres");
        admin.query("ALTER ROLE weak CONNECTION LIMIT 1", &[]).unwrap();
        let _held = server.session("weak");
        let failure = Session::open(&server.target("weak")).unwrap_err();
        assert_failed(&failure, ErrorKind::Busy, Some("53300"), "too many connections");
    }
}
