//! The kernel's own account of what a refused guest reached: no canary's name in any call, no connection, no program.

use std::fs;
use std::process::Command;

use crate::canary::{Canary, GIVEN};
use crate::scene::Scene;

/// Runs as a traced process, on the canary of the tracing one: nothing is granted, or all is.
fn reach_for_everything(granted: bool) {
    let scene = Scene::granting(|_, canary| {
        if !granted {
            return String::new();
        }
        let place = canary.place();
        format!(
            "files = [{{ root = {:?}, access = \"read-only\" }}]\nhttp = [\"http://{place}\"]\ntcp = [\"{place}\"]\nssh = [\"{place}\"]\n\
             sql = [\"{place}\"]\nprocesses = [{{ program = {:?}, arguments = \"--out x\" }}]",
            canary.directory(),
            canary.tool(),
        )
    });
    let place = scene.canary.place();
    let reached = [
        format!("asks_for_a_directory {}", scene.canary.directory().display()),
        format!("asks_for_an_origin http://{place}/"),
        format!("asks_for_a_place {place}"),
        format!("asks_for_a_machine {place}"),
        format!("asks_for_a_database {place}"),
        format!("asks_for_a_program {} --out x", scene.canary.tool().display()),
        "asks_for_an_origin http://169.254.169.254/".to_owned(),
        "asks_for_a_place 169.254.169.254:80".to_owned(),
        "reads_its_surroundings".to_owned(),
    ];
    for key in reached {
        // Whether it fails is shown elsewhere; a peer that says nothing is as good as one that refuses.
        drop(scene.store().stat(&key));
    }
    scene.survived();
}

/// What a traced process did that bears the canary's name, connects, or starts something; and how often it connected to the canary.
fn traced(canary: &Canary, test: &str) -> (Vec<String>, usize) {
    let temp = tempfile::tempdir().unwrap();
    let trace = temp.path().join("trace");
    let mut tracing = Command::new("/usr/bin/strace")
        .args([
            "-f",
            "-qq",
            "-s",
            "512",
            "-e",
            "trace=%file,%network,execve,execveat",
            "-o",
        ])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(GIVEN, canary.to_give())
        .spawn()
        .unwrap();
    let mut connections = 0;
    let status = loop {
        // Whoever connects is hung up on, so that nobody waits for an answer.
        connections += canary.connections();
        match tracing.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    assert!(status.success(), "{status}");
    let root = canary.directory().parent().unwrap().display().to_string();
    let trace = fs::read_to_string(&trace).unwrap();
    let mut lines = trace
        .lines()
        .filter(|line| line.contains(&root) || line.contains("connect(") || line.contains("execve"));
    // The traced program itself.
    assert!(lines.next().unwrap().contains("execve"));
    (lines.map(str::to_owned).collect(), connections)
}

mod needs_strace {
    use super::*;

    fn is_traced() -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "a traced test is told by its environment"
        )]
        std::env::var_os(GIVEN).is_some()
    }

    #[test]
    fn nothing_refused_reaches_the_kernel() {
        if is_traced() {
            return reach_for_everything(false);
        }
        let temp = tempfile::tempdir().unwrap();
        let canary = Canary::new(temp.path());
        let (seen, connections) = traced(
            &canary,
            "hostile::trace::needs_strace::nothing_refused_reaches_the_kernel",
        );
        assert_eq!(
            (seen.as_slice(), connections),
            ([""; 0].map(str::to_owned).as_slice(), 0)
        );
        canary.assert_untouched();
    }

    /// The trace above isn't empty because nothing can be seen.
    #[test]
    fn what_is_granted_does() {
        if is_traced() {
            return reach_for_everything(true);
        }
        let temp = tempfile::tempdir().unwrap();
        let canary = Canary::new(temp.path());
        let (seen, connections) = traced(&canary, "hostile::trace::needs_strace::what_is_granted_does");
        let port = format!("htons({})", canary.place().port());
        let sees = |what: &[&str]| {
            seen.iter()
                .any(|line| what.iter().all(|word| line.contains(word)))
        };
        assert!(connections >= 4, "{connections}");
        assert!(sees(&["open", "/canary\""]), "{seen:#?}");
        assert!(sees(&["connect(", &port]), "{seen:#?}");
        assert!(sees(&["execve(", "/tools/tool\""]), "{seen:#?}");
    }
}
