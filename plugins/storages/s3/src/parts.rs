//! Objects in parts: begun, stored part by part, completed in one step, or aborted.

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::control;

use crate::service::{self, Ask, Object, RUN_HEADER};
use crate::upload::{self, Upload};
use crate::{S3, absent_is_done, document};

impl S3 {
    /// Begins an upload of an object that isn't there.
    pub(crate) fn begin_upload(&self, key: &str) -> Result<Upload> {
        let full = self.service.place.full_key(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.service.place);
        if self.service.find_if_allowed(&full).context(storing)?.is_some() {
            return Err(self.present(key));
        }
        let run = Upload::new_run();
        let mut headers = self.retention.headers_of_large(service::now())?;
        headers.push((RUN_HEADER, run.clone()));
        let query = vec![("uploads", "")];
        let begun = Ask {
            method: "POST",
            key: Some(&full),
            query,
            headers,
            ..Ask::default()
        };
        let answer = self
            .service
            .ask_to_write(&begun)
            .and_then(|response| self.service.document(&response));
        let service_id = answer.context(storing)?.text("UploadId").to_owned();
        if service_id.is_empty() {
            return Err(Error::corrupt("the service gives the upload no id").context(storing()));
        }
        let upload = Upload {
            run: Some(run),
            service_id,
            key: key.to_owned(),
        };
        match upload.id() {
            Ok(_) => Ok(upload),
            Err(error) => {
                self.tidy(&upload);
                Err(error.context(storing()))
            }
        }
    }

    /// Stores one part and makes its receipt.
    pub(crate) fn put_part(&self, upload: &Upload, number: u32, content: &Body) -> Result<String> {
        let full = self.service.place.full_key(&upload.key)?;
        let Some(bytes) = content.size() else {
            return Err(Error::invalid("a segment must have a length"));
        };
        let part = (number + 1).to_string();
        let query = vec![
            ("partNumber", part.as_str()),
            ("uploadId", upload.service_id.as_str()),
        ];
        let content = Some(content);
        let stored = self.service.ask(&Ask {
            method: "PUT",
            key: Some(&full),
            query,
            content,
            ..Ask::default()
        });
        let response = stored.map_err(|error| match error.kind {
            ErrorKind::NotFound => self.gone(upload, error),
            _ => error,
        })?;
        upload::receipt(bytes, response.header("etag").unwrap_or_default())
    }

    /// Makes the object visible, unless another one has its key; a repetition is a success.
    pub(crate) fn commit_upload(&self, upload: &Upload, size: u64, receipts: &[String]) -> Result<()> {
        let key = upload.key.as_str();
        let full = self.service.place.full_key(key)?;
        let completing = || format!("can't complete object \"{key}\" in {}", self.service.place);
        let (received, mut etags) = upload::read_receipts(receipts)?;
        if received != size {
            return Err(
                Error::corrupt(format!("its segments have {received} bytes, not {size}"))
                    .context(completing()),
            );
        }
        if let Some(object) = self.service.find_if_allowed(&full).context(completing)? {
            return self.settle(upload, size, &object);
        }
        // An upload without parts can't be completed.
        let empty = if etags.is_empty() {
            Some(self.put_part(upload, 0, &Body::from_bytes(&[])?))
        } else {
            None
        };
        let empty = empty.transpose().context(completing)?;
        if let Some(receipt) = &empty {
            etags = upload::read_receipts(std::slice::from_ref(receipt))?.1;
        }
        let completed = self.complete(&full, upload, &etags);
        match completed {
            // Somebody was faster, or the answer to an earlier commit was lost: the object itself tells.
            Err(error) if matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                match self.service.find_if_allowed(&full).context(completing)? {
                    Some(object) => self.settle(upload, size, &object),
                    None if error.kind == ErrorKind::NotFound => Err(self.gone(upload, error)),
                    None => Err(self.present(key)),
                }
            }
            completed => completed.context(completing),
        }
    }

    /// Forgets an upload and its parts; an absent one is a success.
    pub(crate) fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let full = self.service.place.full_key(&upload.key)?;
        let query = vec![("uploadId", upload.service_id.as_str())];
        let aborted = self.service.ask(&Ask {
            method: "DELETE",
            key: Some(&full),
            query,
            ..Ask::default()
        });
        absent_is_done(aborted.map(|_| ())).context(|| {
            format!(
                "can't abort the upload of object \"{}\" to {}",
                upload.key, self.service.place
            )
        })
    }

    /// Makes an object of its parts, unless there is one. Services that know no condition have been asked just before.
    fn complete(&self, full: &str, upload: &Upload, etags: &[&str]) -> Result<()> {
        let document = document::complete_upload(etags.iter().copied());
        let document = Body::from_bytes(document.as_bytes())?;
        let complete = |headers| {
            self.service.ask_document(&Ask {
                method: "POST",
                key: Some(full),
                query: vec![("uploadId", upload.service_id.as_str())],
                headers,
                content: Some(&document),
            })
        };
        match complete(vec![("if-none-match", "*".to_owned())]) {
            Err(error) if error.kind == ErrorKind::Unsupported => complete(Vec::new()).map(|_| ()),
            completed => completed.map(|_| ()),
        }
    }

    /// A commit that finds an object under its key: a success if this very upload made it.
    fn settle(&self, upload: &Upload, size: u64, object: &Object) -> Result<()> {
        if upload.run.is_some() && upload.run == object.run && object.size == size {
            return Ok(());
        }
        Err(self.present(&upload.key))
    }

    /// Aborts an upload that can't be gone on with. If that fails too, it is only told: the first error matters.
    fn tidy(&self, upload: &Upload) {
        let full = self.service.place.full_prefix(&upload.key);
        let query = vec![("uploadId", upload.service_id.as_str())];
        if let Err(error) = self.service.ask(&Ask {
            method: "DELETE",
            key: Some(&full),
            query,
            ..Ask::default()
        }) {
            control::warning(format!("an upload of object \"{}\" is left: {error}", upload.key));
        }
    }

    fn gone(&self, upload: &Upload, error: Error) -> Error {
        let gone = format!("the upload of object \"{}\" is gone", upload.key);
        error.context(gone)
    }
}
