//! A PostgreSQL with tables that somebody writes to, and backups of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use freezer_tests::{Program, Sandbox, Server, program, write};

/// Short rows, and rows that lie outside of their table.
pub(crate) const TABLES: [&str; 2] = ["plain", "wide"];

/// A server, and a sandbox for its backups.
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) sandbox: Sandbox,
}

impl Database {
    /// One that others use, too: nothing may be broken in it.
    #[track_caller]
    pub(crate) fn shared() -> Self {
        let start = || Server::start("postgres", &[("TLS", "yes")]);
        Self::on(Server::shared("postgres", start), sandbox())
    }

    /// One of its own.
    #[track_caller]
    pub(crate) fn own(options: &[(&str, &str)]) -> Self {
        Self::on(Server::start("postgres", options), sandbox())
    }

    /// A server that is there, which gets a login file for its backups.
    #[track_caller]
    pub(crate) fn on(server: Server, sandbox: Sandbox) -> Self {
        let port = server.value("PORT");
        let login = format!("host = 127.0.0.1\nport = {port}\nuser = freezer\npassword = 'secret'\n");
        write(&sandbox.path("login"), login.as_bytes());
        Self { server, sandbox }
    }

    /// Fills the tables.
    #[track_caller]
    pub(crate) fn fill(&self) {
        for (table, word) in TABLES.iter().zip(["md5(i::text)", "repeat(md5(i::text), 200)"]) {
            self.sql(&format!(
                "CREATE TABLE {table} (id bigserial PRIMARY KEY, word text NOT NULL); \
                 INSERT INTO {table} (word) SELECT {word} FROM generate_series(1, 2000) i"
            ));
        }
    }

    /// Runs statements in the database shop as a superuser, and answers what they print.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        client(&self.server)
            .args(["-c", statements])
            .run()
            .expect(0)
            .text()
    }

    /// The arguments of a backup named h_t by the login file.
    pub(crate) fn backup(&self, kind: &str, more: &[&str]) -> Program {
        self.backup_as("login", kind, more)
    }

    /// The same by another login file.
    pub(crate) fn backup_as(&self, login: &str, kind: &str, more: &[&str]) -> Program {
        self.backup_of(self.server.value("DATADIR"), login, kind)
            .args(more)
    }

    /// The same of another path.
    pub(crate) fn backup_of(&self, path: &str, login: &str, kind: &str) -> Program {
        let conf = format!("postgres-conf={}", self.sandbox.path(login).display());
        self.sandbox
            .freezer(["backup", path, "--name", "t", "--host", "h"])
            .args(["--to", &self.sandbox.url(), "--mode", "postgres"])
            .args(["--mode-option", &conf, "--mode-option", &format!("kind={kind}")])
            .env("XDG_STATE_HOME", self.sandbox.path("state"))
    }

    /// Waits until a query answers this.
    #[track_caller]
    pub(crate) fn await_answer(&self, query: &str, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.sql(query);
            if answer.trim() == wanted {
                return;
            }
            assert!(Instant::now() < end, "{query} still answers {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Holds a restored server against this one, as far as the restored one goes, and answers how many rows it has. One transaction
    /// writes to all tables, so they must end with the same number.
    #[track_caller]
    pub(crate) fn assert_holds(&self, restored: &Self) -> u64 {
        let last = |table: &str| {
            restored
                .sql(&format!("SELECT max(id) FROM {table}"))
                .trim()
                .to_owned()
        };
        let lasts: Vec<_> = TABLES.iter().map(|table| last(table)).collect();
        assert_eq!(lasts[0], lasts[1], "a transaction is there by half");
        for table in TABLES {
            let checksum = format!(
                "SELECT count(*), md5(string_agg(id || ':' || word, ',' ORDER BY id)) FROM {table} WHERE id <= {}",
                lasts[0]
            );
            assert_eq!(restored.sql(&checksum), self.sql(&checksum), "{table}");
        }
        let rows: u64 = restored
            .sql("SELECT count(*) FROM plain")
            .trim()
            .parse()
            .expect("a number");
        assert!(rows >= 2000, "{rows} rows");
        rows
    }

    /// Writes to all tables until it is dropped.
    pub(crate) fn writer(&self) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut child = raw_client(&self.server);
        let thread = std::thread::spawn(move || {
            let mut input = child.stdin.take().expect("a pipe");
            while !stopped.load(Ordering::Relaxed) {
                let insert = b"BEGIN; INSERT INTO plain (word) VALUES (md5(random()::text)); \
                    INSERT INTO wide (word) VALUES (repeat(md5(random()::text), 200)); COMMIT;\n";
                if input.write_all(insert).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            drop(input);
            child.wait().ok();
        });
        Writer {
            stop,
            thread: Some(thread),
        }
    }
}

/// A sandbox whose data directories the server's user can get to.
#[track_caller]
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::on_disk();
    let root = sandbox.path("");
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).expect("a directory of ours");
    sandbox
}

/// A server on a data directory that was restored.
#[track_caller]
pub(crate) fn server_on(data: &Path, more: &[(&str, &str)]) -> Database {
    let data = data.to_str().expect("UTF-8");
    Database::own(&[&[("DATADIR", data), ("BARE", "yes")], more].concat())
}

/// The client, logged in as a superuser.
pub(crate) fn client(server: &Server) -> Program {
    let arguments = [
        "-qAtX",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-d",
        "shop",
        "-h",
    ];
    program("psql")
        .args(arguments)
        .args([server.value("SOCKETS"), "-p", server.value("PORT")])
        .env("PGPASSWORD", "secret")
}

fn raw_client(server: &Server) -> Child {
    Command::new("psql")
        .args([
            "-qAtX",
            "-U",
            "postgres",
            "-d",
            "shop",
            "-h",
            server.value("SOCKETS"),
        ])
        .args(["-p", server.value("PORT")])
        .env("PGPASSWORD", "secret")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a client")
}

/// Somebody who writes.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
