//! How to log in: the target for the host's connection, and the file for the server's own tools.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control::{self, Secret};
use freezer_sdk::host::tcp::{Target, Tls, Trust};
use freezer_sdk::settings::Settings;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::member::Wanted;

/// The setting that holds the password.
const PASSWORD: &str = "password";
/// What a command may take beyond the wait for the lock.
const PATIENCE_SECONDS: u64 = 30;
/// The longest wait for the lock: the host's calls take 600 s at most.
const MAX_LOCK_SECONDS: i64 = 500;
/// What stays as it is in a connection string.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where the server is and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    host: String,
    port: u16,
    /// Who logs in, if anybody.
    pub(crate) user: Option<String>,
    /// The database that knows the user.
    pub(crate) source: String,
    /// The replica set that the server must belong to.
    pub(crate) set: Option<String>,
    /// Which member may be backed up.
    pub(crate) wanted: Wanted,
    tls: Encryption,
    /// Seconds to wait for the lock.
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
        let set = |name: &str| -> Result<Option<String>> {
            let text = settings.optional_text(name)?.filter(|text| !text.is_empty());
            Ok(text.map(str::to_owned))
        };
        let port = settings.integer("port")?.unwrap_or(27017);
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let host = settings.text("host")?.to_owned();
        if host.contains("://") || host.contains(['/', ',', '@']) {
            let message = "host is one name or address, without user, port and options: those have settings of their own";
            return Err(Error::invalid(message));
        }
        let lock_seconds = settings.integer("lock-timeout")?.unwrap_or(30);
        if !(1..=MAX_LOCK_SECONDS).contains(&lock_seconds) {
            let message = format!("lock-timeout must be 1 to {MAX_LOCK_SECONDS} seconds");
            return Err(Error::invalid(message));
        }
        let tls = match (settings.flag("tls-insecure")?, set("tls-ca")?) {
            (true, _) => Encryption::Anything,
            (false, Some(path)) => Encryption::Authorities(path),
            (false, None) if settings.flag("tls")? => Encryption::System,
            (false, None) => Encryption::Off,
        };
        Ok(Self {
            host,
            port: port.ok_or_else(|| Error::invalid("port must be 1 to 65535"))?,
            user: set("user")?,
            source: set("auth-source")?.unwrap_or_else(|| "admin".to_owned()),
            set: set("replica-set")?,
            wanted: Wanted::parse(settings.optional_text("member")?.unwrap_or("primary"))?,
            tls,
            lock_seconds: lock_seconds.unsigned_abs(),
        })
    }

    /// Where the server is, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The target of a connection.
    pub(crate) fn target(&self) -> Target {
        let trust = match self.tls {
            Encryption::Off => None,
            Encryption::System => Some(Trust::System),
            Encryption::Authorities(_) => Some(Trust::Certificates("tls-ca".to_owned())),
            Encryption::Anything => Some(Trust::Anything("tls-insecure".to_owned())),
        };
        let patience = (self.lock_seconds + PATIENCE_SECONDS) * 1000;
        Target {
            host: self.host.clone(),
            port: self.port,
            tls: trust.map(|trust| Tls {
                server_name: self.host.clone(),
                trust,
            }),
            timeout_ms: Some(u32::try_from(patience).unwrap_or(u32::MAX)),
        }
    }

    /// The password, if there is one.
    ///
    /// # Errors
    /// `denied` if it isn't granted.
    pub(crate) fn password(&self) -> Result<Option<Secret>> {
        match control::secret(PASSWORD) {
            Ok(password) => Ok(Some(password)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the tools read in place of arguments: where the server is and how to log in, so that neither stands in an argument or
    /// a variable. They talk to this very server, and to no other of its replica set.
    ///
    /// # Errors
    /// `denied` if the password isn't granted.
    pub(crate) fn tool_config(&self) -> Result<String> {
        let encoded = |text: &str| utf8_percent_encode(text, KEPT).to_string();
        let mut uri = String::from("mongodb://");
        if let Some(user) = &self.user {
            uri.push_str(&encoded(user));
            if let Some(password) = self.password()? {
                uri.push(':');
                uri.push_str(&encoded(password.expose()));
            }
            uri.push('@');
        }
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        uri.push_str(&format!("{host}:{}/?directConnection=true", self.port));
        if self.user.is_some() {
            uri.push_str(&format!("&authSource={}", encoded(&self.source)));
        }
        match &self.tls {
            Encryption::Off => {}
            Encryption::System => uri.push_str("&tls=true"),
            Encryption::Authorities(path) => uri.push_str(&format!("&tls=true&tlsCAFile={}", encoded(path))),
            Encryption::Anything => uri.push_str("&tls=true&tlsInsecure=true"),
        }
        // YAML between single quotes, which nothing in it is after the encoding.
        Ok(format!("uri: '{}'\n", uri.replace('\'', "%27")))
    }
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
            ("port", SettingValue::Integer(27018)),
        ];
        all.retain(|(known, _)| !more.iter().any(|(name, _)| name == known));
        all.extend(more);
        Settings::new(all)
    }

    #[test]
    fn the_tools_file_holds_the_password_whatever_is_in_it() {
        let host = FakeHost::new();
        host.set_secret("password", "a'b@c:d/%\n#é");
        let login = Login::new(&settings(Vec::new())).unwrap();
        let expected = "uri: 'mongodb://freezer:a%27b%40c%3Ad%2F%25%0A%23%C3%A9@db:27018/?directConnection=true&authSource=admin'\n";
        assert_eq!(login.tool_config().unwrap(), expected);
        assert!(!format!("{login:?}").contains("a'b"));
    }

    #[test]
    fn authorities_turn_tls_on_and_a_bare_address_is_bracketed() {
        let _host = FakeHost::new();
        let login = Login::new(&settings(vec![
            ("host", SettingValue::Text("::1".into())),
            ("user", SettingValue::Text(String::new())),
            ("tls-ca", SettingValue::Text("/etc/ca &.pem".into())),
        ]));
        let login = login.unwrap();
        let tls = login.target().tls.unwrap();
        assert_eq!(
            (tls.server_name.as_str(), tls.trust),
            ("::1", Trust::Certificates("tls-ca".into()))
        );
        let expected =
            "uri: 'mongodb://[::1]:27018/?directConnection=true&tls=true&tlsCAFile=%2Fetc%2Fca%20%26.pem'\n";
        assert_eq!(login.tool_config().unwrap(), expected);
    }

    #[test]
    fn bad_settings_are_named() {
        for (name, value) in [
            ("port", SettingValue::Integer(0)),
            ("lock-timeout", SettingValue::Integer(501)),
            ("member", SettingValue::Text("hidden".into())),
            ("host", SettingValue::Text("mongodb://a,b/?replicaSet=rs0".into())),
        ] {
            let error = Login::new(&settings(vec![(name, value)])).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }
    }
}
