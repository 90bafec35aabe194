//! A small S3 service in memory, behind the fake host: enough of the protocol to see what the plugin makes of it.
//!
//! It refuses what a real one refuses: a digest that isn't that of the content, parts that are missing, uploads that are gone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use freezer_sdk::error::Result;
use freezer_sdk::host::http::Request;
use freezer_sdk::testing::{FakeHost, FakeResponse};
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use quick_xml::escape::escape;
use sha2::Sha256;

use crate::document::Element;

/// What the service makes of `If-None-Match`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Conditions {
    #[default]
    Honoured,
    /// 501, as Swift's.
    NotImplemented,
    /// As old services do.
    Overlooked,
}

/// An object with the headers it was made with.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) content: Vec<u8>,
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
struct Unfinished {
    key: String,
    headers: BTreeMap<String, String>,
    parts: BTreeMap<usize, Vec<u8>>,
}

/// What the service holds, and how it behaves.
#[derive(Default)]
pub(super) struct State {
    pub(super) bucket: bool,
    pub(super) objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Unfinished>,
    made: usize,
    pub(super) conditions: Conditions,
    /// May look at nothing: HEAD and GET are refused.
    pub(super) write_only: bool,
    /// Most entries of a page.
    pub(super) page: usize,
    /// The next answers, whatever is asked.
    pub(super) answers: Vec<FakeResponse>,
    pub(super) requests: Vec<Request>,
}

/// The service; it is dropped with its host.
#[derive(Clone)]
pub(super) struct Service(Rc<RefCell<State>>);

impl Service {
    /// Lets the host answer for a service with an empty bucket `web`.
    pub(super) fn start(host: &FakeHost) -> Self {
        host.set_secret("secret-key", "hunter2");
        let state = State {
            bucket: true,
            page: 1000,
            ..State::default()
        };
        let service = Service(Rc::new(RefCell::new(state)));
        let answering = service.clone();
        host.serve_http(move |request, content| answering.answer(request, content));
        service
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.with(|state| state.objects.keys().cloned().collect())
    }

    pub(super) fn content(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|state| state.objects.get(key).map(|object| object.content.clone()))
    }

    pub(super) fn put(&self, key: &str, content: &[u8]) {
        let object = Stored {
            content: content.to_vec(),
            ..Stored::default()
        };
        self.with(|state| state.objects.insert(key.to_owned(), object));
    }

    pub(super) fn uploads(&self) -> usize {
        self.with(|state| state.uploads.len())
    }

    fn answer(&self, request: &Request, content: &[u8]) -> Result<FakeResponse> {
        let sha256 = hex::encode(Sha256::digest(content));
        let mut state = self.0.borrow_mut();
        state.requests.push(request.clone());
        if !state.answers.is_empty() {
            return Ok(state.answers.remove(0));
        }
        let asked = Asked::new(request);
        assert!(asked.headers.contains_key("authorization"), "an unsigned request");
        if asked.headers.get("x-amz-content-sha256") != Some(&sha256) {
            return Ok(refusal(400, "XAmzContentSHA256Mismatch"));
        }
        Ok(state.answer(&asked, content))
    }
}

/// A request taken apart.
struct Asked {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
}

impl Asked {
    fn new(request: &Request) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let path = path
            .strip_prefix("http://store:9000/web")
            .expect("a URL of the bucket");
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap();
            (decode(name), decode(value))
        };
        Asked {
            method: request.method.clone(),
            key: decode(path.trim_start_matches('/')),
            query: query
                .split('&')
                .filter(|text| !text.is_empty())
                .map(pair)
                .collect(),
            headers: request
                .headers
                .iter()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        }
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// What an object keeps of a request's headers.
    fn kept(&self) -> BTreeMap<String, String> {
        let kept = |name: &str| {
            ["x-amz-meta-", "x-amz-storage-", "x-amz-object-"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        self.headers
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl State {
    fn answer(&mut self, asked: &Asked, content: &[u8]) -> FakeResponse {
        let upload = asked.query("uploadId");
        if !self.bucket && (asked.method != "PUT" || !asked.key.is_empty()) {
            return if asked.method == "HEAD" {
                status(404)
            } else {
                refusal(404, "NoSuchBucket")
            };
        }
        match (asked.method.as_str(), asked.key.as_str(), upload) {
            ("PUT", "", _) => {
                self.bucket = true;
                status(200)
            }
            ("GET", "", _) if asked.query("uploads").is_some() => self.list_uploads(asked),
            ("GET", "", _) => self.list(asked),
            ("POST", "", _) => self.remove_many(content),
            ("GET" | "HEAD", _, _) if self.write_only => refusal(403, "AccessDenied"),
            ("GET" | "HEAD", key, None) => self.read(key, asked),
            ("POST", key, None) => {
                self.made += 1;
                // With what a service may put into an id.
                let id = format!("{}:+/=", self.made);
                let begun = Unfinished {
                    key: key.to_owned(),
                    headers: asked.kept(),
                    ..Unfinished::default()
                };
                self.uploads.insert(id.clone(), begun);
                xml(&format!("<R><UploadId>{id}</UploadId></R>"))
            }
            (method, _, Some(id)) => self.upload(method, id, asked, content),
            ("DELETE", key, None) => {
                self.objects.remove(key);
                status(204)
            }
            ("PUT", key, None) => match self.refused_by_condition(key, asked) {
                Some(refused) => refused,
                None => {
                    let object = Stored {
                        content: content.to_vec(),
                        headers: asked.kept(),
                    };
                    self.objects.insert(key.to_owned(), object);
                    status(200)
                }
            },
            (method, key, _) => panic!("{method} {key} isn't known here"),
        }
    }

    fn refused_by_condition(&self, key: &str, asked: &Asked) -> Option<FakeResponse> {
        asked.headers.get("if-none-match")?;
        match self.conditions {
            Conditions::Honoured if self.objects.contains_key(key) => {
                Some(refusal(412, "PreconditionFailed"))
            }
            Conditions::NotImplemented => Some(refusal(501, "NotImplemented")),
            Conditions::Honoured | Conditions::Overlooked => None,
        }
    }

    fn upload(&mut self, method: &str, id: &str, asked: &Asked, content: &[u8]) -> FakeResponse {
        if !self.uploads.contains_key(id) {
            return refusal(404, "NoSuchUpload");
        }
        match method {
            "DELETE" => {
                self.uploads.remove(id);
                status(204)
            }
            "GET" => self.list_parts(id, asked),
            "PUT" => {
                let number = asked.query("partNumber").unwrap().parse().unwrap();
                self.uploads
                    .get_mut(id)
                    .unwrap()
                    .parts
                    .insert(number, content.to_vec());
                let mut stored = status(200);
                stored.headers.push(("etag".into(), etag(content)));
                stored
            }
            _ => {
                if let Some(refused) = self.refused_by_condition(&asked.key, asked) {
                    return refused;
                }
                let unfinished = self.uploads[id].clone();
                let mut whole = Vec::new();
                for part in Element::parse(content).unwrap().children("Part") {
                    let number = part.text("PartNumber").parse().unwrap();
                    match unfinished.parts.get(&number) {
                        Some(bytes) if etag(bytes) == part.text("ETag") => whole.extend_from_slice(bytes),
                        // As real ones do: the status goes out before the parts are looked at.
                        _ => {
                            return xml(
                                "<Error><Code>InvalidPart</Code><Message>no such part</Message></Error>",
                            );
                        }
                    }
                }
                self.uploads.remove(id);
                self.objects.insert(
                    unfinished.key,
                    Stored {
                        content: whole,
                        headers: unfinished.headers,
                    },
                );
                xml("<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>")
            }
        }
    }

    fn read(&self, key: &str, asked: &Asked) -> FakeResponse {
        let Some(object) = self.objects.get(key) else {
            return if asked.method == "HEAD" {
                status(404)
            } else {
                refusal(404, "NoSuchKey")
            };
        };
        let size = object.content.len();
        let mut answer = status(200);
        answer.headers.extend(object.headers.clone());
        answer
            .headers
            .push(("last-modified".into(), "Tue, 14 Nov 2023 22:13:20 GMT".into()));
        let mut content = object.content.as_slice();
        if let Some(range) = asked.headers.get("range") {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let first: usize = first.parse().unwrap();
            if first >= size {
                return refusal(416, "InvalidRange");
            }
            let last = last.parse().unwrap_or(usize::MAX).min(size - 1);
            content = &content[first..=last];
            answer.status = 206;
            answer
                .headers
                .push(("content-range".into(), format!("bytes {first}-{last}/{size}")));
        }
        answer
            .headers
            .push(("content-length".into(), content.len().to_string()));
        if asked.method == "GET" {
            answer.content = content.to_vec();
        }
        answer
    }

    fn list(&self, asked: &Asked) -> FakeResponse {
        let prefix = asked.query("prefix").unwrap();
        let mut entries: BTreeMap<String, String> = BTreeMap::new();
        for (key, object) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let folder = key[prefix.len()..]
                .split_once('/')
                .filter(|_| asked.query("delimiter").is_some());
            let (name, entry) = match folder {
                Some((folder, _)) => {
                    let name = format!("{prefix}{folder}/");
                    let entry = format!(
                        "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                        encode(&name)
                    );
                    (name, entry)
                }
                None => {
                    let size = object.content.len();
                    let key_text = encode(key);
                    let entry = format!(
                        "<Contents><Key>{key_text}</Key><Size>{size}</Size>\
                         <LastModified>2023-11-14T22:13:20.000Z</LastModified></Contents>"
                    );
                    (key.clone(), entry)
                }
            };
            entries.insert(name, entry);
        }
        let after = asked.query("continuation-token").unwrap_or_default();
        let mut rest = entries.iter().filter(|(name, _)| name.as_str() > after);
        let page: Vec<(&String, &String)> = rest.by_ref().take(self.page).collect();
        let next = rest.next().and_then(|_| page.last()).map(|(name, _)| {
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                escape(name.as_str())
            )
        });
        let entries: String = page.into_iter().map(|(_, entry)| entry.as_str()).collect();
        xml(&format!(
            "<R><EncodingType>url</EncodingType>{}{entries}</R>",
            next.unwrap_or_default()
        ))
    }

    fn list_uploads(&self, asked: &Asked) -> FakeResponse {
        let prefix = asked.query("prefix").unwrap();
        let after = (
            asked.query("key-marker").unwrap_or_default(),
            asked.query("upload-id-marker").unwrap_or_default(),
        );
        let mut all: Vec<(&str, &str)> = self
            .uploads
            .iter()
            .map(|(id, upload)| (upload.key.as_str(), id.as_str()))
            .collect();
        all.retain(|(key, _)| key.starts_with(prefix));
        all.sort_unstable();
        let mut rest = all.into_iter().filter(|&upload| upload > after);
        let page: Vec<(&str, &str)> = rest.by_ref().take(self.page).collect();
        let next = rest.next().and_then(|_| page.last()).map(|(key, id)| {
            format!(
                "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
                encode(key)
            )
        });
        let uploads: String = page
            .into_iter()
            .map(|(key, id)| {
                let key = encode(key);
                format!(
                    "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>2023-11-14T22:13:20.000Z</Initiated></Upload>"
                )
            })
            .collect();
        xml(&format!(
            "<R><EncodingType>url</EncodingType>{}{uploads}</R>",
            next.unwrap_or_default()
        ))
    }

    /// Each part is a second younger than the one before.
    fn list_parts(&self, id: &str, asked: &Asked) -> FakeResponse {
        let after: usize = asked.query("part-number-marker").unwrap().parse().unwrap();
        let mut rest = self.uploads[id].parts.keys().filter(|number| **number > after);
        let page: Vec<usize> = rest.by_ref().take(self.page).copied().collect();
        let next = rest.next().and(page.last()).map(|last| {
            format!("<IsTruncated>true</IsTruncated><NextPartNumberMarker>{last}</NextPartNumberMarker>")
        });
        let part = |number: &usize| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><LastModified>2023-11-14T22:14:{number:02}.000Z</LastModified></Part>"
            )
        };
        let parts: String = page.iter().map(part).collect();
        xml(&format!("<R>{}{parts}</R>", next.unwrap_or_default()))
    }

    fn remove_many(&mut self, content: &[u8]) -> FakeResponse {
        for object in Element::parse(content).unwrap().children("Object") {
            self.objects.remove(object.exact_text("Key"));
        }
        xml("<DeleteResult/>")
    }
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn etag(content: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(content)))
}

pub(super) fn status(status: u16) -> FakeResponse {
    FakeResponse {
        status,
        ..FakeResponse::default()
    }
}

fn xml(document: &str) -> FakeResponse {
    FakeResponse {
        content: document.as_bytes().to_vec(),
        ..status(200)
    }
}

pub(super) fn refusal(status: u16, code: &str) -> FakeResponse {
    FakeResponse {
        status,
        ..xml(&format!(
            "<Error><Code>{code}</Code><Message>said so</Message></Error>"
        ))
    }
}
