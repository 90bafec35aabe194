//! Connections between a storage plugin and its server break at every position of a run: it succeeds, since what failed is
//! tried again, or it fails and leaves nothing that looks like a backup.
//!
//! A position is a request, or a turn of the conversation where it is encrypted. One container serves a whole sweep, with a
//! backup name for each position; positions are tried beside each other, so that those that wait do so at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use freezer_agent::{AgentError, ExitClass};
use freezer_pipeline::store::Store;
use freezer_tests::proxy::{AtTurn, Break, Direction, Point, Proxy, Rule};
use freezer_tests::{Random, Recipes, StorageServer, open_storage, open_storage_of};
use rstest::rstest;

/// A run has more positions than this, or the sweep swept nothing.
const LEAST_POSITIONS: u64 = 15;
/// No run of these small trees has more.
const MOST_POSITIONS: u64 = 400;
/// Where only bytes are counted, a position is one of these pieces.
const PIECE: u64 = 4096;
/// Positions that are tried at once where the machine is the limit, and where each waits for a minute.
const WORKING: u64 = 4;
const WAITING: u64 = 100;

/// What tries one position after another: recipes of its own, and a container that others may use as well.
struct Lane {
    server: StorageServer,
    recipes: Recipes,
    store: Arc<dyn Store>,
    /// The most calls at once on the way through the proxy.
    calls: Option<u32>,
}

/// What went through the proxy in a disturbed run.
#[derive(Debug, Default)]
struct Traffic {
    requests: u64,
    turns: u64,
    connections: u64,
    /// Bytes on the way to the server.
    up: u64,
    /// How often a rule broke something.
    hits: u64,
    /// Why the run failed, if it did.
    failure: Option<String>,
}

impl Traffic {
    fn of<T>(proxy: &Proxy, result: &Result<T, AgentError>) -> Self {
        Self {
            requests: proxy.requests(),
            turns: proxy.turns(),
            connections: proxy.connections(),
            up: proxy.bytes(Direction::Up),
            hits: proxy.hits(),
            failure: result.as_ref().err().map(chain),
        }
    }
}

impl Lane {
    /// With one call at a time, so that a position is the same request in each run.
    fn new(server: &StorageServer) -> Self {
        let recipes = Recipes::new(Some("password of the sweep"));
        Self {
            store: open_storage(&recipes.host, &server.url("wire"), &server.settings()),
            server: server.clone(),
            recipes,
            calls: Some(1),
        }
    }

    /// The container by way of a proxy.
    fn through(&self, proxy: &Proxy) -> Arc<dyn Store> {
        let mut server = self.server.clone();
        server.connect_by(Some(proxy.address()));
        let (url, settings) = (server.url("wire"), server.settings());
        open_storage_of(&self.recipes.host, &url, &settings, self.calls)
    }

    /// Stores a level 0 under a new name, makes a level 1 through a proxy with these rules, and looks at what came of it.
    fn disturb(&mut self, name: &str, rules: Vec<Rule>) -> Traffic {
        self.recipes.rename(name);
        self.recipes.write("kept", b"kept");
        self.recipes.write("changed", b"before");
        self.recipes.write("new", b"");
        self.recipes.backup(&self.store).expect("the earlier backup");
        let earlier = self.recipes.source();
        self.recipes.write("changed", b"after");
        self.recipes.write("new", &Random::new(3).bytes(70_000));

        let may_fail = rules.iter().any(may_end_a_run);
        let case = format!("{name}, {rules:?}");
        let proxy = Proxy::start(self.server.address(), rules).expect("a proxy");
        let result = self.recipes.backup(&self.through(&proxy));
        let traffic = Traffic::of(&proxy, &result);
        drop(proxy);
        if traffic.hits == 0 && result.is_ok() {
            return traffic;
        }
        let case = format!("{case}: {traffic:?}");
        assert!(may_fail || result.is_ok(), "{case}: one fault must not end a run");
        let listed = self.recipes.times(&self.store).expect("a listing").len();
        match &result {
            Ok(_) => assert_eq!(listed, 2, "{case}: success without a backup"),
            Err(error) => assert!(
                listed == 1 || matches!(error, AgentError::CommitUnknown { .. }),
                "{case}: a failure left a backup and didn't say so"
            ),
        }
        let wanted = match listed {
            1 => earlier,
            _ => self.recipes.source(),
        };
        let found = self.recipes.restore(&self.store, None);
        assert_eq!(found.expect(&case), wanted, "{case}: the newest isn't whole");
        self.recipes.write("changed", b"once more");
        let next = self.recipes.backup(&self.store);
        assert!(next.is_ok(), "{case}: the next run fails: {next:?}");
        traffic
    }

    /// Two looks take away all that is left over and nothing else: what stays is whole and belongs to a backup.
    fn end(&self) {
        for _ in 0..2 {
            self.recipes.leftovers(&self.store, true).expect("a look");
        }
        let report = self.recipes.check(&self.store, true).expect("a check");
        assert_eq!(report.exit_class(), ExitClass::Ok, "{:?}", report.problems);
    }
}

/// An error and its causes.
fn chain(error: &AgentError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// An answer that says that another try can't help.
fn may_end_a_run(rule: &Rule) -> bool {
    matches!(rule, Rule::Answer { status: 507, .. })
}

/// How positions are counted, and how many are tried at once.
#[derive(Clone, Copy)]
struct Positions {
    count: fn(&Traffic) -> u64,
    at_once: u64,
    /// The most calls at once in a run.
    calls: Option<u32>,
}

const REQUESTS: Positions = Positions {
    count: |traffic| traffic.requests,
    at_once: WORKING,
    calls: Some(1),
};
const TURNS: Positions = Positions {
    count: |traffic| traffic.turns,
    ..REQUESTS
};
/// With as many calls at once as the storage takes.
const SEVERAL_TURNS: Positions = Positions { calls: None, ..TURNS };
const WAITING_TURNS: Positions = Positions {
    at_once: WAITING,
    ..TURNS
};

/// Tries position 0, 1, 2, … on so many threads, each with what `start` makes, until a run has fewer; answers what went through
/// the proxy at each.
fn each_position<L>(
    lanes: u64,
    count: fn(&Traffic) -> u64,
    start: impl Fn() -> L + Sync,
    run: impl Fn(&mut L, u64) -> Traffic + Sync,
) -> Vec<Traffic> {
    let (next, beyond) = (AtomicU64::new(0), AtomicU64::new(MOST_POSITIONS));
    let work = || {
        let mut lane = start();
        let mut swept = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            if position >= beyond.load(Ordering::Relaxed) {
                return swept;
            }
            let traffic = run(&mut lane, position);
            match count(&traffic) > position {
                true => swept.push(traffic),
                false => drop(beyond.fetch_min(position, Ordering::Relaxed)),
            }
        }
    };
    let swept: Vec<Traffic> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(work)).collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().expect("a position failed, see above"))
            .collect()
    });
    let end = beyond.load(Ordering::Relaxed);
    assert!(
        end < MOST_POSITIONS,
        "a run has more than {MOST_POSITIONS} positions"
    );
    assert!(end > LEAST_POSITIONS, "a run has only {end} positions");
    // Most requests have no body, and some turns end before anybody speaks.
    let hits = swept.iter().filter(|traffic| traffic.hits > 0).count() as u64;
    assert!(hits * 8 > end, "only {hits} of {end} positions were broken");
    swept
}

/// Disturbs a backup at every position.
fn sweep(
    server: &StorageServer,
    positions: Positions,
    rules: impl Fn(u64) -> Vec<Rule> + Sync,
) -> Vec<Traffic> {
    // One run makes the container, and shows how many positions there are to be tried at once.
    let mut first = Lane::new(server);
    let undisturbed = first.disturb("undisturbed", rules(MOST_POSITIONS));
    let lanes = (positions.count)(&undisturbed).min(positions.at_once);
    let start = || Lane {
        calls: positions.calls,
        ..Lane::new(server)
    };
    let swept = each_position(lanes, positions.count, start, |lane, position| {
        lane.disturb(&format!("case{position}"), rules(position))
    });
    first.end();
    swept
}

/// A turn that breaks; further breaks meet the turns after it, which try again.
fn at_turn(turn: u64, breaks: &[(Point, Break)]) -> Vec<Rule> {
    let rule = |(&(point, event), turn)| Rule::AtTurn(AtTurn { turn, point, event });
    breaks.iter().zip(turn..).map(rule).collect()
}

/// Breaks every turn of a backup.
fn break_turns(server: &StorageServer, positions: Positions, breaks: &[(Point, Break)]) {
    sweep(server, positions, |turn| at_turn(turn, breaks));
}

/// Breaks every turn of a restore: it goes on, and what comes out is what was stored.
fn break_restores(server: &StorageServer, breaks: &[(Point, Break)]) {
    let lane = Lane::new(server);
    lane.recipes.write("kept", b"kept");
    lane.recipes.write("new", &Random::new(3).bytes(70_000));
    lane.recipes.backup(&lane.store).expect("a backup");
    let wanted = lane.recipes.source();
    each_position(
        WORKING,
        TURNS.count,
        || {},
        |(), turn| {
            let proxy = Proxy::start(lane.server.address(), at_turn(turn, breaks)).expect("a proxy");
            let found = lane.recipes.restore(&lane.through(&proxy), None);
            let traffic = Traffic::of(&proxy, &found);
            assert!(
                found.is_ok_and(|found| found == wanted),
                "{breaks:?} at turn {turn}: {traffic:?}"
            );
            traffic
        },
    );
}

mod needs_swift {
    use super::*;

    fn answer(request: u64, status: u16) -> Rule {
        Rule::Answer {
            request,
            times: 1,
            status,
            retry_after: request.is_multiple_of(2).then_some(0),
        }
    }

    /// Before the server hears of it, and once more when it has taken effect.
    #[test]
    fn any_request_to_swift_may_break_off_twice() {
        let breaks = [(Point::Request, Break::Cut), (Point::Answer, Break::Cut)];
        break_turns(&StorageServer::swift(), TURNS, &breaks);
    }

    #[rstest]
    #[case::before_the_server_hears_of_it(&[(Point::Request, Break::Cut)])]
    #[case::in_the_answer(&[(Point::InAnswer, Break::EarlyEnd)])]
    fn any_request_of_a_restore_from_swift_may_break_off(#[case] breaks: &[(Point, Break)]) {
        break_restores(&StorageServer::swift(), breaks);
    }

    #[test]
    fn any_answer_of_swift_may_end_early() {
        let breaks = [
            (Point::InAnswer, Break::EarlyEnd),
            (Point::Answer, Break::EarlyEnd),
        ];
        break_turns(&StorageServer::swift(), SEVERAL_TURNS, &breaks);
    }

    #[test]
    fn any_request_to_swift_that_falls_silent_is_given_up_and_made_anew() {
        let breaks = [(Point::Answer, Break::Stall)];
        break_turns(&StorageServer::swift(), WAITING_TURNS, &breaks);
    }

    /// After any 4 KiB of what goes up, be it in the middle of a segment.
    #[test]
    fn a_connection_to_swift_may_break_off_anywhere() {
        let positions = Positions {
            count: |traffic| traffic.up / PIECE,
            ..REQUESTS
        };
        sweep(&StorageServer::swift(), positions, |piece| {
            vec![Rule::AtByte {
                connection: None,
                direction: Direction::Up,
                after: piece * PIECE,
                event: Break::Cut,
            }]
        });
    }

    #[test]
    fn bits_that_flip_in_any_request_to_swift_are_noticed() {
        let flip = |request| vec![Rule::FlipBody { request }];
        sweep(&StorageServer::swift(), REQUESTS, flip);
    }

    #[test]
    fn any_request_to_swift_may_be_answered_by_an_error_and_by_another_one() {
        let answers = |request| vec![answer(request, 500), answer(request + 1, 503)];
        sweep(&StorageServer::swift(), REQUESTS, answers);
    }

    /// Each of these comes once, somewhere in the run.
    #[test]
    fn answers_of_swift_that_ask_for_another_try_get_one() {
        let mut lane = Lane::new(&StorageServer::swift());
        for (status, request) in [408, 409, 422, 429, 498, 502, 504]
            .into_iter()
            .zip((2..).step_by(3))
        {
            let answered = lane.disturb(&format!("case{status}"), vec![answer(request, status)]);
            assert_eq!(answered.hits, 1, "{status}");
        }
        lane.end();
    }

    #[test]
    fn a_swift_that_is_full_from_any_request_on_ends_the_run_and_is_named() {
        let full = |request| {
            vec![Rule::Answer {
                request,
                times: u64::MAX,
                status: 507,
                retry_after: None,
            }]
        };
        for full in sweep(&StorageServer::swift(), REQUESTS, full) {
            let told = full.failure.expect("a full storage fails the run");
            assert!(told.contains("no space is left"), "{told}");
        }
    }

    #[test]
    fn listings_of_swift_that_lag_behind_harm_nothing() {
        let mut lane = Lane::new(&StorageServer::swift());
        for first in [1, 2, 4, u64::MAX] {
            let lagging = lane.disturb(&format!("lag{first}"), vec![Rule::EmptyListings(first)]);
            assert!(lagging.hits > 0, "no listing was asked for");
        }
        lane.end();
    }

    #[test]
    fn connections_to_swift_that_are_refused_first_are_made_again() {
        let refused = Lane::new(&StorageServer::swift()).disturb("refused", vec![Rule::RefuseFirst(1)]);
        assert_eq!(refused.hits, 1);
    }

    /// Every request and every answer of the run comes late and piece by piece.
    #[test]
    fn a_slow_swift_is_waited_for() {
        let slow = Lane::new(&StorageServer::swift()).disturb("slow", vec![Rule::Slow { rate: 100_000 }]);
        assert!(slow.hits > slow.turns, "{slow:?}");
    }
}

mod needs_sshd {
    use super::*;

    #[rstest]
    #[case::before_the_server_hears_of_it(Point::Request, Break::Cut)]
    #[case::when_it_has_taken_effect(Point::Answer, Break::Cut)]
    #[case::by_a_flipped_bit(Point::InAnswer, Break::FlipBit)]
    fn any_turn_with_sshd_may_break(#[case] point: Point, #[case] event: Break) {
        break_turns(&StorageServer::ssh(), TURNS, &[(point, event)]);
    }

    #[rstest]
    #[case::before_the_server_hears_of_it(Point::Request, Break::Cut)]
    #[case::in_the_answer(Point::InAnswer, Break::EarlyEnd)]
    #[case::by_a_flipped_bit(Point::InAnswer, Break::FlipBit)]
    fn any_turn_of_a_restore_from_sshd_may_break(#[case] point: Point, #[case] event: Break) {
        break_restores(&StorageServer::ssh(), &[(point, event)]);
    }

    /// On as many connections as the storage makes.
    #[test]
    fn any_answer_of_sshd_may_end_early() {
        let breaks = [(Point::InAnswer, Break::EarlyEnd)];
        break_turns(&StorageServer::ssh(), SEVERAL_TURNS, &breaks);
    }

    #[test]
    fn any_turn_with_sshd_that_falls_silent_is_given_up_and_made_anew() {
        let breaks = [(Point::Answer, Break::Stall)];
        break_turns(&StorageServer::ssh(), WAITING_TURNS, &breaks);
    }

    #[test]
    fn connections_to_sshd_that_are_refused_first_are_made_again() {
        let refused = Lane::new(&StorageServer::ssh()).disturb("refused", vec![Rule::RefuseFirst(1)]);
        assert_eq!(refused.hits, 1);
    }

    #[test]
    fn a_slow_sshd_is_waited_for() {
        let slow = Lane::new(&StorageServer::ssh()).disturb("slow", vec![Rule::Slow { rate: 100_000 }]);
        assert!(slow.hits > slow.turns, "{slow:?}");
    }

    /// A server lets ten wait for their login at once and no more.
    #[test]
    fn no_more_connections_to_sshd_are_made_than_calls_may_be_under_way() {
        let mut lane = Lane::new(&StorageServer::ssh());
        lane.calls = None;
        lane.recipes.options.segment_bytes = 8 << 10;
        let whole = lane.disturb("several", Vec::new());
        assert!(
            (1..=4).contains(&whole.connections),
            "{} connections",
            whole.connections
        );
    }

    #[test]
    fn an_idle_connection_to_sshd_says_now_and_then_that_it_is_there() {
        let lane = Lane::new(&StorageServer::ssh());
        let proxy = Proxy::start(lane.server.address(), Vec::new()).expect("a proxy");
        let store = lane.through(&proxy);
        store.list("", None).ok();
        let sent = proxy.bytes(Direction::Up);
        assert!(sent > 0, "nothing went through the proxy");
        let limit = Instant::now() + Duration::from_secs(60);
        while proxy.bytes(Direction::Up) == sent {
            assert!(Instant::now() < limit, "nothing was said for a minute");
            thread::sleep(Duration::from_millis(50));
        }
        drop(store);
    }
}
