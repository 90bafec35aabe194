//! Every call that a small backup, a removal of old backups or a resumed backup makes to a real server fails once, in every
//! way: what was there restores, the disturbed one is absent or whole, and the next run succeeds.
//!
//! `sweep.rs` does the same over a directory and looks at more after each call; here one container serves a whole sweep, with a
//! backup name for each call, and what is left over is looked at once, at its end. A run that is killed before a call is one that
//! is killed after the call before it, so only the latter is tried.

use std::sync::Arc;

use freezer_agent::{AgentError, ExitClass};
use freezer_format::name::Timestamp;
use freezer_pipeline::store::{ErrorKind, Store};
use freezer_tests::faults::{Fault, FaultyStore, changes};
use freezer_tests::{Random, Recipes, StorageServer, open_storage};
use rstest::rstest;

/// A run has more calls than this, or the sweep swept nothing.
const LEAST_CALLS: u64 = 10;
/// No run of these small trees has more.
const MOST_CALLS: u64 = 120;

/// Why a run wasn't disturbed, and went well.
enum Undisturbed {
    /// It makes fewer calls.
    FewerCalls,
    /// The call can't fail in this way.
    OtherCall,
}

/// A run of which a call failed.
struct Hit<T> {
    /// Which call, and how.
    case: String,
    result: Result<T, AgentError>,
    /// All calls that it made.
    operations: Vec<&'static str>,
}

/// One container of a server, and what is stored there.
struct Sweep {
    recipes: Recipes,
    store: Arc<dyn Store>,
    /// The server must outlive the storage.
    _server: StorageServer,
}

impl Sweep {
    fn new(server: StorageServer) -> Self {
        let recipes = Recipes::new(Some("password of the sweep"));
        let store = open_storage(&recipes.host, &server.url("calls"), &server.settings());
        // A container in use: otherwise the first case would be another than all others.
        recipes.write("kept", b"kept");
        recipes.backup(&store).expect("a first backup");
        Self {
            recipes,
            store,
            _server: server,
        }
    }

    /// Runs `disturbed` through a storage whose call fails.
    fn disturb<T>(
        &self,
        call: u64,
        fault: Fault,
        disturbed: impl FnOnce(&Arc<dyn Store>) -> Result<T, AgentError>,
    ) -> Result<Hit<T>, Undisturbed> {
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&self.store), call, fault));
        let through: Arc<dyn Store> = Arc::<FaultyStore>::clone(&faulty);
        let result = disturbed(&through);
        faulty.settle();
        if let Some(case) = faulty.hit() {
            let operations = faulty.operations();
            return Ok(Hit {
                case,
                result,
                operations,
            });
        }
        assert!(
            result.is_ok(),
            "call {call}, not hit by {fault}, fails: {:?}",
            result.err()
        );
        Err(match faulty.calls() > call {
            true => Undisturbed::OtherCall,
            false => Undisturbed::FewerCalls,
        })
    }

    fn times(&self, case: &str) -> Vec<Timestamp> {
        let times = self.recipes.times(&self.store);
        times.unwrap_or_else(|error| panic!("{case}: no listing: {error}"))
    }

    #[track_caller]
    fn assert_restores(&self, case: &str) {
        let found = self.recipes.restore(&self.store, None);
        let found = found.unwrap_or_else(|error| panic!("{case}: can't be restored: {error}"));
        assert_eq!(found, self.recipes.source(), "{case}: it isn't whole");
    }

    /// What is listed after a disturbed backup is what its result says.
    fn assert_absent_or_whole<T>(&self, case: &str, fault: Fault, result: &Result<T, AgentError>) {
        let listed = self.times(case).len();
        let killed = matches!(fault, Fault::KilledBefore | Fault::KilledAfter);
        match result {
            Ok(_) => assert_eq!(listed, 1, "{case}: success without a backup"),
            Err(_) if listed == 0 => {}
            Err(error) => assert!(
                killed || matches!(error, AgentError::CommitUnknown { .. }),
                "{case}: a failure left a backup and didn't say so: {error}"
            ),
        }
        assert!(listed <= 1, "{case}: {listed} backups");
        if listed == 1 {
            self.assert_restores(case);
        }
    }

    /// Two looks take away all that is left over and nothing else: what stays is whole and belongs to a backup.
    fn end(&self) {
        for _ in 0..2 {
            self.recipes.leftovers(&self.store, true).expect("a look");
        }
        let report = self.recipes.check(&self.store, true).expect("a check");
        assert_eq!(report.exit_class(), ExitClass::Ok, "{:?}", report.problems);
    }

    /// For k = 0, 1, … until a run has fewer calls.
    fn sweep(&mut self, mut case: impl FnMut(&mut Self, u64) -> Result<(), Undisturbed>) {
        let mut hits = 0;
        let calls = (0..MOST_CALLS).find(|call| match case(self, *call) {
            Ok(()) => {
                hits += 1;
                false
            }
            Err(Undisturbed::OtherCall) => false,
            Err(Undisturbed::FewerCalls) => true,
        });
        let calls = calls.unwrap_or_else(|| panic!("a run has more than {MOST_CALLS} calls"));
        assert!(calls > LEAST_CALLS, "a run has only {calls} calls");
        assert!(hits > 0, "no call was disturbed");
        self.end();
    }
}

fn backups(server: StorageServer, fault: Fault) {
    let mut sweep = Sweep::new(server);
    sweep.recipes.write("more", &Random::new(3).bytes(70_000));
    sweep.sweep(|sweep, call| {
        sweep.recipes.rename(&format!("case{call}"));
        let Hit { case, result, .. } = sweep.disturb(call, fault, |store| sweep.recipes.backup(store))?;
        sweep.assert_absent_or_whole(&case, fault, &result);
        let next = sweep.recipes.backup(&sweep.store);
        assert!(next.is_ok(), "{case}: the next run fails: {next:?}");
        sweep.assert_restores(&case);
        Ok(())
    });
}

fn removals(server: StorageServer, fault: Fault) {
    let mut sweep = Sweep::new(server);
    sweep.recipes.options.policy.incremental = false;
    // Removals make the same calls each time, so those that can't fail in this way needn't be tried.
    sweep.recipes.backup(&sweep.store).expect("a second backup");
    let watched = Arc::new(FaultyStore::new(Arc::clone(&sweep.store), u64::MAX, fault));
    let through: Arc<dyn Store> = Arc::<FaultyStore>::clone(&watched);
    sweep.recipes.prune(&through).expect("an undisturbed removal");
    let operations = watched.operations();
    // What the position before left, where that is two backups.
    let mut left = None;
    sweep.sweep(|sweep, call| {
        let operation = usize::try_from(call).ok().and_then(|call| operations.get(call));
        if operation.is_some_and(|operation| !fault.hits(operation)) {
            return Err(Undisturbed::OtherCall);
        }
        let before = left.take().unwrap_or_else(|| {
            sweep.recipes.backup(&sweep.store).expect("another backup");
            sweep.times("before")
        });
        assert_eq!(before.len(), 2, "the removal before was completed");
        let hit = sweep.disturb(call, fault, |store| sweep.recipes.prune(store))?;
        let Hit {
            case,
            result,
            operations,
        } = hit;
        let listed = sweep.times(&case);
        // Where nothing was changed, the next position's removal is the next one of this position, too.
        if !operations.iter().any(|operation| changes(operation)) {
            assert_eq!(listed, before, "{case}");
            left = Some(before);
            return Ok(());
        }
        assert!(
            listed.contains(&before[1]),
            "{case}: the newest is gone: {result:?}"
        );
        // A removal that was begun leaves nothing that looks like a backup and isn't one.
        if listed.len() == 2 && operations.contains(&"remove") {
            let old = sweep.recipes.restore(&sweep.store, Some(before[0]));
            assert!(
                old.is_ok(),
                "{case}: a backup is shown that can't be restored: {old:?}"
            );
        }
        let next = sweep.recipes.prune(&sweep.store);
        assert!(next.is_ok(), "{case}: the next removal fails: {next:?}");
        assert_eq!(sweep.times(&case), [before[1]], "{case}: the old one stays");
        sweep.assert_restores(&case);
        Ok(())
    });
}

/// A run is killed at every call, and gone on with. Answers the most bytes that weren't sent again.
fn resumed(server: StorageServer, segment_bytes: u64, fault: Fault) -> u64 {
    let mut sweep = Sweep::new(server);
    sweep.recipes.options.segment_bytes = segment_bytes;
    sweep.recipes.resume(true);
    let mut random = Random::new(5);
    let words = segment_bytes * 2 / 8 + 1000;
    let content: Vec<u8> = (0..words).flat_map(|_| random.word().to_le_bytes()).collect();
    sweep.recipes.write("more", &content);
    let mut most = 0;
    sweep.sweep(|sweep, call| {
        sweep.recipes.rename(&format!("case{call}"));
        let Hit { case, result, .. } = sweep.disturb(call, fault, |store| sweep.recipes.backup(store))?;
        sweep.assert_absent_or_whole(&case, fault, &result);
        let next = sweep.recipes.backup(&sweep.store);
        let next = next.unwrap_or_else(|error| panic!("{case}: it can't be gone on with: {error}"));
        most = most.max(next.reused_bytes);
        sweep.assert_restores(&case);
        Ok(())
    });
    most
}

mod needs_swift {
    use super::*;

    #[rstest]
    fn any_call_of_a_backup_may_fail(
        #[values(
            Fault::Refused(ErrorKind::Unavailable),
            Fault::AnswerLost,
            Fault::EffectAfterTheRun,
            Fault::Truncated,
            Fault::KilledAfter
        )]
        fault: Fault,
    ) {
        backups(StorageServer::swift(), fault);
    }

    #[rstest]
    fn any_call_of_a_removal_may_fail(
        #[values(
            Fault::Refused(ErrorKind::Unavailable),
            Fault::Refused(ErrorKind::Denied),
            Fault::AnswerLost,
            Fault::EffectAfterTheRun,
            Fault::Truncated,
            Fault::KilledAfter
        )]
        fault: Fault,
    ) {
        removals(StorageServer::swift(), fault);
    }

    #[test]
    fn a_backup_that_is_killed_at_any_call_is_gone_on_with() {
        let most = resumed(StorageServer::swift(), 64 << 10, Fault::KilledAfter);
        assert!(most >= 128 << 10, "at best {most} bytes were used again");
    }

    /// A run that fails takes away what it wrote, or leaves it for the next: either way that one ends well.
    #[rstest]
    fn a_backup_that_failed_at_any_call_is_followed_by_a_whole_one(
        #[values(
            Fault::Refused(ErrorKind::Unavailable),
            Fault::AnswerLost,
            Fault::EffectAfterTheRun
        )]
        fault: Fault,
    ) {
        resumed(StorageServer::swift(), 64 << 10, fault);
    }
}

mod needs_sshd {
    use super::*;

    #[rstest]
    fn any_call_of_a_backup_may_fail(
        #[values(
            Fault::Refused(ErrorKind::Unavailable),
            Fault::AnswerLost,
            Fault::EffectAfterTheRun,
            Fault::Truncated,
            Fault::KilledAfter
        )]
        fault: Fault,
    ) {
        backups(StorageServer::ssh(), fault);
    }

    #[rstest]
    fn any_call_of_a_removal_may_fail(
        #[values(
            Fault::Refused(ErrorKind::Unavailable),
            Fault::Refused(ErrorKind::Denied),
            Fault::AnswerLost,
            Fault::EffectAfterTheRun,
            Fault::Truncated,
            Fault::KilledAfter
        )]
        fault: Fault,
    ) {
        removals(StorageServer::ssh(), fault);
    }

    #[test]
    fn a_backup_that_is_killed_at_any_call_is_gone_on_with() {
        let most = resumed(StorageServer::ssh(), 64 << 10, Fault::KilledAfter);
        assert!(most >= 128 << 10, "at best {most} bytes were used again");
    }

    /// A run that fails takes away what it wrote, or leaves it for the next: either way that one ends well.
    #[rstest]
    fn a_backup_that_failed_at_any_call_is_followed_by_a_whole_one(
        #[values(
            Fault::Refused(ErrorKind::Unavailable),
            Fault::AnswerLost,
            Fault::EffectAfterTheRun
        )]
        fault: Fault,
    ) {
        resumed(StorageServer::ssh(), 64 << 10, fault);
    }
}

mod needs_s3 {
    use super::*;

    /// The smallest segments that the protocol takes.
    #[test]
    fn a_backup_that_is_killed_at_any_call_is_gone_on_with() {
        let most = resumed(StorageServer::s3(), 5 << 20, Fault::KilledAfter);
        assert!(most >= 10 << 20, "at best {most} bytes were used again");
    }
}
