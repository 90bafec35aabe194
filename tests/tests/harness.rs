//! The harness checked against itself: a comparer that sees nothing would make every other test pass.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use freezer_tests::{Mutator, Sandbox, assert_same, copy_tree, differences, program, write};
use rstest::rstest;

fn small_tree(root: &Path) {
    write(&root.join("a"), b"one");
    write(&root.join("d/b"), b"two");
    symlink("a", root.join("l")).expect("symlink");
    fs::hard_link(root.join("a"), root.join("d/h")).expect("link");
    fs::File::create(root.join("holes"))
        .and_then(|f| f.set_len(1 << 20))
        .expect("sparse file");
}

#[rstest]
#[case::content(
    "a",
    "printf 2ne > a.new; touch -r a a.new; ln -f a.new a; rm a.new; ln -f a d/h; touch -r l d",
    "sha256"
)]
#[case::mode("a", "chmod 4711 a", "mode")]
#[case::mtime("a", "touch -d @5.000000001 a", "mtime")]
#[case::owner_needs_root("a", "chown 5:6 a", "owner")]
#[case::link_target("l", "ln -sfn b l", "target")]
#[case::kind("l", "rm l; echo x > l", "type")]
#[case::hard_link("d/h", "cp -p d/h x; mv x d/h", "links")]
#[case::xattr("a", "setfattr -n user.x -v 0x00ff a", "xattrs")]
#[case::acl("a", "setfacl -m u:77:r a", "xattrs")]
#[case::holes("holes", "head -c 1048576 /dev/zero > holes", "holes")]
#[case::missing("d/b", "rm d/b", "missing")]
#[case::extra("new", "touch new", "extra")]
fn the_comparer_sees(#[case] path: &str, #[case] change: &str, #[case] field: &str) {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.path("a"), sandbox.path("b"));
    small_tree(&a);
    copy_tree(&a, &b);
    assert_same(&a, &b, &[]);
    program("sh").args(["-e", "-c", change]).cwd(&b).run().expect(0);
    let found = differences(&a, &b, &[]).expect("a difference");
    assert!(
        found.contains(&format!("{field}: {path}")),
        "no {field} of {path} in:\n{found}"
    );
}

#[test]
fn the_comparer_ignores_what_it_is_told_to_ignore() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.path("a"), sandbox.path("b"));
    small_tree(&a);
    copy_tree(&a, &b);
    fs::set_permissions(b.join("a"), fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_same(&a, &b, &["--ignore", "mode"]);
}

#[test]
fn equal_seeds_make_equal_histories() {
    let sandbox = Sandbox::new();
    let logs: Vec<_> = ["a", "b"]
        .map(|name| {
            let root = sandbox.path(name);
            small_tree(&root);
            let mut mutator = Mutator::new(7);
            mutator.change(&root, 100);
            mutator.log
        })
        .into();
    assert_eq!(logs[0], logs[1]);
    assert_same(&sandbox.path("a"), &sandbox.path("b"), &["--ignore", "mtime"]);
}

#[test]
fn every_kind_of_change_happens_within_a_few_hundred_steps() {
    let sandbox = Sandbox::new();
    let root = sandbox.path("a");
    small_tree(&root);
    let mut mutator = Mutator::new(1);
    mutator.change(&root, 600);
    let log = mutator.log.join("\n");
    for word in [
        "create",
        "mkdir",
        "symlink",
        "link",
        "append",
        "rewrite",
        "replace",
        "rm ",
        "rm -r",
        "mv",
        "into file",
        "into dir",
        "into symlink",
        "chmod",
        "touch",
        "sparse",
    ] {
        assert!(log.contains(&format!("\n{word}")), "600 steps never did {word:?}");
    }
}
