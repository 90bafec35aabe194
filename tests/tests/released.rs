//! What was released stays readable: archives of each stored format, and plugins compiled for each contract, as they
//! were then. `tests/golden/FORMAT` and `tests/golden/plugins/CONTRACT` are written once and never changed.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{
    Part, Program, Sandbox, assert_same, backups, copy_tree, differences_from_list, program, workspace, write,
};
use rstest::rstest;

/// The ways of storing that each format has a golden archive of.
const VARIANTS: [&str; 4] = ["gzip", "zstd", "encrypted", "compat"];

fn golden(name: &str) -> PathBuf {
    workspace().join("tests/golden").join(name)
}

/// The formats that have golden archives.
fn formats() -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(golden(""))
        .expect("tests/golden")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.parse::<u32>().is_ok())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no golden archives");
    found
}

/// `freezer VERB` about a golden backup.
fn look(sandbox: &Sandbox, container: &Path, verb: &str) -> Program {
    let url = format!("local:{}", container.display());
    let pass = container.with_file_name("pass");
    let looking = sandbox.freezer([verb, "--name", "golden", "--host", "host", "--from", &url]);
    if container.ends_with("encrypted") || container.ends_with("compat") {
        looking.args(["--encrypt-pass-file"]).arg(pass)
    } else {
        looking
    }
}

#[rstest]
fn every_state_of_a_released_format_comes_back(
    #[values("gzip", "zstd", "encrypted", "compat")] variant: &str,
) {
    for format in formats() {
        let sandbox = Sandbox::new();
        let container = golden(&format).join(variant);
        let stored = backups(&container, "host_golden");
        assert_eq!(stored.len(), 3, "format {format}, {variant}: three levels");
        for backup in stored {
            let target = format!("out{}", backup.level);
            look(&sandbox, &container, "restore")
                .args(["--at", &backup.time.to_string(), "--target", &target])
                .run()
                .expect(0);
            let list = golden(&format).join(format!("level{}.jsonl", backup.level));
            let found = differences_from_list(&list, &sandbox.path(&target), &["--ignore", "owner"]);
            assert!(
                found.is_none(),
                "format {format}, {variant}, level {}:\n{}",
                backup.level,
                found.unwrap_or_default()
            );
        }
    }
}

#[rstest]
fn a_released_format_is_looked_into_and_checked(
    #[values("gzip", "zstd", "encrypted", "compat")] variant: &str,
) {
    for format in formats() {
        let sandbox = Sandbox::new();
        let container = golden(&format).join(variant);
        look(&sandbox, &container, "check")
            .args(["--read-data"])
            .run()
            .expect(0);
        let listed = look(&sandbox, &container, "ls")
            .args(["d"])
            .run()
            .expect(0)
            .text();
        assert!(listed.contains("linked") && !listed.contains("deep"), "{listed}");
        let dumped = look(&sandbox, &container, "dump").args(["a"]).run().expect(0);
        assert_eq!(dumped.stdout, b"one\nchanged\n");
    }
}

/// They mount. `tests/run.sh` leaves them out where that is impossible.
mod needs_mounts {
    use super::*;

    /// The source of the golden chains (tests/tools/golden.sh).
    const BEGUN_FROM: &str = "/tmp/golden/tree";

    /// A chain of a released format goes on, in a copy; its oldest state stays as it was.
    #[rstest]
    fn a_chain_of_a_released_format_is_continued(
        #[values("gzip", "zstd", "encrypted", "compat")] variant: &str,
    ) {
        for format in formats() {
            let sandbox = Sandbox::new();
            // The container keeps its name, by which `look` knows it.
            let container = sandbox.path(variant);
            copy_tree(&golden(&format).join(variant), &container);
            fs::copy(golden(&format).join("pass"), sandbox.path("pass")).expect("pass file");
            look(&sandbox, &container, "restore")
                .args(["--target", "tree"])
                .run()
                .expect(0);
            write(&sandbox.path("tree/added"), b"later");
            fs::remove_file(sandbox.path("tree/a")).expect("rm");
            let options = match variant {
                "encrypted" => "--encrypt-pass-file pass".to_owned(),
                "compat" => "--encrypt-pass-file pass --compat".to_owned(),
                _ => format!("--compression {variant}"),
            };
            // A chain is continued only from the path that it was begun from.
            let script = format!(
                "mkdir -p {BEGUN_FROM} && mount --bind tree {BEGUN_FROM} && \
                 exec {} backup {BEGUN_FROM} --name golden --host host --to local:{} {options}",
                freezer_tests::freezer_binary().display(),
                container.display(),
            );
            sandbox
                .scrubbed(Path::new("unshare"))
                .args(["-m", "sh", "-ec", &script])
                .run()
                .expect(0);
            let levels: Vec<u32> = backups(&container, "host_golden")
                .iter()
                .map(|b| b.level)
                .collect();
            assert_eq!(levels, [0, 1, 2, 3], "format {format}, {variant}");
            look(&sandbox, &container, "restore")
                .args(["--target", "out"])
                .run()
                .expect(0);
            assert_same(&sandbox.path("tree"), &sandbox.path("out"), &[]);
        }
    }
}

/// The format that is written today has golden archives, and so has each one before it.
#[test]
fn every_format_up_to_the_one_written_today_is_kept() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    sandbox.backup(&[]);
    let stored = backups(&sandbox.store(), "h_t");
    let manifest = fs::read(stored[0].object(Part::Manifest)).expect("manifest");
    let line = manifest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(line).expect("JSON");
    let newest = manifest["format"].as_u64().expect("a number");
    let index = fs::read(stored[0].object(Part::Index)).expect("index");
    for format in 1..=newest {
        for variant in VARIANTS {
            let kept = backups(&golden(&format.to_string()).join(variant), "host_golden");
            assert_eq!(
                kept.len(),
                3,
                "format {format} has no golden archive {variant}: tests/tools/golden.sh"
            );
        }
    }
    let kept = backups(&golden(&newest.to_string()).join("gzip"), "host_golden");
    let kept = fs::read(kept[0].object(Part::Index)).expect("index");
    assert_eq!(
        kept[..8],
        index[..8],
        "the index has a new version, and no golden archive"
    );
}

/// The contracts that plugins are kept for.
fn contracts() -> Vec<String> {
    let found: Vec<String> = fs::read_dir(golden("plugins"))
        .expect("tests/golden/plugins")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!found.is_empty(), "no compiled plugins");
    found
}

#[test]
fn the_contract_of_today_has_compiled_plugins() {
    let types = fs::read_to_string(workspace().join("wit/types.wit")).expect("wit");
    let package = types
        .lines()
        .find(|line| line.starts_with("package "))
        .expect("a package line");
    let version = package.split(['@', ';']).nth(1).expect("a version");
    assert!(
        contracts().iter().any(|kept| kept == version),
        "none for {version}: {:?}",
        contracts()
    );
}

/// Foreign components: nothing is pinned for them but what grants.toml says, here about exactly these.
#[test]
fn plugins_compiled_for_a_released_contract_still_work() {
    for contract in contracts() {
        let sandbox = Sandbox::new();
        let plugins = golden("plugins").join(&contract);
        let plugins_dir = plugins.display().to_string();
        write(&sandbox.path("source/d/f"), b"content");
        // Without plugins beside it: a file that was built with the program is never passed over for another.
        let binary = sandbox.path("bin/freezer");
        fs::create_dir(sandbox.path("bin")).expect("mkdir");
        fs::copy(freezer_tests::freezer_binary(), &binary).expect("a copy of the program");
        let url = sandbox.url();
        let freezer = |words: &[&str]| {
            let named = ["--name", "t", "--host", "h", "--plugins-dir", &plugins_dir];
            sandbox.scrubbed(&binary).args(words).args(named)
        };
        freezer(&["backup", "source", "--to", &url])
            .run()
            .expect(1)
            .says("grants.toml")
            .says("local isn't allowed");
        let digests = program("sha256sum")
            .arg(plugins.join("local.wasm"))
            .run()
            .expect(0)
            .text();
        let digest = digests.split(' ').next().unwrap_or_default();
        write(
            &sandbox.path("home/.config/freezer/grants.toml"),
            format!("[local]\nsha256 = \"{digest}\"\nfiles = [{{ root = \"{{path}}\", access = \"read-write\" }}]\n").as_bytes(),
        );
        freezer(&["backup", "source", "--to", &url]).run().expect(0);
        write(&sandbox.path("source/d/g"), b"more");
        freezer(&["backup", "source", "--to", &url]).run().expect(0);
        freezer(&["check", "--from", &url, "--read-data"]).run().expect(0);
        freezer(&["restore", "--from", &url, "--target", "out"])
            .run()
            .expect(0);
        assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
        let shown = sandbox
            .scrubbed(&binary)
            .args(["plugin", "inspect", "local", "--plugins-dir", &plugins_dir])
            .run()
            .expect(0)
            .text();
        assert!(shown.contains("foreign") && shown.contains(digest), "{shown}");
    }
}
