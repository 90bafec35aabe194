//! How to log in, as the settings say. Secrets stay with the host until a login needs them.
//!
//! In this order: an application credential, a token or a password at Keystone (`os-auth-url`); tempauth (`st-auth`); a token
//! for a storage address that is given itself.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control::{self, Secret};
use freezer_sdk::settings::Settings;

/// A way to get a token and the address of the account.
#[derive(Debug)]
pub(crate) enum Login {
    /// OpenStack's identity service, version 3.
    Keystone(Keystone),
    /// Swift's own `tempauth` and others that speak as it does.
    Tempauth {
        /// Its address.
        url: String,
        /// `ACCOUNT:USER`.
        user: String,
    },
    /// A token and an address, both given.
    Given,
}

/// What Keystone is asked for.
#[derive(Debug)]
pub(crate) struct Keystone {
    /// Its address, up to `/v3`.
    pub(crate) url: String,
    pub(crate) method: Method,
    /// The project; an application credential and a token bring their own.
    pub(crate) project: Option<Named>,
    pub(crate) region: Option<String>,
    /// "public", "internal" or "admin".
    pub(crate) interface: String,
}

/// Who logs in.
#[derive(Debug)]
pub(crate) enum Method {
    Password(Named),
    /// An application credential by id, or by name with its user.
    Credential {
        id: Option<String>,
        name: Option<(String, Named)>,
    },
    Token,
}

/// A user or a project: by id, or by name in a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Id(String),
    Name { name: String, domain: Domain },
}

/// A domain, by id or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Domain {
    Id(String),
    Name(String),
}

impl Login {
    /// Reads the settings.
    ///
    /// # Errors
    /// `invalid` if they name no login, or half of one.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        if let Some(url) = text(settings, "os-auth-url")? {
            return Ok(Login::Keystone(Keystone::new(settings, url)?));
        }
        if let Some(url) = text(settings, "st-auth")? {
            let user = text(settings, "st-user")?.ok_or_else(|| missing("st-user", "a login at tempauth"))?;
            return Ok(Login::Tempauth {
                url: url.to_owned(),
                user: user.to_owned(),
            });
        }
        if text(settings, "os-storage-url")?.is_some() {
            return Ok(Login::Given);
        }
        Err(Error::invalid(
            "no login is given: set os-auth-url (Keystone) or st-auth (tempauth), for example by OS_AUTH_URL or ST_AUTH",
        ))
    }
}

impl Keystone {
    fn new(settings: &Settings, url: &str) -> Result<Self> {
        let interface = text(settings, "os-interface")?.unwrap_or("public");
        let interface = interface.strip_suffix("URL").unwrap_or(interface);
        if !matches!(interface, "public" | "internal" | "admin") {
            return Err(Error::invalid(format!(
                "os-interface {interface:?} is none of public, internal, admin"
            )));
        }
        Ok(Keystone {
            url: version_3(url)?,
            method: Method::new(settings)?,
            project: named(settings, "os-project-name", "os-project-id", "os-project-domain")?,
            region: text(settings, "os-region-name")?.map(str::to_owned),
            interface: interface.to_owned(),
        })
    }

    /// Who logs in and where to, for messages.
    pub(crate) fn who(&self) -> String {
        let project = match &self.project {
            Some(project) => format!(", project {}", project.shown()),
            None => String::new(),
        };
        match &self.method {
            Method::Password(user) => format!("user {}{project}", user.shown()),
            Method::Credential { id: Some(id), .. } => format!("application credential {id:?}"),
            Method::Credential { name, .. } => match name {
                Some((name, user)) => format!("application credential {name:?} of user {}", user.shown()),
                None => "an application credential".to_owned(),
            },
            Method::Token => "the given token".to_owned(),
        }
    }
}

impl Method {
    fn new(settings: &Settings) -> Result<Self> {
        let user = named(settings, "os-username", "os-user-id", "os-user-domain")?;
        if let Some(id) = text(settings, "os-application-credential-id")? {
            return Ok(Method::Credential {
                id: Some(id.to_owned()),
                name: None,
            });
        }
        if let Some(name) = text(settings, "os-application-credential-name")? {
            let user =
                user.ok_or_else(|| missing("os-username", "an application credential given by its name"))?;
            return Ok(Method::Credential {
                id: None,
                name: Some((name.to_owned(), user)),
            });
        }
        match user {
            Some(user) if optional_secret("os-token")?.is_none() => Ok(Method::Password(user)),
            _ if optional_secret("os-token")?.is_some() => Ok(Method::Token),
            _ => Err(missing("os-username", "a login at Keystone")),
        }
    }
}

impl Named {
    fn shown(&self) -> String {
        match self {
            Named::Id(id) => format!("with id {id:?}"),
            Named::Name { name, domain } => {
                let (Domain::Id(domain) | Domain::Name(domain)) = domain;
                format!("{name:?} (domain {domain:?})")
            }
        }
    }
}

/// A secret that must be there.
///
/// # Errors
/// `invalid` if it isn't.
pub(crate) fn secret(name: &str, what: &str) -> Result<Secret> {
    optional_secret(name)?.ok_or_else(|| missing(name, what))
}

fn optional_secret(name: &str) -> Result<Option<Secret>> {
    match control::secret(name) {
        Ok(secret) => Ok(Some(secret).filter(|secret| !secret.expose().is_empty())),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A text that isn't empty: an empty variable of the environment means nothing.
pub(crate) fn text<'a>(settings: &'a Settings, name: &str) -> Result<Option<&'a str>> {
    Ok(settings.optional_text(name)?.filter(|text| !text.is_empty()))
}

fn named(settings: &Settings, name: &str, id: &str, domain: &str) -> Result<Option<Named>> {
    if let Some(id) = text(settings, id)? {
        return Ok(Some(Named::Id(id.to_owned())));
    }
    let Some(name) = text(settings, name)? else {
        return Ok(None);
    };
    let domain = match text(settings, &format!("{domain}-id"))? {
        Some(id) => Domain::Id(id.to_owned()),
        None => Domain::Name(
            text(settings, &format!("{domain}-name"))?
                .unwrap_or("Default")
                .to_owned(),
        ),
    };
    Ok(Some(Named::Name {
        name: name.to_owned(),
        domain,
    }))
}

/// Keystone's address with its version, which many leave out.
fn version_3(url: &str) -> Result<String> {
    let url = url.trim_end_matches('/');
    match url.rsplit_once('/').map(|(_, last)| last) {
        Some("v3") => Ok(url.to_owned()),
        Some("v2.0") => Err(Error::invalid(
            "os-auth-url names version 2.0 of Keystone; only version 3 is spoken",
        )),
        _ => Ok(format!("{url}/v3")),
    }
}

fn missing(name: &str, what: &str) -> Error {
    let variable = name.to_ascii_uppercase().replace('-', "_");
    Error::invalid(format!(
        "{what} needs the setting \"{name}\", for example by {variable}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::settings::SettingValue;
    use freezer_sdk::testing::FakeHost;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::new(
            pairs
                .iter()
                .map(|(name, value)| (*name, SettingValue::Text((*value).to_owned()))),
        )
    }

    fn keystone(pairs: &[(&str, &str)]) -> Result<Keystone> {
        match Login::new(&settings(pairs))? {
            Login::Keystone(keystone) => Ok(keystone),
            other => panic!("{other:?}"),
        }
    }

    const PASSWORD: [(&str, &str); 3] = [
        ("os-auth-url", "http://k:5000/"),
        ("os-username", "u"),
        ("os-project-name", "p"),
    ];

    #[test]
    fn a_password_needs_a_user_and_knows_default_domains() {
        let _host = FakeHost::new();
        let login = keystone(&PASSWORD).unwrap();
        assert_eq!(login.url, "http://k:5000/v3");
        assert_eq!(login.interface, "public");
        assert!(matches!(&login.method, Method::Password(Named::Name { name, .. }) if name == "u"));
        assert_eq!(
            login.who(),
            "user \"u\" (domain \"Default\"), project \"p\" (domain \"Default\")"
        );
        let error = keystone(&PASSWORD[..1]).unwrap_err();
        assert!(error.message.contains("OS_USERNAME"), "{error}");
    }

    #[test]
    fn ids_win_over_names() {
        let _host = FakeHost::new();
        let more = [
            ("os-user-id", "7"),
            ("os-project-id", "8"),
            ("os-interface", "internalURL"),
        ];
        let login = keystone(&[&PASSWORD[..], &more[..]].concat()).unwrap();
        assert!(matches!(&login.method, Method::Password(Named::Id(id)) if id == "7"));
        assert_eq!(login.project, Some(Named::Id("8".into())));
        assert_eq!(login.interface, "internal");
    }

    #[test]
    fn credentials_and_tokens_win_over_passwords() {
        let host = FakeHost::new();
        let credential = [("os-application-credential-id", "c")];
        let login = keystone(&[&PASSWORD[..], &credential[..]].concat()).unwrap();
        assert!(matches!(login.method, Method::Credential { id: Some(_), .. }));
        let named = [("os-application-credential-name", "c")];
        let login = keystone(&[&PASSWORD[..], &named[..]].concat()).unwrap();
        assert!(matches!(login.method, Method::Credential { name: Some(_), .. }));
        host.set_secret("os-token", "t");
        let login = keystone(&PASSWORD).unwrap();
        assert!(matches!(login.method, Method::Token));
    }

    #[test]
    fn half_a_login_says_what_is_missing() {
        let _host = FakeHost::new();
        for (pairs, word) in [
            (&[][..], "OS_AUTH_URL"),
            (&[("st-auth", "http://s/auth/v1.0")][..], "ST_USER"),
            (
                &[
                    ("os-auth-url", "http://k/v3"),
                    ("os-application-credential-name", "c"),
                ][..],
                "OS_USERNAME",
            ),
            (
                &[("os-auth-url", "http://k/v2.0"), ("os-username", "u")][..],
                "version 3",
            ),
            (
                &[
                    ("os-auth-url", "http://k"),
                    ("os-username", "u"),
                    ("os-interface", "x"),
                ][..],
                "public, internal, admin",
            ),
        ] {
            let error = Login::new(&settings(pairs)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(word), "{error}");
        }
        let given = Login::new(&settings(&[
            ("os-auth-url", ""),
            ("os-storage-url", "http://s/v1/A"),
        ]));
        assert!(matches!(given.unwrap(), Login::Given));
    }
}
