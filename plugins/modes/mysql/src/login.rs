//! How to log in: the target for the host's connection, and the option file for the server's own tools.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::sql::{Engine, Password, Target, Tls};
use freezer_sdk::settings::Settings;

/// The setting that holds the password.
const PASSWORD: &str = "password";
/// What one statement may take beyond the wait for a lock.
const PATIENCE_SECONDS: u64 = 30;
/// The longest wait for a lock: the host's calls take 600 s at most.
const MAX_LOCK_SECONDS: i64 = 500;

/// Where the server is and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    host: String,
    port: u16,
    socket: Option<String>,
    user: String,
    tls: Encryption,
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

impl Login {
    /// Reads the settings.
    ///
    /// # Errors
    /// `invalid` names the setting.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let port = settings.integer("port")?.unwrap_or(3306);
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let lock_seconds = settings.integer("lock-timeout")?.unwrap_or(30);
        if !(1..=MAX_LOCK_SECONDS).contains(&lock_seconds) {
            let message = format!("lock-timeout must be 1 to {MAX_LOCK_SECONDS} seconds");
            return Err(Error::invalid(message));
        }
        let socket = settings
            .optional_text("socket")?
            .filter(|socket| !socket.is_empty());
        if socket.is_some_and(|socket| !socket.starts_with('/')) {
            return Err(Error::invalid("socket must be an absolute path"));
        }
        let authorities = settings.optional_text("tls-ca")?.filter(|path| !path.is_empty());
        let tls = match (settings.flag("tls-insecure")?, authorities) {
            (true, _) => Encryption::Anything,
            (false, Some(path)) => Encryption::Authorities(path.to_owned()),
            (false, None) if settings.flag("tls")? => Encryption::System,
            (false, None) => Encryption::Off,
        };
        Ok(Self {
            host: settings.text("host")?.to_owned(),
            port: port.ok_or_else(|| Error::invalid("port must be 1 to 65535"))?,
            socket: socket.map(str::to_owned),
            user: settings.text("user")?.to_owned(),
            tls,
            lock_seconds: lock_seconds.unsigned_abs(),
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
        let patience = (self.lock_seconds + PATIENCE_SECONDS) * 1000;
        Ok(Target {
            engine: Engine::Mysql,
            host: self.socket.clone().unwrap_or_else(|| self.host.clone()),
            port: self.port,
            user: self.user.clone(),
            password,
            database: None,
            tls,
            timeout_ms: Some(u32::try_from(patience).unwrap_or(u32::MAX)),
        })
    }

    /// What the option file says that a tool gets in place of all others: the password stands in no argument and no variable.
    ///
    /// # Errors
    /// `denied` if the password isn't granted.
    pub(crate) fn option_file(&self) -> Result<String> {
        let mut text = String::from("[client]\n");
        let mut line = |key: &str, value: &str| {
            text.push_str(key);
            text.push_str("=\"");
            text.push_str(&escaped(value));
            text.push_str("\"\n");
        };
        line("user", &self.user);
        if let Some(password) = password()? {
            line("password", password.expose());
        }
        if let Some(socket) = &self.socket {
            line("socket", socket);
            line("protocol", "socket");
            return Ok(text);
        }
        line("host", &self.host);
        line("port", &self.port.to_string());
        line("protocol", "tcp");
        // A name doesn't tell whose a tool is: `mysqldump` is often MariaDB's. Each takes its own spelling and passes over the
        // other's, which is why both are there.
        match self.tls {
            Encryption::Off => {
                line("loose-skip-ssl", "1");
                line("loose-ssl-mode", "DISABLED");
            }
            Encryption::Anything => {
                line("loose-ssl", "1");
                line("loose-disable-ssl-verify-server-cert", "1");
                line("loose-ssl-mode", "REQUIRED");
            }
            Encryption::System | Encryption::Authorities(_) => {
                line("loose-ssl", "1");
                line("loose-ssl-verify-server-cert", "1");
                line("loose-ssl-mode", "VERIFY_IDENTITY");
            }
        }
        if let Encryption::Authorities(path) = &self.tls {
            line("ssl-ca", path);
        }
        Ok(text)
    }
}

/// The password, if there is one.
fn password() -> Result<Option<control::Secret>> {
    match control::secret(PASSWORD) {
        Ok(password) => Ok(Some(password)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A value between quotes as option files have it: only the backslash means something there.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::settings::SettingValue;
    use freezer_sdk::testing::FakeHost;

    fn settings(more: Vec<(&'static str, SettingValue)>) -> Settings {
        let mut all = vec![
            ("host", SettingValue::Text("db".into())),
            ("user", SettingValue::Text("freezer".into())),
            ("port", SettingValue::Integer(3307)),
        ];
        all.retain(|(known, _)| !more.iter().any(|(name, _)| name == known));
        all.extend(more);
        Settings::new(all)
    }

    #[test]
    fn the_option_file_holds_the_password_whatever_is_in_it() {
        let host = FakeHost::new();
        host.set_secret("password", "a\"b#c\\d");
        let login = Login::new(&settings(Vec::new())).unwrap();
        let text = login.option_file().unwrap();
        let expected = "[client]\nuser=\"freezer\"\npassword=\"a\"b#c\\\\d\"\nhost=\"db\"\nport=\"3307\"\nprotocol=\"tcp\"\n\
                        loose-skip-ssl=\"1\"\nloose-ssl-mode=\"DISABLED\"\n";
        assert_eq!(text, expected);
        assert!(!format!("{login:?}").contains("a\"b"));
    }

    #[test]
    fn a_socket_needs_no_host_and_authorities_turn_tls_on() {
        let _host = FakeHost::new();
        let socket = vec![("socket", SettingValue::Text("/run/s".into()))];
        let login = Login::new(&settings(socket)).unwrap();
        let target = login.target().unwrap();
        assert_eq!(target.host, "/run/s");
        assert!(target.password.is_none() && matches!(target.tls, Tls::Off));
        let authorities = vec![("tls-ca", SettingValue::Text("/ca.pem".into()))];
        let login = Login::new(&settings(authorities)).unwrap();
        assert!(matches!(login.target().unwrap().tls, Tls::Certificates(_)));
        let text = login.option_file().unwrap();
        assert!(text.contains("loose-ssl-mode=\"VERIFY_IDENTITY\"\nssl-ca=\"/ca.pem\"\n"));
    }

    #[test]
    fn bad_settings_are_named() {
        for (name, value) in [
            ("port", SettingValue::Integer(0)),
            ("lock-timeout", SettingValue::Integer(0)),
            ("socket", SettingValue::Text("mysqld.sock".into())),
        ] {
            let error = Login::new(&settings(vec![(name, value)])).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }
    }
}
