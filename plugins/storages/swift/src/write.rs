//! Writing: small objects in one request, large ones in segments and a manifest.
//!
//! Every segment carries its MD5, which Swift compares before it takes it. The manifest is written last and only where nothing is
//! (`If-None-Match: *`), so that an object shows at once and whole, and one that is there never changes.

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::{Body, DigestAlgorithm};
use freezer_sdk::host::http::Response;
use freezer_sdk::storage::Existing;
use serde_json::{Value, json};

use crate::layout::{PARTS, Table, UPLOAD};
use crate::object::Stored;
use crate::place::{encode, object_path};
use crate::session::Call;
use crate::upload::{Upload, check, number};
use crate::{Swift, status};

/// Names what can't be looked into.
const BYTES: &str = "application/octet-stream";

/// A segment as its receipt tells it: `SIZE:MD5`.
struct Receipt {
    size: u64,
    digest: String,
}

impl Receipt {
    fn parse(text: &str) -> Option<Self> {
        let (size, digest) = text.split_once(':')?;
        let is_digest = digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Receipt {
            size: size.parse().ok().filter(|_| is_digest)?,
            digest: digest.to_owned(),
        })
    }
}

impl Swift {
    /// `put` of the contract.
    pub(crate) fn put_object(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        check(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.shown());
        let digest = content.digest(DigestAlgorithm::Md5).context(storing)?;
        let mut call = Call::new("PUT", self.path(key))
            .header("Content-Type", BYTES)
            .header("ETag", &digest);
        call.content = Some(content);
        if existing == Existing::Refuse {
            call = call.header("If-None-Match", "*");
        }
        let response = self.write(&call).context(storing)?;
        match response.status {
            412 => Err(self.present(key)),
            _ => confirmed(&response, &digest).context(storing),
        }
    }

    /// `begin` of the contract.
    pub(crate) fn begin_upload(&self, key: &str) -> Result<String> {
        let upload = Upload::new(&self.place, key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.shown());
        if self.inspect(key).context(storing)?.is_some() {
            return Err(self.present(key));
        }
        // The mark shows at once whether anything can be written, and lets `pending` find the upload.
        let empty = Body::from_bytes(b"")?;
        let mut call = Call::new("PUT", self.path(&upload.mark())).header("Content-Type", BYTES);
        call.content = Some(&empty);
        let response = self.write(&call).context(storing)?;
        success(&response).context(storing)?;
        self.alive.replace(Some(upload.id()));
        Ok(upload.id())
    }

    /// `put-segment` of the contract. Where it lies follows from the sizes of those before it.
    pub(crate) fn put_piece(&self, id: &str, place: u32, content: &Body) -> Result<String> {
        let upload = Upload::parse(id)?;
        let storing = || {
            format!(
                "can't store segment {place} of object \"{}\" in {}",
                upload.key,
                self.shown()
            )
        };
        self.check_alive(&upload).context(storing)?;
        let size = content.size().filter(|size| *size > 0).ok_or_else(|| {
            Error::invalid("a segment has bytes, and a known number of them").context(storing())
        })?;
        let digest = content.digest(DigestAlgorithm::Md5).context(storing)?;
        let name = format!("{}{}", upload.segments(), number(place));
        let mut call = Call::new("PUT", self.path(&name))
            .header("Content-Type", BYTES)
            .header("ETag", &digest);
        call.content = Some(content);
        let response = self.session.send(&call).context(storing)?;
        confirmed(&response, &digest).context(storing)?;
        Ok(format!("{size}:{digest}"))
    }

    /// `commit` of the contract.
    pub(crate) fn commit_upload(&self, id: &str, size: u64, receipts: &[String]) -> Result<()> {
        let upload = Upload::parse(id)?;
        let key = upload.key.as_str();
        let completing = || format!("can't complete object \"{key}\" in {}", self.shown());
        let mut segments = Vec::with_capacity(receipts.len());
        let mut table = Table::default();
        for (place, receipt) in receipts.iter().enumerate() {
            let receipt = Receipt::parse(receipt).ok_or_else(|| {
                Error::invalid(format!("segment {place} has no receipt of this storage"))
                    .context(completing())
            })?;
            table.push(receipt.size);
            segments.push(receipt);
        }
        let (_, stored) = table.totals();
        if stored != size {
            return Err(Error::corrupt(format!(
                "it must have {size} bytes, but its segments have {stored}"
            ))
            .context(completing()));
        }
        match self.check_alive(&upload) {
            Err(error) if error.kind == ErrorKind::NotFound => {
                return if self.is_complete(&upload)? {
                    Ok(())
                } else {
                    Err(error)
                };
            }
            alive => alive.context(completing)?,
        }
        let response = self
            .write_manifest(&upload, &table, &segments)
            .context(completing)?;
        match response.status {
            // An earlier commit whose answer was lost, or another's object.
            412 if self.is_complete(&upload)? => Ok(()),
            412 => Err(self.present(key)),
            _ => success(&response).context(completing),
        }
    }

    fn write_manifest(&self, upload: &Upload, table: &Table, segments: &[Receipt]) -> Result<Response> {
        let folder = self.place.object(&upload.segments());
        let mut call = Call::new("PUT", self.path(&upload.key))
            .header("Content-Type", BYTES)
            .header("If-None-Match", "*")
            .header(UPLOAD, &upload.run);
        let mut document = b"".to_vec();
        if segments.is_empty() {
            // No manifest stands for nothing: the object itself is empty.
            call = call.header("ETag", "d41d8cd98f00b204e9800998ecf8427e");
        } else if self.is_static {
            let (entries, parts) = self.entries(upload, &folder, segments)?;
            document = Value::Array(entries).to_string().into_bytes();
            call = call
                .query("multipart-manifest=put")
                .header(PARTS, parts.to_string());
        } else {
            // Encoded as a whole, slash at the end: the original and Swift itself follow it.
            let target = format!("{}/{}", encode(&self.place.container), encode(&folder));
            call = call.header("X-Object-Manifest", target);
        }
        let headers = table.headers()?;
        let document = Body::from_bytes(&document)?;
        call.content = Some(&document);
        call.headers.extend(headers);
        self.session.send(&call)
    }

    /// The entries of the static manifest that bears the key, and how many others stand between it and the segments.
    fn entries(&self, upload: &Upload, folder: &str, segments: &[Receipt]) -> Result<(Vec<Value>, u32)> {
        let most = self.info().manifest_segments;
        let entry = |(place, segment): (usize, &Receipt)| {
            json!({
                "path": format!("/{}/{folder}{place:08}", self.place.container),
                "etag": segment.digest,
                "size_bytes": segment.size,
            })
        };
        let entries: Vec<Value> = segments.iter().enumerate().map(entry).collect();
        if entries.len() <= most {
            return Ok((entries, 0));
        }
        let mut parts = Vec::new();
        for (place, group) in entries.chunks(most).enumerate() {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let name = self.place.object(&format!("{}{}", upload.parts(), number(place)));
            let document = Body::from_bytes(Value::Array(group.to_vec()).to_string().as_bytes())?;
            let mut call = Call::new("PUT", object_path(&self.place.container, &name))
                .query("multipart-manifest=put")
                .header("Content-Type", BYTES);
            call.content = Some(&document);
            self.session.ask(&call)?;
            parts.push(json!({ "path": format!("/{}/{name}", self.place.container) }));
        }
        if parts.len() > most {
            return Err(Error::invalid(format!(
                "{} segments are too many for static manifests of {most} entries; make them larger",
                segments.len()
            )));
        }
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        Ok((parts, count))
    }

    /// True if the object is there and was made by this upload.
    pub(crate) fn is_complete(&self, upload: &Upload) -> Result<bool> {
        let found = self
            .inspect(&upload.key)
            .context(|| format!("can't look at object \"{}\" in {}", upload.key, self.shown()))?;
        Ok(found.is_some_and(|(stored, response)| match stored {
            Stored::Large(layout) => layout.upload.as_ref() == Some(upload),
            // An empty one has no segments, but the mark of its maker.
            _ => response.header(UPLOAD) == Some(upload.run.as_str()),
        }))
    }

    /// Refuses an upload that was aborted. Each instance looks once.
    fn check_alive(&self, upload: &Upload) -> Result<()> {
        let id = upload.id();
        if self.alive.borrow().as_ref() == Some(&id) {
            return Ok(());
        }
        let response = self.session.send(&Call::new("HEAD", self.path(&upload.mark())))?;
        match response.status {
            404 => Err(Error::not_found(format!(
                "the upload of object \"{}\" to {} is gone",
                upload.key,
                self.shown()
            ))),
            _ => {
                success(&response)?;
                self.alive.replace(Some(id));
                Ok(())
            }
        }
    }

    /// Sends what may be the first thing in its container, which is then made.
    fn write(&self, call: &Call<'_>) -> Result<Response> {
        let response = self.session.send(call)?;
        if response.status != 404 {
            return Ok(response);
        }
        drop(response);
        let path = format!("/{}", encode(&self.place.container));
        self.session
            .ask(&Call::new("PUT", path))
            .context(|| format!("{} isn't there and can't be made", self.shown()))?;
        self.session.send(call)
    }

    pub(crate) fn present(&self, key: &str) -> Error {
        Error::already_exists(format!("object \"{key}\" is in {} already", self.shown()))
    }
}

fn success(response: &Response) -> Result<()> {
    if status::is_success(response.status) {
        Ok(())
    } else {
        Err(status::error(response))
    }
}

/// A success whose digest is that of what was sent.
fn confirmed(response: &Response, digest: &str) -> Result<()> {
    success(response)?;
    match response.header("etag") {
        Some(stored) if !stored.trim_matches('"').eq_ignore_ascii_case(digest) => {
            Err(Error::corrupt("the service stored other bytes than were sent"))
        }
        _ => Ok(()),
    }
}
