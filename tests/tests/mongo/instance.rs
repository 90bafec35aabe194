//! A server or a peer, a sandbox for its backups, and a client.

use std::path::PathBuf;

use freezer_tests::{Program, Sandbox, Server, program, write};

/// A server, and a sandbox for its backups.
pub(crate) struct Instance {
    pub(crate) server: Server,
    pub(crate) sandbox: Sandbox,
}

impl Instance {
    /// The real one that others use, too; users must log in.
    #[track_caller]
    pub(crate) fn shared() -> Self {
        let start = || Server::start("mongo", &[("AUTH", "yes")]);
        Self::on(Server::shared("mongo", start), Sandbox::on_disk())
    }

    /// One of its own.
    #[track_caller]
    pub(crate) fn own(options: &[(&str, &str)]) -> Self {
        Self::on(Server::start("mongo", options), Sandbox::on_disk())
    }

    /// A server that is there, which gets a login file for its backups.
    #[track_caller]
    pub(crate) fn on(server: Server, sandbox: Sandbox) -> Self {
        let instance = Self { server, sandbox };
        instance.login("freezer", "secret", "");
        instance
    }

    /// Writes the login file.
    pub(crate) fn login(&self, user: &str, password: &str, more: &str) {
        let port = self.server.value("PORT");
        let text = format!("host = 127.0.0.1\nport = {port}\nuser = {user}\npassword = {password}\n{more}\n");
        write(&self.sandbox.path("login"), text.as_bytes());
    }

    /// Puts some files where the peer says that its data lies.
    pub(crate) fn fill(&self) {
        let data = PathBuf::from(self.server.value("DATADIR"));
        for number in 0..20 {
            write(&data.join(format!("collection-{number}.wt")), &[number; 5000]);
        }
    }

    /// A backup named h_t of the data directory by the login file.
    pub(crate) fn backup(&self, more: &[&str]) -> Program {
        self.backup_of(self.server.value("DATADIR"), more)
    }

    /// The same of another directory.
    pub(crate) fn backup_of(&self, path: &str, more: &[&str]) -> Program {
        let conf = format!("mongo-conf={}", self.sandbox.path("login").display());
        self.sandbox
            .freezer(["backup", path, "--name", "t", "--host", "h"])
            .args(["--to", &self.sandbox.url(), "--mode", "mongo"])
            .args(["--mode-option", &conf])
            .args(more)
            .env("XDG_STATE_HOME", self.sandbox.path("state"))
    }

    /// A backup of files, which knows nothing of the server.
    pub(crate) fn plain_backup(&self) -> Program {
        self.sandbox
            .freezer([
                "backup",
                "--name",
                "files",
                "--host",
                "h",
                "--to",
                &self.sandbox.url(),
            ])
            .arg(self.sandbox.source())
            .env("XDG_STATE_HOME", self.sandbox.path("state"))
    }

    /// How often the peer is locked.
    pub(crate) fn locks(&self) -> String {
        std::fs::read_to_string(self.server.value("LOCKS")).unwrap_or_else(|_| "0".to_owned())
    }

    /// Whether the peer got this command.
    pub(crate) fn heard(&self, command: &str) -> bool {
        let heard = std::fs::read_to_string(self.server.value("COMMANDS")).unwrap_or_default();
        heard.lines().any(|line| line == command)
    }
}

/// Runs Python with a client `c` and answers what it prints.
#[track_caller]
pub(crate) fn client(instance: &Instance, code: &str) -> String {
    let port = instance.server.value("PORT");
    let code = format!(
        "import pymongo; c = pymongo.MongoClient('127.0.0.1', {port}, directConnection=True)\n{code}"
    );
    program(instance.server.value("PYTHON"))
        .args(["-c", &code])
        .run()
        .expect(0)
        .text()
}
