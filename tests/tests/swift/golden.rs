//! What the original wrote into a Swift, in its new and in its old layout.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{differences_from_list, workspace};

use crate::account::Account;

mod needs_swift {
    use super::*;

    /// The objects of a recorded run of the original, each with the headers that were sent with it.
    #[test]
    fn the_new_layout_comes_back() {
        let account = Account::new();
        account.make(&[]);
        let recorded = golden("swift-tar-gzip/freezer_gold");
        for file in files(&recorded) {
            let name = file.strip_prefix(&recorded).expect("below").display().to_string();
            if name.ends_with(".headers.json") {
                continue;
            }
            let headers = fs::read(format!("{}.headers.json", file.display())).expect("headers");
            let headers: serde_json::Value = serde_json::from_slice(&headers).expect("JSON");
            let target = headers["stored"]["x-object-manifest"].as_str().map(|target| {
                let (_, prefix) = target.split_once('/').expect("a container");
                format!("X-Object-Manifest: {}/{prefix}", account.container)
            });
            upload(
                &account,
                &format!("{}/{name}", account.container),
                &file,
                target.as_deref(),
            );
        }
        assert_eq!(account.levels(), [0, 1]);
        for level in [0, 1] {
            restore(&account, level, "swift-tar-gzip");
        }
    }

    /// The same stream as in the recorded directory, cut and named as liberty did in a Swift.
    #[test]
    fn the_old_layout_comes_back_from_a_prefixed_container() {
        let mut account = Account::new();
        let given = account.container.clone();
        account.container = format!("freezer_{given}");
        account.make(&[]);
        account.container = format!("{given}_segments");
        account.make(&[]);
        let recorded = golden("legacy-tar-liberty");
        for file in files(&recorded) {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            if name.starts_with("tar_metadata_") {
                upload(&account, &format!("freezer_{given}/{name}"), &file, None);
                continue;
            }
            let content = fs::read(&file).expect("a stream");
            for (number, segment) in content.chunks(5000).enumerate() {
                let piece = account.sandbox.path("piece");
                fs::write(&piece, segment).expect("written");
                let path = format!("{given}_segments/{name}/1795553005/5000/{number:08}");
                upload(&account, &path, &piece, None);
            }
            let empty = account.sandbox.path("empty");
            fs::write(&empty, "").expect("written");
            let target = format!("X-Object-Manifest: {given}_segments/{name}");
            upload(
                &account,
                &format!("freezer_{given}/{name}"),
                &empty,
                Some(&target),
            );
        }
        account.container = given;
        assert_eq!(account.levels(), [0, 1, 2]);
        for level in [0, 1, 2] {
            restore(&account, level, "legacy-tar-liberty");
        }
    }
}

#[track_caller]
fn upload(account: &Account, path: &str, file: &Path, header: Option<&str>) {
    let file = file.display().to_string();
    let mut more = vec!["-f", "-T", &file];
    if let Some(header) = header {
        more.extend(["-H", header]);
    }
    account.ask("PUT", &format!("/{path}"), &more).expect(0);
}

/// Restores the recorded backup `gold` of host `node1` as it was at a level, and compares it with the recorded list.
#[track_caller]
fn restore(account: &Account, level: usize, variant: &str) {
    let url = account.url();
    let listed = account
        .freezer_as(&account.login, &["list", "--from", &url, "--json"])
        .run()
        .expect(0)
        .json();
    let backups = listed["result"]["backups"].as_array().expect("backups").clone();
    let at = backups
        .iter()
        .find(|backup| backup["level"] == level)
        .expect("the level")["time"]
        .to_string();
    let target = account.sandbox.path(format!("out{level}"));
    let words = [
        "restore", "--name", "gold", "--host", "node1", "--from", &url, "--at", &at,
    ];
    account
        .freezer_as(&account.login, &words)
        .arg("--target")
        .arg(&target)
        .run()
        .expect(0);
    let list = golden(&format!("{variant}.level{level}.jsonl"));
    if let Some(found) = differences_from_list(&list, &target, &["--whole-seconds", "--ignore", "holes"]) {
        panic!("{variant} level {level}:\n{found}");
    }
}

fn golden(name: &str) -> PathBuf {
    workspace().join("tests/golden/original").join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
