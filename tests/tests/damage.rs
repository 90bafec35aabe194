//! Damaged storage: every stored object × every kind of damage × encrypted or not gives either a clear error or
//! a correct restore, never a wrong one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use freezer_tests::{Backup, Part, Random, Sandbox, backups, copy_tree, differences, write};
use rstest::rstest;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Delete,
    Truncate,
    Empty,
    Flip,
    FlipFirst,
    FlipLast,
    Duplicate,
    Swap,
    Older,
}

/// Two chains of two levels; the states of the newest chain are copied.
fn prepare(sandbox: &Sandbox, options: &[&str]) -> Vec<Backup> {
    sandbox.pass_file();
    let mut random = Random::new(77);
    for number in 0..40 {
        write(
            &sandbox.path(format!("source/{}/{number}", number % 4)),
            &random.bytes(60_000),
        );
    }
    for round in 0..2 {
        for level in 0..2 {
            for number in 0..8 {
                write(
                    &sandbox.path(format!("source/{round}{level}/{number}")),
                    &random.bytes(30_000),
                );
            }
            write(&sandbox.path("source/1/1"), &random.bytes(50_000));
            let mut words = options.to_vec();
            if level == 0 {
                words.push("--full");
            }
            sandbox.backup(&words);
            copy_tree(&sandbox.source(), &sandbox.path(format!("state{round}{level}")));
        }
    }
    let stored = backups(&sandbox.store(), "h_t");
    assert_eq!(stored.iter().map(|b| b.level).collect::<Vec<_>>(), [0, 1, 0, 1]);
    stored
}

/// Does the damage to one object of a level; `others` are the levels that it may be confused with.
fn inflict(damage: Damage, part: Part, level: &Backup, sibling: &Backup, older: &Backup) {
    let path = level.object(part);
    let read = |backup: &Backup| fs::read(backup.object(part)).expect("object");
    let bytes = read(level);
    let flipped = |at: usize| {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        changed
    };
    let damaged = match damage {
        Damage::Delete => return fs::remove_file(path).expect("rm"),
        Damage::Truncate => bytes[..bytes.len() / 2].to_vec(),
        Damage::Empty => Vec::new(),
        Damage::Flip => flipped(bytes.len() / 2),
        Damage::FlipFirst => flipped(0),
        Damage::FlipLast => flipped(bytes.len() - 1),
        Damage::Duplicate => [bytes.clone(), bytes.clone()].concat(),
        Damage::Swap => {
            let theirs = read(sibling);
            fs::write(sibling.object(part), &bytes).expect("write");
            theirs
        }
        Damage::Older => read(older),
    };
    fs::write(path, damaged).expect("write");
}

/// True when everything in `target` is as in `state`, even if some is missing.
fn nothing_wrong(state: &Path, target: &Path) -> Result<(), String> {
    if !target.exists() {
        return Ok(());
    }
    let found = differences(state, target, &[]).unwrap_or_default();
    let wrong: Vec<&str> = found
        .lines()
        .filter(|line| {
            line.starts_with("sha256: ") || line.starts_with("extra: ") || line.starts_with("size: ")
        })
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

#[rstest]
fn damage_is_an_error_or_a_correct_restore(
    #[values(Part::Data, Part::Index, Part::Manifest, Part::EngineMetadata, Part::Metadata)] part: Part,
    #[values(false, true)] encrypted: bool,
    #[values(0, 1)] level: usize,
) {
    let options: &[&str] = if encrypted {
        &["--encrypt-pass-file", "pass"]
    } else {
        &[]
    };
    let pristine = Sandbox::new();
    let stored = prepare(&pristine, options);
    if !stored[3].object(part).exists() {
        assert!(
            encrypted && part == Part::EngineMetadata,
            "{part:?} is missing in a fresh backup"
        );
        return;
    }
    copy_tree(&pristine.store(), &pristine.path("good"));
    let mut failures = Vec::new();
    for damage in [
        Damage::Delete,
        Damage::Truncate,
        Damage::Empty,
        Damage::Flip,
        Damage::FlipFirst,
        Damage::FlipLast,
        Damage::Duplicate,
        Damage::Swap,
        Damage::Older,
    ] {
        fs::remove_dir_all(pristine.store()).expect("rm -r");
        copy_tree(&pristine.path("good"), &pristine.store());
        let (victim, sibling, older) = (&stored[2 + level], &stored[3 - level], &stored[level]);
        inflict(damage, part, victim, sibling, older);
        if let Err(why) = judge(&pristine, options, damage, part, level) {
            failures.push(format!("{damage:?} of {part:?}, level {level}: {why}"));
        }
    }
    assert!(
        failures.is_empty(),
        "encrypted: {encrypted}\n{}",
        failures.join("\n\n")
    );
}

/// Restores and checks what was damaged, and says what was wrong about the outcome.
fn judge(
    sandbox: &Sandbox,
    options: &[&str],
    damage: Damage,
    part: Part,
    level: usize,
) -> Result<(), String> {
    fs::remove_dir_all(sandbox.path("out")).ok();
    let restored = sandbox.restore_command("out", options).run();
    let crashed = restored.stderr.contains("panicked") || restored.signal.is_some();
    if crashed {
        return Err(format!("crash\n{restored}"));
    }
    // A commit point that is gone is a backup that never was: the state before it is the right answer.
    let uncommitted = part == Part::Metadata && damage == Damage::Delete && level == 1;
    match restored.code {
        Some(0) => {
            let state = if uncommitted { "state10" } else { "state11" };
            if let Some(found) = differences(&sandbox.path(state), &sandbox.path("out"), &[]) {
                return Err(format!("a wrong restore with exit code 0:\n{found}\n{restored}"));
            }
        }
        Some(5) => {
            nothing_wrong(&sandbox.path("state11"), &sandbox.path("out"))
                .map_err(|wrong| format!("wrong content beside the error:\n{wrong}\n{restored}"))?;
            if !restored.stderr.contains("freezer check") && !restored.stderr.contains("--at") {
                return Err(format!("the error names no next step\n{restored}"));
            }
        }
        // A damaged key can't be told from a wrong password; both are said, and nothing is written.
        Some(1) if restored.stderr.contains("wrong password or damaged") => {
            if sandbox.path("out").join("1").exists() {
                return Err(format!("files were written\n{restored}"));
            }
        }
        _ => return Err(format!("expected exit code 0 or 5\n{restored}")),
    }
    let url = sandbox.url();
    let checked = sandbox
        .freezer(["check", "--from", &url, "--read-data"])
        .args(options)
        .run();
    if uncommitted {
        return if checked.code == Some(0) || checked.code == Some(5) {
            Ok(())
        } else {
            Err(checked.to_string())
        };
    }
    if checked.code != Some(5) {
        return Err(format!("check --read-data missed it\n{checked}"));
    }
    let said = format!("{}{}", checked.text(), checked.stderr);
    if said.contains(part.name()) {
        Ok(())
    } else {
        Err(format!("check doesn't name the object\n{checked}"))
    }
}

/// Every byte of the small objects: a flip anywhere is found or harmless.
#[rstest]
fn a_flip_in_any_byte_of_a_small_object_never_restores_wrongly(
    #[values(Part::Manifest, Part::Metadata)] part: Part,
) {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/f"), b"content");
    sandbox.backup(&["--encrypt-pass-file", "pass"]);
    let path = backups(&sandbox.store(), "h_t")[0].object(part);
    let good = fs::read(&path).expect("object");
    let mut codes = BTreeSet::new();
    let step = (good.len() / 60).max(1);
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).expect("write");
        fs::remove_dir_all(sandbox.path("out")).ok();
        let done = sandbox
            .restore_command("out", &["--encrypt-pass-file", "pass"])
            .run()
            .no_crash();
        codes.insert(done.code);
        if done.code == Some(0) {
            assert_eq!(
                fs::read(sandbox.path("out/f")).expect("restored"),
                b"content",
                "byte {at}\n{done}"
            );
        } else {
            assert!(
                !sandbox.path("out/f").exists(),
                "byte {at}: restored something beside an error\n{done}"
            );
        }
    }
    assert!(codes.contains(&Some(5)), "no flip was called damage: {codes:?}");
}

/// An attacker who writes the storage but lacks the password (docs/format.md, attacks).
#[rstest]
#[case::says_not_encrypted("metadata", r#"s/"encryption": true/"encryption": false/"#)]
#[case::many_iterations("manifest", r#"s/600000/2147483648/"#)]
fn a_downgrade_is_refused(#[case] part: &str, #[case] edit: &str) {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/f"), b"content");
    sandbox.backup(&["--encrypt-pass-file", "pass"]);
    let part = if part == "metadata" {
        Part::Metadata
    } else {
        Part::Manifest
    };
    let path = backups(&sandbox.store(), "h_t")[0].object(part);
    let before = fs::read(&path).expect("object");
    freezer_tests::program("sed")
        .args(["-i", edit])
        .arg(&path)
        .run()
        .expect(0);
    assert_ne!(
        before,
        fs::read(&path).expect("object"),
        "the edit changed nothing"
    );
    sandbox
        .restore_command("out", &["--encrypt-pass-file", "pass"])
        .run()
        .no_crash()
        .expect(5);
    assert!(!sandbox.path("out/f").exists());
}

#[test]
fn an_unauthenticated_level_on_an_encrypted_chain_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/f"), b"content");
    sandbox.backup(&["--encrypt-pass-file", "pass"]);
    let zero = backups(&sandbox.store(), "h_t")[0].clone();
    // A level as the original writes it: no manifest, clear.
    let time = zero.time + 1;
    for (tree, name, content) in [
        (
            "metadata",
            "metadata",
            br#"{"engine_name": "tar", "compression": "gzip", "encryption": false}"#.to_vec(),
        ),
        ("data", "data", evil_tar(&sandbox)),
    ] {
        let path = sandbox
            .store()
            .join(tree)
            .join("tar/h_t")
            .join(zero.zero.to_string())
            .join(format!("1_{time}"));
        write(&path.join(name), &content);
    }
    let refused = sandbox
        .restore_command("out", &["--encrypt-pass-file", "pass"])
        .run()
        .no_crash()
        .expect(5);
    assert!(
        !sandbox.path("out/evil").exists(),
        "an attacker's file was restored\n{refused}"
    );
}

fn evil_tar(sandbox: &Sandbox) -> Vec<u8> {
    write(&sandbox.path("evil/evil"), b"planted");
    freezer_tests::program("tar")
        .args(["-cz", "-C"])
        .arg(sandbox.path("evil"))
        .arg(".")
        .run()
        .expect(0)
        .stdout
}

#[test]
fn a_backup_moved_under_another_name_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/f"), b"content");
    sandbox.backup(&["--encrypt-pass-file", "pass"]);
    for tree in ["data", "metadata"] {
        let root = sandbox.store().join(tree).join("tar");
        copy_tree(&root.join("h_t"), &root.join("h_other"));
    }
    let url = sandbox.url();
    sandbox
        .freezer([
            "restore", "--name", "other", "--host", "h", "--from", &url, "--target", "out",
        ])
        .args(["--encrypt-pass-file", "pass"])
        .run()
        .no_crash()
        .expect(5);
    assert!(!sandbox.path("out/f").exists());
}
