//! What is written is read back in every way; what is damaged or newer is an error.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::footer::{BlockRef, Trailer, footer_bytes, put_block};
use super::*;
use crate::compression::Compression;
use crate::name::Timestamp;
use crate::time::Time;

fn component() -> impl Strategy<Value = Vec<u8>> {
    let name = vec(prop_oneof![6 => b'a'..=b'c', 1 => 1u8..=255], 1..8).prop_map(|mut name| {
        name.iter_mut()
            .filter(|byte| **byte == b'/')
            .for_each(|byte| *byte = b'_');
        name
    });
    name.prop_filter("dots have a meaning", |name| name != b"." && name != b"..")
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        20 => vec(component(), 1..5).prop_map(|components| components.join(&b'/')),
        1 => component().prop_map(|name| vec![name; 3000].join(&b'/')),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    let seconds = prop_oneof![1_700_000_000i64..1_800_000_000, any::<i64>()];
    (seconds, 0u32..1_000_000_000).prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
}

fn entry() -> impl Strategy<Value = (Entry, State)> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        Just(EntryKind::Symlink),
        Just(EntryKind::HardLink),
        Just(EntryKind::Fifo),
        Just(EntryKind::CharDevice),
        Just(EntryKind::BlockDevice),
    ];
    let marks = any::<(bool, bool, bool)>();
    let place = (0u32..40, any::<u64>(), any::<u64>());
    let owner = (0u32..=0o7777, any::<u32>(), any::<u32>(), time());
    let link = vec(any::<u8>(), 0..40);
    let state = (any::<u64>(), time(), any::<u64>(), any::<bool>());
    (
        path(),
        kind,
        marks,
        place,
        owner,
        (link, path(), any::<(u32, u32)>()),
        state,
    )
        .prop_map(
            |(path, kind, marks, place, owner, (target, linked, rdev), state)| {
                let (unreadable, inexact, unindexed) = marks;
                let (level, offset, size) = place;
                let (mode, uid, gid, mtime) = owner;
                let mut entry = Entry {
                    unreadable,
                    inexact,
                    unindexed,
                    level,
                    offset,
                    size,
                    mode,
                    uid,
                    gid,
                    mtime,
                    ..Entry::new(path, kind)
                };
                match kind {
                    EntryKind::Symlink => entry.link = target,
                    EntryKind::HardLink => entry.link = linked,
                    EntryKind::CharDevice | EntryKind::BlockDevice => entry.rdev = rdev,
                    _ => {}
                }
                (
                    entry,
                    State {
                        inode: state.0,
                        ctime: state.1,
                        nlink: state.2,
                        racy: state.3,
                    },
                )
            },
        )
}

/// Rows in order, each path once.
fn rows(most: usize) -> impl Strategy<Value = Vec<(Entry, State)>> {
    vec(entry(), 0..most).prop_map(|mut rows| {
        rows.sort_by(|(a, _), (b, _)| compare_paths(&a.path, &b.path));
        rows.dedup_by(|(a, _), (b, _)| a.path == b.path);
        rows
    })
}

/// `count` rows of a plausible tree.
fn tree(count: u64) -> Vec<(Entry, State)> {
    let mut rows = Vec::new();
    for number in 0..count {
        let path = format!(
            "usr/share/package-{:05}/file-{:03}.conf",
            number / 100,
            number % 100
        );
        let seconds = 1_700_000_000 + (number as i64 * 7919) % 10_000_000;
        let mtime = Time {
            seconds,
            nanoseconds: (number * 104_729 % 1_000_000_000) as u32,
        };
        let entry = Entry {
            offset: number * 4096,
            size: number * 31 % 10_000,
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            mtime,
            ..Entry::new(path, EntryKind::File)
        };
        rows.push((
            entry,
            State {
                inode: 100_000 + number * 3 % 7777,
                ctime: mtime,
                nlink: 1,
                racy: false,
            },
        ));
    }
    rows
}

const HEADER: Header = Header {
    flags: 0,
    frame_size: 1 << 20,
    segment_size: 32 << 20,
};

fn levels() -> Vec<LevelRow> {
    let row = |level: u32, byte| LevelRow {
        level,
        time: Timestamp(1_700_000_000 + i64::from(level)),
        manifest_sha256: [byte; 32],
        frame_size: 1 << 20,
        compression: Compression::Gzip,
    };
    vec![row(0, 7), row(1, 0)]
}

fn write(rows: &[(Entry, State)]) -> Finished<Vec<u8>> {
    let mut writer = IndexWriter::new(Vec::new(), &HEADER).unwrap();
    let mut blocks = EntryBlocks::new();
    for (entry, state) in rows {
        if let Some((entries, states)) = blocks.push(entry, state).unwrap() {
            writer.write(entries).unwrap();
            writer.write(states).unwrap();
        }
    }
    if let Some((entries, states)) = blocks.flush() {
        writer.write(entries).unwrap();
        writer.write(states).unwrap();
    }
    writer.finish(&levels()).unwrap()
}

fn open(body: &[u8]) -> Result<IndexReader<Vec<u8>>, IndexError> {
    IndexReader::open(body.to_vec(), body.len() as u64, None)
}

/// Reads everything there is; the number of rows, or the first error.
fn read_everything(body: &[u8]) -> Result<usize, IndexError> {
    let reader = open(body)?;
    let mut count = 0;
    for row in reader.rows()? {
        row?;
        count += 1;
    }
    for entry in reader.entries_reversed()? {
        entry?;
    }
    reader.frame_count()?;
    reader.frame(1)?;
    for frame in reader.frames_from(0)? {
        frame?;
    }
    for segment in reader.segments()? {
        segment?;
    }
    for warning in reader.warnings()? {
        warning?;
    }
    reader.find(b"a/b")?;
    Ok(count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn rows_round_trip_in_every_direction(rows in rows(60)) {
        let finished = write(&rows);
        prop_assert_eq!(finished.body_bytes, finished.inner.len() as u64);
        let reader =
            IndexReader::open(finished.inner.clone(), finished.body_bytes, Some(&finished.trailer)).unwrap();
        prop_assert_eq!(reader.header(), &HEADER);
        prop_assert_eq!(reader.levels(), &levels()[..]);
        prop_assert_eq!(reader.entry_count(), rows.len() as u64);
        let read: Vec<_> = reader.rows().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&read, &rows);
        let entries: Vec<_> = reader.entries().unwrap().map(Result::unwrap).collect();
        prop_assert!(entries.iter().eq(rows.iter().map(|(entry, _)| entry)));
        let reversed: Vec<_> = reader.entries_reversed().unwrap().map(Result::unwrap).collect();
        prop_assert!(reversed.iter().rev().eq(entries.iter()));
        for (entry, _) in &rows {
            let found = reader.find(&entry.path).unwrap();
            prop_assert_eq!(found.as_ref(), Some(entry));
            let below: Vec<_> = reader.subtree(&entry.path).unwrap().map(Result::unwrap).collect();
            let expected: Vec<_> =
                entries.iter().filter(|other| path::is_within(&other.path, &entry.path)).cloned().collect();
            prop_assert_eq!(below, expected);
        }
        prop_assert_eq!(reader.find(b"not there").unwrap(), None);
    }

    #[test]
    fn a_changed_or_cut_index_is_noticed(rows in rows(20), at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let finished = write(&rows);
        let mut body = finished.inner.clone();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let changed = read_everything(&body);
        // The header is repeated in the footer, and only that copy counts; all else is under a digest.
        prop_assert!(changed.is_err() || at < HEADER_BYTES);
        let cut = cut.index(finished.inner.len());
        prop_assert!(read_everything(&finished.inner[..cut]).is_err());
    }

    #[test]
    fn hostile_blocks_with_right_digests_never_panic(
        entries in vec(any::<u8>(), 0..200),
        states in vec(any::<u8>(), 0..60),
        table in vec(any::<u8>(), 0..120),
    ) {
        let blocks = [(BlockKind::Entries, entries), (BlockKind::State, states), (BlockKind::Frames, table.clone()),
            (BlockKind::Segments, table.clone()), (BlockKind::Warnings, table)];
        let body = forge(&blocks, 3);
        prop_assert!(read_everything(&body).is_err());
    }

    #[test]
    fn hostile_footers_with_right_digests_never_panic(footer in vec(any::<u8>(), 0..300), keep in 0usize..80) {
        let mut plain = footer_bytes(&HEADER, &levels(), 1, &footer);
        plain.truncate(plain.len().min(keep + 40));
        let mut body = HEADER.to_bytes().to_vec();
        close(&mut body, &plain, 0);
        prop_assert!(read_everything(&body).is_err());
    }
}

/// Makes an index of any payloads whose digests are right.
fn forge(blocks: &[(BlockKind, Vec<u8>)], entries: u64) -> Vec<u8> {
    let mut body = HEADER.to_bytes().to_vec();
    let mut table = Vec::new();
    for (kind, payload) in blocks {
        let stored = zstd::bulk::compress(payload, 3).unwrap();
        let row = BlockRef::new(
            *kind,
            body.len() as u64,
            stored.len() as u32,
            Sha256::digest(&stored).into(),
            0,
        );
        put_block(&row, b"", &mut table);
        body.extend_from_slice(&stored);
    }
    let plain = footer_bytes(&HEADER, &levels(), blocks.len() as u64, &table);
    close(&mut body, &plain, entries);
    body
}

/// Appends a footer and its trailer.
fn close(body: &mut Vec<u8>, plain: &[u8], entries: u64) {
    let stored = zstd::bulk::compress(plain, 3).unwrap();
    let trailer = Trailer {
        footer_offset: body.len() as u64,
        footer_length: stored.len() as u32,
        footer_plain: plain.len() as u32,
        footer_sha256: Sha256::digest(&stored).into(),
        entries,
    };
    body.extend_from_slice(&stored);
    body.extend_from_slice(&trailer.to_bytes());
}

/// A body that counts what is read from it.
#[derive(Debug, Clone, Default)]
struct Counting {
    body: Vec<u8>,
    reads: Rc<Cell<usize>>,
    bytes: Rc<Cell<usize>>,
}

impl ReadRange for Counting {
    fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + length);
        self.body.read_range(offset, length)
    }
}

#[test]
fn one_path_of_many_costs_two_small_reads_and_a_pass_few_large_ones() {
    let rows = tree(200_000);
    let finished = write(&rows);
    let body = Counting {
        body: finished.inner,
        ..Counting::default()
    };
    let reader = IndexReader::open(body.clone(), finished.body_bytes, Some(&finished.trailer)).unwrap();
    assert_eq!(body.reads.get(), 1);
    let found = reader.find(&rows[123_456].0.path).unwrap();
    assert_eq!(found.as_ref(), Some(&rows[123_456].0));
    assert_eq!(body.reads.get(), 2);
    assert!(body.bytes.get() < 400_000, "{}", body.bytes.get());
    let pass = |count: usize| {
        let reads = body.reads.get();
        assert_eq!(count, rows.len());
        body.reads.set(0);
        reads
    };
    body.reads.set(0);
    assert!(pass(reader.rows().unwrap().map(Result::unwrap).count()) <= 8);
    assert!(pass(reader.entries().unwrap().map(Result::unwrap).count()) <= 8);
    assert!(pass(reader.entries_reversed().unwrap().map(Result::unwrap).count()) <= 8);
}

#[test]
fn a_small_index_costs_one_read() {
    let rows = tree(1000);
    let finished = write(&rows);
    let body = Counting {
        body: finished.inner,
        ..Counting::default()
    };
    let reader = IndexReader::open(body.clone(), finished.body_bytes, None).unwrap();
    assert_eq!(reader.rows().unwrap().count(), 1000);
    assert_eq!(body.reads.get(), 1);
}

#[test]
fn tables_round_trip_across_blocks() {
    let mut writer = IndexWriter::new(Vec::new(), &HEADER).unwrap();
    let (mut frames, mut segments, mut warnings) = (FrameRows::new(), SegmentRows::new(), WarningRows::new());
    let digest = |number: u64| <[u8; 32]>::from(Sha256::digest(number.to_le_bytes()));
    let md5 = |number: u64| (number % 2 == 1).then_some([number as u8 | 1; 16]);
    let text = |number: u64| format!("warning {number} {}", "ü".repeat(number as usize * 20));
    for number in 0..2500u64 {
        if let Some(block) = frames.push(number * 10, 10, &digest(number)).unwrap() {
            writer.write(block).unwrap();
        }
        if let Some(block) = segments.push(&digest(number), md5(number).as_ref()) {
            writer.write(block).unwrap();
        }
        if number < 300
            && let Some(block) = warnings.push(&text(number))
        {
            writer.write(block).unwrap();
        }
    }
    for block in [frames.flush(), segments.flush(), warnings.flush()]
        .into_iter()
        .flatten()
    {
        writer.write(block).unwrap();
    }
    let reader = open(&writer.finish(&levels()).unwrap().inner).unwrap();
    assert_eq!(reader.frame_count().unwrap(), 2500);
    let row = |number| FrameRow {
        offset: number * 10,
        length: 10,
        sha256: digest(number),
    };
    for number in [0, 1023, 1024, 2047, 2499] {
        assert_eq!(reader.frame(number).unwrap(), Some(row(number)));
    }
    assert_eq!(reader.frame(2500).unwrap(), None);
    let read: Vec<_> = reader.frames_from(1000).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, (1000..2500).map(row).collect::<Vec<_>>());
    let read: Vec<_> = reader.segments().unwrap().map(Result::unwrap).collect();
    let wrote = |number| SegmentRow {
        sha256: digest(number),
        md5: md5(number),
    };
    assert_eq!(read, (0..2500).map(wrote).collect::<Vec<_>>());
    let read: Vec<_> = reader.warnings().unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 300);
    assert_eq!(read[10], text(10));
    // The longest ones are cut at the border of a character.
    assert!(read[299].len() <= 8192 && text(299).starts_with(&read[299]));
}

#[test]
fn rows_that_no_reader_would_take_are_refused() {
    let state = State {
        inode: 1,
        ctime: Time::default(),
        nlink: 1,
        racy: false,
    };
    let mut blocks = EntryBlocks::new();
    blocks.push(&Entry::new("b", EntryKind::File), &state).unwrap();
    let link = Entry {
        link: b"../out".to_vec(),
        ..Entry::new("c", EntryKind::HardLink)
    };
    let mode = Entry {
        mode: 0o10000,
        ..Entry::new("c", EntryKind::File)
    };
    for bad in [
        Entry::new("a", EntryKind::File),
        Entry::new("b", EntryKind::File),
        Entry::new("", EntryKind::Directory),
        Entry::new("/c", EntryKind::File),
        Entry::new("c/../d", EntryKind::File),
        Entry::new(vec![b'c'; 70_000], EntryKind::File),
        link,
        mode,
    ] {
        assert!(
            matches!(blocks.push(&bad, &state), Err(IndexError::Unwritable(_))),
            "{:?}",
            bad.path.len()
        );
    }
    assert!(FrameRows::new().push(u64::MAX, 1, &[0; 32]).is_err());
    let mut frames = FrameRows::new();
    frames.push(0, 10, &[0; 32]).unwrap();
    assert!(frames.push(11, 10, &[0; 32]).is_err());
}

#[test]
fn the_trailer_of_the_manifest_decides() {
    let (ours, theirs) = (write(&tree(10)), write(&tree(11)));
    let opened = IndexReader::open(theirs.inner.clone(), theirs.body_bytes, Some(&ours.trailer));
    assert!(matches!(opened, Err(IndexError::Damaged(_))));
}

#[test]
fn unknown_flags_kinds_and_marks_are_of_a_newer_freezer() {
    let newer = |body: &[u8]| matches!(read_everything(body), Err(IndexError::Newer(_)));
    let mut body = HEADER.to_bytes().to_vec();
    let flagged = Header { flags: 2, ..HEADER };
    close(&mut body, &footer_bytes(&flagged, &levels(), 0, &[]), 0);
    assert!(newer(&body));

    let mut table = vec![9, 0, 32, 0];
    table.extend_from_slice(&[0; 33]);
    let mut body = HEADER.to_bytes().to_vec();
    close(&mut body, &footer_bytes(&HEADER, &levels(), 1, &table), 0);
    assert!(newer(&body));

    // Shared 0, no suffix, then a kind with a mark of tomorrow.
    let entries = vec![0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0];
    let states = vec![0, 0, 0, 0];
    assert!(newer(&forge(
        &[(BlockKind::Entries, entries), (BlockKind::State, states)],
        1
    )));
    let entries = vec![0, 0, 0x07, 0, 0, 0, 0, 0, 0, 0];
    let states = vec![0, 0, 0, 0];
    assert!(newer(&forge(
        &[(BlockKind::Entries, entries), (BlockKind::State, states)],
        1
    )));
}

#[test]
fn a_block_that_unpacks_to_more_than_it_may_is_refused() {
    let bomb = vec![0; BLOCK_PAYLOAD_MAX + 1];
    let body = forge(&[(BlockKind::Warnings, bomb)], 0);
    assert!(matches!(read_everything(&body), Err(IndexError::Damaged(_))));
}

#[test]
fn blocks_may_lie_in_the_index_of_another_level() {
    let rows = tree(20_000);
    let parent = write(&rows);
    let parent_reader = open(&parent.inner).unwrap();
    let mut table = Vec::new();
    let mut blocks = 0;
    for kind in [BlockKind::Entries, BlockKind::State] {
        for block in parent_reader.footer.blocks(kind) {
            let first = if kind == BlockKind::Entries {
                parent_reader.footer.first_path(block)
            } else {
                b""
            };
            put_block(
                &BlockRef {
                    place: 1,
                    ..block.clone()
                },
                first,
                &mut table,
            );
            blocks += 1;
        }
    }
    let mut body = HEADER.to_bytes().to_vec();
    close(
        &mut body,
        &footer_bytes(&HEADER, &levels(), blocks, &table),
        rows.len() as u64,
    );
    let mut reader = open(&body).unwrap();
    assert_eq!(reader.places(), [0]);
    assert!(matches!(
        reader.find(&rows[5].0.path),
        Err(IndexError::MissingPlace { level: 0 })
    ));
    reader.add_place(0, parent.inner);
    assert_eq!(reader.find(&rows[5].0.path).unwrap().as_ref(), Some(&rows[5].0));
    let read: Vec<_> = reader.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, rows);
}

#[test]
fn blocks_that_share_bytes_are_refused() {
    // Else a small footer could list one block a million times.
    let rows = tree(100);
    let written = write(&rows);
    let reader = open(&written.inner).unwrap();
    let (mut table, mut blocks) = (Vec::new(), 0);
    for kind in [BlockKind::Entries, BlockKind::State, BlockKind::State] {
        let block = &reader.footer.blocks(kind)[0];
        let row = BlockRef {
            first_row: blocks / 2 * 100,
            ..block.clone()
        };
        let first = if kind == BlockKind::Entries {
            reader.footer.first_path(block)
        } else {
            b""
        };
        put_block(&row, first, &mut table);
        blocks += 1;
    }
    let mut body = written.inner.clone();
    close(&mut body, &footer_bytes(&HEADER, &levels(), blocks, &table), 100);
    assert!(matches!(open(&body), Err(IndexError::Damaged("blocks overlap"))));
}

#[test]
fn rows_below_a_long_path_cost_no_more_memory_than_their_block_backwards() {
    // Each row takes some 30 bytes in the block and 30 kB as a path; all of them would be 100 MB.
    let directory = vec![vec![b'd'; 200]; 150].join(&b'/');
    let mut paths = BTreeMap::new();
    for number in 0..3000 {
        let path = [directory.as_slice(), format!("{number:05}").as_bytes()].join(&b'/');
        paths.insert(
            path.clone(),
            (
                Entry::new(path, EntryKind::File),
                State {
                    nlink: 1,
                    ..State::ZERO
                },
            ),
        );
    }
    let rows: Vec<_> = paths.into_values().collect();
    let reader = open(&write(&rows).inner).unwrap();
    let mut reversed = reader.entries_reversed().unwrap();
    for (entry, _) in rows.iter().rev() {
        assert!(reversed.advance().unwrap());
        assert_eq!(reversed.entry(), entry);
    }
    assert!(!reversed.advance().unwrap());
}
