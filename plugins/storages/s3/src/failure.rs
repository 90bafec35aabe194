//! What a service's refusal means: its own word and status become a kind that the host decides by, and a line for people.
//!
//! The caller names bucket and object. Services differ in statuses more than in words, so the word comes first. What the service says is quoted, cut; nothing of
//! the request is, since it is signed.

use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use freezer_sdk::error::{Error, ErrorKind, code};
use freezer_sdk::host::http::Response;

use crate::document::{ANSWER_BYTES, Element};

/// Most characters of the service's own message that are quoted.
const QUOTED: usize = 200;

/// What the service told.
#[derive(Debug, Default)]
struct Refusal {
    status: u16,
    /// Its word, such as `NoSuchKey`; "" if it sent none.
    code: String,
    message: String,
    /// The region that it names instead.
    region: String,
    /// The time there.
    server_time: String,
    retry_after: Option<Duration>,
}

/// The error that an answer with a status other than 2xx stands for; `access_key` has signed the request.
pub(crate) fn of_response(response: &Response, access_key: &str) -> Error {
    // A proxy in between answers in HTML, at any length, or not at all: then the status has to do.
    let content = response.content.read_to_end(ANSWER_BYTES).unwrap_or_default();
    let mut refusal =
        Element::parse(&content).map_or_else(|_| Refusal::default(), |error| Refusal::new(&error));
    refusal.status = response.status;
    if let Some(region) = response.header("x-amz-bucket-region") {
        refusal.region = quoted(region);
    }
    refusal.retry_after = response.retry_after();
    refusal.error(access_key)
}

/// The error that an `Error` element stands for, which may also come with status 200.
pub(crate) fn of_document(document: &Element, access_key: &str) -> Error {
    Refusal::new(document).error(access_key)
}

impl Refusal {
    fn new(document: &Element) -> Self {
        Refusal {
            status: 200,
            code: quoted(document.text("Code")),
            message: quoted(document.text("Message")),
            region: quoted(document.text("Region")),
            server_time: quoted(document.text("ServerTime")),
            retry_after: None,
        }
    }

    fn error(&self, access_key: &str) -> Error {
        let (kind, message) = self.meaning(access_key);
        let mut error = Error::new(kind, message);
        let word = match self.code.as_str() {
            "" => self.status.to_string(),
            code => code.to_owned(),
        };
        error.code = Some(match self.is_of_login() {
            true => format!("{} {word}", code::LOGIN),
            false => word,
        });
        error.retry_after = self.retry_after;
        error
    }

    /// True if it isn't believed who asks; what that one may do is another matter.
    fn is_of_login(&self) -> bool {
        matches!(
            self.code.as_str(),
            "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "TokenRefreshRequired"
                | "InvalidToken"
        )
    }

    fn meaning(&self, access_key: &str) -> (ErrorKind, String) {
        let told = self.told();
        match self.code.as_str() {
            "NoSuchBucket" => (
                ErrorKind::NotFound,
                "there is no such bucket: make it, set create-bucket, or look for a misspelt name".to_owned(),
            ),
            "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload" => (ErrorKind::NotFound, told),
            "PreconditionFailed" => (ErrorKind::AlreadyExists, told),
            "BucketAlreadyExists" => (
                ErrorKind::Denied,
                format!("a bucket of this name belongs to somebody else: choose another name: {told}"),
            ),
            "AccessDenied" | "AllAccessDisabled" => (ErrorKind::Denied, denied(access_key, &told)),
            "InvalidAccessKeyId" => (
                ErrorKind::Denied,
                format!("there is no access key \"{access_key}\": {told}"),
            ),
            "SignatureDoesNotMatch" => (
                ErrorKind::Denied,
                format!("secret-key or region doesn't fit the access key \"{access_key}\": {told}"),
            ),
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" => (
                ErrorKind::Denied,
                format!("session-token isn't good any more, get a new one: {told}"),
            ),
            "RequestTimeTooSkewed" | "RequestExpired" => (ErrorKind::Denied, self.skewed()),
            "InvalidObjectState" => (
                ErrorKind::Denied,
                format!("it lies in an archive: have the service restore it first, then try again: {told}"),
            ),
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => (ErrorKind::Invalid, self.elsewhere()),
            "SlowDown"
            | "ServiceUnavailable"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "OperationAborted"
            | "ConditionalRequestConflict" => (ErrorKind::Busy, told),
            // The bytes were harmed on their way, or didn't come at all: the host still has them.
            "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "IncompleteBody"
            | "RequestTimeout"
            | "InternalError" => (ErrorKind::Unavailable, told),
            "InvalidPart" | "InvalidPartOrder" => (ErrorKind::Corrupt, told),
            "NotImplemented" | "MethodNotAllowed" => (ErrorKind::Unsupported, told),
            "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => {
                (ErrorKind::Other, format!("there is no room left: {told}"))
            }
            "EntityTooLarge" | "EntityTooSmall" => (
                ErrorKind::Invalid,
                format!("the service takes no segments of this size: {told}"),
            ),
            _ => self.meaning_of_status(access_key, told),
        }
    }

    fn meaning_of_status(&self, access_key: &str, told: String) -> (ErrorKind, String) {
        let kind = match self.status {
            301 | 302 | 307 | 308 => return (ErrorKind::Invalid, self.elsewhere()),
            401 | 403 => return (ErrorKind::Denied, denied(access_key, &told)),
            404 | 410 => ErrorKind::NotFound,
            408 | 500 | 502 | 504 => ErrorKind::Unavailable,
            409 | 423 | 429 | 503 => ErrorKind::Busy,
            412 => ErrorKind::AlreadyExists,
            405 | 501 => ErrorKind::Unsupported,
            413 => ErrorKind::Invalid,
            507 => {
                return (ErrorKind::Other, format!("there is no room left: {told}"));
            }
            400..500 => ErrorKind::Invalid,
            501..600 => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        };
        (kind, told)
    }

    /// What the service says, in its own words.
    fn told(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") => format!("the service answers {}", self.status),
            (code, "") => format!("the service answers {} {code}", self.status),
            (code, message) => format!("the service says {message:?} ({code})"),
        }
    }

    fn skewed(&self) -> String {
        let there = if self.server_time.is_empty() {
            String::new()
        } else {
            format!(" (there it is {})", self.server_time)
        };
        format!(
            "this machine's clock is wrong by more than the service bears{there}: set it, by NTP for example"
        )
    }

    fn elsewhere(&self) -> String {
        let there = if self.region.is_empty() {
            "the region where it is".to_owned()
        } else {
            format!("\"{}\"", self.region)
        };
        format!(
            "the bucket isn't in this region or at this endpoint: set region to {there}: {}",
            self.told()
        )
    }
}

fn denied(access_key: &str, told: &str) -> String {
    format!("the access key \"{access_key}\" may not do that: {told}")
}

fn quoted(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(QUOTED)
        .collect()
}

/// A date as in headers.
pub(crate) fn parse_date(text: &str) -> Option<DateTime> {
    DateTime::from_str(text.trim(), Format::HttpDate).ok()
}
