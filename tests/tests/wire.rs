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
    /// How often a rule broke something.
    hits: u64,
}

impl Wire {
    fn new(server: StorageServer) -> Self {
        let recipes = Recipes::new(Some("pass phrase of the sweep"));
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
            hits: proxy.hits(),
        }
    }

    /// Breaks the first connection after so many bytes, spread over what an undisturbed run makes.
    fn sweep_bytes(&mut self, events: &[Break]) {
        let whole = self.disturb(Vec::new());
        assert!(
            whole.up > 1000 && whole.down > 1000,
            "hardly anything went through the proxy"
        );
        let (count, mut hits) = (positions(), 0);
        for (direction, bytes) in [(Direction::Up, whole.up), (Direction::Down, whole.down)] {
            for event in events {
                for position in 0..count {
                    let broken = self.disturb(vec![Rule::AtByte {
                        connection: Some(position % 2),
                        direction,
                        after: bytes * (2 * position + 1) / (4 * count),
                        event: *event,
                    }]);
                    hits += broken.hits;
                }
            }
        }
        assert!(hits > count, "only {hits} faults hit anything");
    }
}

/// What makes another request of one, which the server may then refuse for good: a flipped bit, or an end in the middle of
/// its head.
fn may_end_a_run(rule: &Rule) -> bool {
    matches!(
        rule,
        Rule::AtByte {
            event: Break::FlipBit,
            ..
        } | Rule::AtByte {
            event: Break::EarlyEnd,
            direction: Direction::Up,
            ..
        }
    )
}

/// A rule that hits no request makes the proxy count them.
const COUNTING: Rule = Rule::SwallowAnswer { request: u64::MAX };

mod needs_swift {
    use super::*;

    #[test]
    fn cut_connections_to_swift_harm_nothing() {
        Wire::new(StorageServer::swift()).sweep_bytes(&[Break::Cut, Break::EarlyEnd]);
    }

    #[test]
    fn bits_that_flip_on_the_way_to_swift_are_noticed() {
        let mut wire = Wire::new(StorageServer::swift());
        let whole = wire.disturb(Vec::new());
        for position in 0..positions() {
            // Near the end of the bytes that go up on a connection lie contents, not heads.
            wire.disturb(vec![Rule::AtByte {
                connection: Some(position % 2),
                direction: Direction::Up,
                after: whole.up * (position + 1) / (positions() + 2),
                event: Break::FlipBit,
            }]);
        }
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
        Wire::new(StorageServer::ssh()).sweep_bytes(&[Break::Cut, Break::EarlyEnd]);
    }

    #[test]
    fn connections_to_sshd_that_are_refused_first_are_made_again() {
        Wire::new(StorageServer::ssh()).disturb(vec![Rule::RefuseFirst(1)]);
    }
}
