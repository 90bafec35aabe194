//! One request to the service: signed, sent, and its refusal made an error.
//!
//! Nothing is sent twice here, except once after making a missing bucket on request: repeating is the host's.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::base64;
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::bodies::{Body, DigestAlgorithm};
use freezer_sdk::host::directories::Timestamp;
use freezer_sdk::host::http::{Field, Request, Response, Trust, send};
use freezer_sdk::settings::Settings;

use crate::document::{self, ANSWER_BYTES, Element};
use crate::failure;
use crate::place::Place;
use crate::sign::{Signer, Unsigned};

/// SHA-256 of nothing.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The header in which an object bears the run that made it.
pub(crate) const RUN_HEADER: &str = "x-amz-meta-freezer-run";
/// The service's word for a missing bucket.
pub(crate) const NO_BUCKET: &str = "NoSuchBucket";

/// A bucket and the key to it.
pub(crate) struct Service {
    pub(crate) place: Place,
    signer: Signer,
    trust: Trust,
    /// Makes a missing bucket by the first write.
    creates_bucket: bool,
    /// A new bucket gets object lock.
    locks: bool,
}

/// What is asked.
#[derive(Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    /// The key in the bucket; the bucket itself without it.
    pub(crate) key: Option<&'a str>,
    pub(crate) query: Vec<(&'static str, &'a str)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content: Option<&'a Body>,
}

/// An object as the service tells it.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) size: u64,
    pub(crate) modified: Option<Timestamp>,
    /// The run that made it, if it was made in segments.
    pub(crate) run: Option<String>,
}

impl Service {
    /// Understands the settings and asks nothing.
    ///
    /// # Errors
    /// `invalid`, naming the setting.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let trust = if settings.flag("insecure")? {
            Trust::Anything("insecure".into())
        } else if settings.optional_text("ca-file")?.is_some() {
            Trust::Certificates("ca-file".into())
        } else {
            Trust::System
        };
        Ok(Service {
            place: Place::new(settings)?,
            signer: Signer::new(settings)?,
            trust,
            creates_bucket: settings.flag("create-bucket")?,
            locks: settings.optional_text("object-lock-mode")?.is_some(),
        })
    }

    /// Asks, and takes every answer.
    ///
    /// # Errors
    /// Only if no answer came.
    pub(crate) fn send(&self, ask: &Ask<'_>) -> Result<Response> {
        let url = self.place.url(ask.key, &ask.query);
        let mut headers = ask.headers.clone();
        let sha256 = match ask.content {
            Some(content) => {
                // Also for services that don't compare the signed digest with what they get.
                let md5 = hex::decode(content.digest(DigestAlgorithm::Md5)?)
                    .map_err(|_| Error::other("the host's digest isn't in hex"))?;
                headers.push(("content-md5", base64::encode(md5)));
                content.digest(DigestAlgorithm::Sha256)?
            }
            None => NOTHING.to_owned(),
        };
        let unsigned = Unsigned {
            method: ask.method,
            url: &url,
            headers: &headers,
            sha256,
        };
        let signed = self.signer.sign(unsigned, now())?;
        let field = |(name, value): (&str, String)| Field {
            name: name.to_owned(),
            value,
        };
        let request = Request {
            method: ask.method.to_owned(),
            headers: headers.into_iter().map(field).chain(signed).collect(),
            url,
            // A signature holds for one place only.
            follow_redirects: 0,
            timeout_ms: None,
            trust: self.trust.clone(),
        };
        // Services want to be told that nothing comes.
        let nothing = matches!(ask.method, "PUT" | "POST")
            .then(|| Body::from_bytes(&[]))
            .transpose()?;
        send(&request, ask.content.or(nothing.as_ref()))
    }

    /// Asks, and takes only a success.
    ///
    /// # Errors
    /// What the service's refusal means.
    pub(crate) fn ask(&self, ask: &Ask<'_>) -> Result<Response> {
        let response = self.send(ask)?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        Err(self.refused(&response))
    }

    /// The error that an answer other than a success stands for.
    pub(crate) fn refused(&self, response: &Response) -> Error {
        failure::of_response(response, self.signer.access_key())
    }

    /// As [`Service::ask`], and makes the bucket if it isn't there and was asked for.
    ///
    /// # Errors
    /// What the service's refusal means.
    pub(crate) fn ask_to_write(&self, ask: &Ask<'_>) -> Result<Response> {
        match self.ask(ask) {
            Err(error) if self.creates_bucket && error.code.as_deref() == Some(NO_BUCKET) => {
                self.create_bucket()?;
                self.ask(ask)
            }
            answer => answer,
        }
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// What the service's refusal means, whatever status it has; `corrupt` if the answer is no document.
    pub(crate) fn ask_document(&self, ask: &Ask<'_>) -> Result<Element> {
        self.document(&self.ask(ask)?)
    }

    /// The document in an answer.
    ///
    /// # Errors
    /// As [`Service::ask_document`].
    pub(crate) fn document(&self, response: &Response) -> Result<Element> {
        let content = response
            .content
            .read_to_end(ANSWER_BYTES)
            .map_err(|error| match error.kind {
                ErrorKind::Invalid => Error::corrupt(format!("the service's answer is {error}")),
                // The answer broke off on its way; it is made anew for each request.
                ErrorKind::Corrupt => Error::unavailable(error.message),
                _ => error,
            })?;
        let document = Element::parse(&content)?;
        match document.name.as_str() {
            "Error" => Err(self.refusal(&document)),
            _ => Ok(document),
        }
    }

    /// The error that an `Error` element stands for.
    pub(crate) fn refusal(&self, document: &Element) -> Error {
        failure::of_document(document, self.signer.access_key())
    }

    /// Looks at an object (key in the bucket); none if it isn't there.
    ///
    /// # Errors
    /// What the service's refusal means.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Object>> {
        let head = self.send(&Ask {
            method: "HEAD",
            key: Some(key),
            ..Ask::default()
        })?;
        match head.status {
            200 => {}
            404 => return Ok(None),
            // An answer to HEAD has no content, so the reason has to be asked for in another way.
            _ => {
                let range = vec![("range", "bytes=0-0".to_owned())];
                let response = self.send(&Ask {
                    method: "GET",
                    key: Some(key),
                    headers: range,
                    ..Ask::default()
                })?;
                let answer = if response.status >= 300 { &response } else { &head };
                return Err(self.refused(answer));
            }
        }
        let Some(size) = head.header("content-length").and_then(|text| text.parse().ok()) else {
            return Err(Error::corrupt("the service doesn't tell the object's length"));
        };
        let date = head.header("last-modified").and_then(failure::parse_date);
        Ok(Some(Object {
            size,
            modified: date.map(timestamp),
            run: head.header(RUN_HEADER).map(str::to_owned),
        }))
    }

    /// As [`Service::find`] for keys that may write only: what may not be looked at counts as absent.
    ///
    /// # Errors
    /// All but `denied`.
    pub(crate) fn find_if_allowed(&self, key: &str) -> Result<Option<Object>> {
        match self.find(key) {
            Err(error) if error.code.as_deref() == Some("AccessDenied") => Ok(None),
            found => found,
        }
    }

    fn create_bucket(&self) -> Result<()> {
        let document = document::create_bucket(self.signer.region());
        let content = (!document.is_empty())
            .then(|| Body::from_bytes(document.as_bytes()))
            .transpose()?;
        let mut headers = Vec::new();
        if self.locks {
            headers.push(("x-amz-bucket-object-lock-enabled", "true".to_owned()));
        }
        let made = self.ask(&Ask {
            method: "PUT",
            headers,
            content: content.as_ref(),
            ..Ask::default()
        });
        match made {
            // Another instance was faster.
            Err(error) if error.code.as_deref() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            made => made
                .map(|_| ())
                .map_err(|error| error.context(format!("can't make {}", self.place))),
        }
    }
}

/// What time it is: requests are signed for some minutes, and retention counts from now.
#[expect(
    clippy::disallowed_methods,
    reason = "the contract has no clock; in a component this one is the host's"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A service's date in the contract's form.
pub(crate) fn timestamp(date: DateTime) -> Timestamp {
    Timestamp {
        seconds: date.secs(),
        nanoseconds: date.subsec_nanos(),
    }
}
