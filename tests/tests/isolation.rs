//! Plugins in processes of their own: they do what they do in freezer's, and these processes can do nothing else, as seen
//! from outside. That every storage and mode keeps the contract there, too, is seen in `storages.rs` and `modes.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use freezer_tests::{Running, Sandbox, assert_same, make_odd_tree, process_status, write};
use rustix::process::{Pid, Signal, kill_process};

/// So slow that a run of some MiB takes until somebody ends it.
const SLOW: &[&str] = &[
    "--isolate=all",
    "--upload-limit",
    "20K",
    "--max-segment-size",
    "1M",
];

#[test]
fn what_is_written_apart_is_read_here_and_the_other_way_round() {
    let sandbox = Sandbox::on_disk();
    make_odd_tree(&sandbox.source(), 200);
    write(&sandbox.path("source/large"), &vec![7; 5 << 20]);
    sandbox.backup(&["--isolate=all", "--max-segment-size", "1M"]);
    write(&sandbox.path("source/more"), b"more");
    sandbox.backup(&[]);
    for (target, more) in [("here", &[][..]), ("apart", &["--isolate=all"][..])] {
        assert_same(&sandbox.source(), &sandbox.restore(target, more), &[]);
    }
    sandbox
        .verb("check", &["--read-data", "--isolate=all"])
        .run()
        .expect(0);
}

/// A slow backup of some MiB that don't compress.
fn slow_backup(sandbox: &Sandbox) -> Running {
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    };
    let content: Vec<u8> = (0..4 << 20).map(|_| noise()).collect();
    write(&sandbox.path("source/noise"), &content);
    sandbox.backup_command(SLOW).env("CANARY", "sings").start()
}

/// The processes of plugins that a running program has, as soon as one of them is confined.
fn workers(running: &mut Running) -> Vec<String> {
    let of = format!("/proc/{}/task", running.id());
    let mut found = Vec::new();
    assert!(running.until(|| {
        let threads = fs::read_dir(&of).into_iter().flatten().flatten();
        let children = threads.map(|thread| fs::read_to_string(thread.path().join("children")));
        found = children
            .flatten()
            .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        !found.is_empty()
            && found
                .iter()
                .all(|worker| process_status(worker, "Seccomp") == "2")
    }));
    found
}

/// What a process has open, by number.
fn open(process: &str) -> Vec<(String, String)> {
    let numbers = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
    let mut open: Vec<(String, String)> = numbers
        .flatten()
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            let kind = target.split(['[', ' ']).next().unwrap_or_default().to_owned();
            (entry.file_name().to_string_lossy().into_owned(), kind)
        })
        .collect();
    open.sort();
    open
}

#[test]
fn the_process_of_a_plugin_has_a_socket_its_code_and_no_rights() {
    let sandbox = Sandbox::new();
    let mut running = slow_backup(&sandbox);
    for worker in workers(&mut running) {
        let is = |key: &str, value: &str| assert_eq!(process_status(&worker, key), value, "{key}");
        is("Seccomp", "2");
        is("NoNewPrivs", "1");
        is("Threads", "1");
        is("NSpgid", &worker);
        for kind in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            is(kind, "0000000000000000");
        }
        let environment = fs::read(format!("/proc/{worker}/environ")).expect("its environment");
        assert!(
            environment.is_empty(),
            "{}",
            String::from_utf8_lossy(&environment)
        );
        let cwd = fs::read_link(format!("/proc/{worker}/cwd")).expect("its directory");
        assert_eq!(cwd, Path::new("/"));
        let pair = |number: &str, kind: &str| (number.to_owned(), kind.to_owned());
        assert_eq!(open(&worker), [pair("0", "socket:"), pair("3", "/memfd:plugin")]);
        let limits = fs::read_to_string(format!("/proc/{worker}/limits")).expect("its limits");
        for zero in ["Max file size", "Max core file size"] {
            let line = limits
                .lines()
                .find_map(|line| line.strip_prefix(zero))
                .expect(zero);
            assert_eq!(line.split_whitespace().next(), Some("0"), "{zero}");
        }
    }
    running.signal(Signal::KILL);
    running.wait();
}

/// Waits until a process is gone.
fn assert_ends(process: &str) {
    let begun = Instant::now();
    while !["", "Z (zombie)"].contains(&process_status(process, "State").as_str()) {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it goes on: {}",
            process_status(process, "State")
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_processes_of_plugins_end_with_a_killed_run() {
    let sandbox = Sandbox::new();
    let mut running = slow_backup(&sandbox);
    let workers = workers(&mut running);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    workers.iter().for_each(|worker| assert_ends(worker));
}

/// A terminal means all processes of a group, a service manager all of a service.
#[test]
fn a_run_that_is_interrupted_with_all_its_processes_ends_in_order() {
    let sandbox = Sandbox::new();
    let mut running = slow_backup(&sandbox);
    let begun = sandbox.store();
    assert!(running.until(|| fs::read_dir(&begun).is_ok_and(|mut entries| entries.next().is_some())));
    let workers = workers(&mut running);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        workers.iter().for_each(|worker| send(worker, signal));
    }
    running.signal(Signal::INT);
    running.wait().expect(130).no_crash().never_says("its process");
    workers.iter().for_each(|worker| assert_ends(worker));
    assert!(freezer_tests::backups(&sandbox.store(), "h_t").is_empty());
}

fn send(process: &str, signal: Signal) {
    let process = Pid::from_raw(process.parse().expect("a number")).expect("a process");
    kill_process(process, signal).expect("it is there");
}

#[test]
fn a_run_whose_plugin_is_killed_fails_and_names_it() {
    let sandbox = Sandbox::new();
    let mut running = slow_backup(&sandbox);
    // Until the storage is in the middle of a segment.
    let segments = sandbox.store();
    assert!(running.until(|| fs::read_dir(&segments).is_ok_and(|mut entries| entries.next().is_some())));
    for worker in workers(&mut running) {
        send(&worker, Signal::KILL);
    }
    running
        .wait()
        .expect(1)
        .no_crash()
        .says("plugin local crashed in")
        .says("its process ended (signal: 9 (SIGKILL))");
    assert!(freezer_tests::backups(&sandbox.store(), "h_t").is_empty());
}

#[test]
fn inspect_says_where_a_plugin_runs() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("freezer.toml");
    write(&config, b"[defaults]\nisolate = \"all\"\n");
    let config = config.display().to_string();
    for (more, isolated) in [
        (&[][..], false),
        (&["--isolate"], false),
        (&["--isolate=all"], true),
        (&["--config", &config], true),
        (&["--config", &config, "--isolate=none"], false),
    ] {
        let inspect = || sandbox.freezer(["plugin", "inspect", "local"]).args(more);
        let shown = inspect().run().expect(0).text();
        assert_eq!(
            shown.contains("process    its own"),
            isolated,
            "{more:?}: {shown}"
        );
        let document = inspect().arg("--json").run().expect(0).json();
        assert_eq!(document["result"]["isolated"], isolated, "{more:?}: {document}");
    }
}

#[test]
fn a_policy_wants_plugins_apart() {
    let sandbox = Sandbox::new();
    write(
        &sandbox.path("home/.config/freezer/policy.toml"),
        b"[every-plugin]\nforbid-shared-process = true\n",
    );
    let content: Vec<u8> = (0..1_u32 << 20).flat_map(|number| number.to_le_bytes()).collect();
    write(&sandbox.path("source/f"), &content);
    let mut running = sandbox
        .backup_command(&["--upload-limit", "20K", "--isolate=none"])
        .start();
    assert!(!workers(&mut running).is_empty());
    running.signal(Signal::KILL);
    running.wait();
}
