//! What is refused, by a real server or the peer: nothing is committed, nothing stays locked, and the message says what to do.

mod needs_mongo {
    use std::time::{Duration, Instant};

    use freezer_tests::backups;

    use crate::instance::Instance;

    #[track_caller]
    fn assert_nothing_stored(instance: &Instance) {
        assert!(backups(&instance.sandbox.store(), "h_t").is_empty());
    }

    #[test]
    fn a_real_server_lets_in_who_proves_the_password_and_nobody_else() {
        let real = Instance::shared();
        // The place of the refusal shows that the login went well: this server can't be locked.
        let told = real.backup(&[]).run().expect(1);
        drop(
            told.says("is not supported by SecantusDB")
                .says("kind=logical needs no lock")
                .says("doesn't tell where it keeps its data"),
        );
        real.login("freezer", "wrong-canary", "");
        for kind in ["kind=physical", "kind=logical"] {
            let told = real.backup(&["--mode-option", kind]).run().expect(1);
            drop(told.says("login of").says("(18)").never_says("wrong-canary"));
        }
        real.login("nobody", "secret", "");
        drop(real.backup(&[]).run().expect(1).says("(18)"));
        real.login("weak", "secret", "");
        drop(real.backup(&[]).run().expect(1).says("is needed").says("(13)"));
        real.login("freezer", "secret", "replica-set = other");
        let told = real.backup(&[]).run().expect(1);
        drop(told.says("belongs to the replica set \"secantus\", not to \"other\""));
        real.login("freezer", "secret", "");
        let told = real
            .backup(&["--mode-option", "member=secondary"])
            .run()
            .expect(1);
        drop(told.says("is a primary of secantus: ask one of its secondaries"));
        assert_nothing_stored(&real);
    }

    #[test]
    fn a_dump_needs_the_tool() {
        if std::path::Path::new("/usr/bin/mongodump").exists() {
            // Then there is nothing to say.
            return;
        }
        let real = Instance::shared();
        let told = real.backup(&["--mode-option", "kind=logical"]).run().expect(1);
        drop(told.says("there is no /usr/bin/mongodump: install the MongoDB Database Tools"));
        assert_nothing_stored(&real);
    }

    #[test]
    fn a_peer_in_another_role_says_whom_to_ask() {
        for (role, says) in [
            (
                "secondary",
                "is a secondary of rs0: ask other.example:27017, or set member=secondary",
            ),
            (
                "arbiter",
                "is an arbiter of rs0: it keeps no data; ask other.example:27017",
            ),
            ("router", "is a router: ask a member of each shard"),
        ] {
            let peer = Instance::own(&[("PEER", "yes"), ("ROLE", role)]);
            peer.login("", "", "");
            drop(peer.backup(&[]).run().expect(1).says(says));
            assert!(!peer.heard("fsync"));
            assert_nothing_stored(&peer);
        }
    }

    #[test]
    fn another_directory_than_that_of_the_peer_is_refused() {
        let peer = Instance::own(&[("PEER", "yes"), ("AUTH", "yes")]);
        let told = peer.backup_of("/srv", &[]).run().expect(1);
        drop(told.says("keeps its data in").says(peer.server.value("DATADIR")));
        assert!(!peer.heard("fsync"));
        // Without a snapshot and without leave to hold the lock for long, it is given back at once.
        let told = peer.backup(&[]).run().expect(1);
        drop(told.says("lock-during-backup=true"));
        assert!(peer.heard("fsync") && peer.locks() == "0");
        assert_nothing_stored(&peer);
    }

    #[test]
    fn a_peer_that_lies_is_not_believed() {
        for (sin, says) in [
            (
                "length",
                "the server answered nonsense: an answer of 2147483647 bytes",
            ),
            ("opcode", "this is no answer of a MongoDB server"),
            ("id", "this is no answer of a MongoDB server"),
            ("more", "an answer with the flags 0x2"),
            ("kind", "an answer without a document"),
            ("document", "the server answered nonsense"),
            ("flood", "this is no answer of a MongoDB server"),
            ("close", "the server closed the connection"),
        ] {
            let peer = Instance::own(&[("PEER", "yes"), ("SIN", sin)]);
            peer.login("", "", "");
            drop(peer.backup(&[]).run().no_crash().expect(1).says(says));
            assert_nothing_stored(&peer);
        }
    }

    #[test]
    fn a_peer_that_never_answers_is_given_up_and_a_lock_that_it_took_undone() {
        let peer = Instance::own(&[("PEER", "yes"), ("SIN", "fsync-stall")]);
        peer.login("", "", "");
        let started = Instant::now();
        let told = peer.backup(&["--mode-option", "lock-timeout=1"]).run().expect(1);
        // 30 s beyond the wait for the lock.
        drop(told.says("nothing came for 31 s"));
        assert!(started.elapsed() < Duration::from_secs(90));
        assert!(peer.heard("fsyncUnlock") && peer.locks() == "0");
        assert_nothing_stored(&peer);
    }

    #[test]
    fn a_peer_with_tls_must_be_trusted() {
        let peer = Instance::own(&[("PEER", "yes"), ("TLS", "yes"), ("ROLE", "secondary")]);
        // The refusal shows that the connection went well.
        let talks = "is a secondary of rs0";
        peer.login("", "", "");
        let with = |option: &str| peer.backup(&["--mode-option", option]).run().expect(1);
        drop(with("tls=true").says("certificate isn't trusted"));
        drop(with("tls-insecure=true").says(talks).says("isn't checked"));
        drop(with(&format!("tls-ca={}", peer.server.value("AUTHORITY"))).says(talks));
        peer.login("", "", &format!("tlsCAFile = {}", peer.server.value("AUTHORITY")));
        drop(with("host=localhost").says(talks));
        let named = ["--mode-option", "host=127.0.0.2"];
        drop(peer.backup(&named).run().expect(1).says("no connection"));
    }
}
