//! Real servers as storages: the URL of a container in one, and the settings that open it.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::{NamedTempFile, TempDir};

use crate::server::Server;

/// What a storage plugin needs to reach a server. Clones reach the same one.
#[derive(Clone)]
pub struct StorageServer {
    server: Arc<Server>,
    kind: Kind,
    /// Part of each container's name, so that tests can share a server.
    unique: String,
    files: Arc<TempDir>,
    /// Another address to connect to, such as a proxy's.
    address: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Swift,
    Keystone,
    Ssh,
    S3,
}

impl StorageServer {
    /// A Swift with tempauth.
    #[track_caller]
    #[must_use]
    pub fn swift() -> Self {
        Self::new(
            Server::shared("swift", || Server::start("swift", &[])),
            Kind::Swift,
        )
    }

    /// A Swift on Keystone.
    #[track_caller]
    #[must_use]
    pub fn keystone() -> Self {
        let start = || {
            let keystone = Server::start("keystone", &[]);
            let folder = keystone.folder().display().to_string();
            Server::start("swift", &[("KEYSTONE", &folder)]).above(keystone)
        };
        Self::new(Server::shared("keystone-swift", start), Kind::Keystone)
    }

    /// An OpenSSH server; the storage is the one writable folder of a chroot.
    #[track_caller]
    #[must_use]
    pub fn ssh() -> Self {
        Self::new(Server::shared("sshd", || Server::start("sshd", &[])), Kind::Ssh)
    }

    /// An S3 service.
    #[track_caller]
    #[must_use]
    pub fn s3() -> Self {
        Self::new(Server::shared("s3", || Server::start("s3", &[])), Kind::S3)
    }

    /// Swift's own S3 service, which knows no conditional writes.
    #[track_caller]
    #[must_use]
    pub fn swift_by_s3() -> Self {
        Self::new(Server::shared("swift", || Server::start("swift", &[])), Kind::S3)
    }

    #[track_caller]
    fn new(server: Server, kind: Kind) -> Self {
        let files = tempfile::Builder::new()
            .prefix("freezer-storage.")
            .tempdir()
            .unwrap_or_else(|error| panic!("no folder for files: {error}"));
        let name = files
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        let unique = name.unwrap_or_default().replace('.', "-");
        Self {
            server: Arc::new(server),
            kind,
            unique,
            files: Arc::new(files),
            address: None,
        }
    }

    /// Connects by way of another address from now on.
    pub fn connect_by(&mut self, address: Option<SocketAddr>) {
        self.address = address;
    }

    /// Where the server itself listens.
    #[track_caller]
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let text = match self.kind {
            Kind::Swift | Kind::Keystone => self.server.value("SWIFT").replace("http://", ""),
            Kind::Ssh => format!("{}:{}", self.server.value("HOST"), self.server.value("PORT")),
            Kind::S3 => self.server.value("S3_ENDPOINT").replace("http://", ""),
        };
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn reached_by(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| self.address())
    }

    /// The URL of a container.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        let unique = &self.unique;
        match self.kind {
            Kind::Swift | Kind::Keystone => format!("swift:{unique}-{name}"),
            Kind::S3 => format!("s3://{unique}-{name}/prefix"),
            Kind::Ssh => {
                let user = self.server.value("JAILED");
                format!("ssh://{user}@{}/upload/{unique}-{name}", self.reached_by())
            }
        }
    }

    /// The settings beside the URL.
    #[track_caller]
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let own = self.address().to_string();
        let reached = self.reached_by().to_string();
        let mut settings: Vec<_> = match self.kind {
            Kind::Swift => vec!["ST_AUTH", "ST_USER", "ST_KEY"],
            Kind::Keystone => self
                .server
                .values()
                .map(|(name, _)| name)
                .filter(|name| {
                    name.starts_with("OS_") && !matches!(*name, "OS_AUTH_TYPE" | "OS_IDENTITY_API_VERSION")
                })
                .collect(),
            Kind::S3 => vec!["S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY", "S3_SECRET_KEY"],
            Kind::Ssh => Vec::new(),
        }
        .into_iter()
        .map(|name| {
            let setting = name.trim_start_matches("S3_").to_lowercase().replace('_', "-");
            (setting, self.server.value(name).replace(&own, &reached))
        })
        .collect();
        match self.kind {
            Kind::S3 => settings.push(pair("create-bucket", "true")),
            Kind::Ssh => {
                let key = self.server.folder().join("user_ed25519");
                settings.push(pair("ssh-key", &key.display().to_string()));
                settings.push(pair("ssh-known-hosts", &self.known_hosts()));
            }
            Kind::Swift | Kind::Keystone => {}
        }
        settings
    }

    /// The server's keys under the port that is connected to.
    #[track_caller]
    fn known_hosts(&self) -> String {
        let own = self.server.folder().join("known_hosts");
        let text = fs::read_to_string(&own).unwrap_or_else(|error| panic!("{}: {error}", own.display()));
        let line_start = |address: SocketAddr| format!("[{}]:{} ", address.ip(), address.port());
        let text = text.replace(&line_start(self.address()), &line_start(self.reached_by()));
        let file = self
            .files
            .path()
            .join(format!("known_hosts-{}", self.reached_by().port()));
        // In one step: another thread may be reading it.
        let whole = NamedTempFile::new_in(self.files.path()).and_then(|whole| {
            fs::write(whole.path(), text)?;
            whole.persist(&file).map_err(Into::into)
        });
        whole.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        file.display().to_string()
    }
}
