//! Servers that fail in the middle of a backup.

use freezer_tests::{Server, assert_same};
use rustix::process::Signal;

use crate::account::{Account, wait_until};

mod needs_swift {
    use super::*;

    /// Runs a backup that is held in its middle while something happens to the server.
    #[track_caller]
    fn with_interruption(
        account: &mut Account,
        happen: impl FnOnce(&mut Account),
    ) -> freezer_tests::Finished {
        let options = account.many_segments();
        let mut running = account.backup_command(options).start();
        assert!(account.stop_in_the_middle(&mut running), "it ended too soon");
        happen(account);
        running.signal(Signal::CONT);
        running.wait()
    }

    #[track_caller]
    fn assert_whole(account: &Account) {
        let target = account.restore("out", &[]);
        assert_same(&account.sandbox.source(), &target, &[]);
    }

    #[test]
    fn a_token_that_expires_in_the_middle_is_renewed() {
        let mut account = Account::at(Server::start("swift", &[("TOKEN_LIFE", "4")]));
        // tempauth gives a user the same token as long as it lives: ours is that of the run.
        let done = with_interruption(&mut account, |account| {
            account.renew();
            wait_until("the token has expired", || {
                account.ask("HEAD", "", &["-I"]).text().contains(" 401 ")
            });
        });
        account.renew();
        done.expect(0);
        assert_whole(&account);
    }

    #[test]
    fn all_tokens_forgotten_at_once_are_renewed() {
        let mut account = Account::at(Server::start("swift", &[]));
        let done = with_interruption(&mut account, |account| {
            account.server.kill("memcached");
            account.server.up();
        });
        account.renew();
        done.expect(0);
        assert_whole(&account);
    }

    #[test]
    fn an_object_server_that_comes_back_is_waited_for() {
        let mut account = Account::at(Server::start("swift", &[]));
        let options = account.many_segments();
        let mut running = account.backup_command(options).start();
        assert!(account.stop_in_the_middle(&mut running), "it ended too soon");
        account.server.kill("object");
        running.signal(Signal::CONT);
        account.server.up();
        running.wait().expect(0);
        assert_whole(&account);
    }

    #[test]
    fn an_object_server_that_stays_away_ends_the_backup_and_leaves_none() {
        let mut account = Account::at(Server::start("swift", &[]));
        let done = with_interruption(&mut account, |account| account.server.kill("object"));
        done.expect(1).says("503").no_crash();
        account.server.up();
        // Listings of a proxy that saw a node fail may be refused for a moment.
        wait_until("the server answers", || {
            account.ask("GET", "", &["-f"]).code == Some(0)
        });
        assert!(account.levels().is_empty());
    }

    #[test]
    fn nested_static_manifests_hold_more_segments_than_one_can() {
        let mut account = Account::at(Server::start("swift", &[("MANIFEST_SEGMENTS", "9")]));
        account.login.push(("swift-slo".to_owned(), "true".to_owned()));
        let sandbox = &account.sandbox;
        for number in 0..50_u8 {
            freezer_tests::write(&sandbox.source().join(number.to_string()), &[number; 50_000]);
        }
        account.backup(&["--compression", "none", "--max-segment-size", "64K"]);
        let objects = account.objects();
        assert!(
            objects.iter().filter(|name| name.contains(".parts/")).count() > 2,
            "{objects:?}"
        );
        assert_whole(&account);
        // Swift joins it as we do.
        let data = objects.iter().find(|name| name.ends_with("/data")).expect("data");
        let whole = account
            .ask("GET", &format!("/{}/{data}", account.container), &["-f"])
            .expect(0);
        freezer_tests::write(&sandbox.path("tar"), &whole.stdout);
        sandbox
            .scrubbed(std::path::Path::new("tar"))
            .args(["-tf", "tar"])
            .run()
            .expect(0);
    }

    #[test]
    fn an_object_too_large_for_the_cluster_is_named() {
        let account = Account::at(Server::start("swift", &[("MAX_FILE_SIZE", "1000000")]));
        account.many_segments();
        let done = account
            .backup_command(&["--compression", "none", "--max-segment-size", "4M"])
            .run();
        done.expect(1).says("413").says("too large");
        assert!(account.levels().is_empty());
    }
}

mod needs_mounts {
    use super::*;

    #[test]
    fn a_full_disk_ends_the_backup_and_leaves_earlier_ones_whole() {
        let account = Account::at(Server::start("swift", &[("SIZE", "24M")]));
        freezer_tests::write(&account.sandbox.source().join("first"), b"stays");
        account.backup(&[]);
        freezer_tests::copy_tree(&account.sandbox.source(), &account.sandbox.path("state"));
        let mut random = freezer_tests::Random::new(1);
        let noise: Vec<u8> = (0..5_000_000).flat_map(|_| random.word().to_le_bytes()).collect();
        freezer_tests::write(&account.sandbox.source().join("huge"), &noise);
        account
            .backup_command(&["--max-segment-size", "2M"])
            .run()
            .expect(1)
            .no_crash();
        assert_eq!(account.levels(), [0]);
        let target = account.restore("out", &[]);
        assert_same(&account.sandbox.path("state"), &target, &[]);
    }
}
