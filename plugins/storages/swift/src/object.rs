//! What an object is: its facts by its own headers, and, if it is large, in which segments it lies.
//!
//! Manifests are asked for themselves (`multipart-manifest=get`): to answer for the whole object, Swift would go through a listing.
//! The original's manifests say only where the segments lie. Theirs are listed, and every gap in their numbers is damage; that the last
//! ones are missing can't be told.

use std::cell::RefCell;
use std::rc::Rc;

use freezer_sdk::error::{Context, Error, Result};
use freezer_sdk::host::http::Response;
use serde::Deserialize;

use crate::layout::{PARTS, Table, UPLOAD};
use crate::place::{decode, object_path};
use crate::session::{Call, Session};
use crate::upload::{Upload, parse_number};
use crate::{Swift, listing, status};

/// What asks for a manifest and not for what it stands for.
pub(crate) const ITSELF: &str = "multipart-manifest=get";
/// Largest description of itself that a cluster may give.
const INFO_BYTES: usize = 1 << 20;
/// Layouts that an instance remembers: a restore reads few objects at a time.
const REMEMBERED: usize = 16;

/// What a key stands for.
pub(crate) enum Stored {
    /// One object.
    Plain {
        size: u64,
    },
    /// A static large object of other programs, which Swift reads reliably itself.
    Static {
        size: u64,
    },
    Large(Rc<Layout>),
}

/// The segments of a large object.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) container: String,
    /// What all their names begin with, slash included.
    pub(crate) folder: String,
    pub(crate) table: Table,
    /// Manifests between the object and its segments.
    pub(crate) parts: u32,
    /// By whom it was written; `None` for the original's.
    pub(crate) upload: Option<Upload>,
}

impl Stored {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Stored::Plain { size } | Stored::Static { size } => *size,
            Stored::Large(layout) => layout.table.totals().1,
        }
    }
}

/// Layouts by key. An object once committed doesn't change, but may be removed.
#[derive(Default)]
pub(crate) struct Cache(RefCell<Vec<(String, Rc<Layout>)>>);

impl Cache {
    pub(crate) fn get(&self, key: &str) -> Option<Rc<Layout>> {
        let entries = self.0.borrow();
        let found = entries.iter().find(|(known, _)| known == key);
        found.map(|(_, layout)| Rc::clone(layout))
    }

    pub(crate) fn put(&self, key: &str, layout: &Rc<Layout>) {
        self.forget(key);
        let mut entries = self.0.borrow_mut();
        if entries.len() == REMEMBERED {
            entries.remove(0);
        }
        entries.push((key.to_owned(), Rc::clone(layout)));
    }

    pub(crate) fn forget(&self, key: &str) {
        self.0.borrow_mut().retain(|(known, _)| known != key);
    }
}

/// What a cluster says that it can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Info {
    /// Entries in one static manifest.
    pub(crate) manifest_segments: usize,
    /// Names in one bulk deletion; 0 where that can't be done.
    pub(crate) bulk_deletes: usize,
}

/// Swift's own default, for clusters that don't say.
const MANIFEST_SEGMENTS: usize = 1000;

#[derive(Default, Deserialize)]
#[serde(default)]
struct InfoDocument {
    slo: SloInfo,
    bulk_delete: BulkInfo,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SloInfo {
    max_manifest_segments: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BulkInfo {
    max_deletes_per_request: Option<usize>,
}

impl Info {
    fn of(session: &Session) -> Self {
        // A cluster may keep this to itself: then its defaults are good guesses.
        let document: InfoDocument = session
            .about()
            .ok()
            .and_then(|response| response.content.read_to_end(INFO_BYTES).ok())
            .and_then(|content| serde_json::from_slice(&content).ok())
            .unwrap_or_default();
        Info {
            manifest_segments: document
                .slo
                .max_manifest_segments
                .unwrap_or(MANIFEST_SEGMENTS)
                .max(2),
            bulk_deletes: document
                .bulk_delete
                .max_deletes_per_request
                .unwrap_or(0)
                .min(1000),
        }
    }
}

impl Swift {
    pub(crate) fn info(&self) -> Info {
        *self.info.get_or_init(|| Info::of(&self.session))
    }

    /// The path of a key's object.
    pub(crate) fn path(&self, key: &str) -> String {
        object_path(&self.place.container, &self.place.object(key))
    }

    /// What a key stands for, with the headers that say so; `None` if it isn't there.
    ///
    /// # Errors
    /// As a request's; `corrupt` if a manifest makes no sense.
    pub(crate) fn inspect(&self, key: &str) -> Result<Option<(Stored, Response)>> {
        let response = self
            .session
            .send(&Call::new("HEAD", self.path_of(key)?).query(ITSELF))?;
        match response.status {
            404 => Ok(None),
            status if status::is_success(status) => {
                let stored = match self.manifest(key, &response)? {
                    Some(stored) => stored,
                    None => Stored::Plain {
                        size: content_length(&response)?,
                    },
                };
                Ok(Some((stored, response)))
            }
            _ => Err(status::error(&response)),
        }
    }

    /// The large object whose manifest an answer speaks of, if it is one.
    ///
    /// # Errors
    /// As [`Swift::inspect`].
    pub(crate) fn manifest(&self, key: &str, response: &Response) -> Result<Option<Stored>> {
        let dynamic = response.header("x-object-manifest");
        let is_static = response
            .header("x-static-large-object")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if dynamic.is_none() && !is_static {
            return Ok(None);
        }
        let run = response.header(UPLOAD);
        let layout = match (Table::of(response)?, run, dynamic) {
            (Some(table), Some(run), _) => self.own(key, (table, run), response)?,
            (_, _, Some(target)) => self.originals(key, target)?,
            (_, _, None) => {
                let response = self.session.ask(&Call::new("HEAD", self.path_of(key)?))?;
                return Ok(Some(Stored::Static {
                    size: content_length(&response)?,
                }));
            }
        };
        let layout = Rc::new(layout);
        self.cache.put(key, &layout);
        Ok(Some(Stored::Large(layout)))
    }

    /// Its own manifest, which says everything. The names of the segments follow from the key and the run: what else the manifest
    /// says of them is for other readers.
    fn own(&self, key: &str, (table, run): (Table, &str), response: &Response) -> Result<Layout> {
        let upload = Upload::parse(&format!("{run}:{key}"))
            .map_err(|_| Error::corrupt(format!("the manifest \"{key}\" names no upload")))?;
        let parts = response.header(PARTS).and_then(|parts| parts.parse().ok());
        Ok(Layout {
            container: self.place.container.clone(),
            folder: self.place.object(&upload.segments()),
            table,
            parts: parts.unwrap_or(0),
            upload: Some(upload),
        })
    }

    /// A manifest of the original: `CONTAINER/PREFIX`, mostly without a slash at its end.
    fn originals(&self, key: &str, target: &str) -> Result<Layout> {
        let odd = || {
            Error::corrupt(format!(
                "the manifest \"{key}\" points to no segments: {target:?}"
            ))
        };
        let target = decode(target).ok_or_else(odd)?;
        let (container, prefix) = target.split_once('/').ok_or_else(odd)?;
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        let mut layout = Layout {
            container: container.to_owned(),
            folder: String::new(),
            table: Table::default(),
            parts: 0,
            upload: None,
        };
        let mut next = 0;
        let broken = |what: String| Error::corrupt(format!("object \"{key}\" is damaged: {what}"));
        listing::all(&self.session, (container, &prefix), |object| {
            let Some((folder, number)) = object.name.rsplit_once('/') else {
                return Ok(());
            };
            let Some(number) = parse_number(number) else {
                return Err(broken(format!("{:?} among its segments is none", object.name)));
            };
            if layout.folder.is_empty() {
                layout.folder = format!("{folder}/");
            }
            if layout.folder.strip_suffix('/') != Some(folder) {
                return Err(broken("it has two sets of segments".to_owned()));
            }
            if number != next {
                return Err(broken(format!("segment {next} is missing, or not listed yet")));
            }
            layout.table.push(object.bytes);
            next += 1;
            Ok(())
        })
        .context(|| format!("can't find the segments of object \"{key}\""))?;
        Ok(layout)
    }
}

/// The length of an object by its headers.
///
/// # Errors
/// `other` if the answer doesn't say.
pub(crate) fn content_length(response: &Response) -> Result<u64> {
    let header = response.header("content-length");
    let length = header
        .and_then(|length| length.parse().ok())
        .or(response.content.size());
    length.ok_or_else(|| Error::other("the answer doesn't say how long the object is"))
}
