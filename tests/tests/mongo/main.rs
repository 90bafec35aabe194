//! Mode mongo against a real server as far as that goes, and against a scripted peer for what no server at hand can do: fsyncLock,
//! members of replica sets, lies. The names of those that have only the peer say so.

mod instance;
mod refusals;

use freezer_tests::{backups, write};
use instance::{Instance, client};
use rustix::process::Signal;

mod needs_mongo {
    use super::*;

    /// The files are those of a real server that nobody writes to meanwhile; the lock is the peer's.
    #[test]
    fn files_read_under_a_lock_of_the_peer_make_a_server_again() {
        let real = Instance::own(&[]);
        client(
            &real,
            "c.shop.a.insert_many({'_id': i, 'word': str(i) * 50} for i in range(5000))",
        );
        let data = real.server.value("DATADIR").to_owned();
        let peer = Instance::own(&[("PEER", "yes"), ("AUTH", "yes"), ("DATADIR", &data)]);
        let told = peer
            .backup(&["--mode-option", "lock-during-backup=true"])
            .run()
            .expect(0);
        drop(
            told.tells("(primary of rs0) was locked by fsyncLock for")
                .never_says("secret"),
        );
        assert_eq!(peer.locks(), "0");
        let restored = peer.sandbox.restore("data", &[]);
        drop(real);
        let restored = restored.to_str().expect("UTF-8");
        let again = Instance::own(&[("DATADIR", restored)]);
        let sum = client(
            &again,
            "print(c.shop.a.count_documents({}), c.shop.a.find_one({'_id': 4999})['word'][:8])",
        );
        assert_eq!(sum.trim(), "5000 49994999");
    }

    #[test]
    fn the_lock_of_the_peer_goes_with_an_interrupted_run_and_a_killed_one_is_undone_by_the_next() {
        let peer = Instance::own(&[("PEER", "yes"), ("AUTH", "sha1")]);
        peer.fill();
        let slow = ["--mode-option", "lock-during-backup=true", "--upload-limit", "1K"];
        let mut running = peer.backup(&slow).start();
        assert!(running.until(|| peer.locks() == "1"), "nothing was locked");
        running.signal(Signal::INT);
        assert_eq!(running.wait().code, Some(130));
        assert_eq!(peer.locks(), "0");

        let mut running = peer.backup(&slow).start();
        assert!(running.until(|| peer.locks() == "1"), "nothing was locked");
        running.signal(Signal::KILL);
        running.wait();
        assert_eq!(peer.locks(), "1");
        // Any run that may write: this one has nothing to do with the server, and the password is in the file alone.
        write(&peer.sandbox.source().join("a"), b"x");
        let other = peer.plain_backup().run().expect(0);
        drop(
            other
                .says("the lock of all writers of 127.0.0.1")
                .never_says("secret"),
        );
        assert_eq!(peer.locks(), "0");
        drop(
            peer.plain_backup()
                .run()
                .expect(0)
                .never_says("the lock of all writers"),
        );
        assert!(backups(&peer.sandbox.store(), "h_t").is_empty());
    }
}

mod needs_mounts {
    use super::*;

    mod needs_mongo {
        use super::*;
        use freezer_tests::Mounted;

        #[test]
        fn a_snapshot_under_a_short_lock_of_the_peer_comes_back() {
            let sandbox = freezer_tests::Sandbox::on_disk();
            let mounted = Mounted::btrfs(&sandbox, 200);
            let data = sandbox.source().join("db");
            std::fs::create_dir(&data).expect("a folder");
            for name in ["a.wt", "mongod.lock", "WiredTiger.turtle"] {
                write(&data.join(name), name.as_bytes());
            }
            let options = [
                ("PEER", "yes"),
                ("ROLE", "standalone"),
                ("DATADIR", data.to_str().expect("UTF-8")),
            ];
            let peer = Instance::on(freezer_tests::Server::start("mongo", &options), sandbox);
            let document = peer.backup(&["--json"]).run().expect(0).json();
            let note = &document["result"]["mode_note"];
            let summary = note["summary"].as_str().expect("a summary");
            assert!(
                summary.contains("(standalone) was locked by fsyncLock for "),
                "{summary}"
            );
            assert!(
                note["lock_milliseconds"].as_u64().expect("a time") < 60_000,
                "{note}"
            );
            assert_eq!(peer.locks(), "0");
            let out = peer.sandbox.restore("out", &[]);
            let mut names: Vec<_> = std::fs::read_dir(out)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort();
            assert_eq!(
                names,
                ["WiredTiger.turtle", "a.wt"],
                "what belongs to a running server stays out"
            );
            drop(peer);
            drop(mounted);
        }
    }
}
