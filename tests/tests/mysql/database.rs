//! A MariaDB with tables of three engines that somebody writes to, and backups of it.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use freezer_tests::{Program, Sandbox, Server, program, write};

/// One for each engine.
pub(crate) const TABLES: [&str; 3] = ["inno", "myisam", "aria"];

/// A server, and a sandbox for its backups.
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) sandbox: Sandbox,
}

impl Database {
    /// One that others use, too: nothing may be locked in it.
    #[track_caller]
    pub(crate) fn shared() -> Self {
        let start = || Server::start("mariadb", &[("TLS", "yes")]);
        Self::on(Server::shared("mariadb", start), Sandbox::on_disk())
    }

    /// One of its own.
    #[track_caller]
    pub(crate) fn own(options: &[(&str, &str)]) -> Self {
        Self::on(Server::start("mariadb", options), Sandbox::on_disk())
    }

    /// A server that is there, which gets a login file for its backups.
    #[track_caller]
    pub(crate) fn on(server: Server, sandbox: Sandbox) -> Self {
        let port = server.value("PORT");
        let login = format!("host = 127.0.0.1\nport = {port}\nuser = freezer\npassword = 'secret'\n");
        write(&sandbox.path("login"), login.as_bytes());
        Self { server, sandbox }
    }

    /// Fills the three tables.
    #[track_caller]
    pub(crate) fn fill(&self) {
        for (table, engine) in TABLES.iter().zip(["InnoDB", "MyISAM", "Aria"]) {
            self.sql(&format!(
                "USE shop; CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(200)) ENGINE={engine}; \
                 INSERT INTO {table} (word) SELECT MD5(seq) FROM seq_1_to_2000"
            ));
        }
    }

    /// Runs statements as root and answers what they print.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        client(&self.server)
            .args(["-e", statements])
            .run()
            .expect(0)
            .text()
    }

    /// A session that holds a table until it is dropped.
    #[track_caller]
    pub(crate) fn holder(&self) -> Session {
        let mut child = raw_client(&self.server);
        let mut input = child.stdin.take().expect("a pipe");
        let statements = b"LOCK TABLES shop.myisam WRITE; DO GET_LOCK('held', 60);\n";
        input.write_all(statements).expect("it listens");
        input.flush().expect("it listens");
        self.await_answer("SELECT IS_USED_LOCK('held') IS NOT NULL", "1");
        Session {
            child,
            input: Some(input),
        }
    }

    /// The arguments of a backup named h_t by the login file.
    pub(crate) fn backup(&self, kind: &str, more: &[&str]) -> Program {
        self.backup_as("login", kind, more)
    }

    /// The same by another login file.
    pub(crate) fn backup_as(&self, login: &str, kind: &str, more: &[&str]) -> Program {
        let conf = format!("mysql-conf={}", self.sandbox.path(login).display());
        self.sandbox
            .freezer([
                "backup",
                self.server.value("DATADIR"),
                "--name",
                "t",
                "--host",
                "h",
            ])
            .args(["--to", &self.sandbox.url(), "--mode", "mysql"])
            .args(["--mode-option", &conf, "--mode-option", &format!("kind={kind}")])
            .args(more)
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

    /// Whether somebody can write, waiting at most a second.
    pub(crate) fn is_writable(&self) -> bool {
        let insert = "SET lock_wait_timeout = 1; INSERT INTO shop.myisam (word) VALUES ('x')";
        client(&self.server).args(["-e", insert]).run().code == Some(0)
    }

    /// Holds a restored server against this one: what was written later is taken away here first.
    #[track_caller]
    pub(crate) fn assert_holds(&self, restored: &Self) {
        for table in TABLES {
            let count = restored.sql(&format!("SELECT COUNT(*) FROM shop.{table}"));
            let count: u64 = count.trim().parse().expect("a number");
            assert!(count >= 2000, "{table} has {count} rows");
            // InnoDB leaves gaps between numbers, so the last one isn't the count.
            let last = restored.sql(&format!("SELECT MAX(id) FROM shop.{table}"));
            self.sql(&format!("DELETE FROM shop.{table} WHERE id > {}", last.trim()));
            let checksum = format!("CHECKSUM TABLE shop.{table} EXTENDED");
            assert_eq!(restored.sql(&checksum), self.sql(&checksum), "{table}");
        }
    }

    /// Writes to all tables until it is dropped.
    pub(crate) fn writer(&self) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut child = raw_client(&self.server);
        let thread = std::thread::spawn(move || {
            let mut input = child.stdin.take().expect("a pipe");
            while !stopped.load(Ordering::Relaxed) {
                for table in TABLES {
                    let insert = format!("INSERT INTO shop.{table} (word) VALUES (MD5(RAND()));\n");
                    if input.write_all(insert.as_bytes()).is_err() {
                        return;
                    }
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

/// A server on a data directory that was restored.
#[track_caller]
pub(crate) fn server_on(data: &Path) -> Database {
    let data = data.to_str().expect("UTF-8");
    Database::own(&[("DATADIR", data), ("BARE", "yes")])
}

/// The client, logged in as root.
pub(crate) fn client(server: &Server) -> Program {
    program("mariadb").args([
        "--no-defaults",
        "-uroot",
        "-N",
        "-B",
        "-S",
        server.value("SOCKET"),
    ])
}

fn raw_client(server: &Server) -> Child {
    Command::new("mariadb")
        .args([
            "--no-defaults",
            "-uroot",
            "-N",
            "-B",
            "--unbuffered",
            "-S",
            server.value("SOCKET"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a client")
}

/// An open session.
pub(crate) struct Session {
    child: Child,
    input: Option<std::process::ChildStdin>,
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
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
