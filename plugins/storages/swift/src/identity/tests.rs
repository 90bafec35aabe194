//! Logins of all kinds against scripted answers.

use std::cell::RefCell;
use std::rc::Rc;

use freezer_sdk::settings::{SettingValue, Settings};
use freezer_sdk::testing::{FakeHost, FakeResponse};

use super::*;

const PASSWORD: [(&str, &str); 4] = [
    ("os-auth-url", "http://keystone:5000/v3"),
    ("os-username", "ann"),
    ("os-project-name", "web"),
    ("os-region-name", "north"),
];

fn login(pairs: &[(&str, &str)]) -> Login {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), SettingValue::Text((*value).to_owned()));
    Login::new(&Settings::new(pairs.iter().map(text))).unwrap()
}

/// A Keystone that answers one thing, and what it was asked.
fn serve(host: &FakeHost, status: u16, content: Value) -> Rc<RefCell<Vec<(String, Value)>>> {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&asked);
    host.serve_http(move |request, body| {
        let document = serde_json::from_slice(body).unwrap_or(Value::Null);
        seen.borrow_mut()
            .push((format!("{} {}", request.method, request.url), document));
        Ok(FakeResponse {
            status,
            headers: vec![("x-subject-token".into(), "fresh".into())],
            content: content.to_string().into_bytes(),
        })
    });
    asked
}

fn endpoint_of(region: &str, interface: &str, url: &str) -> Value {
    json!({ "interface": interface, "region": region, "region_id": region, "url": url })
}

fn catalog() -> Value {
    json!([
        { "type": "image", "endpoints": [endpoint_of("north", "public", "http://glance")] },
        { "type": "object-store", "endpoints": [
            endpoint_of("south", "public", "http://south/v1/A"),
            endpoint_of("north", "internal", "http://inside/v1/A"),
            endpoint_of("north", "public", "http://north/v1/A/"),
        ] },
    ])
}

fn answer() -> Value {
    json!({ "token": { "catalog": catalog() } })
}

#[test]
fn a_password_is_scoped_to_a_project_and_finds_its_region() {
    let host = FakeHost::new();
    host.set_secret("os-password", "hunter2");
    let asked = serve(&host, 201, answer());
    let account = log_in(&login(&PASSWORD), None, &Trust::System).unwrap();
    assert_eq!(
        (account.url.as_str(), account.token.as_str()),
        ("http://north/v1/A", "fresh")
    );
    let (line, document) = asked.borrow()[0].clone();
    assert_eq!(line, "POST http://keystone:5000/v3/auth/tokens");
    assert_eq!(
        document,
        json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": {
                "name": "ann", "domain": { "name": "Default" }, "password": "hunter2" } } },
            "scope": { "project": { "name": "web", "domain": { "name": "Default" } } },
        } })
    );
}

#[test]
fn an_application_credential_brings_its_own_project() {
    let host = FakeHost::new();
    host.set_secret("os-application-credential-secret", "s");
    let asked = serve(&host, 201, answer());
    let pairs = [&PASSWORD[..], &[("os-application-credential-id", "c")]].concat();
    log_in(&login(&pairs), None, &Trust::System).unwrap();
    let auth = asked.borrow()[0].1["auth"].clone();
    assert_eq!(
        auth["identity"]["application_credential"],
        json!({ "id": "c", "secret": "s" })
    );
    assert!(auth.get("scope").is_none());
}

#[test]
fn a_token_asks_for_the_catalogue_alone() {
    let host = FakeHost::new();
    host.set_secret("os-token", "given");
    let asked = serve(&host, 200, json!({ "catalog": catalog() }));
    let account = log_in(&login(&PASSWORD), None, &Trust::System).unwrap();
    assert_eq!(account.token, "given");
    assert_eq!(asked.borrow()[0].0, "GET http://keystone:5000/v3/auth/catalog");
    let account = log_in(&login(&PASSWORD), Some("http://own/v1/B"), &Trust::System).unwrap();
    assert_eq!(account.url, "http://own/v1/B");
    assert_eq!(asked.borrow().len(), 1);
}

#[test]
fn the_interface_and_the_region_are_told_apart() {
    let host = FakeHost::new();
    host.set_secret("os-password", "p");
    let _asked = serve(&host, 201, answer());
    let inside = [&PASSWORD[..], &[("os-interface", "internal")]].concat();
    let account = log_in(&login(&inside), None, &Trust::System).unwrap();
    assert_eq!(account.url, "http://inside/v1/A");
    let wrong = [&PASSWORD[..3], &[("os-region-name", "west")]].concat();
    let error = log_in(&login(&wrong), None, &Trust::System).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("south, north"), "{error}");
    let error = log_in(&login(&PASSWORD[..3]), None, &Trust::System)
        .err()
        .unwrap();
    assert!(error.message.contains("os-region-name"), "{error}");
    let admin = [&PASSWORD[..], &[("os-interface", "admin")]].concat();
    let error = log_in(&login(&admin), None, &Trust::System).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn a_refused_login_says_whose_it_was_and_not_the_password() {
    let host = FakeHost::new();
    host.set_secret("os-password", "hunter2");
    let _asked = serve(
        &host,
        401,
        json!({ "error": { "message": "The request you have made requires authentication." } }),
    );
    let error = log_in(&login(&PASSWORD), None, &Trust::System).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("\"ann\"") && error.message.contains("\"web\""));
    assert!(!error.message.contains("hunter2"));
}

#[test]
fn what_is_no_keystone_is_named_so() {
    let host = FakeHost::new();
    host.set_secret("os-password", "hunter2");
    let _asked = serve(&host, 404, json!({}));
    let error = log_in(&login(&PASSWORD), None, &Trust::System).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let _asked = serve(&host, 201, json!({ "token": { "catalog": 7, "hunter2": 1 } }));
    let error = log_in(&login(&PASSWORD), None, &Trust::System).err().unwrap();
    assert!(!error.message.contains("hunter2"), "{error}");
    let _asked = serve(&host, 503, json!({}));
    let error = log_in(&login(&PASSWORD), None, &Trust::System).err().unwrap();
    assert!(error.is_retryable());
}

#[test]
fn tempauth_answers_in_headers() {
    let host = FakeHost::new();
    host.set_secret("st-key", "k");
    host.serve_http(|request, _| {
        let has = |name: &str, value: &str| {
            request
                .headers
                .iter()
                .any(|header| header.name == name && header.value == value)
        };
        let right = has("X-Auth-User", "a:u") && has("X-Auth-Key", "k");
        Ok(FakeResponse {
            status: if right { 200 } else { 401 },
            headers: vec![
                ("x-auth-token".into(), "t".into()),
                ("x-storage-url".into(), "http://s/v1/AUTH_a".into()),
            ],
            content: Vec::new(),
        })
    });
    let right = [("st-auth", "http://s/auth/v1.0"), ("st-user", "a:u")];
    let account = log_in(&login(&right), None, &Trust::System).unwrap();
    assert_eq!(account.url, "http://s/v1/AUTH_a");
    let wrong = [("st-auth", "http://s/auth/v1.0"), ("st-user", "a:x")];
    let error = log_in(&login(&wrong), None, &Trust::System).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("\"a:x\""));
}
