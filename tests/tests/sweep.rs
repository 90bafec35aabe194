//! Every call to a storage fails once, in every way: earlier backups restore, this one is absent or whole, what is left
//! over is named, and the next run succeeds.

use std::sync::Arc;

use freezer_agent::{AgentError, ExitClass, Fate};
use freezer_format::level::LevelPolicy;
use freezer_format::name::Timestamp;
use freezer_pipeline::store::{ErrorKind, Store};
use freezer_tests::faults::{Fault, FaultyStore};
use freezer_tests::{Listing, Random, Recipes, open_storage};
use rstest::rstest;

/// A run has more calls than this, or the sweep swept nothing.
const LEAST_CALLS: u64 = 12;
/// No run of these small trees has more.
const MOST_CALLS: u64 = 200;

/// The backup that is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbed {
    /// The first of its name.
    First,
    /// A level 0 beside an earlier chain.
    Full,
    /// A level 1.
    Increment,
}

/// A small tree, stored once unless the first backup is the one that is disturbed.
struct Case {
    recipes: Recipes,
    store: Arc<dyn Store>,
    earlier: Vec<(Timestamp, Listing)>,
}

impl Case {
    fn new(disturbed: Disturbed, passphrase: Option<&str>) -> Self {
        let mut recipes = Recipes::new(passphrase);
        let store = open_storage(&recipes.host, &recipes.sandbox.url(), &[]);
        recipes.write("kept", b"kept");
        recipes.write("folder/changed", b"before");
        let mut earlier = Vec::new();
        if disturbed != Disturbed::First {
            let outcome = recipes.backup(&store).expect("the earlier backup");
            earlier.push((outcome.id.time, recipes.source()));
        }
        recipes.write("folder/changed", b"after");
        recipes.write("new", &Random::new(3).bytes(150_000));
        if disturbed == Disturbed::Full {
            recipes.options.policy = LevelPolicy {
                incremental: false,
                ..LevelPolicy::default()
            };
        }
        Self {
            recipes,
            store,
            earlier,
        }
    }

    /// Disturbs one run and looks at what came of it; `None` when the run had no such call.
    fn disturb(&self, call: u64, fault: Fault) -> Option<()> {
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&self.store), call, fault));
        let through: Arc<dyn Store> = Arc::<FaultyStore>::clone(&faulty);
        let result = self.recipes.backup(&through);
        faulty.settle();
        if faulty.calls() <= call {
            assert!(result.is_ok(), "nothing was disturbed: {result:?}");
            return None;
        }
        // A fault that can't hit this call leaves nothing to look at.
        let Some(hit) = faulty.hit() else { return Some(()) };
        let killed = matches!(fault, Fault::KilledBefore | Fault::KilledAfter);
        let case = format!("{hit}: {:?}", result.as_ref().map(|outcome| outcome.id));
        for (time, wanted) in &self.earlier {
            let found = self.recipes.restore(&self.store, Some(*time));
            assert!(
                found.as_ref().is_ok_and(|found| found == wanted),
                "{case}: the earlier backup is harmed: {found:?}"
            );
        }
        let listed = self.recipes.list(&self.store).expect("a listing").len();
        match &result {
            Ok(_) => assert_eq!(listed, self.earlier.len() + 1, "{case}: success without a backup"),
            Err(_) if listed == self.earlier.len() => {}
            Err(error) => {
                let told = matches!(error, AgentError::CommitUnknown { .. });
                assert!(
                    told || killed,
                    "{case}: a failure left a backup and didn't say so"
                );
            }
        }
        if listed > self.earlier.len() {
            assert_eq!(listed, self.earlier.len() + 1, "{case}");
            let found = self
                .recipes
                .restore(&self.store, None)
                .map_err(|error| error.to_string());
            assert!(
                found.as_ref() == Ok(&self.recipes.source()),
                "{case}: what is listed isn't whole: {found:?}"
            );
        }
        let left = self.leftovers();
        self.assert_leftovers_are_named(&case, &left);
        let next = self.recipes.backup(&self.store);
        assert!(next.is_ok(), "{case}: the next run fails: {next:?}");
        self.assert_leftovers_go(&case, &left);
        let found = self.recipes.restore(&self.store, None).expect("the next backup");
        assert_eq!(
            found,
            self.recipes.source(),
            "{case}: the next backup isn't whole"
        );
        let report = self.recipes.check(&self.store, true).expect("a check");
        assert_eq!(
            report.exit_class(),
            ExitClass::Ok,
            "{case}: {:?}",
            report.problems
        );
        Some(())
    }

    /// The keys of objects that belong to no backup, and of unfinished uploads.
    fn leftovers(&self) -> Vec<String> {
        let rows = self.recipes.list(&self.store).expect("a listing");
        let places: Vec<String> = rows
            .iter()
            .map(|row| format!("/tar/h_t/{}/{}_{}/", row.id.zero, row.id.level, row.id.time))
            .collect();
        let is_left = |key: &String| {
            let of_level = key.starts_with("data/") || key.starts_with("metadata/");
            of_level && !places.iter().any(|place| key.contains(place))
        };
        let mut left: Vec<String> = all_objects(&*self.store).into_iter().filter(is_left).collect();
        let uploads = self.store.pending("", None).map(|page| page.uploads);
        left.extend(uploads.unwrap_or_default().into_iter().map(|upload| upload.key));
        left
    }

    /// Check names what is left over.
    fn assert_leftovers_are_named(&self, case: &str, left: &[String]) {
        let report = match self.recipes.check(&self.store, false) {
            Ok(report) => report,
            // A storage without any backup, and without anything else.
            Err(_) if left.is_empty() => return,
            Err(error) => panic!("{case}: check fails: {error}"),
        };
        for key in left {
            let named = report
                .problems
                .iter()
                .any(|problem| key.starts_with(&problem.object));
            assert!(
                named,
                "{case}: {key:?} is left over and check doesn't name it: {:?}",
                report.problems
            );
        }
    }

    /// The recipe for leftovers names them too, and takes them away; what has a manifest may be a backup.
    fn assert_leftovers_go(&self, case: &str, left: &[String]) {
        let report = self.recipes.leftovers(&self.store, false).expect("a first look");
        let spared = |key: &String| {
            let leftover = report
                .leftovers
                .iter()
                .find(|leftover| key.starts_with(&leftover.object));
            let leftover = leftover.unwrap_or_else(|| {
                panic!(
                    "{case}: {key:?} is left over and isn't named: {:?}",
                    report.leftovers
                )
            });
            leftover.fate == Fate::Spared
        };
        let mut spared: Vec<&String> = left.iter().filter(|key| spared(key)).collect();
        self.recipes.leftovers(&self.store, true).expect("a second look");
        let left = self.leftovers();
        let mut still: Vec<&String> = left.iter().collect();
        spared.sort();
        still.sort();
        assert_eq!(still, spared, "{case}: what is left after two looks");
    }
}

/// The keys of all objects.
fn all_objects(store: &dyn Store) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let mut cursor: Option<String> = None;
        while let Ok(page) = store.list(&folder, cursor.as_deref()) {
            for entry in page.entries {
                if entry.is_prefix {
                    folders.push(entry.key);
                } else {
                    found.push(entry.key);
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
    }
    found
}

/// For k = 0, 1, … until a run has fewer calls.
fn sweep(disturbed: Disturbed, passphrase: Option<&str>, fault: Fault) {
    for call in 0..MOST_CALLS {
        if Case::new(disturbed, passphrase).disturb(call, fault).is_none() {
            assert!(call > LEAST_CALLS, "a run has only {call} calls");
            return;
        }
    }
    panic!("a run has more than {MOST_CALLS} calls");
}

#[rstest]
fn a_call_that_fails_harms_nothing(
    #[values(Disturbed::First, Disturbed::Full, Disturbed::Increment)] disturbed: Disturbed,
    #[values(None, Some("password of the sweep"))] passphrase: Option<&str>,
    #[values(
        Fault::Refused(ErrorKind::Unavailable),
        Fault::Refused(ErrorKind::Other),
        Fault::AnswerLost,
        Fault::EffectAfterTheRun,
        Fault::Truncated,
        Fault::KilledBefore,
        Fault::KilledAfter
    )]
    fault: Fault,
) {
    sweep(disturbed, passphrase, fault);
}

/// The kinds that remain, where most calls are.
#[rstest]
fn a_call_that_fails_in_any_way_harms_nothing(
    #[values(
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Denied,
        ErrorKind::Invalid,
        ErrorKind::Busy,
        ErrorKind::Corrupt,
        ErrorKind::Unsupported,
        ErrorKind::Cancelled
    )]
    kind: ErrorKind,
) {
    sweep(
        Disturbed::Increment,
        Some("password of the sweep"),
        Fault::Refused(kind),
    );
}
