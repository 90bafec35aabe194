//! Requests to an account: logs in at the first one, and once more if a token has expired.
//!
//! This is the only repetition that the plugin makes: all else that may pass is an error that the host judges.

use std::cell::RefCell;

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::http::{Response, Trust, send};
use freezer_sdk::settings::Settings;

use crate::identity::{self, Account, field, request};
use crate::login::{Login, text};
use crate::status;

/// An account and how to get into it.
pub(crate) struct Session {
    login: Login,
    /// An address that wins over that of the catalogue.
    given: Option<String>,
    trust: Trust,
    account: RefCell<Option<Account>>,
}

/// One request: `path` and `query` stand behind the account's address.
#[derive(Default)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'static str,
    /// Encoded, "" or beginning with a slash.
    pub(crate) path: String,
    /// Encoded, without the question mark.
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Replayable.
    pub(crate) content: Option<&'a Body>,
}

impl Call<'_> {
    /// A request without content.
    pub(crate) fn new(method: &'static str, path: String) -> Self {
        Call {
            method,
            path,
            ..Call::default()
        }
    }

    pub(crate) fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Session {
    /// Reads the settings; connects to nothing.
    ///
    /// # Errors
    /// `invalid` if they make no login.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let trust = if settings.flag("os-insecure")? {
            Trust::Anything("os-insecure".to_owned())
        } else if text(settings, "os-cacert")?.is_some() {
            Trust::Certificates("os-cacert".to_owned())
        } else {
            Trust::System
        };
        Ok(Session {
            login: Login::new(settings)?,
            given: text(settings, "os-storage-url")?.map(str::to_owned),
            trust,
            account: RefCell::default(),
        })
    }

    /// Sends a request; any status but 401 is a success.
    ///
    /// # Errors
    /// `denied` if the login is refused; what `http.send` says.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Response> {
        let account = self.account()?;
        let response = self.send_as(&account, call)?;
        if response.status != 401 {
            return Ok(response);
        }
        // Also a token that came just now may be an old one near its end: tempauth hands the same out until it expires.
        if matches!(self.login, Login::Given) {
            return Err(status::error(&response));
        }
        drop(response);
        self.account.replace(None);
        let account = self.account()?;
        let response = self.send_as(&account, call)?;
        if response.status == 401 {
            return Err(status::error(&response));
        }
        Ok(response)
    }

    /// Sends a request that must succeed.
    ///
    /// # Errors
    /// As [`Session::send`], and what the status means.
    pub(crate) fn ask(&self, call: &Call<'_>) -> Result<Response> {
        let response = self.send(call)?;
        if status::is_success(response.status) {
            Ok(response)
        } else {
            Err(status::error(&response))
        }
    }

    /// What the service says of itself, which lies outside the account.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(crate) fn about(&self) -> Result<Response> {
        let account = self.account()?;
        let url = format!("{}/info", origin(&account.url));
        let response = send(&request("GET", &url, Vec::new(), &self.trust), None)?;
        if status::is_success(response.status) {
            Ok(response)
        } else {
            Err(status::error(&response))
        }
    }

    /// The account, entered at the first request.
    fn account(&self) -> Result<Account> {
        if let Some(account) = self.account.borrow().as_ref() {
            return Ok(account.clone());
        }
        let account = identity::log_in(&self.login, self.given.as_deref(), &self.trust)
            .map_err(unfound)
            .context(|| "can't log in to Swift")?;
        if origin(&account.url).is_empty() {
            return Err(Error::invalid(
                "the address of the account is no http or https URL",
            ));
        }
        self.account.replace(Some(account.clone()));
        Ok(account)
    }

    fn send_as(&self, account: &Account, call: &Call<'_>) -> Result<Response> {
        let mark = if call.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{mark}{}", account.url, call.path, call.query);
        let mut headers = vec![field("X-Auth-Token", &account.token)];
        headers.extend(call.headers.iter().map(|(name, value)| field(name, value)));
        send(&request(call.method, &url, headers, &self.trust), call.content)
    }
}

/// A login that isn't where it was looked for says nothing of objects: `not-found` would look like an empty storage.
fn unfound(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error {
            kind: ErrorKind::Invalid,
            ..error
        },
        _ => error,
    }
}

/// `scheme://host:port` of an address; "" if it has none.
fn origin(url: &str) -> &str {
    let Some(start) = url.find("://").map(|place| place + 3) else {
        return "";
    };
    let end = url[start..].find('/').map_or(url.len(), |length| start + length);
    &url[..end]
}
