//! Logins: what Keystone v3 and tempauth are asked, and the account's address in their answers.

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::http::{Field, Request, Response, Trust, send};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::login::{Domain, Keystone, Login, Method, Named, secret};
use crate::status;

/// Largest answer of Keystone that is read; catalogues of large clouds have tens of kilobytes.
const DOCUMENT_BYTES: usize = 4 << 20;
/// What Swift is called in a catalogue.
const SERVICE: &str = "object-store";

/// An account that may be used for a while.
#[derive(Clone)]
pub(crate) struct Account {
    /// Its address, without a slash at its end.
    pub(crate) url: String,
    /// What proves the login.
    pub(crate) token: String,
}

/// Logs in. `given` is an address that wins over that of the catalogue.
///
/// # Errors
/// `denied` if the login is refused; `invalid` if the catalogue doesn't hold the service; what `http.send` says.
pub(crate) fn log_in(login: &Login, given: Option<&str>, trust: &Trust) -> Result<Account> {
    let account = match login {
        Login::Keystone(keystone) => log_in_at_keystone(keystone, given, trust)?,
        Login::Tempauth { url, user } => log_in_at_tempauth((url, user), given, trust)?,
        Login::Given => Account {
            url: given.unwrap_or_default().to_owned(),
            token: secret("os-token", "a storage address without a login")?
                .expose()
                .to_owned(),
        },
    };
    Ok(Account {
        url: account.url.trim_end_matches('/').to_owned(),
        ..account
    })
}

fn log_in_at_tempauth((url, user): (&str, &str), given: Option<&str>, trust: &Trust) -> Result<Account> {
    let key = secret("st-key", "a login at tempauth")?;
    let headers = vec![field("X-Auth-User", user), field("X-Auth-Key", key.expose())];
    let response = send(&request("GET", url, headers, trust), None)?;
    let refused = || format!("{url} refuses the login of {user:?}");
    if !status::is_success(response.status) {
        return Err(status::error(&response).context(refused()));
    }
    let token = response
        .header("x-auth-token")
        .or(response.header("x-storage-token"));
    let url = given.or(response.header("x-storage-url"));
    match (token, url) {
        (Some(token), Some(url)) => Ok(Account {
            url: url.to_owned(),
            token: token.to_owned(),
        }),
        _ => Err(Error::other("its answer holds no token and address").context(refused())),
    }
}

fn log_in_at_keystone(keystone: &Keystone, given: Option<&str>, trust: &Trust) -> Result<Account> {
    if let Method::Token = keystone.method {
        return use_token(keystone, given, trust);
    }
    let refused = || format!("{} refuses the login of {}", keystone.url, keystone.who());
    let url = format!("{}/auth/tokens", keystone.url);
    let content = Body::from_bytes(document(keystone)?.to_string().as_bytes())?;
    let headers = vec![field("Content-Type", "application/json")];
    let response = send(&request("POST", &url, headers, trust), Some(&content))?;
    if !status::is_success(response.status) {
        return Err(keystone_error(&response).context(refused()));
    }
    let token = response
        .header("x-subject-token")
        .ok_or_else(|| Error::other("its answer holds no token").context(refused()))?
        .to_owned();
    let url = match given {
        Some(url) => url.to_owned(),
        None => {
            let answer: Tokens = parse(&response).context(refused)?;
            endpoint(keystone, &answer.token.catalog)?
        }
    };
    Ok(Account { url, token })
}

/// A given token brings no catalogue with it, but may ask for one.
fn use_token(keystone: &Keystone, given: Option<&str>, trust: &Trust) -> Result<Account> {
    let token = secret("os-token", "a login at Keystone by a token")?;
    let token = token.expose().to_owned();
    if let Some(url) = given {
        return Ok(Account {
            url: url.to_owned(),
            token,
        });
    }
    let url = format!("{}/auth/catalog", keystone.url);
    let headers = vec![field("X-Auth-Token", &token)];
    let response = send(&request("GET", &url, headers, trust), None)?;
    let refused = || format!("{} refuses {}", keystone.url, keystone.who());
    if !status::is_success(response.status) {
        return Err(keystone_error(&response).context(refused()));
    }
    let answer: Catalog = parse(&response).context(refused)?;
    Ok(Account {
        url: endpoint(keystone, &answer.catalog)?,
        token,
    })
}

/// Keystone's own 404 means that it isn't there at all.
fn keystone_error(response: &Response) -> Error {
    let error = status::error(response);
    match error.kind {
        ErrorKind::NotFound => Error::invalid("there is no Keystone of version 3 at os-auth-url"),
        _ => error,
    }
}

/// The request for a token.
fn document(keystone: &Keystone) -> Result<Value> {
    let identity = match &keystone.method {
        Method::Password(user) => {
            let password = secret("os-password", "a login by password")?;
            let mut user = by_name(user);
            user["password"] = json!(password.expose());
            json!({ "methods": ["password"], "password": { "user": user } })
        }
        Method::Credential { id, name } => {
            let secret = secret("os-application-credential-secret", "an application credential")?;
            let mut credential = match (id, name) {
                (None, Some((name, user))) => json!({ "name": name, "user": by_name(user) }),
                (id, _) => json!({ "id": id }),
            };
            credential["secret"] = json!(secret.expose());
            // Its project is its own: Keystone refuses a scope beside it.
            return Ok(json!({ "auth": { "identity": {
                "methods": ["application_credential"], "application_credential": credential
            } } }));
        }
        Method::Token => json!({}),
    };
    Ok(match &keystone.project {
        Some(project) => {
            json!({ "auth": { "identity": identity, "scope": { "project": by_name(project) } } })
        }
        None => json!({ "auth": { "identity": identity } }),
    })
}

fn by_name(named: &Named) -> Value {
    match named {
        Named::Id(id) => json!({ "id": id }),
        Named::Name { name, domain } => {
            let domain = match domain {
                Domain::Id(id) => json!({ "id": id }),
                Domain::Name(name) => json!({ "name": name }),
            };
            json!({ "name": name, "domain": domain })
        }
    }
}

#[derive(Deserialize)]
struct Tokens {
    token: Catalog,
}

/// The part of Keystone's answers that names services.
#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

impl Endpoint {
    fn region(&self) -> &str {
        self.region_id
            .as_deref()
            .or(self.region.as_deref())
            .unwrap_or_default()
    }

    fn is_in(&self, region: &str) -> bool {
        self.region_id.as_deref() == Some(region) || self.region.as_deref() == Some(region)
    }
}

/// The one address that the catalogue has for what was asked.
fn endpoint(keystone: &Keystone, catalog: &[Service]) -> Result<String> {
    let services = catalog.iter().filter(|service| service.kind == SERVICE);
    let all: Vec<&Endpoint> = services
        .flat_map(|service| &service.endpoints)
        .filter(|endpoint| endpoint.interface == keystone.interface)
        .collect();
    if all.is_empty() {
        let advice = match keystone.project {
            None if !matches!(keystone.method, Method::Credential { .. }) => "; name a project",
            _ => "",
        };
        return Err(Error::invalid(format!(
            "the catalogue of {} holds no {} address of an {SERVICE}{advice}",
            keystone.url, keystone.interface
        )));
    }
    let mut regions: Vec<&str> = all.iter().map(|endpoint| endpoint.region()).collect();
    regions.dedup();
    let regions = regions.join(", ");
    let Some(region) = &keystone.region else {
        let (first, rest) = (&all[0], &all[1..]);
        if rest.iter().any(|other| other.region() != first.region()) {
            return Err(Error::invalid(format!(
                "the catalogue of {} has several regions: {regions}; name one by os-region-name",
                keystone.url
            )));
        }
        return Ok(first.url.clone());
    };
    let found = all.iter().find(|endpoint| endpoint.is_in(region));
    found.map(|endpoint| endpoint.url.clone()).ok_or_else(|| {
        Error::invalid(format!(
            "the catalogue of {} holds no {SERVICE} in region {region:?}; there are: {regions}",
            keystone.url
        ))
    })
}

fn parse<T: for<'a> Deserialize<'a>>(response: &Response) -> Result<T> {
    let content = status::document(response, DOCUMENT_BYTES)?;
    // The parser's own words could repeat what stands there.
    serde_json::from_slice(&content).map_err(|error| {
        Error::other(format!(
            "its answer is no such document (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// A header or the like.
pub(crate) fn field(name: &str, value: &str) -> Field {
    Field {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A request that follows no redirect: a token must not travel on.
pub(crate) fn request(method: &str, url: &str, headers: Vec<Field>, trust: &Trust) -> Request {
    Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers,
        follow_redirects: 0,
        timeout_ms: None,
        trust: trust.clone(),
    }
}

#[cfg(test)]
mod tests;
