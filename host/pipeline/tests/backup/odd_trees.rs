//! Trees with odd entries, entries that can't be read, exclusions, links that are followed, chains of the original.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use freezer_format::compression::Compression;
use freezer_format::index::{Entry, EntryKind};
use freezer_pipeline::counters::Counters;
use freezer_pipeline::source::ExcludeRules;
use freezer_pipeline::{Dereference, Parent};

use super::support::{Chain, differences, run, shell};

fn find<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.path == path.as_bytes())
}

fn paths(chain: &Chain, level: usize) -> Vec<String> {
    let paths = chain
        .entries(level)
        .into_iter()
        .map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
    paths.filter(|path| !path.is_empty()).collect()
}

#[test]
fn deep_trees_and_long_names_survive() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    shell(
        source.path(),
        "name=$(printf 'n%.0s' $(seq 255)); echo x >$name; d=.; for i in $(seq 300); do d=$d/d; done
         mkdir -p $d; echo deep >$d/file; echo top >d/d/z
         l=.; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do l=$l/$(printf 'l%.0s' $(seq 240)); done; mkdir -p $l; echo l >$l/l",
    );
    let mut chain = Chain::new(Compression::Gzip);
    for level in 0..2 {
        let report = chain.backup(source.path());
        assert!(!report.partial, "{:?}", report.warnings);
        chain.extract(level, target.path(), None);
        assert_eq!(differences(source.path(), target.path()), "");
        shell(source.path(), "echo y >>d/d/z");
    }
}

#[test]
fn holes_are_kept_when_they_are_worth_it() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    shell(
        source.path(),
        "truncate -s 9G huge; printf x | dd of=huge bs=1 seek=5000000000 conv=notrunc status=none
         printf y >start; truncate -s 1M start; truncate -s 3M hole; printf z >small; truncate -s 20K small",
    );
    let mut chain = Chain::new(Compression::Gzip);
    let report = chain.backup(source.path());
    assert!(
        report.data.plain < 200_000,
        "{} bytes for holes",
        report.data.plain
    );
    assert_eq!(
        report.counts.bytes,
        (9 << 30) + (1 << 20) + (3 << 20) + (20 << 10)
    );
    chain.extract(0, target.path(), None);
    for name in ["huge", "start", "hole", "small"] {
        let size = |root: &Path| fs::metadata(root.join(name)).unwrap().len();
        assert_eq!(size(source.path()), size(target.path()), "{name}");
    }
    run(std::process::Command::new("cmp")
        .arg(source.path().join("start"))
        .arg(target.path().join("start")));
    fs::remove_file(source.path().join("huge")).unwrap();
    fs::remove_file(target.path().join("huge")).unwrap();
    assert_eq!(differences(source.path(), target.path()), "");
}

#[test]
fn sockets_are_left_out_and_said() {
    let source = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.path().join("socket")).unwrap();
    let mut chain = Chain::new(Compression::Gzip);
    let report = chain.backup(source.path());
    assert_eq!((report.counts.sockets_skipped, report.partial), (1, false));
    assert_eq!(chain.warning_lines(), ["socket: a socket, left out"]);
    assert!(paths(&chain, 0).is_empty());
}

#[test]
fn exclusions_are_counted_and_caches_keep_their_tag() {
    let source = tempfile::tempdir().unwrap();
    shell(
        source.path(),
        "mkdir -p keep/x cache/y; echo 1 >a.o; echo 2 >keep/a.c; echo 3 >keep/b.o; echo 4 >cache/y/z
         printf 'Signature: 8a477f597d28d172789f06886806bc55\\n' >cache/CACHEDIR.TAG; mkdir no; echo no >no/CACHEDIR.TAG",
    );
    let mut chain = Chain::new(Compression::Gzip);
    chain.exclude = ExcludeRules::new(&["*.o".to_owned()], &["x".to_owned()], true).unwrap();
    let report = chain.backup(source.path());
    assert_eq!(report.counts.excluded, 3);
    assert_eq!(
        paths(&chain, 0),
        [
            "cache",
            "cache/CACHEDIR.TAG",
            "keep",
            "keep/a.c",
            "no",
            "no/CACHEDIR.TAG"
        ]
    );
}

#[test]
fn links_and_nodes_with_several_names_are_one_for_gnu_tar_too() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut script =
        "mkdir z; ln -s /somewhere l; ln -s ../x m; mkfifo p; ln l z/l; ln m z/m; ln p z/p".to_owned();
    if rustix::process::geteuid().is_root() {
        script.push_str("; mknod n c 1 3; ln n z/n");
    }
    shell(source.path(), &script);
    let mut chain = Chain::new(Compression::None);
    let changes = ["", "", "ln p a; rm z/l", "rm z/m; ln -s y z/m"];
    for (level, change) in changes.iter().enumerate() {
        shell(source.path(), change);
        let report = chain.backup(source.path());
        assert!(!report.partial, "{:?}", report.warnings);
        if level == 1 {
            assert_eq!((report.counts.new, report.counts.changed), (0, 0));
            assert!(report.counts.hard_links >= 3);
        }
        chain.extract(level, target.path(), None);
        assert_eq!(differences(source.path(), target.path()), "", "level {level}");
        let inode = |name| target.path().join(name).symlink_metadata().unwrap().ino();
        assert_eq!(inode("p"), inode("z/p"), "level {level}");
        assert_eq!(inode("m") == inode("z/m"), level < 3, "level {level}");
    }
}

#[test]
fn symbolic_links_are_followed_on_request() {
    let source = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), b"outside").unwrap();
    shell(
        source.path(),
        &format!(
            "ln -s {} out; ln -s nowhere dead; mkdir d; ln -s .. d/up; ln -s . d/self; echo x >f; ln f g",
            outside.path().display()
        ),
    );
    let mut chain = Chain::new(Compression::Gzip);
    chain.dereference = Dereference::All;
    let report = chain.backup(source.path());
    assert!(!report.partial);
    assert_eq!(chain.warning_lines(), Vec::<String>::new());
    let entries = chain.entries(0);
    let kind = |path| find(&entries, path).map(|entry| entry.kind);
    for link in ["dead", "d/up", "d/self"] {
        assert_eq!(kind(link), Some(EntryKind::Symlink), "{link}");
    }
    assert_eq!(kind("out"), Some(EntryKind::Directory));
    assert_eq!(kind("out/file"), Some(EntryKind::File));
    assert_eq!(
        (kind("f"), kind("g")),
        (Some(EntryKind::File), Some(EntryKind::File))
    );
}

#[test]
fn a_single_file_is_a_source() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    shell(source.path(), "echo one >one; echo two >two");
    shell(target.path(), "echo kept >kept");
    let mut chain = Chain::new(Compression::Gzip);
    chain.backup(&source.path().join("one"));
    assert_eq!(paths(&chain, 0), ["one"]);
    chain.extract(0, target.path(), None);
    assert_eq!(fs::read(target.path().join("one")).unwrap(), b"one\n");
    assert!(target.path().join("kept").exists() && !target.path().join("two").exists());
    let report = chain.backup(&source.path().join("one"));
    assert_eq!(
        (
            report.counts.unchanged,
            report.counts.changed,
            report.counts.removed
        ),
        (1, 0, 0)
    );
}

#[test]
fn a_file_that_vanishes_is_named_and_absent() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    // The socket's warning comes when the directory is judged, before any file of it is read.
    let _socket = std::os::unix::net::UnixListener::bind(source.path().join("socket")).unwrap();
    fs::write(source.path().join("gone"), b"gone").unwrap();
    fs::write(source.path().join("here"), b"here").unwrap();
    let mut chain = Chain::new(Compression::Gzip);
    chain.backup(source.path());
    chain.extract(0, target.path(), None);
    fs::write(source.path().join("gone"), b"changed").unwrap();
    let root = source.path().to_path_buf();
    chain.on_warning = Box::new(move |warning| {
        if warning.path == b"socket" {
            fs::remove_file(root.join("gone")).unwrap();
        }
    });
    let report = chain.backup(source.path());
    assert_eq!((report.counts.vanished, report.partial), (1, true));
    assert_eq!(
        chain.warning_lines().last().unwrap(),
        "gone: removed before it could be read"
    );
    assert_eq!(paths(&chain, 1), ["here"]);
    // Absent after a plain restore, too, not as the level before has it.
    chain.extract(1, target.path(), None);
    assert!(!target.path().join("gone").exists() && target.path().join("here").exists());
}

#[test]
fn a_file_that_shrinks_is_padded_and_marked() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let path = source.path().join("big");
    let size = 30_000_000;
    fs::write(&path, vec![b'x'; size]).unwrap();
    let mut chain = Chain::new(Compression::Bzip2);
    let counters = Arc::clone(&chain.counters);
    // bzip2 takes seconds for the whole file, so the walk can't have read it when the first megabyte is counted.
    let shrinks = std::thread::spawn(move || {
        while Counters::get(&counters.bytes_read) == 0 {
            std::thread::yield_now();
        }
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(100_000)
            .unwrap();
    });
    let report = chain.backup(source.path()).clone();
    shrinks.join().unwrap();
    assert_eq!((report.counts.inexact, report.partial), (1, true));
    let line = chain.warning_lines().remove(0);
    assert!(
        line.starts_with("big: shrank by ") && line.ends_with("padded with zeros"),
        "{line}"
    );
    let entries = chain.entries(0);
    let row = find(&entries, "big").unwrap();
    assert!(row.inexact && row.size == size as u64);
    chain.extract(0, target.path(), None);
    assert_eq!(
        fs::metadata(target.path().join("big")).unwrap().len(),
        size as u64
    );
    // It is read again, though nothing changed since.
    let report = chain.backup(source.path());
    assert_eq!((report.counts.changed, report.counts.inexact), (1, 0));
}

#[test]
fn an_entry_replaced_by_another_kind_is_replayed() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    shell(source.path(), "mkdir d; echo 1 >d/f; echo 2 >f; ln -s f l");
    let mut chain = Chain::new(Compression::Gzip);
    for (level, script) in [
        "true",
        "rm -r d f l; ln -s x d; mkdir f; echo 3 >f/g; echo 4 >l",
        "rm -r f; mkfifo f",
    ]
    .into_iter()
    .enumerate()
    {
        shell(source.path(), script);
        chain.backup(source.path());
        chain.extract(level, target.path(), None);
        assert_eq!(differences(source.path(), target.path()), "", "level {level}");
    }
}

#[test]
fn a_large_directory_is_listed_as_data() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    for number in 0..60_000 {
        fs::write(
            source
                .path()
                .join(format!("a file of a rather long name {number}")),
            b"",
        )
        .unwrap();
    }
    let mut chain = Chain::new(Compression::Zstd);
    chain.backup(source.path());
    chain.extract(0, target.path(), None);
    fs::remove_file(source.path().join("a file of a rather long name 7")).unwrap();
    let report = chain.backup(source.path());
    assert_eq!((report.counts.unchanged, report.counts.removed), (60_000, 1));
    // The list alone is larger than what may stand in a pax record.
    assert!(report.data.plain > 1_500_000);
    chain.extract(1, target.path(), None);
    assert_eq!(differences(source.path(), target.path()), "");
}

#[test]
fn gnu_tar_continues_our_chain_and_we_continue_its() {
    let source = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    shell(
        source.path(),
        "mkdir d; echo 1 >d/old; echo 2 >same; touch -d '2020-01-01' same d/old",
    );
    let archive = |name: &str| {
        let script = format!(
            "tar -C {} -cf {name} --no-check-device --format=posix --listed-incremental=snar .; tar -tf {name}",
            source.path().display()
        );
        let output = run(std::process::Command::new("bash")
            .arg("-ec")
            .arg(script)
            .current_dir(other.path()));
        String::from_utf8(output.stdout).unwrap()
    };
    // Ours first: GNU tar takes our snapshot file for its own.
    let mut ours = Chain::new(Compression::None);
    ours.writes_snar = true;
    ours.backup(source.path());
    fs::write(
        other.path().join("snar"),
        &*ours.store.object("0/engine_metadata").unwrap(),
    )
    .unwrap();
    // A dump by the second: whatever comes in the same one is dumped again.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    shell(source.path(), "echo 3 >d/new");
    assert_eq!(archive("one"), "./\n./d/\n./d/new\n");
    // Then ours again on top of what GNU tar left, which judges by its time minus two seconds.
    let snar = fs::read(other.path().join("snar")).unwrap();
    shell(source.path(), "echo 4 >d/newest");
    let report = ours
        .backup_with(source.path(), Parent::Snar(Box::new(std::io::Cursor::new(snar))))
        .unwrap();
    assert_eq!((report.counts.new, report.counts.removed), (1, 0));
    let entries = ours.entries(1);
    assert!(!find(&entries, "d/newest").unwrap().unindexed);
}

#[test]
fn names_of_any_bytes_come_back() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    for name in [
        &b"\xff\xfe"[..],
        b"new\nline",
        b" ",
        b"-rf",
        b"a=b",
        b"\x01",
        b"%",
        b"\\",
    ] {
        fs::write(source.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let mut chain = Chain::new(Compression::Gzip);
    chain.backup(source.path());
    chain.extract(0, target.path(), None);
    assert_eq!(differences(source.path(), target.path()), "");
}

#[test]
fn a_tree_of_many_index_blocks_is_compared_whole() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    // Directories that span blocks, at several depths, with files before and after them.
    shell(
        source.path(),
        "for a in a b c; do for b in 1 2 3 4 5; do mkdir -p $a/$b/deep/er $a.x
         (cd $a/$b; touch $(seq -f 'file%g' 500); cd deep; touch $(seq -f 'a%g' 300) $(seq -f 'z%g' 300)
         cd er; touch $(seq 400)); done; touch $a.x/y $a-; done; touch last",
    );
    let mut chain = Chain::new(Compression::Zstd);
    let new = chain.backup(source.path()).counts.new;
    assert!(new > 22_000);
    chain.extract(0, target.path(), None);
    let report = chain.backup(source.path());
    let counts = report.counts;
    assert_eq!(
        (counts.unchanged, counts.new, counts.changed, counts.removed),
        (new, 0, 0, 0)
    );
    shell(
        source.path(),
        "rm -r b/3; rm a/5/deep/a7; echo x >c/1/deep/er/400; mkdir b/30; mv c/2/deep/z300 b/30/",
    );
    let counts = chain.backup(source.path()).counts;
    // b/3 held 1503 entries; a moved file is new and removed.
    assert_eq!((counts.new, counts.changed, counts.removed), (2, 1, 1505));
    chain.extract(1, target.path(), None);
    chain.extract(2, target.path(), None);
    assert_eq!(differences(source.path(), target.path()), "");
}

/// Runs this test once more as a user whom modes bind; `true` if that was done.
fn ran_as_nobody(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let scratch = tempfile::tempdir().unwrap();
    // The build's directory may be closed to others.
    let copy = scratch.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    shell(scratch.path(), "chmod 755 . test");
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", test]);
    let output = run(command.current_dir(scratch.path()));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{output:?}"
    );
    true
}

#[test]
fn what_cannot_be_read_keeps_its_last_good_content() {
    if ran_as_nobody("odd_trees::what_cannot_be_read_keeps_its_last_good_content") {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    shell(
        source.path(),
        "mkdir shut; echo 1 >file; echo 2 >shut/below; echo 3 >other",
    );
    let mut chain = Chain::new(Compression::None);
    let report = chain.backup(source.path());
    assert!(!report.partial);
    let before = chain.entries(0);
    shell(
        source.path(),
        "echo new >file; chmod 0 file shut; echo never >never; chmod 0 never",
    );
    let report = chain.backup(source.path()).clone();
    assert_eq!((report.partial, report.counts.unreadable), (true, 3));
    let mut lines = chain.warning_lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "file: can't open it: Permission denied (os error 13)",
            "never: can't open it: Permission denied (os error 13)",
            "shut: can't open the directory: Permission denied (os error 13)",
        ]
    );
    let entries = chain.entries(1);
    for path in ["file", "shut/below"] {
        let (old, new) = (find(&before, path).unwrap(), find(&entries, path).unwrap());
        assert!(new.unreadable && !old.unreadable);
        assert_eq!(
            (new.level, new.offset, new.size),
            (0, old.offset, old.size),
            "{path}"
        );
    }
    let never = find(&entries, "never").unwrap();
    assert_eq!((never.unreadable, never.level, never.offset), (true, 1, 0));
    // Readable again: read, though nothing else changed.
    shell(source.path(), "chmod 600 file never; chmod 700 shut");
    let report = chain.backup(source.path());
    assert_eq!((report.partial, report.counts.removed), (false, 0));
    assert!(chain.entries(2).iter().all(|entry| !entry.unreadable));
    assert_eq!(find(&chain.entries(2), "file").unwrap().level, 2);
}

#[test]
fn entries_that_changed_just_now_are_read_again() {
    let source = tempfile::tempdir().unwrap();
    shell(source.path(), "echo 1 >old");
    let mut chain = Chain::new(Compression::Gzip);
    // By this clock everything is a moment old.
    chain.clock_ahead_seconds = 0;
    fs::write(source.path().join("fresh"), b"x").unwrap();
    chain.backup(source.path());
    chain.clock_ahead_seconds = 3600;
    let report = chain.backup(source.path());
    assert!(report.counts.changed >= 1, "{:?}", report.counts);
    let report = chain.backup(source.path());
    assert_eq!((report.counts.changed, report.counts.unchanged), (0, 3));
}
