//! Hooks around a backup, `exec`, priorities and the kernel's memory, all through the real binary.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use freezer_tests::{Sandbox, assert_same, freezer_binary, write};
use rstest::rstest;
use rustix::process::{Pid, Signal};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a"), b"content of a");
    write(&sandbox.path("source/b/c"), &[7; 70_000]);
    sandbox
}

/// Hooks of all kinds that append `KIND STATUS` to a file, and keep what they were told.
fn all_kinds(sandbox: &Sandbox) -> Vec<String> {
    let place = sandbox.path("told");
    fs::create_dir(&place).expect("mkdir");
    let place = place.display();
    let hook = format!(
        "cat > {place}/$FREEZER_HOOK.json; env > {place}/$FREEZER_HOOK.env; echo $FREEZER_HOOK $FREEZER_STATUS >> {place}/order"
    );
    ["before", "on-success", "on-failure", "after"]
        .iter()
        .flat_map(|kind| [format!("--hook-{kind}"), hook.clone()])
        .collect()
}

fn texts(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn told(sandbox: &Sandbox, kind: &str) -> serde_json::Value {
    let text = fs::read(sandbox.path(format!("told/{kind}.json"))).expect("it was told");
    serde_json::from_slice(&text).expect("JSON")
}

fn order(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("told/order")).unwrap_or_default()
}

fn is_alive(path: &Path) -> bool {
    let text = fs::read_to_string(path).expect("a process wrote its number");
    let number: i32 = text.trim().parse().expect("a number");
    // Whoever adopted it may not have reaped it yet.
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    Pid::from_raw(number).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
        && !stat.contains(") Z ")
}

#[track_caller]
fn assert_dies(path: &Path) {
    let begun = Instant::now();
    while is_alive(path) {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "a process of the hook lives on"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hooks_run_in_order_and_are_told_the_result() {
    let sandbox = sandbox();
    let hooks = all_kinds(&sandbox);
    let done = sandbox.backup(&texts(&hooks));
    assert_eq!(order(&sandbox), "before\non-success ok\nafter ok\n", "{done}");
    let before = told(&sandbox, "before");
    assert_eq!(before["schema"], "freezer-hook/1");
    assert_eq!(before["backup"]["name"], "t");
    assert_eq!(before["backup"]["host"], "h");
    assert_eq!(before["backup"]["storages"], serde_json::json!([sandbox.url()]));
    assert!(before["status"].is_null() && before["result"].is_null());
    let after = told(&sandbox, "after");
    assert_eq!(
        (after["status"].as_str(), after["exit_code"].as_u64()),
        (Some("ok"), Some(0))
    );
    let result = &after["result"];
    assert_eq!(
        (result["level"].as_u64(), result["counts"]["files"].as_u64()),
        (Some(0), Some(2))
    );
    assert!(
        result["stored_bytes"].as_u64().is_some_and(|bytes| bytes > 0),
        "{after}"
    );
    assert!(after["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0));
    assert!(after["error"].is_null());
    let variables = fs::read_to_string(sandbox.path("told/after.env")).expect("variables");
    for wanted in [
        "FREEZER_BACKUP_NAME=t\n",
        "FREEZER_BACKUP_HOST=h\n",
        "FREEZER_EXIT_CODE=0\n",
        "FREEZER_BACKUP_LEVEL=0\n",
    ] {
        assert!(variables.contains(wanted), "{wanted} is not in\n{variables}");
    }
}

#[test]
fn a_failing_hook_before_stops_the_run_and_the_later_hooks_still_run() {
    let sandbox = sandbox();
    let hooks = all_kinds(&sandbox);
    let done = sandbox
        .backup_command(&texts(&hooks))
        .args([
            "--hook-before",
            "echo no room >&2; exit 3",
            "--hook-before",
            "touch never",
        ])
        .run()
        .expect(1)
        .says("the hook before the backup failed: it ended with exit status 3")
        .says("it said: no room")
        .says("nothing was read or stored");
    assert_eq!(
        order(&sandbox),
        "before\non-failure failed\nafter failed\n",
        "{done}"
    );
    assert!(!sandbox.path("never").exists());
    assert_eq!(fs::read_dir(sandbox.store()).expect("store").count(), 0, "{done}");
    let failure = told(&sandbox, "on-failure");
    assert_eq!(failure["exit_code"], 1);
    let message = failure["error"]["message"].as_str().expect("a message");
    assert!(message.contains("exit status 3"), "{failure}");
}

#[test]
fn a_failing_backup_runs_the_hook_on_failure_with_the_reason() {
    let sandbox = sandbox();
    let hooks = all_kinds(&sandbox);
    fs::remove_dir_all(sandbox.source()).expect("rm -r");
    let done = sandbox.backup_command(&texts(&hooks)).run().expect(1);
    assert_eq!(
        order(&sandbox),
        "before\non-failure failed\nafter failed\n",
        "{done}"
    );
    let failure = told(&sandbox, "on-failure");
    assert!(
        failure["error"]["causes"].to_string().contains("No such file"),
        "{failure}"
    );
    let variables = fs::read_to_string(sandbox.path("told/on-failure.env")).expect("variables");
    assert!(variables.contains("FREEZER_ERROR=error: "), "{variables}");
}

#[rstest]
#[case("--hook-on-success")]
#[case("--hook-after")]
fn a_failing_later_hook_leaves_the_backup_and_makes_the_result_partial(#[case] option: &str) {
    let sandbox = sandbox();
    sandbox
        .backup_command(&[option, "echo gone; exit 9"])
        .run()
        .expect(3)
        .says("it ended with exit status 9")
        .says("it said: gone");
    sandbox.restore("out", &[]);
    assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
}

#[test]
fn a_hook_whose_time_is_up_is_killed_with_all_that_it_started() {
    let sandbox = sandbox();
    let pid = sandbox.path("pid");
    let hook = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    sandbox
        .backup_command(&["--hook-before", &hook, "--hook-timeout", "1s"])
        .run()
        .expect(1)
        .says("it took longer than 1s and was killed")
        .says("--hook-timeout");
    assert_dies(&pid);
}

#[test]
fn an_interrupt_during_a_hook_stops_it_and_the_later_hooks_still_run() {
    let sandbox = sandbox();
    let hooks = all_kinds(&sandbox);
    let pid = sandbox.path("pid");
    let hook = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let mut running = sandbox
        .backup_command(&texts(&hooks))
        .args(["--hook-before", &hook])
        .start();
    let written = || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
    assert!(running.until(written), "the hook doesn't run");
    running.signal(Signal::INT);
    let done = running
        .wait()
        .expect(130)
        .says("interrupted in the hook before the backup");
    assert_eq!(
        order(&sandbox),
        "before\non-failure interrupted\nafter interrupted\n",
        "{done}"
    );
    assert_dies(&pid);
}

#[test]
fn what_hooks_say_goes_to_the_log_and_never_into_a_document() {
    let sandbox = sandbox();
    let hooks = [
        "--hook-before",
        "echo qu''iet words",
        "--hook-after",
        "echo loud >&2; exit 1",
    ];
    let done = sandbox
        .backup_command(&hooks)
        .arg("--json")
        .run()
        .expect(3)
        .never_says("quiet words");
    let document = done.json();
    assert_eq!(document["status"], "partial", "{done}");
    let hooks = document["result"]["hooks"].as_array().expect("hooks");
    assert_eq!(
        (hooks[0]["hook"].as_str(), hooks[0]["result"].as_str()),
        (Some("before"), Some("ok"))
    );
    assert_eq!(
        (hooks[1]["hook"].as_str(), hooks[1]["exit_status"].as_u64()),
        (Some("after"), Some(1))
    );
    assert_eq!(hooks[1]["last_lines"], serde_json::json!(["loud"]));
    let said = sandbox.backup(&["--hook-before", "echo qu''iet words", "-v"]);
    assert!(said.stderr.contains("info: hook before: quiet words"), "{said}");
}

#[test]
fn a_dry_run_says_what_it_would_run_and_runs_nothing() {
    let sandbox = sandbox();
    let mark = sandbox.path("mark");
    let hook = format!("touch {}", mark.display());
    sandbox
        .backup(&["--dry-run", "--hook-before", &hook])
        .says(&format!("would run before: {hook}"));
    assert!(!mark.exists());
}

#[test]
fn hooks_of_the_configuration_file_run_for_their_backup_and_the_nearer_ones_count() {
    let sandbox = sandbox();
    let line = |name: &str| format!("echo {name} >> {}", sandbox.path("ran").display());
    let text = format!(
        "[defaults]\nstorage = {:?}\nhost = \"h\"\n[defaults.hooks]\nafter = {:?}\nbefore = {:?}\n\
         [backup.t]\npath = {:?}\n[backup.t.hooks]\nbefore = [{:?}, {:?}]\n",
        sandbox.url(),
        line("after-all"),
        line("before-all"),
        sandbox.source(),
        line("one"),
        line("two"),
    );
    write(&sandbox.path("c.toml"), text.as_bytes());
    sandbox
        .freezer(["backup", "--name", "t", "--config", "c.toml"])
        .run()
        .expect(0);
    let ran = fs::read_to_string(sandbox.path("ran")).expect("they ran");
    assert_eq!(ran, "one\ntwo\nafter-all\n");
}

#[test]
fn secrets_of_the_environment_do_not_reach_hooks_and_commands() {
    let sandbox = sandbox();
    let hooks = all_kinds(&sandbox);
    sandbox
        .backup_command(&texts(&hooks))
        .env("AWS_SECRET_ACCESS_KEY", "canary-in-a-cage")
        .env("OS_PASSWORD", "canary-in-a-cage")
        .env("MY_OWN", "kept")
        .run()
        .expect(0);
    let variables = fs::read_to_string(sandbox.path("told/after.env")).expect("variables");
    assert!(!variables.contains("canary"), "{variables}");
    assert!(variables.contains("MY_OWN=kept"), "{variables}");
    let done = sandbox
        .freezer(["exec", "env"])
        .env("OS_PASSWORD", "canary-in-a-cage")
        .run()
        .expect(0)
        .never_says("canary");
    assert!(done.text().contains("HOME="), "{done}");
}

#[test]
fn exec_runs_a_command_and_its_failure_is_ours() {
    let sandbox = sandbox();
    let done = sandbox
        .freezer(["exec", "--", "printf", "%s-%s", "a b", "$HOME"])
        .run()
        .expect(0);
    assert_eq!(done.text(), "a b-$HOME");
    sandbox
        .freezer(["exec", "sh", "-c", "exit 7"])
        .run()
        .expect(1)
        .says("it ended with exit status 7");
    sandbox
        .freezer(["exec", "/no/such/program"])
        .run()
        .expect(1)
        .says("can't be started");
    sandbox
        .freezer(["exec", "--timeout", "1s", "sleep", "1000"])
        .run()
        .expect(1)
        .says("longer than 1s");
    let done = sandbox
        .freezer(["exec", "--json", "echo", "words"])
        .run()
        .expect(0)
        .says("words");
    assert_eq!(done.json()["result"]["exit_status"], 0);
}

#[test]
fn an_interrupted_command_ends_with_its_children() {
    let sandbox = sandbox();
    let pid = sandbox.path("pid");
    let line = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let mut running = sandbox.freezer(["exec", "sh", "-c", &line]).start();
    assert!(running.until(|| fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))));
    running.signal(Signal::TERM);
    running.wait().expect(130);
    assert_dies(&pid);
}

#[rstest]
#[case("echo a b | wc -w", 0, "2\n")]
#[case("echo a|tr a z", 0, "z\n")]
#[case("false | true", 0, "")]
#[case("true | false", 1, "")]
#[case("echo 'a", 0, "'a\n")]
fn the_original_s_exec_runs_pipelines_without_a_shell(
    #[case] line: &str,
    #[case] code: i32,
    #[case] output: &str,
) {
    let sandbox = sandbox();
    let agent = sandbox.path("freezer-agent");
    std::os::unix::fs::symlink(freezer_binary(), &agent).expect("link");
    let done = sandbox
        .scrubbed(&agent)
        .args(["--action", "exec", "--command", line])
        .run()
        .expect(code);
    assert_eq!(done.text(), output, "{done}");
}

#[test]
fn the_original_s_ini_file_may_have_hooks_and_runs_sync() {
    let sandbox = sandbox();
    let agent = sandbox.path("freezer-agent");
    std::os::unix::fs::symlink(freezer_binary(), &agent).expect("link");
    let ran = sandbox.path("ran");
    let text = format!(
        "[default]\naction = backup\nbackup_name = t\nhostname = h\nstorage = local\ncontainer = {}\npath_to_backup = {}\n\
         hook_before = echo before >> {}\nhook_after = exit 2\nhook_timeout = 5m\n",
        sandbox.store().display(),
        sandbox.source().display(),
        ran.display(),
    );
    write(&sandbox.path("job.ini"), text.as_bytes());
    let log = sandbox.path("log");
    sandbox
        .scrubbed(&agent)
        .args(["--config", "job.ini", "--debug", "--log-file"])
        .arg(&log)
        .run()
        .expect(1)
        .says("the hook after failed: it ended with exit status 2");
    assert_eq!(fs::read_to_string(&ran).expect("it ran"), "before\n");
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("writing the kernel's buffered memory"), "{log}");
}

#[test]
fn hooks_and_commands_inherit_the_priority() {
    let sandbox = sandbox();
    let ran = sandbox.path("ran");
    let hook = format!("(nice; ionice) > {}", ran.display());
    sandbox.backup(&["--nice", "17", "--ionice", "idle", "--hook-before", &hook]);
    assert_eq!(fs::read_to_string(&ran).expect("it ran"), "17\nidle\n");
    let done = sandbox.freezer([
        "exec",
        "--nice",
        "3",
        "--ionice",
        "best-effort:6",
        "sh",
        "-c",
        "nice; ionice",
    ]);
    assert_eq!(done.run().expect(0).text(), "3\nbest-effort: prio 6\n");
}

#[test]
fn what_the_system_refuses_is_said_and_the_run_goes_on() {
    let sandbox = sandbox();
    // A user without rights: the one that nothing belongs to.
    let binary = freezer_binary();
    let line = format!(
        "exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all {} exec --max-priority echo done",
        binary.display()
    );
    let done = sandbox
        .scrubbed(Path::new("/bin/sh"))
        .args(["-c", &line])
        .env("HOME", "/nonexistent")
        .cwd(Path::new("/"))
        .run()
        .expect(0)
        .says("warning: priority nice -19 isn't set: this user may not raise priorities; going on without")
        .says("warning: priority ionice realtime:0 isn't set");
    assert_eq!(done.text(), "done\n");
}

#[rstest]
#[case(&["--sync", "--drop-caches", "read"])]
#[case(&["--drop-caches", "read", "--compression", "none"])]
fn giving_memory_back_changes_nothing_of_a_backup(#[case] options: &[&str]) {
    let sandbox = sandbox();
    // Larger than a piece whose memory is given back, with an odd end and a hole.
    let large: Vec<u8> = (0..(40_u32 << 20) + 4321)
        .map(|number| (number % 251) as u8)
        .collect();
    write(&sandbox.path("source/large"), &large);
    let holes = fs::File::create(sandbox.path("source/holes")).expect("a file");
    holes.set_len(100 << 20).expect("a hole");
    std::os::unix::fs::FileExt::write_all_at(&holes, b"end", (100 << 20) - 3).expect("its end");
    sandbox.backup(options);
    sandbox.restore("out", &[]);
    assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
}
