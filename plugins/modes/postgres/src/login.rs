//! How to log in: the target for the host's connection, and the two files that the server's own tools read.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::sql::{Engine, Password, Target, Tls};
use freezer_sdk::settings::Settings;

/// The setting that holds the password.
const PASSWORD: &str = "password";
/// The database of a session that is about the whole server.
const EVERYWHERE: &str = "postgres";
/// The longest wait: the host's calls take that long at most.
const MAX_SECONDS: i64 = 600;
/// How the name of a socket begins; its port follows.
const SOCKET_PREFIX: &str = ".s.PGSQL.";

/// Where the server is and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    host: String,
    port: u16,
    socket: Option<String>,
    pub(crate) user: String,
    /// The database that the user named.
    pub(crate) database: Option<String>,
    tls: Encryption,
    /// Seconds that a checkpoint may take.
    pub(crate) checkpoint_seconds: u64,
    /// Seconds to wait for a lock.
    pub(crate) lock_seconds: u64,
}

/// Whether the connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Encryption {
    Off,
    System,
    /// The path of the file of authorities.
    Authorities(String),
    Anything,
}

/// The files by which a tool of the server logs in.
pub(crate) struct ToolFiles {
    /// Where to connect to, as the service `freezer`.
    pub(crate) service: String,
    /// The password for it.
    pub(crate) passwords: String,
}

impl Login {
    /// Reads the settings.
    ///
    /// # Errors
    /// `invalid` names the setting.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let port = settings.integer("port")?.unwrap_or(5432);
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let text = |name: &str| -> Result<Option<String>> {
            let value = settings.optional_text(name)?.filter(|value| !value.is_empty());
            match value {
                Some(value) if value.chars().any(char::is_control) => {
                    Err(Error::invalid(format!("{name} holds a control character")))
                }
                value => Ok(value.map(str::to_owned)),
            }
        };
        let socket = text("socket")?;
        if socket.as_ref().is_some_and(|socket| !socket.starts_with('/')) {
            return Err(Error::invalid("socket must be an absolute path"));
        }
        let tls = match (settings.flag("tls-insecure")?, text("tls-ca")?) {
            (true, _) => Encryption::Anything,
            (false, Some(path)) => Encryption::Authorities(path),
            (false, None) if settings.flag("tls")? => Encryption::System,
            (false, None) => Encryption::Off,
        };
        let missing = |name: &str| Error::invalid(format!("{name} is empty"));
        Ok(Self {
            host: text("host")?.ok_or_else(|| missing("host"))?,
            port: port.ok_or_else(|| Error::invalid("port must be 1 to 65535"))?,
            socket,
            user: text("user")?.ok_or_else(|| missing("user"))?,
            database: text("database")?,
            tls,
            checkpoint_seconds: seconds(settings, "checkpoint-timeout", 300)?,
            lock_seconds: seconds(settings, "lock-timeout", 30)?,
        })
    }

    /// The target of a connection.
    ///
    /// # Errors
    /// `denied` if the password isn't granted.
    pub(crate) fn target(&self) -> Result<Target> {
        let password = password()?.map(|_| Password::Secret(PASSWORD.to_owned()));
        let tls = match (&self.socket, &self.tls) {
            (Some(_), _) | (None, Encryption::Off) => Tls::Off,
            (None, Encryption::System) => Tls::System,
            (None, Encryption::Authorities(_)) => Tls::Certificates("tls-ca".to_owned()),
            (None, Encryption::Anything) => Tls::Anything("tls-insecure".to_owned()),
        };
        // Whatever else is asked is answered at once.
        let patience = self.checkpoint_seconds * 1000;
        Ok(Target {
            engine: Engine::Postgres,
            host: self.place().to_owned(),
            port: self.port,
            user: self.user.clone(),
            password,
            database: Some(self.database.as_deref().unwrap_or(EVERYWHERE).to_owned()),
            tls,
            timeout_ms: Some(u32::try_from(patience).unwrap_or(u32::MAX)),
        })
    }

    /// The server, for messages.
    pub(crate) fn place(&self) -> &str {
        self.socket.as_deref().unwrap_or(&self.host)
    }

    /// What a tool of the server gets to log in: the password stands in no argument and no variable.
    ///
    /// # Errors
    /// `denied` if the password isn't granted; `invalid` if it can't stand in such a file, or if nobody says whom to trust.
    pub(crate) fn tool_files(&self) -> Result<ToolFiles> {
        let mut service = String::from("[freezer]\n");
        let mut line = |key: &str, value: &str| {
            service.push_str(key);
            service.push('=');
            service.push_str(value);
            service.push('\n');
        };
        match &self.socket {
            Some(socket) => {
                let (directory, port) = socket_parts(socket, self.port);
                line("host", directory);
                line("port", &port.to_string());
            }
            None => {
                line("host", &self.host);
                line("port", &self.port.to_string());
            }
        }
        line("user", &self.user);
        line("dbname", self.database.as_deref().unwrap_or(EVERYWHERE));
        line("application_name", "freezer");
        line("connect_timeout", "15");
        match (&self.socket, &self.tls) {
            (Some(_), _) | (None, Encryption::Off) => line("sslmode", "disable"),
            (None, Encryption::Anything) => line("sslmode", "require"),
            (None, Encryption::Authorities(path)) => {
                line("sslmode", "verify-full");
                line("sslrootcert", path);
            }
            (None, Encryption::System) => {
                return Err(Error::invalid(
                    "the server's tools don't know whom this machine trusts: name the file of authorities by tls-ca, such as \
                     /etc/ssl/certs/ca-certificates.crt",
                ));
            }
        }
        // Without a line of ours, the tools would look for a file of whoever runs this.
        let passwords = match password()? {
            Some(password) => password_line(password.expose())?,
            None => "\n".to_owned(),
        };
        Ok(ToolFiles { service, passwords })
    }
}

fn seconds(settings: &Settings, name: &str, default: i64) -> Result<u64> {
    let seconds = settings.integer(name)?.unwrap_or(default);
    if (1..=MAX_SECONDS).contains(&seconds) {
        return Ok(seconds.unsigned_abs());
    }
    Err(Error::invalid(format!(
        "{name} must be 1 to {MAX_SECONDS} seconds"
    )))
}

/// The directory and port of a socket: by its own name, else as the directory that holds it.
fn socket_parts(socket: &str, port: u16) -> (&str, u16) {
    let parts = socket.rsplit_once('/');
    let named = parts.and_then(|(directory, name)| {
        let port = name.strip_prefix(SOCKET_PREFIX)?.parse().ok()?;
        Some((if directory.is_empty() { "/" } else { directory }, port))
    });
    named.unwrap_or((socket, port))
}

/// A line of a password file that fits every server.
fn password_line(password: &str) -> Result<String> {
    if password.contains(['\n', '\r', '\0']) {
        return Err(Error::invalid(
            "the password has a line break, which no password file can hold",
        ));
    }
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    Ok(format!("*:*:*:*:{escaped}\n"))
}

/// The password, if there is one.
fn password() -> Result<Option<control::Secret>> {
    match control::secret(PASSWORD) {
        Ok(password) => Ok(Some(password)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::settings::SettingValue;
    use freezer_sdk::testing::FakeHost;

    fn text(text: &str) -> SettingValue {
        SettingValue::Text(text.to_owned())
    }

    fn settings(more: Vec<(&'static str, SettingValue)>) -> Settings {
        let mut all = vec![
            ("host", text("db")),
            ("user", text("freezer")),
            ("port", SettingValue::Integer(5433)),
        ];
        all.retain(|(known, _)| !more.iter().any(|(name, _)| name == known));
        all.extend(more);
        Settings::new(all)
    }

    #[test]
    fn the_password_stands_in_its_file_alone_whatever_is_in_it() {
        let host = FakeHost::new();
        host.set_secret("password", "a:b\\c d#\"");
        let login = Login::new(&settings(Vec::new())).unwrap();
        let files = login.tool_files().unwrap();
        assert_eq!(files.passwords, "*:*:*:*:a\\:b\\\\c d#\"\n");
        let expected = "[freezer]\nhost=db\nport=5433\nuser=freezer\ndbname=postgres\napplication_name=freezer\n\
                        connect_timeout=15\nsslmode=disable\n";
        assert_eq!(files.service, expected);
        assert!(!format!("{login:?}").contains("a:b"));
        host.set_secret("password", "a\nb");
        assert_eq!(login.tool_files().err().unwrap().kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_socket_needs_no_host_and_is_found_by_its_own_name_or_its_directory() {
        let _host = FakeHost::new();
        for (socket, line) in [
            (
                "/run/postgresql/.s.PGSQL.5555",
                "host=/run/postgresql\nport=5555\n",
            ),
            ("/run/postgresql", "host=/run/postgresql\nport=5433\n"),
        ] {
            let login = Login::new(&settings(vec![("socket", text(socket))])).unwrap();
            let target = login.target().unwrap();
            assert_eq!(target.host, socket);
            assert!(target.password.is_none() && matches!(target.tls, Tls::Off));
            let files = login.tool_files().unwrap();
            assert!(files.service.contains(line), "{}", files.service);
            assert_eq!(files.passwords, "\n");
        }
    }

    #[test]
    fn authorities_turn_tls_on_and_the_tools_must_be_told_them() {
        let _host = FakeHost::new();
        let login = Login::new(&settings(vec![("tls-ca", text("/ca.pem"))])).unwrap();
        assert!(matches!(login.target().unwrap().tls, Tls::Certificates(_)));
        let files = login.tool_files().unwrap();
        assert!(
            files
                .service
                .ends_with("sslmode=verify-full\nsslrootcert=/ca.pem\n")
        );
        let login = Login::new(&settings(vec![("tls", SettingValue::Flag(true))])).unwrap();
        assert!(matches!(login.target().unwrap().tls, Tls::System));
        assert!(login.tool_files().err().unwrap().message.contains("tls-ca"));
    }

    #[test]
    fn bad_settings_are_named() {
        for (name, value) in [
            ("port", SettingValue::Integer(0)),
            ("checkpoint-timeout", SettingValue::Integer(0)),
            ("lock-timeout", SettingValue::Integer(601)),
            ("socket", text(".s.PGSQL.5432")),
            ("host", text("")),
            ("user", text("a\nhost=evil")),
            ("database", text("a\tb")),
        ] {
            let error = Login::new(&settings(vec![(name, value)])).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }
    }
}
