//! Several storages: whatever one of them does, the others hold whole backups, and none holds half of one.

use std::sync::Arc;

use freezer_format::level::FullReason;
use freezer_pipeline::store::{ErrorKind, Store};
use freezer_pipeline::testing::{Fault, MemoryStore};
use rstest::rstest;

use super::support::*;
use crate::*;

/// A bench whose storages are all of these.
struct Several {
    bench: Bench,
    stores: Vec<MemoryStore>,
}

impl Several {
    fn new(count: usize) -> Self {
        Self {
            bench: Bench::encrypted(),
            stores: (0..count)
                .map(|number| MemoryStore::named(&format!("memory:{number}")))
                .collect(),
        }
    }

    fn back_up_to(&self, stores: &[&MemoryStore]) -> Result<BackupOutcome, AgentError> {
        let mode = Directory::new(self.bench.source());
        let storages = stores
            .iter()
            .map(|store| Storage::opened(Arc::new((*store).clone())));
        let storages = storages.collect();
        self.bench.run(|context| {
            backup(
                storages,
                &self.bench.options,
                &self.bench.keyring(),
                &mode,
                context,
            )
        })
    }

    fn back_up(&self) -> Result<BackupOutcome, AgentError> {
        self.back_up_to(&self.stores.iter().collect::<Vec<_>>())
    }

    /// What the storage holds, each state restored: no increment may stand without its parents.
    fn states(&self, store: &MemoryStore, case: &str) -> Vec<i64> {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let rows = self
            .bench
            .run(|context| list(&store, &ListOptions::default(), &keyring(None, false), context))
            .unwrap()
            .backups;
        for row in &rows {
            let (wanted, options) = (
                self.bench.wanted(Some(row.id.time)),
                restore_options(self.bench.target()),
            );
            let restored = self
                .bench
                .run(|context| restore_from(&store, (&wanted, &options), &self.bench.keyring(), context));
            assert!(
                restored.is_ok(),
                "{case}: {:?} of {}: {restored:?}",
                row.id,
                store.url()
            );
        }
        rows.iter().map(|row| row.id.time.0).collect()
    }

    fn newest(&self, store: &MemoryStore) -> std::collections::BTreeMap<String, String> {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let target = self.bench.target();
        let (wanted, options) = (self.bench.wanted(None), restore_options(target.clone()));
        self.bench
            .run(|context| restore_from(&store, (&wanted, &options), &self.bench.keyring(), context))
            .unwrap();
        tree(&target)
    }
}

#[test]
fn all_storages_get_the_same_objects_and_the_source_is_read_once() {
    let several = Several::new(3);
    several.bench.write("a", &"first".repeat(1000));
    several.back_up().unwrap();
    several.bench.write("b", "second");
    let outcome = several.back_up().unwrap();
    assert_eq!((outcome.id.level.0, outcome.storages.len()), (1, 3));
    assert_eq!(outcome.exit_class(), ExitClass::Ok);
    let first = several.stores[0].keys();
    for store in &several.stores {
        assert_eq!(store.keys(), first);
        for key in &first {
            assert_eq!(store.object(key), several.stores[0].object(key), "{key}");
        }
    }
}

#[rstest]
#[case::refused(false)]
#[case::answer_lost(true)]
fn every_call_of_one_of_two_storages_may_fail(#[case] applied: bool) {
    for call in 0.. {
        let several = Several::new(2);
        several.bench.write("a", "first");
        several.back_up().unwrap();
        several.bench.write("b", "second");
        let faulty = &several.stores[1];
        faulty.fail(Fault {
            operation: None,
            call,
            kind: ErrorKind::Unavailable,
            applied,
        });
        faulty.reset_requests();
        let outcome = several.back_up();
        let case = format!("call {call} applied {applied}: {outcome:?}");
        if faulty.requests().total() <= call {
            assert!(call > 10 && outcome.unwrap().failed.is_empty(), "{case}");
            return;
        }
        let outcome = outcome.unwrap();
        assert_eq!(
            several.newest(&several.stores[0]),
            several.bench.expected(),
            "{case}"
        );
        assert_eq!(several.states(&several.stores[0], &case).len(), 2, "{case}");
        let listed = several.states(faulty, &case).len();
        match outcome.failed.as_slice() {
            [] => assert_eq!(listed, 2, "{case}"),
            [failed] => {
                assert_eq!(failed.storage, "memory:1", "{case}");
                assert_eq!(outcome.exit_class(), ExitClass::Partial, "{case}");
                assert_eq!(outcome.storages, ["memory:0"], "{case}");
                // Only an unanswered commit may leave the backup there, and then it is whole, as was just seen.
                assert!(listed == 1 || failed.reason.contains("may or may not"), "{case}");
            }
            _ => panic!("{case}"),
        }
        assert_eq!(faulty.open_uploads(), 0, "{case}");
        let next = several.back_up().unwrap();
        assert!(next.failed.is_empty(), "{case}: {next:?}");
        for store in &several.stores {
            several.states(store, &case);
            assert_eq!(several.newest(store), several.bench.expected(), "{case}");
        }
    }
}

#[test]
fn with_abort_the_first_failure_ends_the_run_and_nothing_shows() {
    for call in 0.. {
        let mut several = Several::new(2);
        several.bench.options.on_failure = OnFailure::Abort;
        several.bench.write("a", "first");
        several.back_up().unwrap();
        several.stores[1].fail(Fault {
            operation: None,
            call,
            kind: ErrorKind::Denied,
            applied: false,
        });
        several.stores[1].reset_requests();
        let result = several.back_up();
        let case = format!("call {call}: {result:?}");
        if several.stores[1].requests().total() <= call {
            assert!(call > 10 && result.is_ok(), "{case}");
            return;
        }
        let states = several.states(&several.stores[0], &case).len();
        match result {
            // What is only estimated may fail.
            Ok(_) => assert_eq!(states, 2, "{case}"),
            Err(error) => {
                assert!(
                    error.to_string().contains("memory:1") || error.store_error().is_some(),
                    "{case}"
                );
                assert_eq!(states, 1, "{case}");
            }
        }
        assert_eq!(several.stores[0].open_uploads(), 0, "{case}");
    }
}

#[test]
fn a_storage_that_lacks_the_chain_makes_a_new_one_for_all() {
    let several = Several::new(2);
    several.bench.write("a", "first");
    several.back_up_to(&[&several.stores[0]]).unwrap();
    let outcome = several.back_up().unwrap();
    assert_eq!(outcome.id.level.0, 0);
    match outcome.full_reason {
        Some(FullReason::StorageLacksChain { storage, why }) => {
            assert_eq!(storage, "memory:1");
            assert!(why.contains("no level 0"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(several.back_up().unwrap().id.level.0, 1);
}

#[test]
fn a_copy_of_the_chain_lets_increments_go_on() {
    let several = Several::new(2);
    several.bench.write("a", "first");
    several.back_up_to(&[&several.stores[0]]).unwrap();
    several.bench.write("b", "second");
    several.back_up_to(&[&several.stores[0]]).unwrap();
    let stores: Vec<Arc<dyn Store>> = several
        .stores
        .iter()
        .map(|store| Arc::new(store.clone()) as Arc<dyn Store>)
        .collect();
    let options = copy_options(CopyWhich::Newest);
    let report = several
        .bench
        .run(|context| copy((&stores[0], &stores[1]), &options, context))
        .unwrap();
    assert_eq!(report.levels.len(), 2);
    assert_eq!(several.back_up().unwrap().id.level.0, 2);
    assert_eq!(several.newest(&several.stores[1]), several.bench.expected());
}

#[test]
fn an_unopened_storage_counts_as_failed() {
    let several = Several::new(1);
    several.bench.write("a", "first");
    let mode = Directory::new(several.bench.source());
    let storages = || {
        vec![
            Storage::unopened("far:".to_owned(), AgentError::Interrupted),
            Storage::opened(Arc::new(several.stores[0].clone())),
        ]
    };
    let run = |options: &BackupOptions, storages| {
        several
            .bench
            .run(|context| backup(storages, options, &several.bench.keyring(), &mode, context))
    };
    let stopped = run(&several.bench.options, storages()).unwrap_err();
    assert_eq!(
        stopped.exit_class(),
        ExitClass::Interrupted,
        "a stop is no failure"
    );
    let down = || {
        let mut storages = storages();
        let reason = "it is down".to_owned();
        let next = String::new();
        storages[0] = Storage::unopened("far:".to_owned(), AgentError::Unsupported { reason, next });
        storages
    };
    let outcome = run(&several.bench.options, down()).unwrap();
    assert_eq!(outcome.failed[0].storage, "far:");
    assert_eq!(outcome.exit_class(), ExitClass::Partial);
    let mut abort = several.bench.options.clone();
    abort.on_failure = OnFailure::Abort;
    assert!(run(&abort, down()).is_err());
}

#[test]
fn one_place_under_two_names_is_refused_and_unharmed() {
    let several = Several::new(1);
    several.bench.write("a", "first");
    several.back_up().unwrap();
    let before = several.stores[0].keys();
    let alias: Arc<dyn Store> = Arc::new(Alias(several.stores[0].clone()));
    let storages = vec![
        Storage::opened(Arc::new(several.stores[0].clone())),
        Storage::opened(alias),
    ];
    let mode = Directory::new(several.bench.source());
    let result = several.bench.run(|context| {
        backup(
            storages,
            &several.bench.options,
            &several.bench.keyring(),
            &mode,
            context,
        )
    });
    assert!(result.unwrap_err().to_string().contains("given twice"));
    assert_eq!(several.stores[0].keys(), before);
}

/// Random histories: whichever storages answer or fail, each one's every state restores.
#[test]
fn no_history_of_failures_leaves_an_increment_without_its_parents() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for history in 0..12 {
        let several = Several::new(3);
        for step in 0..6 {
            several
                .bench
                .write(&format!("file{}", draw(4)), &format!("{step}"));
            let taking_part = draw(7) + 1;
            let chosen: Vec<&MemoryStore> = several
                .stores
                .iter()
                .enumerate()
                .filter(|(number, _)| taking_part & (1 << number) != 0)
                .map(|(_, store)| store)
                .collect();
            if draw(2) == 0 {
                several.stores[draw(3) as usize].fail(Fault {
                    operation: None,
                    call: draw(45),
                    kind: ErrorKind::Unavailable,
                    applied: draw(2) == 0,
                });
            }
            let outcome = several.back_up_to(&chosen);
            // A fault that is still waiting must not hit the reading.
            several.stores.iter().for_each(MemoryStore::clear_faults);
            let case = format!("history {history} step {step} among {taking_part:b}: {outcome:?}");
            if let Ok(outcome) = &outcome {
                for store in chosen
                    .iter()
                    .filter(|store| outcome.storages.iter().any(|url| url == store.url()))
                {
                    assert_eq!(several.newest(store), several.bench.expected(), "{case}");
                }
            }
            for store in &several.stores {
                several.states(store, &case);
            }
        }
    }
}
