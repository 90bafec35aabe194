//! Every call that a small backup, a removal of old backups or a resumed backup makes to a real server fails once, in every
//! way: what was there restores, the disturbed one is absent or whole, and the next run succeeds.
//!
//! `sweep.rs` does the same over a directory and looks at more after each call; here one container serves a whole sweep, with a
//! backup name for each call, and what is left over is looked at once, at its end.

use std::sync::Arc;

use freezer_agent::{AgentError, ExitClass, Fate};
use freezer_format::name::Timestamp;
use freezer_pipeline::store::{ErrorKind, Store};
use freezer_tests::faults::{Fault, FaultyStore};
use freezer_tests::{Random, Recipes, StorageServer, open_storage};
use rstest::rstest;

/// A run has more calls than this, or the sweep swept nothing.
const LEAST_CALLS: u64 = 10;
/// No run of these small trees has more.
const MOST_CALLS: u64 = 120;

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

    /// Runs `disturbed` through a storage whose call fails; `None` when it made fewer calls.
    fn disturb<T>(
        &self,
        call: u64,
        fault: Fault,
        disturbed: impl FnOnce(&Arc<dyn Store>) -> Result<T, AgentError>,
    ) -> Option<(String, Result<T, AgentError>)> {
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&self.store), call, fault));
        let through: Arc<dyn Store> = Arc::<FaultyStore>::clone(&faulty);
        let result = disturbed(&through);
        faulty.settle();
        let hit = faulty
            .hit()
            .unwrap_or_else(|| format!("call {call}, not hit by {fault}"));
        if faulty.calls() <= call {
            assert!(result.is_ok(), "{hit}: nothing was disturbed: {:?}", result.err());
            return None;
        }
        Some((hit, result))
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

    /// Two looks name all that is left over and take away what is no backup for sure; nothing else is harmed.
    fn end(&self) {
        let looks = [(); 3].map(|()| self.recipes.leftovers(&self.store, true).expect("a look"));
        let left = |fate: Fate| looks[2].count(fate);
        assert_eq!(
            looks[2].leftovers.len(),
            left(Fate::Spared),
            "something stays that is no lost backup: {:?}",
            looks[2]
        );
        let report = self.recipes.check(&self.store, false).expect("a check");
        assert_eq!(report.exit_class(), ExitClass::Ok, "{:?}", report.problems);
    }

    /// For k = 0, 1, … until a run has fewer calls.
    fn sweep(&mut self, mut case: impl FnMut(&mut Self, u64) -> Option<()>) {
        let calls = (0..MOST_CALLS).find(|call| case(self, *call).is_none());
        let calls = calls.unwrap_or_else(|| panic!("a run has more than {MOST_CALLS} calls"));
        assert!(calls > LEAST_CALLS, "a run has only {calls} calls");
        self.end();
    }
}

fn backups(server: StorageServer, fault: Fault) {
    let mut sweep = Sweep::new(server);
    sweep.recipes.write("more", &Random::new(3).bytes(70_000));
    sweep.sweep(|sweep, call| {
        sweep.recipes.rename(&format!("case{call}"));
        let (case, result) = sweep.disturb(call, fault, |store| sweep.recipes.backup(store))?;
        sweep.assert_absent_or_whole(&case, fault, &result);
        let next = sweep.recipes.backup(&sweep.store);
        assert!(next.is_ok(), "{case}: the next run fails: {next:?}");
        sweep.assert_restores(&case);
        Some(())
    });
}

fn removals(server: StorageServer, fault: Fault) {
    let mut sweep = Sweep::new(server);
    sweep.recipes.options.policy.incremental = false;
    sweep.sweep(|sweep, call| {
        sweep.recipes.backup(&sweep.store).expect("another backup");
        let before = sweep.times("before");
        assert_eq!(before.len(), 2, "the removal before was completed");
        let (case, result) = sweep.disturb(call, fault, |store| sweep.recipes.prune(store))?;
        let listed = sweep.times(&case);
        assert!(
            listed.contains(&before[1]),
            "{case}: the newest is gone: {result:?}"
        );
        sweep.assert_restores(&case);
        // A removal that was begun leaves nothing that looks like a backup and isn't one.
        if listed.len() == 2 {
            let old = sweep.recipes.restore(&sweep.store, Some(before[0]));
            assert!(
                old.is_ok(),
                "{case}: a backup is shown that can't be restored: {old:?}"
            );
        }
        let next = sweep.recipes.prune(&sweep.store);
        assert!(next.is_ok(), "{case}: the next removal fails: {next:?}");
        assert_eq!(sweep.times(&case), [before[1]], "{case}: the old one stays");
        Some(())
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
        let (case, result) = sweep.disturb(call, fault, |store| sweep.recipes.backup(store))?;
        sweep.assert_absent_or_whole(&case, fault, &result);
        let next = sweep.recipes.backup(&sweep.store);
        let next = next.unwrap_or_else(|error| panic!("{case}: it can't be gone on with: {error}"));
        most = most.max(next.reused_bytes);
        sweep.assert_restores(&case);
        Some(())
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
            Fault::KilledBefore,
            Fault::KilledAfter
        )]
        fault: Fault,
    ) {
        removals(StorageServer::swift(), fault);
    }

    #[rstest]
    fn a_backup_that_is_killed_at_any_call_is_gone_on_with(
        #[values(Fault::KilledBefore, Fault::KilledAfter)] fault: Fault,
    ) {
        let most = resumed(StorageServer::swift(), 64 << 10, fault);
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
            Fault::KilledBefore,
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
            Fault::KilledBefore,
            Fault::KilledAfter
        )]
        fault: Fault,
    ) {
        removals(StorageServer::ssh(), fault);
    }

    #[rstest]
    fn a_backup_that_is_killed_at_any_call_is_gone_on_with(
        #[values(Fault::KilledBefore, Fault::KilledAfter)] fault: Fault,
    ) {
        let most = resumed(StorageServer::ssh(), 64 << 10, fault);
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
