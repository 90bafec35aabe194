//! Storage `local` is durable and atomic: what the system calls of one backup show.

use std::fs;
use std::path::Path;

use freezer_tests::{Random, Sandbox, freezer_binary, program, write};

/// A rename into the storage, and where in the trace it stands.
struct Rename {
    line: usize,
    source: String,
    folder: String,
    name: String,
}

/// `12 renameat2(7</store/x>, "a", 7</store/x>, "b", 0) = 0` → source, folder and name, if it is such a call.
fn parse_rename(number: usize, line: &str) -> Option<Rename> {
    let call = line.split_once("renameat")?.1;
    let words: Vec<&str> = call.split('"').collect();
    let folder = |word: &str| Some(word.split_once('<')?.1.split_once('>')?.0.to_owned());
    let (from, source, to, name) = (
        folder(words.first()?)?,
        words.get(1)?,
        folder(words.get(2)?)?,
        words.get(3)?,
    );
    let joined = format!("{to}/{name}");
    let (folder, name) = joined.rsplit_once('/')?;
    Some(Rename {
        line: number,
        source: format!("{from}/{source}"),
        folder: folder.into(),
        name: name.into(),
    })
}

fn synced(line: &str, path: &str) -> bool {
    line.contains("sync(") && line.contains(&format!("<{path}>"))
}

/// What every rename into the storage must have before and after it.
#[track_caller]
fn assert_durable(lines: &[&str], store: &str) {
    let renames: Vec<Rename> = lines
        .iter()
        .enumerate()
        .filter_map(|(number, line)| parse_rename(number, line))
        .filter(|rename| rename.folder.starts_with(store))
        .collect();
    let names: Vec<&str> = renames.iter().map(|rename| rename.name.as_str()).collect();
    for wanted in ["data", "index", "manifest", "engine_metadata", "metadata"] {
        assert_eq!(
            names.iter().filter(|name| **name == wanted).count(),
            1,
            "{wanted} in {names:?}"
        );
    }
    assert_eq!(
        names.last(),
        Some(&"metadata"),
        "the commit point isn't last: {names:?}"
    );
    for rename in &renames {
        let before = lines[..rename.line]
            .iter()
            .any(|line| synced(line, &rename.source));
        assert!(before, "{} appears before its content is on disk", rename.name);
        let after = lines[rename.line..]
            .iter()
            .any(|line| synced(line, &rename.folder));
        assert!(after, "the folder of {} is never synced", rename.name);
    }
    let commit = renames.last().map(|rename| rename.line).unwrap_or_default();
    for rename in &renames[..renames.len() - 1] {
        let durable = lines[rename.line..commit]
            .iter()
            .any(|line| synced(line, &rename.folder));
        assert!(
            durable,
            "{}'s folder is not on disk when the commit appears",
            rename.name
        );
    }
    let late = lines[commit..]
        .iter()
        .find(|line| line.contains("write") && line.contains(&format!("<{store}")));
    assert!(late.is_none(), "written after the commit: {late:?}");
}

/// Nothing in the storage is ever changed or replaced by a later run, but for what a run writes for itself.
#[test]
fn a_later_backup_changes_no_object_of_an_earlier_one() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"one");
    sandbox.backup(&[]);
    let digests = |label: &str| {
        let listed = program("bash")
            .args(["-c", "find . -type f -print0 | sort -z | xargs -0 sha256sum"])
            .cwd(&sandbox.store())
            .run()
            .expect(0)
            .text();
        assert!(!listed.is_empty(), "{label}: nothing is stored");
        listed
    };
    let first = digests("first");
    write(&sandbox.path("source/f"), b"two");
    sandbox.backup(&[]);
    sandbox.backup(&["--full"]);
    let later = digests("later");
    for line in first.lines() {
        assert!(later.contains(line), "changed or gone: {line}");
    }
}

#[test]
fn no_temporary_file_stays_behind() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"one");
    sandbox.backup(&[]);
    let found = program("find")
        .arg(sandbox.store())
        .args(["-name", "*.tmp*", "-o", "-name", ".*", "-type", "f"])
        .run()
        .expect(0);
    assert!(found.stdout.is_empty(), "temporary files stay behind\n{found}");
}

/// They trace or break system calls. `tests/run.sh` leaves them out where that is impossible.
mod needs_strace {
    use super::*;

    #[test]
    fn every_object_is_synced_before_it_appears_and_the_commit_is_last() {
        let sandbox = Sandbox::on_disk();
        write(&sandbox.path("source/f"), &Random::new(1).bytes(3 << 20));
        sandbox
            .scrubbed(Path::new("strace"))
            .args([
                "-f",
                "-y",
                "-qq",
                "-s",
                "4096",
                "-o",
                "trace",
                "-e",
                "trace=fsync,fdatasync,rename,renameat,renameat2,linkat,write,pwrite64",
            ])
            .arg(freezer_binary())
            .args([
                "backup",
                "source",
                "--name",
                "t",
                "--host",
                "h",
                "--max-segment-size",
                "1M",
                "--to",
                &sandbox.url(),
            ])
            .run()
            .expect(0);
        let trace = String::from_utf8_lossy(&fs::read(sandbox.path("trace")).expect("a trace")).into_owned();
        assert_durable(
            &trace.lines().collect::<Vec<_>>(),
            &sandbox.store().display().to_string(),
        );
    }
}
