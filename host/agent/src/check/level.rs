//! The check of one level: its objects, its links, and on request its whole content.

use std::collections::BTreeSet;
use std::sync::Arc;

use freezer_format::manifest::{MAX_MANIFEST_BYTES, Manifest};
use freezer_format::name::LevelId;
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::store::Store;
use sha2::{Digest, Sha256};

use crate::catalogue::{NamedChains, Place};
use crate::check::{Checker, Problem, Severity, is_finding, is_lost};
use crate::error::AgentError;
use crate::level::Level;
use crate::objects::{digest_of, read_small};
use crate::survey::is_refusal;

/// Damage: where, what, and what mends it.
pub(super) struct Finding {
    pub(super) object: String,
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn of(object: String, reason: String) -> Self {
        Self {
            object,
            reason,
            remedy: "copy the object back from another copy".to_owned(),
        }
    }
}

/// What is known of a manifest that another one speaks of.
enum Line {
    /// The level isn't there.
    Absent,
    /// The storage doesn't show it; that is said elsewhere.
    Hidden,
    /// The digest of its first line; none if it can't be parsed.
    Of(Option<[u8; 32]>),
}

/// One level under check.
pub(super) struct LevelCheck<'c, 'a> {
    pub(super) checker: &'c mut Checker<'a>,
    pub(super) found: &'c NamedChains,
    pub(super) level: &'c Level,
    /// The backups that its damage hits.
    pub(super) hits: &'c [LevelId],
    /// All committed levels of the name.
    pub(super) all: &'c [LevelId],
    /// Objects whose damage is said: one object, one problem.
    pub(super) said: BTreeSet<String>,
}

impl LevelCheck<'_, '_> {
    pub(super) fn run(mut self) -> Result<(), AgentError> {
        if self.level.is_authentic() {
            self.checker.report.authenticated += 1;
        }
        if let Some(manifest) = self.level.manifest() {
            self.check_links(manifest)?;
            self.check_small_objects(manifest)?;
        }
        let data_key = self.level.stored.data_key();
        let expected = self.level.manifest().map(|manifest| manifest.data.bytes);
        self.checker.report.objects += 1;
        let store = Arc::clone(self.checker.store);
        match self.level.require_object(&*store, &data_key, expected) {
            // What other engines wrote can't be looked into yet.
            Ok(_) if self.checker.options.read_data && self.is_readable() => self.read_data(&data_key),
            Ok(_) => Ok(()),
            Err(error) => self.finding(error),
        }
    }

    fn is_readable(&self) -> bool {
        self.found.place == Place::Old || self.found.place.is_ours()
    }

    fn damage(&mut self, object: &str, reason: impl Into<String>) {
        if !self.said.insert(object.to_owned()) {
            return;
        }
        let id = self.level.stored.id;
        let finding = Finding::of(object.to_owned(), reason.into());
        self.checker.damage(self.found, id, self.hits, finding);
    }

    fn finding(&mut self, error: AgentError) -> Result<(), AgentError> {
        if !is_finding(&error) && !error.is_refusal() {
            return Err(error);
        }
        // One object, one problem.
        if let Some(error) = error.store_error().filter(|error| is_refusal(error))
            && !self.said.insert(error.key.clone())
        {
            return Ok(());
        }
        if let AgentError::Damaged { object, reason, .. } = &error {
            self.damage(object, reason.as_str());
            return Ok(());
        }
        self.checker
            .push_error(&error, self.found, self.level.stored.id, self.hits);
        Ok(())
    }

    /// The parent must be the one that the level was made against; the predecessor may be gone, not replaced.
    fn check_links(&mut self, manifest: &Manifest) -> Result<(), AgentError> {
        let key = self.level.stored.keys().manifest();
        if let (Some(id), Some(link)) = (manifest.parent_id(), &manifest.parent) {
            match self.line_of(id)? {
                Line::Of(line) if line == link.manifest => {}
                Line::Hidden => {}
                Line::Of(_) => self.damage(
                    &key,
                    format!("was made against another level {} than is stored", id.level),
                ),
                Line::Absent => self.parent_is_missing(&key, id)?,
            }
        }
        let Some(link) = &manifest.previous else {
            return Ok(());
        };
        let id = LevelId {
            zero: link.zero,
            level: link.level,
            time: link.time,
        };
        if manifest.parent_id() == Some(id) {
            return Ok(());
        }
        match self.line_of(id)? {
            Line::Of(line) if line == link.manifest => {}
            Line::Hidden => {}
            Line::Of(_) => self.damage(
                &key,
                "follows another backup than is stored: that one was replaced",
            ),
            Line::Absent => self.checker.report.push(Problem {
                severity: Severity::Notice,
                object: key,
                reason: format!("follows {}, which isn't here", self.found.level(id).label()),
                hits: Vec::new(),
                next: "expected after a removal of old backups, or where only this chain was copied; otherwise find out \
                       what became of it"
                    .to_owned(),
            }),
        }
        Ok(())
    }

    /// A parent without its commit point may have lost nothing but that.
    fn parent_is_missing(&mut self, key: &str, id: LevelId) -> Result<(), AgentError> {
        let (level, date) = (id.level, crate::date::date(id.time));
        let keys = self.found.level(id).keys();
        let left = match self.checker.store.stat(&keys.manifest()) {
            Err(error) if !is_refusal(&error) => return Err(error.into()),
            left => left.ok().flatten().is_some(),
        };
        let (reason, remedy) = match left {
            true => (
                format!("was made against level {level} of {date}, whose `metadata` is missing"),
                format!("copy {:?} back from another copy", keys.metadata()),
            ),
            false => (
                format!("was made against level {level} of {date}, which is missing"),
                format!("copy level {level} back: freezer copy from a storage that has it"),
            ),
        };
        if self.said.insert(key.to_owned()) {
            let finding = Finding {
                object: key.to_owned(),
                reason,
                remedy,
            };
            let id = self.level.stored.id;
            self.checker.damage(self.found, id, self.hits, finding);
        }
        Ok(())
    }

    /// The digest of a committed level's manifest.
    fn line_of(&self, id: LevelId) -> Result<Line, AgentError> {
        if !self.all.contains(&id) {
            let hidden = self
                .checker
                .committed
                .contains(&self.found.level(id).keys().data_directory());
            return Ok(if hidden { Line::Hidden } else { Line::Absent });
        }
        let key = self.found.level(id).keys().manifest();
        match read_small(&**self.checker.store, &key, MAX_MANIFEST_BYTES) {
            Ok(bytes) => Ok(Line::Of(
                bytes
                    .and_then(|bytes| Manifest::peek(&bytes).ok())
                    .map(|peeked| peeked.line_sha256),
            )),
            Err(error) if is_refusal(&error) => Ok(Line::Hidden),
            Err(error) => Err(error.into()),
        }
    }

    /// Index and snapshot file: size and digest of the stored bytes, which need no key.
    fn check_small_objects(&mut self, manifest: &Manifest) -> Result<(), AgentError> {
        let keys = self.level.stored.keys();
        self.check_object(&keys.index(), manifest.index.bytes, &manifest.index.sha256)?;
        if let Some(facts) = &manifest.engine_metadata {
            self.check_object(&keys.engine_metadata(), facts.bytes, &facts.sha256)?;
        }
        Ok(())
    }

    fn check_object(&mut self, key: &str, bytes: u64, sha256: &[u8; 32]) -> Result<(), AgentError> {
        self.checker.context.cancel.check()?;
        self.checker.report.objects += 1;
        if let Err(error) = self.level.require_object(&**self.checker.store, key, Some(bytes)) {
            return self.finding(error);
        }
        match digest_of(&**self.checker.store, key) {
            Ok((length, digest)) => {
                self.checker.report.bytes_read += length;
                if length != bytes || digest != *sha256 {
                    self.damage(key, "holds other bytes than were written");
                }
                Ok(())
            }
            Err(error) if is_lost(&error) => {
                self.damage(key, format!("can't be read: {}", error.message));
                Ok(())
            }
            Err(error) => self.finding(error.into()),
        }
    }

    fn read_data(&mut self, data_key: &str) -> Result<(), AgentError> {
        let encrypted = self
            .level
            .manifest()
            .is_some_and(|manifest| manifest.encryption.is_some());
        match self.level.manifest() {
            Some(manifest) if encrypted && self.level.key.is_none() => {
                let facts = (manifest.data.segment, manifest.data.sha256);
                self.checker.report.not_decrypted += 1;
                self.read_segments(data_key, facts)
            }
            _ => self.verify(data_key),
        }
    }

    /// Reads everything that the key opens: segments, frames, the archive against its index.
    fn verify(&mut self, data_key: &str) -> Result<(), AgentError> {
        let store = Arc::clone(self.checker.store);
        let mut data = match self.level.data(&store, self.checker.keyring) {
            Ok(data) => data,
            // The original's encrypted backup without a password: nothing in it can be checked.
            Err(AgentError::NoPassphrase { .. }) => {
                self.checker.report.not_decrypted += 1;
                return Ok(());
            }
            Err(error) => return self.finding(error),
        };
        data.index = match self.level.index(&store) {
            Ok(index) => index,
            Err(error) => {
                self.finding(error)?;
                // The stored bytes can be compared even so.
                let facts = self.level.manifest();
                let facts = facts.map(|manifest| (manifest.data.segment, manifest.data.sha256));
                return facts.map_or(Ok(()), |facts| self.read_segments(data_key, facts));
            }
        };
        let report = match freezer_pipeline::restore::verify(&data, self.checker.context) {
            Ok(report) => report,
            Err(RestoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(source) => {
                let backup = self.level.stored.label();
                return self.finding(AgentError::Restore {
                    operation: "reading",
                    backup,
                    source,
                });
            }
        };
        self.checker.report.bytes_read += report.bytes;
        // What follows the first place is mostly its consequence: a frame, its segment, the archive inside.
        if let Some(first) = report.damage.iter().min_by_key(|damage| damage.offset) {
            self.damage(
                &first.object,
                format!("is damaged at byte {}: {}", first.offset, first.reason),
            );
        }
        let expected = self.level.manifest().map(|manifest| manifest.data.sha256);
        if report.damage.is_empty() && report.segments_sha256.is_some() && report.segments_sha256 != expected
        {
            self.damage(data_key, "holds other bytes than were written");
        }
        Ok(())
    }

    /// Without a key: the digest of the segments' digests, over the stored bytes.
    fn read_segments(
        &mut self,
        data_key: &str,
        (segment, expected): (u64, [u8; 32]),
    ) -> Result<(), AgentError> {
        let store = Arc::clone(self.checker.store);
        match segments_digest(&*store, data_key, segment.max(1), self.checker.context) {
            Ok((bytes, digest)) => {
                self.checker.report.bytes_read += bytes;
                if digest != expected {
                    self.damage(data_key, "holds other bytes than were written");
                }
                Ok(())
            }
            Err(AgentError::Store(error)) if is_lost(&error) => {
                self.damage(data_key, format!("can't be read: {}", error.message));
                Ok(())
            }
            Err(error) => self.finding(error),
        }
    }
}

/// Reads an object and hashes each piece of `segment` bytes, then the pieces' digests.
fn segments_digest(
    store: &dyn Store,
    key: &str,
    segment: u64,
    context: &freezer_pipeline::RunContext<'_>,
) -> Result<(u64, [u8; 32]), AgentError> {
    use std::io::Read;
    let mut reader = store.read(key, 0, None)?;
    let mut outer = Sha256::new();
    let mut total = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        context.cancel.check()?;
        let mut inner = Sha256::new();
        let mut left = segment;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let length = reader
                .read(&mut buffer[..most])
                .map_err(|error| crate::objects::read_error(store, key, &error))?;
            if length == 0 {
                break;
            }
            inner.update(&buffer[..length]);
            left -= length as u64;
        }
        if left == segment {
            return Ok((total, outer.finalize().into()));
        }
        total += segment - left;
        outer.update(inner.finalize());
        if left > 0 {
            return Ok((total, outer.finalize().into()));
        }
    }
}
