//! Dumps and copies as streams of the mode: they come back, or they fail.

mod needs_postgres {
    use std::fs::File;
    use std::io::Read;

    use freezer_plugin::{Destination, ModeBackup, ModeSource, Outcome};
    use freezer_tests::{program, write};

    use crate::database::{Database, server_on};
    use crate::hosted::Hosted;

    /// The only source, which is a stream of that name.
    #[track_caller]
    fn stream(backup: &mut ModeBackup, wanted: &str) -> Box<dyn Read + Send> {
        match backup.next_source().expect("a source") {
            Some(ModeSource::Stream { name, content, .. }) if name == wanted => content,
            _ => panic!("no stream {wanted}"),
        }
    }

    #[test]
    fn a_dump_of_a_database_that_is_written_to_comes_back_whole_or_not_at_all() {
        let database = Database::own(&[]);
        database.fill();
        let hosted = Hosted::new(&database, database.sandbox.source());
        let writer = database.writer();
        let more = [("kind", "logical"), ("database", "shop")];
        let mut backup = hosted.backup(&database, &more);
        let mut dump = Vec::new();
        stream(&mut backup, "dump")
            .read_to_end(&mut dump)
            .expect("a whole dump");
        let note = backup.finish(&Outcome::Done).expect("a note");
        drop(writer);
        assert!(dump.starts_with(b"PGDMP") && !note.contains("secret"), "{note}");
        let restored = Database::own(&[]);
        let port = restored.server.value("PORT");
        let login = format!("host = 127.0.0.1\nport = {port}\nuser = postgres\npassword = secret\n");
        write(&restored.sandbox.path("login"), login.as_bytes());
        let mut restore = hosted.restore(&restored, &note, &[]);
        assert_eq!(
            restore.destination("dump").expect("a place"),
            Destination::Receive
        );
        let content = || Box::new(std::io::Cursor::new(dump.clone()));
        restore.receive("dump", content()).expect("received");
        database.assert_holds(&restored);
        let again = restore
            .receive("dump", content())
            .expect_err("it is there already")
            .to_string();
        assert!(
            again.contains("nothing was changed") && again.contains("already exists"),
            "{again}"
        );
        restore.finish(&Outcome::Done).expect("finished");
    }

    #[test]
    fn a_copy_of_a_server_that_is_written_to_makes_a_server_again() {
        let database = Database::own(&[]);
        database.fill();
        let hosted = Hosted::new(&database, database.sandbox.source());
        let writer = database.writer();
        let mut backup = hosted.backup(&database, &[("kind", "base")]);
        let tar = database.sandbox.path("base.tar");
        let mut file = File::create(&tar).expect("a file");
        std::io::copy(&mut stream(&mut backup, "base"), &mut file).expect("a whole copy");
        let note = backup.finish(&Outcome::Done).expect("a note");
        drop(writer);
        assert!(!note.contains("secret"), "{note}");
        let data = database.sandbox.path("restored");
        program("install")
            .args(["-d", "-m", "700"])
            .arg(&data)
            .run()
            .expect(0);
        let untar = program("tar").arg("-xf").arg(&tar).arg("-C").arg(&data);
        untar.run().expect(0);
        program("chown")
            .args(["--reference", database.server.value("DATADIR")])
            .arg(&data)
            .run()
            .expect(0);
        database.assert_holds(&server_on(&data, &[]));
    }

    #[test]
    fn a_stream_of_a_server_that_was_killed_fails() {
        for (kind, name) in [("logical", "dump"), ("base", "base")] {
            let database = Database::own(&[]);
            database.fill();
            // More than pipes and sockets hold, and what can't be compressed away.
            database.sql(
                "CREATE TABLE noise AS SELECT i, (SELECT string_agg(md5((i * j)::text || random()), '') \
                 FROM generate_series(1, 300) j) FROM generate_series(1, 4000) i",
            );
            let hosted = Hosted::new(&database, database.sandbox.source());
            let mut backup = hosted.backup(&database, &[("kind", kind), ("database", "shop")]);
            let mut content = stream(&mut backup, name);
            let mut some = [0; 50_000];
            content.read_exact(&mut some).expect("it has begun");
            database.server.kill("postgres");
            let error = content
                .read_to_end(&mut Vec::new())
                .expect_err("it broke off")
                .to_string();
            assert!(error.contains("failed: exit code 1"), "{error}");
            drop(content);
            drop(backup.finish(&Outcome::Cancelled));
        }
    }

    #[test]
    fn a_table_that_somebody_holds_is_waited_for_only_so_long() {
        let database = Database::own(&[]);
        database.fill();
        let holder = crate::database::client(&database.server)
            .args(["-c", "BEGIN; LOCK TABLE plain; SELECT pg_sleep(100)"])
            .start();
        database.await_answer(
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'",
            "1",
        );
        let hosted = Hosted::new(&database, database.sandbox.source());
        let more = [("kind", "logical"), ("database", "shop"), ("lock-timeout", "1")];
        let mut backup = hosted.backup(&database, &more);
        let mut content = stream(&mut backup, "dump");
        let error = content
            .read_to_end(&mut Vec::new())
            .expect_err("it is held")
            .to_string();
        assert!(error.contains("LOCK TABLE public.plain"), "{error}");
        drop(content);
        let failed = Outcome::Failed {
            kind: freezer_pipeline::store::ErrorKind::Other,
            message: error,
        };
        backup.finish(&failed).expect("a note");
        let told = hosted.warnings().concat();
        assert!(told.contains("lock-timeout"), "{told}");
        holder.signal(rustix::process::Signal::KILL);
        holder.wait();
    }
}
