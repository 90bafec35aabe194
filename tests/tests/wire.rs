//! Connections between a storage plugin and its server break at every position: the run succeeds, since what failed is
//! tried again, or it fails and leaves nothing that looks like a backup.
//!
//! How many positions are tried is a matter of time: `FREEZER_SWEEP_POSITIONS` says how many of each fault, 3 without it.

use std::sync::Arc;
use std::time::Duration;

use freezer_agent::{AgentError, ExitClass};
use freezer_format::name::Timestamp;
use freezer_pipeline::store::Store;
use freezer_tests::proxy::{Break, Direction, Proxy, Rule};
use freezer_tests::{Listing, Random, Recipes, StorageServer, open_storage};

/// Positions of each fault that are tried.
#[expect(
    clippy::disallowed_methods,
    reason = "the one variable by which a longer sweep is asked for"
)]
fn positions() -> u64 {
    let asked = std::env::var("FREEZER_SWEEP_POSITIONS").ok();
    asked.map_or(3, |text| {
        text.parse().expect("FREEZER_SWEEP_POSITIONS is a number")
    })
}

/// One backup of each container: an earlier level 0, then the level that is disturbed.
struct Wire {
    server: StorageServer,
    recipes: Recipes,
    containers: u64,
}

/// What an undisturbed run makes.
struct Traffic {
    up: u64,
    down: u64,
    requests: u64,
    /// How many connections came.
    connections: u64,
    /// How often a rule broke something.
    hits: u64,
    /// Why the run failed, if it did.
    failure: Option<String>,
}

impl Wire {
    fn new(server: StorageServer) -> Self {
        let recipes = Recipes::new(Some("password of the sweep"));
        Self {
            server,
            recipes,
            containers: 0,
        }
    }

    /// A fresh container with an earlier backup in it: the storage, that backup's time, and its tree.
    fn earlier(&mut self) -> (Arc<dyn Store>, String, (Timestamp, Listing)) {
        self.containers += 1;
        let name = format!("wire{}", self.containers);
        self.server.connect_by(None);
        let store = open_storage(
            &self.recipes.host,
            &self.server.url(&name),
            &self.server.settings(),
        );
        self.recipes.write("kept", b"kept");
        self.recipes.write("changed", b"before");
        self.recipes.write("new", b"");
        let outcome = self.recipes.backup(&store).expect("the earlier backup");
        let tree = self.recipes.source();
        self.recipes.write("changed", b"after");
        self.recipes.write("new", &Random::new(2).bytes(150_000));
        (store, name, (outcome.id.time, tree))
    }

    /// Runs a backup through a proxy with these rules and looks at what came of it; answers how much went through.
    fn disturb(&mut self, rules: Vec<Rule>) -> Traffic {
        let (store, name, (time, tree)) = self.earlier();
        let proxy = Proxy::start(self.server.address(), rules.clone()).expect("a proxy");
        self.server.connect_by(Some(proxy.address()));
        let through = open_storage(
            &self.recipes.host,
            &self.server.url(&name),
            &self.server.settings(),
        );
        let result = self.recipes.backup(&through);
        let case = format!(
            "{rules:?}, hit {} times: {:?}",
            proxy.hits(),
            result.as_ref().map(|made| made.id)
        );
        let found = self.recipes.restore(&store, Some(time));
        assert!(
            found.as_ref().is_ok_and(|found| *found == tree),
            "{case}: the earlier backup is harmed: {found:?}"
        );
        let listed = self.recipes.list(&store).expect("a listing").len();
        match &result {
            Ok(_) => assert_eq!(listed, 2, "{case}: success without a backup"),
            Err(error) => assert!(
                listed == 1 || matches!(error, AgentError::CommitUnknown { .. }),
                "{case}: a failure left a backup and didn't say so"
            ),
        }
        if !rules.iter().any(may_end_a_run) {
            assert!(result.is_ok(), "{case}: one fault must not end a run: {result:?}");
        }
        if listed == 2 {
            let found = self.recipes.restore(&store, None).expect("the disturbed backup");
            assert_eq!(found, self.recipes.source(), "{case}: it isn't whole");
        }
        let next = self.recipes.backup(&store);
        assert!(next.is_ok(), "{case}: the next run fails: {next:?}");
        let found = self.recipes.restore(&store, None).expect("the next backup");
        assert_eq!(
            found,
            self.recipes.source(),
            "{case}: the next backup isn't whole"
        );
        let report = self.recipes.check(&store, true).expect("a check");
        assert_eq!(
            report.exit_class(),
            ExitClass::Ok,
            "{case}: {:?}",
            report.problems
        );
        Traffic {
            up: proxy.bytes(Direction::Up),
            down: proxy.bytes(Direction::Down),
            requests: proxy.requests(),
            connections: proxy.connections(),
            hits: proxy.hits(),
            failure: result.err().map(|error| chain(&error)),
        }
    }

    /// Breaks the first connections after so many bytes, spread over what an undisturbed run makes, beside other rules.
    fn sweep_bytes(&mut self, events: &[Break], beside: &[Rule]) {
        let whole = self.disturb(beside.to_vec());
        assert!(
            whole.up > 1000 && whole.down > 1000,
            "hardly anything went through the proxy"
        );
        let (count, mut hits) = (positions(), 0);
        for (direction, bytes) in [(Direction::Up, whole.up), (Direction::Down, whole.down)] {
            for event in events {
                for position in 0..count {
                    let rule = Rule::AtByte {
                        connection: Some(position % 2),
                        direction,
                        after: bytes * (2 * position + 1) / (4 * count),
                        event: *event,
                    };
                    let broken = self.disturb([beside, &[rule]].concat());
                    hits += broken.hits;
                }
            }
        }
        assert!(hits > count, "only {hits} faults hit anything");
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

/// A rule that hits no request makes the proxy count them.
const COUNTING: Rule = Rule::SwallowAnswer { request: u64::MAX };

mod needs_swift {
    use super::*;

    #[test]
    fn cut_connections_to_swift_harm_nothing() {
        let events = [Break::Cut, Break::EarlyEnd];
        Wire::new(StorageServer::swift()).sweep_bytes(&events, &[Rule::WholeHeads]);
    }

    #[test]
    fn bits_that_flip_on_the_way_to_swift_are_noticed() {
        let mut wire = Wire::new(StorageServer::swift());
        let whole = wire.disturb(vec![Rule::WholeHeads]);
        let mut hits = 0;
        for position in 0..positions() {
            let flip = Rule::AtByte {
                connection: Some(position % 2),
                direction: Direction::Up,
                after: whole.up * (position + 1) / (positions() + 2),
                event: Break::FlipBit,
            };
            hits += wire.disturb(vec![Rule::WholeHeads, flip]).hits;
        }
        assert!(hits > 0, "no bit was flipped");
    }

    /// Each request of a run is answered 503 once, or goes through and its answer is lost.
    #[test]
    fn requests_to_swift_that_fail_or_lose_their_answers_are_made_again() {
        let mut wire = Wire::new(StorageServer::swift());
        let whole = wire.disturb(vec![COUNTING]);
        assert!(
            whole.requests > 10,
            "only {} requests were counted",
            whole.requests
        );
        let step = (whole.requests / (2 * positions())).max(1);
        let mut request = 0;
        while request < whole.requests {
            wire.disturb(vec![Rule::SwallowAnswer { request }]);
            wire.disturb(vec![Rule::Answer {
                request: request + step / 2,
                times: 1,
                status: if request % 2 == 0 { 503 } else { 429 },
                retry_after: Some(0),
            }]);
            request += step;
        }
    }

    /// Each of these comes once, somewhere in the run.
    #[test]
    fn answers_of_swift_that_ask_for_another_try_get_one() {
        let mut wire = Wire::new(StorageServer::swift());
        let whole = wire.disturb(vec![COUNTING]);
        for (number, status) in [408, 409, 422, 429, 498, 500, 502, 503, 504]
            .into_iter()
            .enumerate()
        {
            let request = whole.requests * (number as u64 + 1) / 11;
            let answered = wire.disturb(vec![Rule::Answer {
                request,
                times: 1,
                status,
                retry_after: None,
            }]);
            assert_eq!(answered.hits, 1, "{status}");
        }
    }

    #[test]
    fn a_full_swift_ends_the_run_and_is_named() {
        let mut wire = Wire::new(StorageServer::swift());
        let whole = wire.disturb(vec![COUNTING]);
        for part in 1..=positions() {
            let full = wire.disturb(vec![Rule::Answer {
                request: whole.requests * part / (positions() + 1),
                times: u64::MAX,
                status: 507,
                retry_after: None,
            }]);
            let told = full.failure.expect("a full storage fails the run");
            assert!(told.contains("no space is left"), "{told}");
        }
    }

    #[test]
    fn listings_of_swift_that_lag_behind_harm_nothing() {
        let mut wire = Wire::new(StorageServer::swift());
        for first in [1, 2, 4, u64::MAX] {
            let lagging = wire.disturb(vec![Rule::EmptyListings(first)]);
            assert!(lagging.hits > 0, "no listing was asked for");
        }
    }

    #[test]
    fn a_connection_to_swift_that_falls_silent_is_given_up_and_made_anew() {
        let mut wire = Wire::new(StorageServer::swift());
        let whole = wire.disturb(vec![Rule::WholeHeads]);
        // One connection alone: each silence is waited out for a minute.
        let stall = Rule::AtByte {
            connection: Some(0),
            direction: Direction::Up,
            after: whole.up / 20,
            event: Break::Stall,
        };
        let stalled = wire.disturb(vec![Rule::WholeHeads, stall]);
        assert!(stalled.hits > 0, "nothing fell silent");
    }

    #[test]
    fn connections_to_swift_that_are_refused_first_are_made_again() {
        Wire::new(StorageServer::swift()).disturb(vec![Rule::RefuseFirst(1)]);
    }

    #[test]
    fn a_slow_swift_is_waited_for() {
        let start = std::time::Instant::now();
        Wire::new(StorageServer::swift()).disturb(vec![Rule::Slow { rate: 100_000 }]);
        assert!(start.elapsed() > Duration::from_secs(1));
    }
}

mod needs_sshd {
    use super::*;

    #[test]
    fn cut_connections_to_sshd_harm_nothing() {
        Wire::new(StorageServer::ssh()).sweep_bytes(&[Break::Cut, Break::EarlyEnd, Break::FlipBit], &[]);
    }

    #[test]
    fn a_connection_to_sshd_that_falls_silent_is_given_up_and_made_anew() {
        let mut wire = Wire::new(StorageServer::ssh());
        let whole = wire.disturb(Vec::new());
        let stalled = wire.disturb(vec![Rule::AtByte {
            connection: Some(0),
            direction: Direction::Down,
            after: whole.down / 4,
            event: Break::Stall,
        }]);
        assert!(stalled.hits > 0, "nothing fell silent");
    }

    #[test]
    fn connections_to_sshd_that_are_refused_first_are_made_again() {
        Wire::new(StorageServer::ssh()).disturb(vec![Rule::RefuseFirst(1)]);
    }

    /// A server lets ten wait for their login at once and no more.
    #[test]
    fn no_more_connections_to_sshd_are_made_than_calls_may_be_under_way() {
        let mut wire = Wire::new(StorageServer::ssh());
        wire.recipes.options.segment_bytes = 8 << 10;
        let whole = wire.disturb(Vec::new());
        assert!(
            (1..=4).contains(&whole.connections),
            "{} connections",
            whole.connections
        );
    }

    #[test]
    fn an_idle_connection_to_sshd_says_now_and_then_that_it_is_there() {
        let mut wire = Wire::new(StorageServer::ssh());
        let (_, name, _) = wire.earlier();
        let proxy = Proxy::start(wire.server.address(), Vec::new()).expect("a proxy");
        wire.server.connect_by(Some(proxy.address()));
        let store = open_storage(
            &wire.recipes.host,
            &wire.server.url(&name),
            &wire.server.settings(),
        );
        store.list("", None).expect("a listing");
        let sent = proxy.bytes(Direction::Up);
        let limit = std::time::Instant::now() + Duration::from_secs(60);
        while proxy.bytes(Direction::Up) == sent {
            assert!(std::time::Instant::now() < limit, "nothing was said for a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(store);
    }
}
