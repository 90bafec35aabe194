//! What is restored is what was backed up: content, modes, owners, ns times, links, holes, xattrs, ACLs, devices.
//! Compared by `tests/tools/lister.py` and by rsync.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use freezer_tests::{Sandbox, assert_same, make_odd_tree, program, write};
use rstest::rstest;

#[rstest]
#[case::gzip(&["--compression", "gzip"])]
#[case::gzip_fast_encrypted(&["--compression", "gzip:1", "--encrypt-pass-file", "pass"])]
#[case::bzip2(&["--compression", "bzip2"])]
#[case::xz(&["--compression", "xz:1"])]
#[case::zstd_encrypted(&["--compression", "zstd", "--encrypt-pass-file", "pass"])]
#[case::none(&["--compression", "none"])]
#[case::none_encrypted(&["--compression", "none", "--encrypt-pass-file", "pass"])]
#[case::compat(&["--compat"])]
#[case::compat_encrypted(&["--compat", "--encrypt-pass-file", "pass"])]
#[case::small_segments(&["--max-segment-size", "64K", "--compression", "zstd"])]
fn an_odd_tree_comes_back_whole(#[case] options: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    make_odd_tree(&sandbox.source(), 300);
    let done = sandbox.backup(options);
    assert!(
        done.stderr.contains("socket"),
        "a skipped socket must be said\n{done}"
    );
    let mut restore: Vec<&str> = Vec::new();
    if options.contains(&"--encrypt-pass-file") {
        restore.extend(["--encrypt-pass-file", "pass"]);
    }
    if options.contains(&"--compat") {
        restore.push("--compat");
    }
    let target = sandbox.restore("out", &restore);
    assert_same(&sandbox.source(), &target, &[]);
}

#[test]
fn a_directory_of_100_000_files_comes_back_whole() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 100_000);
    sandbox.backup(&[]);
    let target = sandbox.restore("out", &[]);
    assert_same(&sandbox.source(), &target, &[]);
}

#[test]
fn one_worker_restores_the_same_as_many() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 100);
    sandbox.backup(&["--workers", "1"]);
    let one = sandbox.restore("one", &["--workers", "1"]);
    let many = sandbox.restore("many", &["--workers", "8"]);
    assert_same(&sandbox.source(), &one, &[]);
    assert_same(&sandbox.source(), &many, &[]);
}

#[test]
fn equal_trees_give_equal_streams() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 100);
    let mut digests = Vec::new();
    for store in ["one", "two"] {
        let url = format!("local:{}", sandbox.path(store).display());
        fs::create_dir(sandbox.path(store)).expect("store");
        sandbox
            .freezer(["backup", "source", "--name", "t", "--host", "h", "--to", &url])
            .run()
            .expect(0);
        let found = freezer_tests::backups(&sandbox.path(store), "h_t");
        digests.push(fs::read(found[0].object(freezer_tests::Part::Data)).expect("data"));
    }
    assert!(digests[0] == digests[1], "two backups of one tree differ");
}

/// A real tree, compared by rsync as well: two independent witnesses.
#[test]
fn usr_share_comes_back_whole() {
    let source = Path::new("/usr/share");
    let sandbox = Sandbox::new();
    let url = sandbox.url();
    sandbox
        .freezer([
            "backup",
            "/usr/share",
            "--name",
            "share",
            "--host",
            "h",
            "--to",
            &url,
        ])
        .args(["--compression", "zstd"])
        .run()
        .expect(0);
    sandbox
        .freezer([
            "restore", "--name", "share", "--host", "h", "--from", &url, "--target", "out",
        ])
        .run()
        .expect(0);
    let target = sandbox.path("out");
    assert_same(source, &target, &[]);
    let listed = program("rsync")
        .args(["-naicAXHS", "--devices", "--specials", "--delete", "/usr/share/"])
        .arg(format!("{}/", target.display()))
        .run()
        .expect(0);
    assert!(listed.stdout.is_empty(), "rsync sees differences\n{listed}");
}

#[test]
fn a_single_file_is_a_tree_too() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/wanted"), b"this one");
    write(&sandbox.path("source/other"), b"not this one");
    let url = sandbox.url();
    sandbox
        .freezer([
            "backup",
            "source/wanted",
            "--name",
            "t",
            "--host",
            "h",
            "--to",
            &url,
        ])
        .run()
        .expect(0);
    let target = sandbox.restore("out", &[]);
    assert_eq!(fs::read(target.join("wanted")).expect("restored"), b"this one");
    assert!(!target.join("other").exists(), "a neighbour was taken along");
}

#[test]
fn an_empty_directory_is_a_backup() {
    let sandbox = Sandbox::new();
    sandbox.backup(&[]);
    let target = sandbox.restore("out", &[]);
    assert_same(&sandbox.source(), &target, &[]);
}

fn names_below(root: &Path) -> Vec<String> {
    let listed = program("find")
        .arg(".")
        .args(["-mindepth", "1", "-printf", "%P\\n"])
        .cwd(root)
        .run()
        .expect(0);
    let mut names: Vec<String> = listed.text().lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn excludable(sandbox: &Sandbox) {
    for name in [
        "keep.c",
        "drop.o",
        "d/drop.o",
        "d/keep.h",
        "build/x",
        "d/build/y",
        "cache/data",
    ] {
        write(&sandbox.path("source").join(name), b"x");
    }
    write(
        &sandbox.path("source/cache/CACHEDIR.TAG"),
        b"Signature: 8a477f597d28d172789f06886806bc55\n",
    );
}

#[test]
fn excludes_read_as_in_gitignore() {
    let sandbox = Sandbox::new();
    excludable(&sandbox);
    write(&sandbox.path("patterns"), b"# comment\n\n/cache\n");
    sandbox.backup(&[
        "--exclude",
        "*.o",
        "--exclude",
        "/build/",
        "--exclude-from",
        "patterns",
    ]);
    let target = sandbox.restore("out", &[]);
    assert_eq!(
        names_below(&target),
        ["d", "d/build", "d/build/y", "d/keep.h", "keep.c"]
    );
}

#[test]
fn tagged_caches_are_left_out_on_request() {
    let sandbox = Sandbox::new();
    excludable(&sandbox);
    sandbox.backup(&["--exclude-caches"]);
    let names = names_below(&sandbox.restore("out", &[]));
    assert!(!names.contains(&"cache/data".to_owned()), "{names:?}");
    assert!(names.contains(&"build/x".to_owned()), "{names:?}");
}

#[test]
fn symlinks_are_followed_on_request() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("outside/f"), b"content");
    symlink(sandbox.path("outside/f"), sandbox.path("source/link")).expect("symlink");
    sandbox.backup(&["--dereference", "soft"]);
    let target = sandbox.restore("out", &[]);
    assert!(
        target
            .join("link")
            .symlink_metadata()
            .expect("restored")
            .is_file()
    );
    assert_eq!(fs::read(target.join("link")).expect("restored"), b"content");
}

#[test]
fn symlinks_and_fifos_with_several_names_stay_one() {
    let sandbox = Sandbox::new();
    let source = sandbox.source();
    fs::create_dir(source.join("d")).expect("mkdir");
    symlink("somewhere", source.join("symlink")).expect("symlink");
    program("mkfifo").arg(source.join("fifo")).run().expect(0);
    for name in ["symlink", "fifo"] {
        fs::hard_link(source.join(name), source.join("d").join(name)).expect("link");
    }
    sandbox.backup(&[]);
    assert_same(&source, &sandbox.restore("out", &[]), &[]);
}

#[test]
fn hard_links_become_files_on_request() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a"), b"content");
    fs::hard_link(sandbox.path("source/a"), sandbox.path("source/b")).expect("link");
    sandbox.backup(&["--dereference", "hard"]);
    let target = sandbox.restore("out", &[]);
    assert_eq!(fs::metadata(target.join("a")).expect("a").nlink(), 1);
    assert_eq!(fs::read(target.join("b")).expect("b"), b"content");
}

/// They mount file systems in a name space of their own. `tests/run.sh` leaves them out where that is impossible.
mod needs_mounts {
    use super::*;

    #[rstest]
    #[case::stays(&[], false)]
    #[case::crosses(&["--cross-file-systems"], true)]
    fn other_file_systems_are_entered_only_on_request(#[case] options: &[&str], #[case] entered: bool) {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"x");
        fs::create_dir(sandbox.path("source/mnt")).expect("mkdir");
        let script = format!(
            "mount -t tmpfs -o size=1m none source/mnt && echo inner > source/mnt/inner && \
             exec {} backup source --name t --host h --to {} {}",
            freezer_tests::freezer_binary().display(),
            sandbox.url(),
            options.join(" ")
        );
        sandbox
            .scrubbed(Path::new("unshare"))
            .args(["-m", "sh", "-ec", &script])
            .run()
            .expect(0);
        let target = sandbox.restore("out", &[]);
        assert!(
            target.join("mnt").is_dir(),
            "the mount point itself belongs to the tree"
        );
        assert_eq!(target.join("mnt/inner").exists(), entered);
    }
}

/// They become another user, or make what only root can make. `tests/run.sh` leaves them out where that is impossible.
mod needs_root {
    use super::*;

    /// Without root: what can be kept is kept, what can't is named, and the rest goes on.
    #[test]
    fn a_user_without_rights_restores_what_he_may() {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"content");
        program("mknod")
            .arg(sandbox.path("source/device"))
            .args(["c", "1", "3"])
            .run()
            .expect(0);
        sandbox.backup(&[]);
        program("chmod")
            .args(["-R", "a+rwX"])
            .arg(sandbox.path("."))
            .run()
            .expect(0);
        let restored = sandbox
            .scrubbed(Path::new("setpriv"))
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(freezer_tests::freezer_binary())
            .args([
                "restore",
                "--name",
                "t",
                "--host",
                "h",
                "--from",
                &sandbox.url(),
                "--target",
                "out",
            ])
            .run()
            .expect(3)
            .says("device");
        let target = sandbox.path("out");
        assert_eq!(
            fs::read(target.join("f")).expect("restored"),
            b"content",
            "{restored}"
        );
        assert!(!target.join("device").exists());
    }
}
