//! Streams through the real binary: standard input and commands in; files, pipes, commands and plain tools out.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use freezer_tests::{Finished, Program, Sandbox, backups, program, write};
use rstest::rstest;
use rustix::process::Signal;

/// So many lines of text: more than some frames.
const LINES: &str = "seq 1 500000";

fn text() -> Vec<u8> {
    let lines: String = (1..=500_000).map(|number| format!("{number}\n")).collect();
    lines.into_bytes()
}

/// `freezer backup --name t --host h` of no path.
fn backup(sandbox: &Sandbox, more: &[&str]) -> Program {
    let url = sandbox.url();
    let common = ["backup", "--name", "t", "--host", "h", "--to", &url];
    sandbox.freezer(common).args(more)
}

fn restore(sandbox: &Sandbox, more: &[&str]) -> Program {
    sandbox.verb("restore", more)
}

fn nothing_is_left(sandbox: &Sandbox) {
    assert!(backups(&sandbox.store(), "h_t").is_empty());
    let check = sandbox.freezer(["check", "--from", &sandbox.url()]).run();
    drop(check.never_says("belongs to no backup"));
}

#[rstest]
#[case::stdin(&["--stdin", "n.txt"])]
#[case::command(&["--from-command", LINES, "--stream-name", "n.txt"])]
fn a_stream_comes_back_everywhere(#[case] source: &[&str], #[values(false, true)] encrypted: bool) {
    let sandbox = Sandbox::new();
    let pass = sandbox.pass_file();
    let pass = match encrypted {
        true => vec!["--encrypt-pass-file", pass.to_str().expect("UTF-8")],
        false => Vec::new(),
    };
    let command = backup(&sandbox, source).args(&pass);
    let command = match source[0] {
        "--stdin" => command.stdin(text()),
        _ => command,
    };
    drop(
        command
            .run()
            .expect(0)
            .tells("n.txt, 3.2 MiB")
            .tells("a stream is stored whole each time"),
    );
    let to_stdout = restore(&sandbox, &["-o", "-"]).args(&pass).run().expect(0);
    assert!(to_stdout.stdout == text());
    drop(to_stdout.says("standard output"));
    let file = sandbox.path("out.txt");
    let file = file.to_str().expect("UTF-8");
    restore(&sandbox, &["-o", file]).args(&pass).run().expect(0);
    assert!(fs::read(file).expect("a file") == text());
    // What is there isn't replaced without being asked.
    drop(
        restore(&sandbox, &["-o", file])
            .args(&pass)
            .run()
            .expect(1)
            .says("is there already"),
    );
    restore(&sandbox, &["-o", file, "--overwrite"])
        .args(&pass)
        .run()
        .expect(0);
    let target = sandbox.path("target");
    let target = target.to_str().expect("UTF-8");
    restore(&sandbox, &["--target", target])
        .args(&pass)
        .run()
        .expect(0);
    assert!(fs::read(sandbox.path("target/n.txt")).expect("a file") == text());
    let count = restore(&sandbox, &["--to-command", "wc -l"])
        .args(&pass)
        .run()
        .expect(0);
    drop(count.tells("500000"));
    let dumped = sandbox.verb("dump", &["n.txt"]).args(&pass).run().expect(0);
    assert!(dumped.stdout == text());
    drop(sandbox.verb("ls", &[]).args(&pass).run().expect(0).tells("n.txt"));
    drop(
        sandbox
            .verb("check", &["--read-data"])
            .args(&pass)
            .run()
            .expect(0)
            .tells("no problems"),
    );
}

#[rstest]
fn plain_tools_give_a_stream_back(
    #[values("gzip", "bzip2", "xz", "zstd", "none")] compression: &str,
    #[values(false, true)] encrypted: bool,
) {
    let sandbox = Sandbox::new();
    let pass = sandbox.pass_file();
    let mut options = vec![
        "--from-command",
        LINES,
        "--stream-name",
        "n.txt",
        "--compression",
        compression,
    ];
    if encrypted {
        options.extend(["--encrypt-pass-file", pass.to_str().expect("UTF-8")]);
    }
    backup(&sandbox, &options).run().expect(0);
    let script = sandbox.verb("list", &["--recovery"]).run().expect(0).text();
    write(&sandbox.path("recover.sh"), script.as_bytes());
    let recovered = program("bash")
        .arg(sandbox.path("recover.sh"))
        .cwd(&sandbox.path("home"));
    recovered.env("PASS", &pass).run().expect(0);
    assert!(fs::read(sandbox.path("home/out/n.txt")).expect("a file") == text());
}

#[rstest]
#[case("seq 1 500000; exit 3", "its command ended with exit status 3")]
#[case("seq 1 500000; kill -9 $$", "signal 9 ended its command")]
#[case("no-such-program", "its command ended with exit status 127")]
#[case("true", "nothing came before its end")]
fn a_command_that_fails_or_says_nothing_makes_no_backup(#[case] line: &str, #[case] why: &str) {
    let sandbox = Sandbox::new();
    drop(
        backup(&sandbox, &["--from-command", line])
            .run()
            .expect(1)
            .says(why),
    );
    nothing_is_left(&sandbox);
}

#[test]
fn an_empty_stream_is_kept_if_that_is_asked_for() {
    let sandbox = Sandbox::new();
    backup(&sandbox, &["--stdin", "e", "--allow-empty"])
        .run()
        .expect(0);
    assert_eq!(restore(&sandbox, &["-o", "-"]).run().expect(0).stdout, b"");
}

#[rstest]
#[case("cat >/dev/null; exit 3", "its command ended with exit status 3")]
#[case("head -c 5 >/dev/null", "its command ended before it had read everything")]
#[case("no-such-program", "its command ended with exit status 127")]
fn a_command_that_takes_a_stream_decides_whether_it_is_restored(#[case] line: &str, #[case] why: &str) {
    let sandbox = Sandbox::new();
    backup(&sandbox, &["--from-command", LINES]).run().expect(0);
    drop(
        restore(&sandbox, &["--to-command", line])
            .run()
            .expect(1)
            .says(why),
    );
}

#[test]
fn a_damaged_stream_gives_no_file_and_its_command_no_end() {
    let sandbox = Sandbox::new();
    backup(&sandbox, &["--from-command", LINES]).run().expect(0);
    let data = program("find")
        .arg(sandbox.store())
        .args(["-path", "*/segments/*", "-type", "f"])
        .run()
        .text();
    let data = match data.lines().next() {
        Some(segment) => segment.to_owned(),
        None => program("find")
            .arg(sandbox.store())
            .args(["-name", "data", "-type", "f"])
            .run()
            .text()
            .trim()
            .to_owned(),
    };
    let mut bytes = fs::read(&data).expect("the data");
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    write(data.as_ref(), &bytes);
    let file = sandbox.path("out");
    restore(&sandbox, &["-o", file.to_str().expect("UTF-8")])
        .run()
        .expect(5);
    assert!(!file.exists());
    assert!(
        fs::read_dir(sandbox.path("."))
            .expect("a directory")
            .all(|entry| {
                !entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".freezer-")
            })
    );
    let done = sandbox.path("done");
    let line = format!("cat >/dev/null; touch {}", done.display());
    restore(&sandbox, &["--to-command", &line]).run().expect(5);
    assert!(!done.exists(), "the command took a part for the whole");
}

#[test]
fn a_tree_can_not_go_where_streams_go() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a"), b"a");
    sandbox.backup(&[]);
    let refused = restore(&sandbox, &["-o", "-"]).run().expect_any(&[1, 4]);
    drop(refused.says("holds a tree of files, no stream").says("--target"));
}

#[rstest]
#[case(&["/x", "--stdin", "n"])]
#[case(&["--stdin", "n", "--from-command", "true"])]
#[case(&["--from-command", "true", "--mode", "fs"])]
#[case(&["--stdin", "a/b"])]
fn what_does_not_go_together_is_refused(#[case] options: &[&str]) {
    let sandbox = Sandbox::new();
    backup(&sandbox, options)
        .stdin(&b"x"[..])
        .run()
        .expect_any(&[1, 2]);
    nothing_is_left(&sandbox);
}

#[test]
fn ctrl_c_ends_the_command_with_all_it_started() {
    let sandbox = Sandbox::new();
    let pid = sandbox.path("pid");
    let line = format!("sh -c 'echo $$ > {}; sleep 300' & seq 1 10; wait", pid.display());
    let mut running = backup(&sandbox, &["--from-command", &line]).start();
    assert!(running.until(|| fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty())));
    running.signal(Signal::INT);
    let ended: Finished = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    nothing_is_left(&sandbox);
    let number = fs::read_to_string(&pid).expect("a number");
    let begun = Instant::now();
    let stat = format!("/proc/{}/stat", number.trim());
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "what the command started lives on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_configuration_file_names_a_command() {
    let sandbox = Sandbox::new();
    let text = format!(
        "[backup.t]\nhost = \"h\"\nstorage = \"{}\"\nfrom-command = \"printf abc\"\nstream-name = \"abc.txt\"\n",
        sandbox.url()
    );
    write(&sandbox.path("c.toml"), text.as_bytes());
    let config = sandbox.path("c.toml");
    let command = sandbox
        .freezer(["backup", "--config"])
        .arg(&config)
        .args(["--name", "t"]);
    drop(command.run().expect(0).tells("abc.txt, 3 B"));
    // A path on the command line means a tree.
    write(&sandbox.path("source/a"), b"a");
    let command = sandbox
        .freezer(["backup", "--config"])
        .arg(&config)
        .args(["--name", "t"]);
    drop(command.arg(sandbox.source()).run().expect(0).tells("1 file"));
}

#[test]
fn secrets_of_freezer_s_are_kept_from_the_command() {
    let sandbox = Sandbox::new();
    let command = backup(&sandbox, &["--from-command", "env"]).env("OS_PASSWORD", "canary-7");
    command.run().expect(0);
    let stored = restore(&sandbox, &["-o", "-"]).run().expect(0).text();
    assert!(
        stored.contains("PATH=") && !stored.contains("canary-7"),
        "{stored}"
    );
}

#[test]
fn a_newer_stream_comes_before_an_older_tree_of_its_name() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a"), b"a");
    sandbox.backup(&[]);
    std::thread::sleep(Duration::from_millis(1100));
    backup(&sandbox, &["--from-command", "printf abc"])
        .run()
        .expect(0);
    let target = sandbox.restore("target", &[]);
    assert_eq!(fs::read(target.join("t")).expect("the stream"), b"abc");
    let list = sandbox
        .freezer(["list", "--json", "--from", &sandbox.url()])
        .run()
        .expect(0)
        .json();
    let engines: Vec<_> = list["result"]["backups"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["engine"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(engines, ["tar", "stream"]);
}

#[test]
fn a_command_never_takes_a_part_for_the_whole_when_freezer_is_killed() {
    for signal in [Signal::KILL, Signal::INT] {
        let sandbox = Sandbox::new();
        backup(&sandbox, &["--from-command", LINES]).run().expect(0);
        let (begun, done) = (sandbox.path("begun"), sandbox.path("done"));
        let line = format!(
            "trap '' TERM; touch {}; sleep 1; cat >/dev/null; touch {}",
            begun.display(),
            done.display()
        );
        let mut running = restore(&sandbox, &["--to-command", &line]).start();
        assert!(running.until(|| begun.exists()), "the command didn't start");
        running.signal(signal);
        std::thread::sleep(Duration::from_millis(100));
        if signal == Signal::INT {
            // Who asks twice leaves at once.
            running.signal(signal);
        }
        drop(running.wait());
        std::thread::sleep(Duration::from_millis(2500));
        assert!(
            !done.exists(),
            "after {signal:?} the command took a part for the whole"
        );
    }
}

#[test]
fn a_link_that_is_named_is_followed_and_a_directory_is_told() {
    let sandbox = Sandbox::new();
    backup(&sandbox, &["--from-command", "printf abc"])
        .run()
        .expect(0);
    let (link, file) = (sandbox.path("link"), sandbox.path("file"));
    write(&file, b"before");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let link_text = link.to_str().expect("UTF-8");
    restore(&sandbox, &["-o", link_text, "--overwrite"])
        .run()
        .expect(0);
    assert_eq!(fs::read(&file).expect("a file"), b"abc");
    assert!(link.is_symlink());
    let folder = sandbox.source();
    let refused = restore(&sandbox, &["-o", folder.to_str().expect("UTF-8"), "--overwrite"]).run();
    drop(refused.expect(1).says("is a directory").says("--target"));
}

#[test]
fn a_document_stands_alone_whatever_the_command_says() {
    let sandbox = Sandbox::new();
    backup(&sandbox, &["--from-command", "printf abc"])
        .run()
        .expect(0);
    let told = restore(&sandbox, &["--json", "--to-command", "cat; echo words"])
        .run()
        .expect(0);
    assert_eq!(told.json()["result"]["bytes"], 3);
    drop(told.says("words"));
}

#[test]
fn a_stream_goes_back_only_to_the_mode_that_made_it() {
    let sandbox = Sandbox::new();
    backup(&sandbox, &["--from-command", "printf abc"])
        .run()
        .expect(0);
    for more in [&[][..], &["--dry-run"]] {
        let refused = restore(&sandbox, &["--mode", "mysql"]).args(more).run().expect(1);
        drop(refused.says("made by command, not by mode mysql"));
    }
    let target = sandbox.path("target");
    let both = ["--mode", "fs", "--target", target.to_str().expect("UTF-8")];
    drop(restore(&sandbox, &both).run().expect(2).says("has no part in it"));
}

#[test]
fn options_of_trees_are_told_to_have_no_part_in_a_stream() {
    let sandbox = Sandbox::new();
    let told = backup(&sandbox, &["--from-command", "printf abc", "--exclude", "*.tmp"])
        .run()
        .expect(0);
    drop(told.says("have no part in a stream"));
    let refused = backup(&sandbox, &["--stdin", "a/b"])
        .stdin(&b"x"[..])
        .run()
        .expect(2);
    drop(refused.says("can't be the name of a stream"));
    let refused = backup(&sandbox, &["--stdin", "a", "--compat"])
        .stdin(&b"x"[..])
        .run()
        .expect(2);
    drop(refused.says("the original can't read streams"));
}

/// Stores [`text`] as `n.txt`.
#[track_caller]
fn stored(sandbox: &Sandbox) {
    let command = backup(sandbox, &["--stdin", "n.txt"]).stdin(text());
    drop(command.run().expect(0));
}

#[track_caller]
fn fifo(sandbox: &Sandbox) -> PathBuf {
    let pipe = sandbox.path("pipe");
    program("mkfifo").arg(&pipe).run().expect(0);
    pipe
}

/// A pipe that nobody reads yet, and one whose reader takes nothing.
#[rstest]
fn ctrl_c_ends_the_wait_for_whoever_reads_a_pipe(#[values(false, true)] is_read: bool) {
    let sandbox = Sandbox::new();
    stored(&sandbox);
    let pipe = fifo(&sandbox);
    // Opened for both ends, it has a reader that never reads.
    let reader = is_read.then(|| fs::OpenOptions::new().read(true).write(true).open(&pipe));
    let mut running = restore(&sandbox, &["-o", pipe.to_str().expect("UTF-8")]).start();
    // Until its handler is in place, a signal would end it in the usual way.
    std::thread::sleep(Duration::from_secs(2));
    assert!(!running.ended(), "it doesn't wait");
    running.signal(Signal::INT);
    drop(running.wait().expect(130));
    drop(reader);
}

#[test]
fn a_pipe_that_is_read_late_gets_all_of_it() {
    let sandbox = Sandbox::new();
    stored(&sandbox);
    let pipe = fifo(&sandbox);
    let running = restore(&sandbox, &["-o", pipe.to_str().expect("UTF-8")]).start();
    std::thread::sleep(Duration::from_millis(500));
    let read = fs::read(&pipe).expect("the pipe");
    drop(running.wait().expect(0));
    assert!(read == text());
}

#[test]
fn of_a_killed_restore_into_a_file_nothing_is_left() {
    let sandbox = Sandbox::on_disk();
    stored(&sandbox);
    let folder = sandbox.path("into");
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("n.txt");
    let slow = ["-o", file.to_str().expect("UTF-8"), "--download-limit", "32K"];
    let running = restore(&sandbox, &slow).start();
    let writes = |_| {
        std::thread::sleep(Duration::from_millis(5));
        running.has_open(&folder, "")
    };
    assert!((0..2000).any(writes), "it never began to write");
    running.signal(Signal::KILL);
    drop(running.wait());
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 0);
    drop(
        restore(&sandbox, &["-o", file.to_str().expect("UTF-8")])
            .run()
            .expect(0),
    );
    assert!(fs::read(&file).expect("the file") == text());
    drop(
        restore(&sandbox, &["-o", file.to_str().expect("UTF-8"), "--overwrite"])
            .run()
            .expect(0),
    );
    assert!(fs::read(&file).expect("the file") == text());
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1);
}
