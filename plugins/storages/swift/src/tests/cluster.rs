//! A small Swift in memory, strict about what a real one is strict about. The end-to-end tests have a real one.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::http::Request;
use freezer_sdk::settings::{SettingValue, Settings};
use freezer_sdk::storage::Storage;
use freezer_sdk::testing::{FakeHost, FakeResponse};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::Swift;
use crate::place::decode;

const ACCOUNT: &str = "http://swift:8080/v1/AUTH_test";

/// An object: content and the headers that were stored with it.
#[derive(Clone, Default)]
pub(super) struct Object {
    pub(super) content: Vec<u8>,
    pub(super) headers: BTreeMap<String, String>,
}

/// What stands behind the fake host's HTTP.
#[derive(Default)]
pub(super) struct State {
    /// By container and name.
    pub(super) containers: BTreeMap<String, BTreeMap<String, Object>>,
    /// `METHOD path?query` of each request but logins.
    pub(super) requests: Vec<String>,
    pub(super) logins: usize,
    /// Requests that a token is good for.
    pub(super) token_uses: Option<usize>,
    uses: usize,
    /// Answers that come before any thinking: the statuses of the next requests whose line holds the text.
    pub(super) script: Vec<(String, u16)>,
    /// Requests until one fails, and how: 0 and 1 break the connection before and after it took effect.
    pub(super) fault: Option<(usize, u16)>,
    /// Names that listings don't show yet.
    pub(super) unlisted: Vec<String>,
    pub(super) bulk: bool,
    pub(super) page: usize,
}

#[derive(Clone)]
pub(super) struct Cluster(Rc<RefCell<State>>);

impl Cluster {
    /// Puts one behind the fake host.
    pub(super) fn new(host: &FakeHost) -> Self {
        let state = State {
            bulk: true,
            page: 10_000,
            ..State::default()
        };
        let cluster = Cluster(Rc::new(RefCell::new(state)));
        host.set_secret("st-key", "testing");
        let serving = cluster.clone();
        host.serve_http(move |request, content| serving.answer(request, content));
        cluster
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// A fresh instance of the plugin.
    pub(super) fn open(&self, container: &str, is_static: bool) -> Swift {
        Swift::open(Settings::new([
            ("container", SettingValue::Text(container.to_owned())),
            (
                "st-auth",
                SettingValue::Text("http://swift:8080/auth/v1.0".to_owned()),
            ),
            ("st-user", SettingValue::Text("test:tester".to_owned())),
            ("swift-slo", SettingValue::Flag(is_static)),
        ]))
        .unwrap()
    }

    /// All names in a container.
    pub(super) fn names(&self, container: &str) -> Vec<String> {
        let state = self.state();
        state
            .containers
            .get(container)
            .map(|objects| objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn put(&self, container: &str, name: &str, content: &[u8], headers: &[(&str, &str)]) {
        let object = Object {
            content: content.to_vec(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let mut state = self.state();
        let objects = state.containers.entry(container.to_owned()).or_default();
        objects.insert(name.to_owned(), object);
    }

    /// Requests of that method since the last question.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn answer(&self, request: &Request, content: &[u8]) -> Result<FakeResponse> {
        let state = &mut *self.state();
        if request.url.ends_with("/auth/v1.0") {
            state.logins += 1;
            state.uses = 0;
            let token = format!("token{}", state.logins);
            return Ok(response(
                200,
                &[("x-auth-token", &token), ("x-storage-url", ACCOUNT)],
                b"",
            ));
        }
        if request.url == "http://swift:8080/info" {
            let mut info = json!({ "slo": { "max_manifest_segments": 3 } });
            if state.bulk {
                info["bulk_delete"] = json!({ "max_deletes_per_request": 4 });
            }
            return Ok(response(200, &[], info.to_string().as_bytes()));
        }
        let path = request
            .url
            .strip_prefix(ACCOUNT)
            .expect("an address of the account");
        let line = format!("{} {path}", request.method);
        state.requests.push(line.clone());
        let scripted = state
            .script
            .iter()
            .position(|(text, _)| line.contains(text.as_str()));
        let scripted = scripted.map(|place| state.script.remove(place).1);
        let due = state
            .fault
            .take_if(|(left, _)| *left == 0)
            .map(|(_, fault)| fault);
        if let Some((left, _)) = &mut state.fault {
            *left -= 1;
        }
        if let Some(fault) = scripted.or(due) {
            return match fault {
                0 => Err(Error::unavailable("the connection broke")),
                // The request takes effect, and its answer gets lost.
                1 => {
                    state.request(request, path, content);
                    Err(Error::unavailable("the connection broke"))
                }
                status => Ok(response(status, &[], b"")),
            };
        }
        state.uses += 1;
        let token = header(request, "x-auth-token").unwrap_or_default();
        if token != format!("token{}", state.logins) || state.token_uses.is_some_and(|most| state.uses > most)
        {
            return Ok(response(401, &[], b""));
        }
        Ok(state.request(request, path, content))
    }
}

impl State {
    fn request(&mut self, request: &Request, path: &str, content: &[u8]) -> FakeResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = decode(path).expect("UTF-8");
        let query = |name: &str| {
            let mut pairs = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| decode(value))
        };
        if path.is_empty() && query("bulk-delete").is_some() {
            return self.delete_in_bulk(content);
        }
        if path.is_empty() {
            return response(403, &[], b"");
        }
        let (container, name) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        if name.is_empty() {
            return self.container(request, container, &query);
        }
        let Some(objects) = self.containers.get_mut(container) else {
            return response(404, &[], b"");
        };
        match request.method.as_str() {
            "PUT" => {
                if header(request, "if-none-match").is_some() && objects.contains_key(name) {
                    return response(412, &[], b"");
                }
                let etag = md5(content);
                if header(request, "etag").is_some_and(|sent| sent != etag) {
                    return response(422, &[], b"");
                }
                let mut object = stored(request, content);
                if query("multipart-manifest").as_deref() == Some("put") {
                    let Some(size) = self.check_static(content) else {
                        return response(400, &[], b"");
                    };
                    object
                        .headers
                        .insert("x-static-large-object".into(), "True".into());
                    object.headers.insert("whole-size".into(), size.to_string());
                }
                let objects = self.containers.entry(container.to_owned()).or_default();
                objects.insert(name.to_owned(), object);
                response(201, &[("etag", &etag)], b"")
            }
            "DELETE" => response(if objects.remove(name).is_some() { 204 } else { 404 }, &[], b""),
            _ => match objects.get(name) {
                Some(object) => read(request, object),
                None => response(404, &[], b""),
            },
        }
    }

    /// The size of what a static manifest stands for, if all of it is there as it says.
    fn check_static(&self, content: &[u8]) -> Option<u64> {
        let entries: Vec<Value> = serde_json::from_slice(content).ok()?;
        assert!((1..=3).contains(&entries.len()), "entries of a static manifest");
        let mut sum = 0;
        for entry in entries {
            let (container, name) = entry["path"].as_str()?.strip_prefix('/')?.split_once('/')?;
            let object = self.containers.get(container)?.get(name)?;
            let size = match object.headers.get("whole-size") {
                Some(size) => size.parse().ok()?,
                None => object.content.len() as u64,
            };
            let right = entry["etag"].is_null() || entry["etag"] == json!(md5(&object.content));
            let fits = entry["size_bytes"].is_null() || entry["size_bytes"] == json!(size);
            if !right || !fits {
                return None;
            }
            sum += size;
        }
        Some(sum)
    }

    fn container(
        &mut self,
        request: &Request,
        container: &str,
        query: &dyn Fn(&str) -> Option<String>,
    ) -> FakeResponse {
        if request.method == "PUT" {
            self.containers.entry(container.to_owned()).or_default();
            return response(201, &[], b"");
        }
        let Some(objects) = self.containers.get(container) else {
            return response(404, &[], b"");
        };
        if request.method == "HEAD" {
            let bytes: usize = objects.values().map(|object| object.content.len()).sum();
            return response(
                204,
                &[
                    ("x-container-object-count", &objects.len().to_string()),
                    ("x-container-bytes-used", &bytes.to_string()),
                    ("x-container-meta-quota-bytes", "1000000"),
                ],
                b"",
            );
        }
        let prefix = query("prefix").unwrap_or_default();
        let marker = query("marker").unwrap_or_default();
        let limit: usize = query("limit")
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(self.page);
        let mut entries: Vec<Value> = Vec::new();
        for (name, object) in objects {
            let Some(rest) = name.strip_prefix(&prefix) else {
                continue;
            };
            if entries.len() == limit.min(self.page) || self.unlisted.contains(name) {
                continue;
            }
            match query("delimiter").and_then(|_| rest.split_once('/')) {
                Some((folder, _)) => {
                    let subdir = format!("{prefix}{folder}/");
                    let last = entries.last().map(|last| last["subdir"] == json!(subdir));
                    if subdir > marker && last != Some(true) {
                        entries.push(json!({ "subdir": subdir }));
                    }
                }
                None if *name > marker => entries.push(json!({
                    "name": name, "bytes": object.content.len(), "hash": md5(&object.content),
                    "last_modified": "2026-11-25T01:56:58.013980",
                })),
                None => {}
            }
        }
        response(200, &[], Value::Array(entries).to_string().as_bytes())
    }

    fn delete_in_bulk(&mut self, content: &[u8]) -> FakeResponse {
        let text = String::from_utf8_lossy(content).into_owned();
        assert!(text.lines().count() <= 4, "more names than the cluster takes");
        let mut deleted = 0;
        for line in text.lines() {
            let path = decode(line).expect("UTF-8");
            let (container, name) = path[1..].split_once('/').expect("an object");
            let objects = self.containers.get_mut(container);
            deleted += usize::from(objects.is_some_and(|objects| objects.remove(name).is_some()));
        }
        let answer = json!({ "Response Status": "200 OK", "Number Deleted": deleted, "Errors": [] });
        response(200, &[], answer.to_string().as_bytes())
    }
}

/// `GET` and `HEAD` of an object. Nobody may read through a manifest.
fn read(request: &Request, object: &Object) -> FakeResponse {
    let is_manifest = ["x-object-manifest", "x-static-large-object"]
        .iter()
        .any(|name| object.headers.contains_key(*name));
    let itself = request.url.contains("multipart-manifest=get");
    assert!(
        itself || !is_manifest || object.headers.contains_key("foreign"),
        "read through a manifest"
    );
    let mut headers: Vec<(&str, &str)> = object
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.push(("x-timestamp", "1795571818.01398"));
    let total = object.content.len();
    let length = total.to_string();
    if request.method == "HEAD" {
        headers.push(("content-length", &length));
        return response(200, &headers, b"");
    }
    let Some(range) = header(request, "range") else {
        headers.push(("content-length", &length));
        return response(200, &headers, &object.content);
    };
    let (first, last) = range
        .trim_start_matches("bytes=")
        .split_once('-')
        .expect("a range");
    let first: usize = first.parse().expect("a number");
    if first >= total {
        let range = format!("bytes */{total}");
        headers.push(("content-range", &range));
        return response(416, &headers, b"<html>");
    }
    let last = last.parse().unwrap_or(usize::MAX).min(total - 1);
    let range = format!("bytes {first}-{last}/{total}");
    headers.push(("content-range", &range));
    response(206, &headers, &object.content[first..=last])
}

fn stored(request: &Request, content: &[u8]) -> Object {
    let kept = |name: &str| name.starts_with("x-object-");
    let headers: BTreeMap<String, String> = request
        .headers
        .iter()
        .map(|field| (field.name.to_lowercase(), field.value.clone()))
        .filter(|(name, _)| kept(name))
        .collect();
    assert!(
        headers.values().all(|value| value.len() <= 256),
        "metadata that Swift refuses"
    );
    Object {
        content: content.to_vec(),
        headers,
    }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let field = request
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name));
    field.map(|field| field.value.as_str())
}

fn response(status: u16, headers: &[(&str, &str)], content: &[u8]) -> FakeResponse {
    FakeResponse {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        content: content.to_vec(),
    }
}

pub(super) fn md5(content: &[u8]) -> String {
    hex::encode(Md5::digest(content))
}
