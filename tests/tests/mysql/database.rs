//! A server with tables of each engine that it has, which somebody writes to, and backups of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use freezer_tests::{Mounted, Program, Sandbox, Server, program, workspace, write};

/// Whose server it is.
pub(crate) struct Make {
    /// Its script in `tests/servers`.
    script: &'static str,
    /// Its client, below the workspace or in the path.
    client: &'static str,
    /// A table for each engine.
    tables: &'static [(&'static str, &'static str)],
    /// Statements that come before, and one that answers 2000 rows.
    rows: (&'static str, &'static str),
    /// What the login file says of TLS.
    tls: bool,
}

pub(crate) const MARIADB: Make = Make {
    script: "mariadb",
    client: "mariadb",
    tables: &[("inno", "InnoDB"), ("myisam", "MyISAM"), ("aria", "Aria")],
    rows: ("", "SELECT SHA2(seq, 224) FROM seq_1_to_2000"),
    tls: false,
};

/// Without TLS it lets nobody in by TCP.
pub(crate) const MYSQL: Make = Make {
    script: "mysql",
    client: ".mysql/bin/mysql",
    tables: &[("inno", "InnoDB"), ("myisam", "MyISAM")],
    rows: (
        "SET cte_max_recursion_depth = 2000; ",
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 2000) SELECT SHA2(n, 224) FROM s",
    ),
    tls: true,
};

/// A server, and a sandbox for its backups.
pub(crate) struct Database {
    make: &'static Make,
    pub(crate) server: Server,
    pub(crate) sandbox: Sandbox,
}

impl Database {
    /// A MariaDB that others use, too: nothing may be locked in it.
    #[track_caller]
    pub(crate) fn shared() -> Self {
        let start = || Server::start("mariadb", &[("TLS", "yes")]);
        Self::on(&MARIADB, Server::shared("mariadb", start), Sandbox::on_disk())
    }

    /// A MariaDB of its own.
    #[track_caller]
    pub(crate) fn own(options: &[(&str, &str)]) -> Self {
        Self::of(&MARIADB, options)
    }

    /// One of its own, of that make.
    #[track_caller]
    pub(crate) fn of(make: &'static Make, options: &[(&str, &str)]) -> Self {
        Self::on(make, Server::start(make.script, options), Sandbox::on_disk())
    }

    /// One whose files lie on btrfs, below the sandbox's source.
    #[track_caller]
    pub(crate) fn frozen(make: &'static Make) -> (Self, Mounted) {
        let sandbox = Sandbox::on_disk();
        let mounted = Mounted::btrfs(&sandbox, 400);
        let data = sandbox.source().join("mysql");
        let options = [("DATADIR", data.to_str().expect("UTF-8"))];
        let server = Server::start(make.script, &options);
        (Self::on(make, server, sandbox), mounted)
    }

    /// A server that is there, which gets a login file for its backups.
    #[track_caller]
    fn on(make: &'static Make, server: Server, sandbox: Sandbox) -> Self {
        let port = server.value("PORT");
        let mut login = format!("host = 127.0.0.1\nport = {port}\nuser = freezer\npassword = 'secret'\n");
        if make.tls {
            login.push_str(&format!("ssl-ca = {}\n", server.value("AUTHORITY")));
        }
        write(&sandbox.path("login"), login.as_bytes());
        Self {
            make,
            server,
            sandbox,
        }
    }

    /// Such a server on a data directory that was restored.
    #[track_caller]
    pub(crate) fn server_on(&self, data: &Path) -> Self {
        let data = data.to_str().expect("UTF-8");
        Self::of(self.make, &[("DATADIR", data), ("BARE", "yes")])
    }

    /// Fills the tables.
    #[track_caller]
    pub(crate) fn fill(&self) {
        let (before, rows) = self.make.rows;
        for (table, engine) in self.make.tables {
            self.sql(&format!(
                "USE shop; CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(200)) ENGINE={engine}; \
                 {before}INSERT INTO {table} (word) {rows}"
            ));
        }
    }

    /// Runs statements as root and answers what they print.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.client().args(["-e", statements]).run().expect(0).text()
    }

    /// A session that holds a table until it is dropped.
    #[track_caller]
    pub(crate) fn holder(&self) -> Session {
        let mut child = self.raw_client();
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
        self.client().args(["-e", insert]).run().code == Some(0)
    }

    /// Holds a restored server against this one: what was written later is taken away here first.
    #[track_caller]
    pub(crate) fn assert_holds(&self, restored: &Self) {
        for (table, _) in self.make.tables {
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
        let tables = self.make.tables;
        let mut child = self.raw_client();
        let thread = std::thread::spawn(move || {
            let mut input = child.stdin.take().expect("a pipe");
            while !stopped.load(Ordering::Relaxed) {
                for (table, _) in tables {
                    let insert = format!("INSERT INTO shop.{table} (word) VALUES (SHA2(RAND(), 224));\n");
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

    /// The client, logged in as root.
    pub(crate) fn client(&self) -> Program {
        program(self.client_path()).args(self.root())
    }

    fn raw_client(&self) -> Child {
        Command::new(self.client_path())
            .args(self.root())
            .arg("--unbuffered")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a client")
    }

    fn client_path(&self) -> PathBuf {
        match self.make.client.contains('/') {
            true => workspace().join(self.make.client),
            false => self.make.client.into(),
        }
    }

    fn root(&self) -> [&str; 6] {
        let socket = self.server.value("SOCKET");
        ["--no-defaults", "-uroot", "-N", "-B", "-S", socket]
    }
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
