//! Backups without an index, listed: what is named is what a restore front to back makes.

use std::fs;

use freezer_format::compression::Compression;
use freezer_format::index::{Entry, EntryKind};
use freezer_pipeline::restore::{self, LevelData, RestoreError};
use rstest::rstest;

use crate::golden::levels as golden_levels;
use crate::hostile::{archive, file, with_raw_path};
use crate::mixed::archived;
use crate::round_trip::{change, make_tree};
use crate::support::{Backups, Listing, Surroundings, differences, list, plain_level, restore_into};

fn listed(levels: &[LevelData], around: &Surroundings) -> Result<Vec<Entry>, RestoreError> {
    let mut entries = Vec::new();
    around.with(|context| {
        restore::list(
            levels,
            &mut |entry| {
                entries.push(entry.clone());
                Ok(())
            },
            context,
        )
    })?;
    Ok(entries)
}

/// Each path with what both a listing and a tree tell of it.
fn named(entries: &[Entry]) -> Listing {
    let text = |entry: &Entry| match entry.kind {
        EntryKind::Directory => format!("dir {:04o}", entry.mode),
        EntryKind::Symlink => format!("link {}", entry.link.escape_ascii()),
        // Listing of one file: which of them carries the content is the archive's matter.
        EntryKind::File | EntryKind::HardLink => "file".to_owned(),
        EntryKind::Fifo => "fifo".to_owned(),
        EntryKind::CharDevice | EntryKind::BlockDevice => "node".to_owned(),
    };
    let below_root = entries.iter().filter(|entry| !entry.path.is_empty());
    below_root
        .map(|entry| (entry.path.clone(), text(entry)))
        .collect()
}

/// Restores the levels front to back and holds what that made against what is listed.
#[track_caller]
fn assert_listed(levels: impl Fn() -> Vec<LevelData>, about: &str) {
    let entries = listed(&levels(), &Surroundings::default()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let report = restore_into(levels(), target.path(), &around, |job| job.sequential = true).unwrap();
    if report.partial {
        // GNU tar's own rename records can't always be followed (docs/format.md); what we write always can.
        assert!(about.ends_with("GNU tar's"), "{about}: {:?}", around.lines());
        return;
    }
    let text = |text: &str| match text.split_once(' ') {
        Some(("dir", mode)) => format!("dir {mode}"),
        Some(("link", rest)) => {
            let goal = rest.split_once(' ').map_or("", |(_, goal)| goal);
            format!("link {}", goal.split(" = ").next().unwrap())
        }
        other => other.map_or(text, |(kind, _)| kind).to_owned(),
    };
    let made: Listing = list(target.path())
        .iter()
        .map(|(path, found)| (path.clone(), text(found)))
        .collect();
    assert_eq!(
        differences(&made, &named(&entries)),
        Vec::<String>::new(),
        "{about}"
    );
}

#[rstest]
fn the_original_s_backups_are_listed_as_they_are_restored(
    #[values("tar-gzip", "tar-bzip2", "tar-gzip-enc", "legacy-tar-liberty")] variant: &str,
    #[values(1, 2, 3)] count: usize,
) {
    let around = Surroundings::default();
    let entries = listed(&golden_levels(variant, count), &around).unwrap();
    assert_listed(|| golden_levels(variant, count), variant);
    assert!(entries.is_sorted_by(|a, b| freezer_format::index::compare_paths(&a.path, &b.path).is_lt()));
    assert_eq!(around.lines(), Vec::<String>::new());
}

#[test]
fn size_time_and_level_are_those_of_the_member_that_counts() {
    let entries = listed(&golden_levels("tar-gzip", 3), &Surroundings::default()).unwrap();
    let find = |path: &str| {
        entries
            .iter()
            .find(|entry| entry.path == path.as_bytes())
            .unwrap()
    };
    let seq = find("renamed/seq");
    assert_eq!(
        (seq.size, seq.kind, seq.unindexed),
        (108_894, EntryKind::File, true)
    );
    assert_eq!(find("sparse").size, 2_097_152);
    assert_eq!((find("a").size, find("a").level), (11, 2));
}

#[rstest]
fn any_history_is_listed_as_it_is_restored(#[values(1, 2, 3, 4, 5, 6)] seed: u64) {
    let source = tempfile::tempdir().unwrap();
    let snar = tempfile::tempdir().unwrap();
    let mut ours = Backups::new(Compression::Zstd, None);
    let mut streams = Vec::new();
    for level in 0..4 {
        change(source.path(), seed * 1000 + u64::from(level));
        ours.back_up(source.path());
        streams.push(archived(source.path(), &snar.path().join("snar")));
        let without_index = |mut level: LevelData| {
            level.index = None;
            level
        };
        let levels = || {
            ours.levels(level)
                .into_iter()
                .map(without_index)
                .collect::<Vec<_>>()
        };
        assert_listed(levels, &format!("seed {seed} level {level} of ours"));
        let theirs = || {
            let numbered = streams.iter().enumerate();
            numbered
                .map(|(number, stream)| plain_level(number as u32, stream.clone(), None))
                .collect::<Vec<_>>()
        };
        assert_listed(theirs, &format!("seed {seed} level {level} of GNU tar's"));
    }
}

#[test]
fn every_kind_of_entry_is_listed() {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    let levels = || {
        let mut levels = backups.levels(0);
        levels[0].index = None;
        levels
    };
    assert_listed(levels, "one of each");
}

#[test]
fn swapped_directories_are_followed() {
    let (source, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, snar) = (source.path(), scratch.path().join("snar"));
    for name in ["a", "b"] {
        fs::create_dir_all(root.join(name).join("below")).unwrap();
        fs::write(root.join(name).join("below").join(name), name.repeat(3)).unwrap();
    }
    let zero = archived(root, &snar);
    fs::rename(root.join("a"), root.join("t")).unwrap();
    fs::rename(root.join("b"), root.join("a")).unwrap();
    fs::rename(root.join("t"), root.join("b")).unwrap();
    let levels = [
        plain_level(0, zero, None),
        plain_level(1, archived(root, &snar), None),
    ];
    let entries = listed(&levels, &Surroundings::default()).unwrap();
    let paths: Vec<_> = entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
        .collect();
    assert_eq!(
        paths,
        ["", "a", "a/below", "a/below/b", "b", "b/below", "b/below/a"]
    );
    assert_eq!((entries[3].size, entries[3].level), (3, 0));
}

#[test]
fn what_a_restore_refuses_is_named_and_left_out() {
    let mut archive = archive(&[file("kept", b"x"), file("other", b"x")]);
    with_raw_path(&mut archive, "./other", "../ther");
    let around = Surroundings::default();
    let entries = listed(&[plain_level(0, archive, None)], &around).unwrap();
    assert_eq!(named(&entries).keys().collect::<Vec<_>>(), [&b"kept".to_vec()]);
    assert_eq!(
        around.lines(),
        ["../ther: a restore leaves it out: its path leads out of the target"]
    );
}

#[test]
fn a_cut_stream_lists_nothing() {
    let mut levels = golden_levels("tar-gzip", 1);
    levels[0].data_bytes -= 100;
    let mut count = 0;
    let around = Surroundings::default();
    let result = around.with(|context| {
        restore::list(
            &levels,
            &mut |_| {
                count += 1;
                Ok(())
            },
            context,
        )
    });
    assert!(result.unwrap_err().is_damage());
    assert_eq!(count, 0);
}
