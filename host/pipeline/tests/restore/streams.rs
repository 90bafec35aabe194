//! Streams: what goes in comes out, to the byte or not at all.

use std::fs;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::index::LevelRow;
use freezer_format::name::{Level, LevelId, Timestamp};
use freezer_format::time::Time;
use freezer_pipeline::object::open_index;
use freezer_pipeline::restore::{LevelData, RestoreError, dump, verify, write_stream};
use freezer_pipeline::testing::MemoryStore;
use freezer_pipeline::{
    BackupError, BackupReport, Encoding, ObjectKeys, RunContext, StreamJob, backup_stream,
};
use rstest::rstest;

use crate::round_trip::{cipher, noise};
use crate::support::{Backups, Surroundings, restore_into};

const TIME: i64 = 1_700_000_000;

struct Stream {
    store: MemoryStore,
    compression: Compression,
    cipher: Option<Cipher>,
    allow_empty: bool,
}

impl Stream {
    fn new(compression: Compression, encrypted: bool) -> Self {
        Self {
            store: MemoryStore::new(),
            compression,
            cipher: encrypted.then(cipher),
            allow_empty: false,
        }
    }

    fn back_up(&self, content: impl Read + Send) -> Result<BackupReport, BackupError> {
        Surroundings::default().with(|context| self.back_up_in(content, context))
    }

    fn back_up_in(
        &self,
        content: impl Read + Send,
        context: &RunContext<'_>,
    ) -> Result<BackupReport, BackupError> {
        backup_stream(StreamJob {
            content: Box::new(content),
            file_name: "db.sql".to_owned(),
            time: Time::new(TIME, 0),
            allow_empty: self.allow_empty,
            store: Arc::new(self.store.clone()),
            keys: ObjectKeys {
                data: "data".to_owned(),
                index: "index".to_owned(),
                engine_metadata: None,
            },
            encoding: Encoding {
                compression: self.compression,
                level: Some(1),
                cipher: self.cipher.clone(),
                index_cipher: self.cipher.clone(),
            },
            data_salt: [7; 8],
            segment_bytes: 300_000,
            memory_bytes: 64 << 20,
            workers: 2,
            levels: vec![LevelRow {
                level: 0,
                time: Timestamp(TIME),
                manifest_sha256: [0; 32],
                frame_size: self.compression.frame_bytes(),
                compression: self.compression,
            }],
            context,
        })
    }

    fn level(&self, report: &BackupReport) -> LevelData {
        let store = Arc::new(self.store.clone());
        let index = open_index(store.clone(), "index", &report.index, self.cipher.as_ref());
        LevelData {
            id: LevelId {
                zero: Timestamp(TIME),
                level: Level(0),
                time: Timestamp(TIME),
            },
            store,
            data_key: "data".to_owned(),
            data_bytes: report.data.bytes,
            data_salt: report.data.salt,
            compression: Some(self.compression),
            cipher: self.cipher.clone(),
            index: Some(index.unwrap()),
        }
    }
}

fn read_back(level: &LevelData) -> Result<Vec<u8>, RestoreError> {
    let mut bytes = Vec::new();
    let written = Surroundings::default().with(|context| write_stream(level, &mut bytes, context))?;
    assert_eq!(written, bytes.len() as u64);
    Ok(bytes)
}

#[rstest]
fn a_stream_comes_back_to_the_byte(
    #[values(
        Compression::None,
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd
    )]
    compression: Compression,
    #[values(false, true)] encrypted: bool,
) {
    let frame = compression.frame_bytes() as usize;
    for size in [
        1,
        262_144,
        frame - 1,
        frame,
        frame + 1,
        2 * frame,
        3 * frame + 777,
    ] {
        let stream = Stream::new(compression, encrypted);
        let content = noise(size, size as u64);
        let report = stream.back_up(Cursor::new(&content)).unwrap();
        assert_eq!(
            (report.data.plain, report.counts.bytes),
            (size as u64, size as u64)
        );
        let level = stream.level(&report);
        assert!(read_back(&level).unwrap() == content, "{compression} {size}");
        let mut dumped = Vec::new();
        let around = Surroundings::default();
        around
            .with(|context| dump(&[stream.level(&report)], b"db.sql", &mut dumped, context))
            .unwrap();
        assert!(dumped == content);
        let found = around.with(|context| verify(&level, context)).unwrap();
        assert_eq!((found.damage, found.members), (Vec::new(), 1));
        assert_eq!(found.segments_sha256, Some(report.data.sha256));
        let target = tempfile::tempdir().unwrap();
        restore_into(vec![level], &target.path().join("t"), &around, |_| {}).unwrap();
        assert!(fs::read(target.path().join("t/db.sql")).unwrap() == content);
    }
}

#[test]
fn a_restored_stream_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let stream = Stream::new(Compression::Gzip, false);
    let report = stream.back_up(&b"secret"[..]).unwrap();
    let target = tempfile::tempdir().unwrap();
    let (into, around) = (target.path().join("t"), Surroundings::default());
    restore_into(vec![stream.level(&report)], &into, &around, |_| {}).unwrap();
    let mode = fs::metadata(into.join("db.sql")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

/// Gives some bytes, then fails.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.min(buffer.len());
        self.0 -= count;
        match count {
            0 => Err(io::Error::other("its command ended with exit status 1")),
            count => Ok(count),
        }
    }
}

#[test]
fn a_stream_whose_feed_fails_leaves_nothing() {
    for bytes in [0, 10, 3 << 20] {
        let stream = Stream::new(Compression::Gzip, true);
        let error = stream.back_up(Failing(bytes)).unwrap_err();
        assert!(matches!(error, BackupError::Stream { .. }), "{error:?}");
        assert!(stream.store.keys().is_empty());
    }
}

#[test]
fn an_empty_stream_is_a_backup_only_if_that_is_allowed() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut stream = Stream::new(compression, true);
        let error = stream.back_up(io::empty()).unwrap_err();
        assert!(matches!(error, BackupError::EmptyStream { .. }), "{error:?}");
        assert!(stream.store.keys().is_empty());
        stream.allow_empty = true;
        let report = stream.back_up(io::empty()).unwrap();
        let level = stream.level(&report);
        assert_eq!(read_back(&level).unwrap(), b"");
        let found = Surroundings::default()
            .with(|context| verify(&level, context))
            .unwrap();
        assert_eq!(found.damage, Vec::new());
    }
}

#[test]
fn damage_anywhere_is_an_error_and_gives_no_file() {
    let content = noise(3 << 20, 3);
    let stream = Stream::new(Compression::Gzip, false);
    let report = stream.back_up(Cursor::new(&content)).unwrap();
    let whole = stream.store.object("data").unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut harmed = whole.to_vec();
        harmed[at] ^= 1;
        stream.store.set_object("data", harmed);
        let level = stream.level(&report);
        assert!(read_back(&level).unwrap_err().is_damage());
        let around = Surroundings::default();
        assert!(
            !around
                .with(|context| verify(&level, context))
                .unwrap()
                .damage
                .is_empty()
        );
        let target = tempfile::tempdir().unwrap();
        let into = target.path().join("t");
        assert!(
            restore_into(vec![level], &into, &around, |_| {})
                .unwrap_err()
                .is_damage()
        );
        assert!(!into.join("db.sql").exists(), "a file in spite of damage at {at}");
    }
}

#[test]
fn a_tree_is_no_stream() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), b"a").unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    let error = read_back(&backups.level(0)).unwrap_err();
    assert!(
        matches!(error, RestoreError::NotAStream { level: 0 }),
        "{error:?}"
    );
}

#[test]
fn cancelling_ends_a_stream_that_never_ends() {
    let stream = Stream::new(Compression::None, false);
    let around = Surroundings::default();
    let cancel = around.cancel.clone();
    let raised = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        cancel.cancel();
    });
    let error = around
        .with(|context| stream.back_up_in(io::repeat(1), context))
        .unwrap_err();
    assert!(matches!(error, BackupError::Cancelled(_)), "{error:?}");
    assert!(stream.store.keys().is_empty());
    raised.join().unwrap();
}
