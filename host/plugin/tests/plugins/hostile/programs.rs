//! The whole host driven by random calls: whatever a guest calls in whatever order with whatever handles, the call ends, the host
//! stands, and all that the guest opened is closed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use freezer_pipeline::store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::untouched;
use crate::scene::Scene;

/// Programs that are known to go far, and how many of their calls go well; none where the guest dies of a handle that isn't its own.
const KNOWN: [(&str, Option<u64>); 8] = [
    // Makes a body, gives it back, reads it.
    ("0001001e011e02", None),
    // Opens the directory, makes a body, writes it, publishes it, lists.
    (
        "0501000001000800010000000000090001000000000206000000000000",
        Some(5),
    ),
    // Makes a body, starts cat with it, takes its output twice, waits, kills, gives it back.
    ("000a08140015001500160017001800", Some(6)),
    // Talks to the peer, receives, reads, and reads on when the connection is gone.
    ("0e0000000f001100001200010101ff001300000101ff00", Some(7)),
    // Invents handles.
    ("1e0001011e0002021e000303", None),
    // Opens again and again.
    ("050000050000050000050000050000050000050000050000", Some(8)),
    // Logs in to a machine and a database where there is none, and asks them all the same.
    ("240101200000000021000000002200000000250000260000270000", Some(1)),
    // Invents a machine.
    ("27ff00", None),
];

fn scene() -> Scene {
    Scene::granting(|temp, canary| {
        let root = temp.join("granted");
        fs::create_dir(&root).unwrap();
        symlink(canary.directory(), root.join("link")).unwrap();
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = peer.local_addr().unwrap();
        fs::write(temp.join("place"), place.to_string()).unwrap();
        thread::spawn(move || {
            for stream in peer.incoming().flatten() {
                thread::spawn(move || {
                    let mut stream = stream;
                    drop(std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
                });
            }
        });
        format!(
            "files = [{{ root = {root:?}, access = \"read-write\" }}]\ntcp = [\"{place}\"]\nhttp = [\"http://{place}\"]\n\
             ssh = [\"127.0.0.1:1\"]\nsql = [\"127.0.0.1:1\"]\nsecrets = [\"password\"]\nprocesses = [{{ program = \"/bin/cat\", arguments = \"-\" }}, {{ program = \"/bin/cat\" }}, \
             {{ program = \"/usr/bin/cat\" }}, {{ program = \"/bin/true\" }}]"
        )
    })
}

/// Runs one program; an error is the guest's end and names it. Answers how many calls went well, if the guest lives.
fn play(scene: &Scene, store: &Arc<dyn Store>, program: &str) -> Option<u64> {
    let temp = scene.temp.path();
    let place = fs::read_to_string(temp.join("place")).unwrap();
    let root = temp.join("granted").display().to_string();
    let key = format!("runs_a_program {root} {place} {program} 127.0.0.1:1");
    let went_well = match store.stat(&key) {
        Ok(entry) => Some(entry.unwrap().size),
        Err(error) => {
            assert!(error.message.contains("plugin hostile "), "{program}: {error}");
            None
        }
    };
    assert_eq!(scene.run.run.release_all(), [""; 0], "{program}");
    went_well
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The processes that this one has started and that aren't those of plugins.
fn children() -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let line = |child: &str| fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
    children
        .flat_map(|some| some.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|child| !line(child).contains("run-component"))
        .collect()
}

pub(super) fn runs_a_program() -> Scene {
    let scene = scene();
    let store = scene.store();
    for (program, well) in KNOWN {
        assert_eq!(play(&scene, &store, program), well, "{program}");
    }
    let before = open_files();
    let mut runner = TestRunner::new(Config {
        // A program takes as long as many of other tests' cases.
        cases: Config::default().cases / 3,
        failure_persistence: None,
        ..Config::default()
    });
    let programs = prop::collection::vec(any::<u8>(), 0..300);
    runner
        .run(&programs, |bytes| {
            let program: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            play(&scene, &store, &program);
            Ok(())
        })
        .unwrap();
    // Idle connections and the neighbour's files come and go; what leaks grows with the programs.
    assert!(
        open_files() < before + 40,
        "{before} files were open, now {}",
        open_files()
    );
    assert_eq!(children(), "", "commands live on");
    assert_eq!(store.stat("fine").unwrap().unwrap().size, 1);
    drop(store);
    let granted = scene.temp.path().join("granted");
    assert!(
        fs::read_dir(&granted).unwrap().count() > 1,
        "no program did anything"
    );
    assert!(Path::new(&granted).join("link").is_symlink() || scene.canary.touched().is_empty());
    untouched(scene)
}

/// Calls `program` with random ones behind what it begins with; `key` is how the guest is asked to run it. At first it runs alone, and
/// so many of its calls go well: what a session is needed for isn't tried without one.
fn play_on(
    scene: &Scene,
    store: &Arc<dyn Store>,
    (begins, wells): (&str, u64),
    programs: impl Strategy<Value = Vec<u8>>,
    key: impl Fn(&str) -> String,
) {
    let alone = store.stat(&key(begins)).unwrap().unwrap();
    assert_eq!(alone.size, wells, "there is no session");
    let mut runner = TestRunner::new(Config {
        cases: Config::default().cases / 16,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&programs, |bytes| {
            let program: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            match store.stat(&key(&format!("{begins}{program}"))) {
                Ok(entry) => assert!(entry.unwrap().size >= wells, "{program}: it never logged in"),
                Err(error) => assert!(error.message.contains("plugin hostile "), "{program}: {error}"),
            }
            assert_eq!(scene.run.run.release_all(), [""; 0], "{program}");
            Ok(())
        })
        .unwrap();
}

/// With a database that answers; `tests/run.sh` starts it.
mod needs_mariadb {
    use super::*;

    #[test]
    fn programs_that_talk_to_a_database_end_and_leave_no_session() {
        let database = crate::hostile::reach::database();
        let scene = Scene::granting(|_, _| format!("sql = [{database:?}]"));
        let store = scene.store();
        let call = (32..36_u8, any::<u8>(), 0..6_u8, any::<u8>(), any::<u8>());
        let programs = prop::collection::vec(call, 1..20).prop_map(|calls| {
            let bytes = calls
                .iter()
                .map(|(call, which, statement, base, shift)| [*call, *which, *statement, *base, *shift]);
            bytes.flatten().collect()
        });
        let key = |program: &str| format!("runs_a_program / 127.0.0.1:1 {program} {database}");
        play_on(&scene, &store, ("2000000000", 1), programs, key);
        drop(store);
        untouched(scene).survived();
    }
}

/// With a machine that takes the login; `tests/run.sh` starts it.
mod needs_sshd {
    use super::*;
    use crate::hostile::reach::Server;

    #[test]
    fn programs_that_work_on_another_machine_end_and_leave_no_session() {
        let server = Server::shared("SSHD");
        let place = format!("127.0.0.1:{}", server.fact("PORT"));
        let machine = format!("{}@{place}", server.fact("USER"));
        let known = server.folder.join("known_hosts").display().to_string();
        let scene = Scene::granting(|_, _| format!("ssh = [{place:?}]\nsecrets = [\"password\"]"));
        let settings = [("password", server.fact("SECRET")), ("cacert", known.as_str())];
        let store = scene.store_with(&scene.run.run, &settings);
        let before = open_files();
        // Bodies, directories, commands, machines: a call and what it is made of.
        let call = prop_oneof![0..14_u8, 20..25_u8, 36..40_u8];
        let call = (call, prop::collection::vec(any::<u8>(), 0..7));
        let programs = prop::collection::vec(call, 1..20).prop_map(|calls| {
            let bytes = calls
                .iter()
                .flat_map(|(call, more)| [&[*call], &more[..]].concat());
            bytes.collect()
        });
        let key = |program: &str| format!("runs_a_program / 127.0.0.1:1 {program} 127.0.0.1:1 {machine}");
        // A session and the user's directory there.
        play_on(&scene, &store, ("240300250000", 2), programs, key);
        assert!(
            open_files() < before + 40,
            "{before} files were open, now {}",
            open_files()
        );
        drop(store);
        untouched(scene).survived();
    }
}
