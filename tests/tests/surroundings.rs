//! Bad surroundings: no home, another locale, closed and full streams. The program works or says why not.

use std::path::Path;

use freezer_tests::{Sandbox, assert_same, freezer_binary, write};
use rstest::rstest;

#[test]
fn it_works_without_home() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    sandbox
        .backup_command(&[])
        .without_env("HOME")
        .run()
        .no_crash()
        .expect(0);
    sandbox
        .restore_command("out", &[])
        .without_env("HOME")
        .run()
        .no_crash()
        .expect(0);
}

#[test]
fn it_works_in_a_locale_that_is_not_utf_8() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source").join("snow\u{2603}man"), b"x");
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"bad\xff");
    write(&sandbox.path("source").join(odd), b"y");
    sandbox
        .backup_command(&[])
        .env("LC_ALL", "C")
        .run()
        .no_crash()
        .expect(0);
    sandbox
        .verb("ls", &["--recursive"])
        .env("LC_ALL", "C")
        .run()
        .no_crash()
        .expect(0);
    let target = sandbox.path("out");
    sandbox
        .restore_command("out", &[])
        .env("LC_ALL", "C")
        .run()
        .no_crash()
        .expect(0);
    assert_same(&sandbox.source(), &target, &[]);
}

fn shell(sandbox: &Sandbox, script: &str) -> freezer_tests::Finished {
    let script = script
        .replace("FREEZER", &freezer_binary().display().to_string())
        .replace("URL", &sandbox.url());
    sandbox.scrubbed(Path::new("bash")).args(["-c", &script]).run()
}

#[rstest]
#[case::stdin("<&-")]
#[case::stdout(">&-")]
#[case::stderr("2>&-")]
#[case::all("<&- >&- 2>&-")]
fn closed_streams_are_survived(#[case] redirection: &str) {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    shell(
        &sandbox,
        &format!("FREEZER backup source --name t --host h --to URL {redirection}"),
    )
    .no_crash()
    .expect(0);
    shell(
        &sandbox,
        &format!("FREEZER restore --name t --host h --from URL --target out {redirection}"),
    )
    .no_crash()
    .expect(0);
    assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
}

#[test]
fn a_closed_pipe_ends_the_output_quietly() {
    let sandbox = Sandbox::new();
    for number in 0..3000 {
        write(
            &sandbox.path(format!("source/a-rather-long-file-name-{number}")),
            b"",
        );
    }
    write(&sandbox.path("source/large"), &vec![7; 4 << 20]);
    sandbox.backup(&[]);
    for verb in ["ls --recursive", "dump large", "list"] {
        let words = verb.split_once(' ').map_or((verb, ""), |pair| pair);
        let script = format!(
            "FREEZER {} --name t --host h --from URL {} | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}",
            words.0, words.1
        );
        let done = shell(&sandbox, &script).no_crash();
        assert!(!done.stderr.to_lowercase().contains("broken pipe"), "{done}");
    }
}

/// `freezer backup … > /dev/full` must not claim success silently.
#[test]
fn a_full_output_is_no_crash() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), &vec![7; 1 << 20]);
    sandbox.backup(&[]);
    let done = shell(
        &sandbox,
        "FREEZER dump --name t --host h --from URL f > /dev/full",
    )
    .no_crash();
    assert_eq!(done.code, Some(1), "{done}");
}
