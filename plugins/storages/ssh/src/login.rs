//! From the settings to the target of a connection: names of settings, behind which the host looks. Of secrets it only matters here
//! whether they are set.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::ssh::{Login, PrivateKey, Target};
use freezer_sdk::settings::Settings;

const KEY: &str = "ssh-key";
const PASSPHRASE: &str = "ssh-key-passphrase";
const PASSWORD: &str = "ssh-password";
const AGENT: &str = "ssh-agent";
const KNOWN_HOSTS: &str = "ssh-known-hosts";
const ACCEPT_NEW: &str = "ssh-accept-new";

/// What the settings say about the machine and the login.
pub(crate) fn target(settings: &Settings) -> Result<Target> {
    let number = settings.integer("port")?.unwrap_or(22);
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| Error::invalid(format!("{number} is no port: 1 to 65535")))?;
    let user = settings.text("user")?;
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err(Error::invalid(
            "the user's name is empty or holds control characters",
        ));
    }
    Ok(Target {
        host: settings.text("host")?.to_owned(),
        port,
        user: user.to_owned(),
        login: login(settings)?,
        known_hosts: settings
            .optional_text(KNOWN_HOSTS)?
            .map(|_| KNOWN_HOSTS.to_owned()),
        accept_new: settings.flag(ACCEPT_NEW)?.then(|| ACCEPT_NEW.to_owned()),
    })
}

/// The key that was named, else the agent if it was asked for, else the password, else the agent.
fn login(settings: &Settings) -> Result<Login> {
    if settings.optional_text(KEY)?.is_some() {
        return Ok(Login::Key(PrivateKey {
            file: KEY.to_owned(),
            passphrase: has_secret(PASSPHRASE)?.then(|| PASSPHRASE.to_owned()),
        }));
    }
    if !settings.flag(AGENT)? && has_secret(PASSWORD)? {
        return Ok(Login::Password(PASSWORD.to_owned()));
    }
    Ok(Login::Agent)
}

fn has_secret(name: &str) -> Result<bool> {
    match control::secret(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
