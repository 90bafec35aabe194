//! Commands are started for real: what they see, how they end, and that nothing of them stays.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{Command, Exit, Input, Process, check_trusted, find};
use crate::error::{Error, ErrorKind};
use crate::stop::Stop;

fn shell(script: &str) -> Command {
    Command {
        arguments: vec!["-c".to_owned(), script.to_owned()],
        ..Command::new("/bin/sh")
    }
}

fn run(command: &Command) -> Result<(Vec<u8>, Exit), Error> {
    let process = Process::start(command, None)?;
    let mut output = Vec::new();
    let mut reader = process.output(Stop::never())?;
    // The exit says more than the read that fails with it.
    drop(reader.read_to_end(&mut output));
    Ok((output, process.wait_blocking(&Stop::never())?))
}

fn fed(command: &Command, input: impl Read + Send + 'static) -> Result<Exit, Error> {
    let process = Process::start(command, Some(Box::new(input)))?;
    process.wait_blocking(&Stop::never())
}

fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.contains(") Z"))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_sees_what_it_is_given_and_nothing_else() {
    let mut command = shell("pwd; env; cat");
    command.environment = vec![("GIVEN".to_owned(), Zeroizing::new("a b".to_owned()))];
    let (output, exit) = run(&command).unwrap();
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("/\n") && exit.code == 0, "{output} {exit:?}");
    let variables: Vec<&str> = output.lines().filter(|line| line.contains('=')).collect();
    let own = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    for variable in variables {
        let known = variable == "GIVEN=a b" || own.iter().any(|own| variable.starts_with(own));
        assert!(known, "{variable}");
    }
}

#[test]
fn inputs_are_private_files_that_cannot_be_changed() {
    let mut command = shell(
        "cat \"$1\" \"$1\"; stat -Lc '%a %u' \"$1\"; echo x 2>/dev/null >>\"$1\" || echo sealed; echo \"$2 $GIVEN\"",
    );
    command
        .arguments
        .extend(["sh", "{input:login}", "{input:none} {input:"].map(str::to_owned));
    command.environment = vec![("GIVEN".to_owned(), Zeroizing::new("={input:login}=".to_owned()))];
    command.inputs = vec![Input {
        name: "login".to_owned(),
        content: Zeroizing::new("password=correct horse\n".to_owned()),
    }];
    let (output, exit) = run(&command).unwrap();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["password=correct horse"; 2], "{exit:?}");
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(lines[2..4], [format!("600 {uid}"), "sealed".to_owned()]);
    assert!(
        lines[4].starts_with("{input:none} {input: =/proc/self/fd/"),
        "{output}"
    );
    assert!(!format!("{command:?}").contains("horse"));
}

#[test]
fn output_ends_well_only_after_success() {
    for (script, why) in [
        (
            "printf abc; echo first >&2; echo last >&2; exit 3",
            "exit code 3: first; last",
        ),
        ("printf abc; kill -9 $$", "it was ended by signal 9"),
        ("printf abc; exec 1>&-; sleep 0.2; exit 1", "exit code 1"),
        ("printf abc; no-such-command-here", "exit code 127"),
    ] {
        let process = Process::start(&shell(script), None).unwrap();
        let mut reader = process.output(Stop::never()).unwrap();
        let mut output = Vec::new();
        let error = reader.read_to_end(&mut output).unwrap_err();
        assert_eq!(output, b"abc");
        assert!(error.to_string().contains(why), "{error}");
        assert!(reader.read(&mut [0]).is_err(), "it stays failed");
        assert_eq!(
            process.output(Stop::never()).unwrap_err().kind,
            ErrorKind::Invalid
        );
    }
    assert_eq!(run(&shell("printf abc")).unwrap().0, b"abc");
}

#[test]
fn input_must_be_read_to_its_end() {
    let taken = fed(&shell("cat >/dev/null"), io::repeat(7).take(5 << 20)).unwrap();
    assert_eq!(taken.code, 0);
    for (script, bytes) in [
        ("head -c 10 >/dev/null", 5 << 20),
        ("true", 100),
        ("head -c 1 >/dev/null", 2),
    ] {
        let error = fed(&shell(script), io::repeat(7).take(bytes)).unwrap_err();
        assert!(
            error.message.contains("before it had read all"),
            "{script}: {error}"
        );
    }
    assert_eq!(
        fed(&shell("exit 4"), io::repeat(7).take(5 << 20)).unwrap().code,
        4,
        "its own failure says more"
    );
    assert_eq!(fed(&shell("true"), io::empty()).unwrap().code, 0);
}

/// Bytes, and then a failure.
struct Broken(u64);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "the line is dead").into());
        }
        let count = buffer.len().min(usize::try_from(self.0).unwrap());
        self.0 -= count as u64;
        Ok(count)
    }
}

#[test]
fn an_input_that_breaks_ends_the_command_before_it_can_take_it_for_whole() {
    let temp = tempfile::tempdir().unwrap();
    let mark = temp.path().join("whole");
    let script = format!("cat >/dev/null && touch {}", mark.display());
    let error = fed(&shell(&script), Broken(1000)).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Unavailable, "the line is dead")
    );
    assert!(!mark.exists());
}

#[test]
fn the_whole_group_ends_with_the_last_handle() {
    let script = "sleep 1000 & echo $!; echo $$; exec sleep 1000";
    let process = Process::start(&shell(script), None).unwrap();
    let mut reader = process.output(Stop::never()).unwrap();
    let mut pids = Vec::new();
    while pids.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        pids.push(byte[0]);
    }
    let pids = String::from_utf8(pids).unwrap();
    drop(process);
    assert!(pids.lines().all(is_alive), "its output is still being read");
    drop(reader);
    assert!(!pids.lines().any(is_alive), "{pids}");
}

#[test]
fn what_the_leader_left_behind_ends_as_well() {
    let (output, exit) = run(&shell("sleep 1000 >/dev/null 2>&1 & echo $!")).unwrap();
    assert_eq!(exit.code, 0);
    let pid = String::from_utf8(output).unwrap();
    wait_until("the sleep is left", || !is_alive(pid.trim()));
}

#[test]
fn a_stubborn_command_is_killed() {
    let process = Process::start(
        &shell("trap '' TERM; echo ready; while :; do sleep 1; done"),
        None,
    )
    .unwrap();
    let mut reader = process.output(Stop::never()).unwrap();
    reader.read_exact(&mut [0; 6]).unwrap();
    process.stop().unwrap();
    assert!(reader.read(&mut [0]).is_err());
    process.stop().unwrap();
}

#[test]
fn waiting_and_reading_end_when_the_run_is_cancelled() {
    let process = Process::start(&shell("sleep 1000"), None).unwrap();
    let stop = Stop::when(|| true);
    assert_eq!(
        process.wait_blocking(&stop).unwrap_err().kind,
        ErrorKind::Cancelled
    );
    let process = Process::start(&shell("sleep 1000"), None).unwrap();
    let error = process.output(stop).unwrap().read(&mut [0]).unwrap_err();
    assert_eq!(Error::from_io(&error).kind, ErrorKind::Cancelled);
}

#[test]
fn a_thousand_lines_of_errors_do_not_block() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 2";
    let (_, exit) = run(&shell(script)).unwrap();
    assert!(exit.stderr.ends_with("line 19999") && exit.stderr.len() <= 16 << 10);
    let process = Process::start(&shell("head -c 3000000 /dev/zero"), None).unwrap();
    let exit = process.wait_blocking(&Stop::never()).unwrap();
    assert_eq!(exit.code, 0, "output that nobody asked for is thrown away");
}

#[test]
fn what_cannot_be_started_is_told() {
    let kind = |command: &Command| Process::start(command, None).unwrap_err().kind;
    assert_eq!(kind(&Command::new("/no/such/program")), ErrorKind::NotFound);
    assert_eq!(kind(&Command::new("/etc/passwd")), ErrorKind::Denied);
    assert_eq!(kind(&Command::new("sh")), ErrorKind::Invalid);
    let invalid = [
        Command {
            arguments: vec!["a\0b".to_owned()],
            ..Command::new("/bin/true")
        },
        Command {
            arguments: vec![String::new(); 2000],
            ..Command::new("/bin/true")
        },
        Command {
            environment: vec![("A=B".to_owned(), Zeroizing::default())],
            ..Command::new("/bin/true")
        },
        Command {
            inputs: vec![Input {
                name: "../x".to_owned(),
                content: Zeroizing::default(),
            }],
            ..Command::new("/bin/true")
        },
        Command {
            directory: Some("tmp".into()),
            ..Command::new("/bin/true")
        },
    ];
    for command in invalid {
        assert_eq!(kind(&command), ErrorKind::Invalid, "{command:?}");
    }
    let elsewhere = Command {
        directory: Some("/no/such/directory".into()),
        ..Command::new("/bin/true")
    };
    assert_eq!(kind(&elsewhere), ErrorKind::NotFound);
}

#[test]
fn programs_that_others_could_have_written_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let program = temp.path().join("tool");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&program, 0o755);
    check_trusted(&program).unwrap();
    mode(&program, 0o757);
    assert_eq!(check_trusted(&program).unwrap_err().kind, ErrorKind::Denied);
    mode(&program, 0o755);
    let open = temp.path().join("open");
    std::fs::create_dir(&open).unwrap();
    mode(&open, 0o777);
    std::os::unix::fs::symlink(&program, open.join("link")).unwrap();
    let error = check_trusted(&open.join("link")).unwrap_err();
    assert!(
        error.kind == ErrorKind::Denied && error.message.contains("open"),
        "{error}"
    );
    assert_eq!(
        check_trusted(Path::new("/no/such")).unwrap_err().kind,
        ErrorKind::NotFound
    );
    assert!(check_trusted(Path::new("/etc")).is_err());
    assert!(find("sh").unwrap().is_absolute() && find("no-such-program").is_none());
}
