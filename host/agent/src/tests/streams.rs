//! Streams as backups: beside a tree of the same name, whole each time, and only if what feeds them ended well.

use std::ffi::OsString;
use std::io::{self, Read};

use freezer_format::level::FullReason;

use super::support::*;
use crate::*;

fn mode(line: &str, bench: &Bench) -> StreamMode {
    let feed = StreamFeed::Command(OsString::from(line));
    StreamMode::new("db.sql", feed, Vec::new(), &bench.cancel).unwrap()
}

fn back_up(bench: &Bench, line: &str) -> Result<BackupOutcome, AgentError> {
    let storages = vec![Storage::opened(bench.store())];
    let mode = mode(line, bench);
    let options = BackupOptions {
        path: None,
        mode: "command".to_owned(),
        ..bench.options.clone()
    };
    bench.run(|context| backup(storages, &options, &bench.keyring(), &mode, context))
}

fn read_back(bench: &Bench) -> Result<(StreamOutcome, Vec<u8>), AgentError> {
    let opened = OpenBackup::open(&bench.store(), &bench.wanted(None), &bench.keyring())?;
    let mut bytes = Vec::new();
    let outcome = bench.run(|context| restore_stream(&opened, StreamGoal::Output(&mut bytes), context))?;
    Ok((outcome, bytes))
}

#[test]
fn a_stream_is_a_level_0_each_time_and_the_newest_comes_back() {
    let bench = Bench::encrypted();
    for text in ["one", "two"] {
        let outcome = back_up(&bench, &format!("printf {text}")).unwrap();
        assert_eq!(outcome.id.level.0, 0);
        assert_eq!(outcome.full_reason, Some(FullReason::Stream));
        assert_eq!(outcome.stream.as_deref(), Some("db.sql"));
        let (restored, bytes) = read_back(&bench).unwrap();
        assert_eq!(bytes, text.as_bytes());
        assert!(restored.authentic);
        assert_eq!(restored.file_name, "db.sql");
    }
    let report = bench.check(true);
    assert!(report.problems.is_empty(), "{report:?}");
}

#[test]
fn streams_and_trees_of_one_name_are_chains_of_their_own() {
    let bench = Bench::new();
    bench.write("a", "tree");
    bench.backup();
    back_up(&bench, "printf stream").unwrap();
    assert_eq!(read_back(&bench).unwrap().1, b"stream");
    // The tree's chain goes on as if there were no stream between.
    bench.write("b", "more");
    assert_eq!(bench.backup().id.level.0, 1);
    assert_eq!(bench.restore(None).unwrap().len(), 2);
    let error = read_back(&bench).unwrap_err();
    assert!(error.to_string().contains("failed"), "{error}");
    let rows = bench.run(|context| list(&bench.store(), &ListOptions::default(), &bench.keyring(), context));
    assert_eq!(rows.unwrap().backups.len(), 3);
}

#[test]
fn backups_of_both_kinds_are_dated_in_the_order_in_which_they_were_made() {
    let bench = Bench::new();
    bench.write("a", "tree");
    let mut last = 0;
    for is_stream in [false, true, true, false, true] {
        // The clock stands still.
        bench
            .clock
            .store(2_000_000_000, std::sync::atomic::Ordering::Relaxed);
        let made = match is_stream {
            true => back_up(&bench, "printf stream").unwrap(),
            false => bench.backup(),
        };
        assert!(made.id.time.0 > last);
        last = made.id.time.0;
    }
}

#[test]
fn backups_of_both_kinds_are_no_rollback_for_one_another() {
    let mut bench = Bench::new();
    bench.options.seen = Some(SeenBackups::new(bench.directory.path().join("seen")));
    bench.write("a", "tree");
    for is_stream in [false, true, true, false, false, true] {
        match is_stream {
            true => drop(back_up(&bench, "printf stream").unwrap()),
            false => drop(bench.backup()),
        }
        assert_eq!(bench.warnings.lock().unwrap().len(), 0, "{:?}", bench.warnings);
    }
}

#[test]
fn a_stream_whose_command_fails_is_no_backup() {
    let bench = Bench::new();
    for line in ["printf abc; exit 3", "exit 3", "true", "printf abc; kill -9 $$"] {
        back_up(&bench, line).unwrap_err();
        assert!(bench.store.keys().is_empty(), "{line}");
    }
}

#[test]
fn the_original_s_form_has_no_streams() {
    let mut bench = Bench::new();
    bench.options.compat = true;
    let error = back_up(&bench, "printf abc").unwrap_err();
    assert_eq!(error.to_string(), "the original can't read streams");
    assert!(bench.store.keys().is_empty());
}

#[test]
fn a_stream_s_name_is_one_file_s() {
    let bench = Bench::new();
    for name in ["", ".", "..", "a/b", "a\nb", &"x".repeat(256)] {
        let made = StreamMode::new(name, StreamFeed::Stdin, Vec::new(), &bench.cancel);
        assert!(made.is_err(), "{name:?}");
    }
}

#[test]
fn streams_are_copied_like_other_backups() {
    let bench = Bench::new();
    for text in ["one", "two", "three"] {
        back_up(&bench, &format!("printf {text}")).unwrap();
    }
    let copy_to = freezer_pipeline::testing::MemoryStore::new();
    let to: std::sync::Arc<dyn freezer_pipeline::store::Store> = std::sync::Arc::new(copy_to.clone());
    let options = copy_options(CopyWhich::All);
    let copied = bench
        .run(|context| copy((&bench.store(), &to), &options, context))
        .unwrap();
    assert_eq!(copied.levels.len(), 3);
    assert!(copied.levels.iter().all(|level| level.compared));
    assert_eq!(copy_to.keys(), bench.store.keys());
}

/// A mode that takes a stream back.
struct Taking {
    bytes: std::sync::Mutex<Vec<u8>>,
    /// After so many bytes it has enough.
    most: u64,
}

struct Prepared<'t>(&'t Taking);

impl RestoreMode for &'static Taking {
    fn prepare(
        &self,
        target: Option<std::path::PathBuf>,
        note: String,
    ) -> Result<Box<dyn PreparedRestore>, freezer_plugin::PluginError> {
        assert_eq!((target, note.as_str()), (None, ""));
        Ok(Box::new(Prepared(self)))
    }
}

impl PreparedRestore for Prepared<'static> {
    fn destination(
        &mut self,
        source: &str,
    ) -> Result<freezer_plugin::Destination, freezer_plugin::PluginError> {
        assert_eq!(source, "db.sql");
        Ok(freezer_plugin::Destination::Receive)
    }

    fn receive(
        &mut self,
        _source: &str,
        content: Box<dyn Read + Send>,
    ) -> Result<(), freezer_plugin::PluginError> {
        let mut bytes = Vec::new();
        let read: io::Result<usize> = content.take(self.0.most).read_to_end(&mut bytes);
        *self.0.bytes.lock().unwrap() = bytes;
        read.map(drop)
            .map_err(|error| freezer_plugin::PluginError::Engine {
                why: error.to_string(),
            })
    }

    fn finish(
        self: Box<Self>,
        _outcome: &freezer_plugin::Outcome,
    ) -> Result<(), freezer_plugin::PluginError> {
        Ok(())
    }
}

fn give(bench: &Bench, taking: &'static Taking) -> Result<StreamOutcome, AgentError> {
    let opened = OpenBackup::open(&bench.store(), &bench.wanted(None), &bench.keyring())?;
    bench.run(|context| restore_stream(&opened, StreamGoal::Mode(&taking), context))
}

fn taking(most: u64) -> &'static Taking {
    Box::leak(Box::new(Taking {
        bytes: std::sync::Mutex::default(),
        most,
    }))
}

#[test]
fn a_mode_takes_a_stream_back_whole_or_fails() {
    let bench = Bench::new();
    back_up(&bench, "seq 1 300000").unwrap();
    let whole = read_back(&bench).unwrap().1;
    let all = taking(u64::MAX);
    assert_eq!(give(&bench, all).unwrap().bytes, whole.len() as u64);
    assert!(*all.bytes.lock().unwrap() == whole);
    // Who takes a part and calls that a success has not restored it.
    assert!(give(&bench, taking(10)).is_err());
    let key = bench
        .store
        .keys()
        .into_iter()
        .find(|key| key.ends_with("/data"))
        .unwrap();
    let mut harmed = bench.store.object(&key).unwrap().to_vec();
    let last = harmed.len() - 1;
    harmed[last] ^= 1;
    bench.store.set_object(&key, harmed);
    let error = give(&bench, taking(u64::MAX)).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Damaged, "{error:?}");
}

#[test]
fn a_command_that_takes_a_stream_decides_whether_it_is_restored() {
    let bench = Bench::new();
    back_up(&bench, "seq 1 300000").unwrap();
    let opened = OpenBackup::open(&bench.store(), &bench.wanted(None), &bench.keyring()).unwrap();
    let feed = |line: &str| {
        let line = OsString::from(line);
        let command = SinkCommand {
            line: &line,
            hidden: &[],
            is_told_apart: true,
        };
        bench.run(|context| restore_stream(&opened, StreamGoal::Command(command), context))
    };
    assert!(feed("test \"$(wc -l)\" -eq 300000").is_ok());
    for line in ["cat >/dev/null; exit 3", "head -c 5 >/dev/null", "exit 0"] {
        assert!(
            matches!(feed(line), Err(AgentError::SinkCommand { .. })),
            "{line}"
        );
    }
}
