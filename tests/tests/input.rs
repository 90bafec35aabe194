//! Bad input and bad surroundings: each gets a clear answer, the right exit code, and no crash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use freezer_tests::{Program, Sandbox, backups, freezer_binary, program, write};
use rstest::rstest;

/// `freezer` as the user nobody.
fn as_nobody(sandbox: &Sandbox, arguments: &[&str]) -> Program {
    program("chmod")
        .args(["a+rwX"])
        .arg(sandbox.path("."))
        .run()
        .expect(0);
    sandbox
        .scrubbed(Path::new("setpriv"))
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(freezer_binary())
        .args(arguments)
}

fn one_backup(sandbox: &Sandbox, options: &[&str]) {
    write(&sandbox.path("source/f"), b"content");
    sandbox.backup(options);
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    let url = sandbox.url();
    sandbox
        .freezer([
            "backup",
            "no-such-tree",
            "--name",
            "t",
            "--host",
            "h",
            "--to",
            &url,
        ])
        .run()
        .no_crash()
        .expect_any(&[1, 2])
        .says("no-such-tree");
    assert!(backups(&sandbox.store(), "h_t").is_empty());
}

#[test]
fn a_source_that_vanishes_under_way_is_partial_at_most() {
    let sandbox = Sandbox::new();
    let mut random = freezer_tests::Random::new(1);
    for number in 0..400 {
        write(
            &sandbox.path(format!("source/{number}/f")),
            &random.bytes(100_000),
        );
    }
    let mut running = sandbox
        .backup_command(&[
            "--compression",
            "xz:6",
            "--workers",
            "1",
            "--max-segment-size",
            "64K",
        ])
        .start();
    let store = sandbox.store();
    running.until(|| {
        freezer_tests::program("find")
            .arg(&store)
            .args(["-type", "f"])
            .run()
            .stdout
            .len()
            > 2
    });
    fs::remove_dir_all(sandbox.source()).expect("rm -r");
    let done = running.wait().no_crash();
    assert!(matches!(done.code, Some(0 | 1 | 3)), "{done}");
    if done.code == Some(3) {
        assert!(!done.stderr.is_empty(), "partial, but nothing is named\n{done}");
        sandbox
            .restore_command("out", &[])
            .run()
            .no_crash()
            .expect_any(&[0, 3]);
    }
}

#[test]
fn a_file_that_grows_and_one_that_shrinks_are_said() {
    let sandbox = Sandbox::new();
    let noise = freezer_tests::Random::new(4).bytes(1 << 20);
    for number in 0..12 {
        write(&sandbox.path(format!("source/{number:02}")), &noise);
    }
    write(&sandbox.path("source/zz-log"), &noise);
    let mut running = sandbox
        .backup_command(&["--compression", "xz:6", "--workers", "1"])
        .start();
    let log = sandbox.path("source/zz-log");
    let mut size = noise.len() as u64;
    while !running.ended() {
        std::thread::sleep(std::time::Duration::from_millis(2));
        size = if size > 1000 { size / 2 } else { 1 << 20 };
        fs::OpenOptions::new()
            .write(true)
            .open(&log)
            .and_then(|f| f.set_len(size))
            .expect("truncate");
    }
    let done = running.wait().no_crash().expect_any(&[0, 3]);
    let target = sandbox.path("out");
    sandbox
        .restore_command("out", &[])
        .run()
        .no_crash()
        .expect_any(&[0, 3]);
    for number in 0..12 {
        assert!(
            fs::read(target.join(format!("{number:02}"))).expect("restored") == noise,
            "{done}"
        );
    }
}

#[test]
fn a_wrong_password_is_said_before_any_file_is_written() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    one_backup(&sandbox, &["--encrypt-pass-file", "pass"]);
    write(&sandbox.path("wrong"), b"not it\n");
    let done = sandbox
        .restore_command("out", &["--encrypt-pass-file", "wrong"])
        .run()
        .no_crash();
    assert!(matches!(done.code, Some(1 | 5)), "{done}");
    let done = done.says("wrong password");
    let made = fs::read_dir(sandbox.path("out"))
        .map(Iterator::count)
        .unwrap_or(0);
    assert_eq!(made, 0, "{done}");
    let next = sandbox
        .backup_command(&["--encrypt-pass-file", "wrong"])
        .run()
        .no_crash();
    assert_ne!(next.code, Some(101), "{next}");
}

#[test]
fn an_encrypted_backup_without_password_is_said() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    one_backup(&sandbox, &["--encrypt-pass-file", "pass"]);
    let done = sandbox
        .restore_command("out", &[])
        .run()
        .no_crash()
        .says("--encrypt-pass-file");
    assert!(matches!(done.code, Some(1 | 2 | 5)), "{done}");
}

#[rstest]
#[case::absent(None)]
#[case::empty(Some(""))]
#[case::empty_first_line(Some("\nsecond line\n"))]
#[case::nul(Some("with\0nul\n"))]
fn an_unusable_pass_file_is_refused(#[case] content: Option<&str>) {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"content");
    if let Some(content) = content {
        write(&sandbox.path("passfile"), content.as_bytes());
    }
    let done = sandbox
        .backup_command(&["--encrypt-pass-file", "passfile"])
        .run()
        .no_crash()
        .says("passfile");
    assert!(matches!(done.code, Some(1 | 2)), "{done}");
    assert!(backups(&sandbox.store(), "h_t").is_empty());
}

#[test]
fn a_password_never_shows() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/f"), b"content");
    for words in [
        vec!["--encrypt-pass-file", "pass", "-vv"],
        vec!["--encrypt-pass-file", "pass", "--json"],
    ] {
        sandbox
            .backup_command(&words)
            .run()
            .expect(0)
            .never_says("correct horse");
    }
    for place in ["home", "store"] {
        let found = program("grep")
            .args(["-rla", "correct horse"])
            .arg(sandbox.path(place))
            .run();
        assert!(found.stdout.is_empty(), "the password lies in {}", found.text());
    }
}

#[test]
fn a_target_that_is_not_empty_is_refused_without_overwrite() {
    let sandbox = Sandbox::new();
    one_backup(&sandbox, &[]);
    write(&sandbox.path("out/mine"), b"mine");
    sandbox
        .restore_command("out", &[])
        .run()
        .no_crash()
        .expect_any(&[1, 2])
        .says("--overwrite");
    assert!(!sandbox.path("out/f").exists());
    sandbox.restore_command("out", &["--overwrite"]).run().expect(0);
    assert_eq!(fs::read(sandbox.path("out/f")).expect("restored"), b"content");
    assert_eq!(fs::read(sandbox.path("out/mine")).expect("kept"), b"mine");
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let url = sandbox.url();
    sandbox
        .freezer([
            "backup",
            "source",
            "--name",
            "documents",
            "--host",
            "h",
            "--to",
            &url,
        ])
        .run()
        .expect(0);
    sandbox
        .freezer([
            "restore", "--name", "docments", "--host", "h", "--from", &url, "--target", "out",
        ])
        .run()
        .no_crash()
        .expect(4)
        .says("documents");
}

#[rstest]
#[case::absent("local:/no/such/directory")]
#[case::a_file("local:FILE")]
#[case::unknown_scheme("gopher://x")]
#[case::no_scheme("store")]
#[case::empty_path("local:")]
#[case::empty("")]
fn a_storage_that_is_none_is_said(#[case] url: &str) {
    let sandbox = Sandbox::new();
    write(&sandbox.path("file"), b"x");
    let url = url.replace("FILE", &sandbox.path("file").display().to_string());
    let done = sandbox.freezer(["list", "--from", &url]).run().no_crash();
    // A directory that isn't there holds no backups, which list says and doesn't call a failure.
    assert!(
        matches!(done.code, Some(1 | 2 | 4)) || done.stderr.contains("no backups"),
        "{done}"
    );
    assert!(!done.stderr.trim().is_empty(), "{done}");
}

#[test]
fn foreign_files_in_a_container_disturb_nothing() {
    let sandbox = Sandbox::new();
    one_backup(&sandbox, &[]);
    for name in [
        "README",
        "metadata/tar/h_t/notes",
        "metadata/tar/h_t/12x/0_5/metadata",
        "data/tar/other",
        "metadata/tar/strange name/x",
    ] {
        write(&sandbox.path("store").join(name), b"foreign");
    }
    let zero = backups(&sandbox.store(), "h_t")[0].zero;
    write(
        &sandbox.path(format!("store/metadata/tar/h_t/{zero}/backup-of-level/metadata")),
        b"foreign",
    );
    sandbox.restore("out", &[]);
    sandbox.backup(&[]);
    sandbox.verb("list", &[]).run().expect(0);
}

#[rstest]
#[case::ini("broken.ini", "[default\nx = 1\n")]
#[case::toml("broken.toml", "[backup.x\n")]
#[case::not_text("broken.toml", "\u{0}\u{1}")]
fn an_invalid_configuration_file_is_named(#[case] name: &str, #[case] content: &str) {
    let sandbox = Sandbox::new();
    write(&sandbox.path(name), content.as_bytes());
    let done = sandbox
        .freezer(["list", "--config", name, "--from", &sandbox.url()])
        .run()
        .no_crash();
    assert!(matches!(done.code, Some(1 | 2)), "{done}");
    done.says(name);
}

#[rstest]
#[case::slash("a/b")]
#[case::empty("")]
#[case::control("a\nb")]
#[case::long(&"n".repeat(300))]
fn an_impossible_backup_name_is_refused(#[case] name: &str) {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let url = sandbox.url();
    let done = sandbox
        .freezer(["backup", "source", "--name", name, "--host", "h", "--to", &url])
        .run()
        .no_crash();
    assert!(matches!(done.code, Some(1 | 2)), "{done}");
    assert_eq!(fs::read_dir(sandbox.store()).expect("store").count(), 0, "{done}");
}

#[test]
fn a_storage_inside_the_source_does_not_back_up_itself() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let url = format!("local:{}", sandbox.path("source/backups").display());
    for _ in 0..2 {
        let done = sandbox
            .freezer(["backup", "source", "--name", "t", "--host", "h", "--to", &url])
            .run()
            .no_crash();
        assert!(matches!(done.code, Some(0..=3)), "{done}");
    }
}

/// They become another user, or make what only root can make. `tests/run.sh` leaves them out where that is impossible.
mod needs_root {
    use super::*;

    #[test]
    fn an_unreadable_file_makes_the_backup_partial_and_is_named() {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/readable"), b"r");
        write(&sandbox.path("source/locked/secret"), b"s");
        write(&sandbox.path("source/hidden"), b"h");
        fs::set_permissions(sandbox.path("source/hidden"), fs::Permissions::from_mode(0o000)).expect("chmod");
        fs::set_permissions(sandbox.path("source/locked"), fs::Permissions::from_mode(0o000)).expect("chmod");
        fs::set_permissions(sandbox.store(), fs::Permissions::from_mode(0o777)).expect("chmod");
        fs::set_permissions(sandbox.path("home"), fs::Permissions::from_mode(0o777)).expect("chmod");
        let url = sandbox.url();
        as_nobody(
            &sandbox,
            &["backup", "source", "--name", "t", "--host", "h", "--to", &url],
        )
        .run()
        .no_crash()
        .expect(3)
        .says("hidden")
        .says("locked");
        sandbox.restore_command("out", &[]).run().expect(3).says("hidden");
        let target = sandbox.path("out");
        assert_eq!(fs::read(target.join("readable")).expect("restored"), b"r");
        assert!(
            !target.join("hidden").exists(),
            "an unreadable file came back as something"
        );
        let listed = sandbox.verb("list", &[]).run().expect(0);
        assert!(listed.text().contains("partial"), "{listed}");
    }

    #[test]
    fn a_file_that_becomes_unreadable_keeps_its_last_good_content_for_stale() {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/hidden"), b"first");
        program("chmod")
            .args(["-R", "a+rwX"])
            .arg(sandbox.path("."))
            .run()
            .expect(0);
        let url = sandbox.url();
        let words = ["backup", "source", "--name", "t", "--host", "h", "--to", &url];
        as_nobody(&sandbox, &words).run().expect(0);
        write(&sandbox.path("source/hidden"), b"second");
        fs::set_permissions(sandbox.path("source/hidden"), fs::Permissions::from_mode(0o000)).expect("chmod");
        as_nobody(&sandbox, &words)
            .run()
            .no_crash()
            .expect(3)
            .says("hidden");
        sandbox
            .restore_command("out", &[])
            .run()
            .no_crash()
            .expect_any(&[0, 3]);
        assert!(
            !sandbox.path("out/hidden").exists(),
            "a stale file was restored unasked"
        );
    }

    #[test]
    fn it_works_with_a_read_only_cache() {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"x");
        program("chmod")
            .args(["-R", "a+rwX"])
            .arg(sandbox.path("."))
            .run()
            .expect(0);
        fs::set_permissions(sandbox.path("home"), fs::Permissions::from_mode(0o555)).expect("chmod");
        let url = sandbox.url();
        as_nobody(&sandbox, &["--version"]).run().expect(0);
        fs::set_permissions(sandbox.path("home"), fs::Permissions::from_mode(0o555)).expect("chmod");
        as_nobody(
            &sandbox,
            &["backup", "source", "--name", "t", "--host", "h", "--to", &url],
        )
        .run()
        .no_crash()
        .expect(0);
    }
}
