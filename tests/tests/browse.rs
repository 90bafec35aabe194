//! Looking into backups: list, ls, dump, partial restore, dry run; and what a look costs.

use std::fs;
use std::path::Path;

use freezer_tests::{Part, Random, Sandbox, assert_same, backups, write};
use rstest::rstest;

/// Three levels; `old` lies in level 0, `changed` in level 2.
fn three_levels(sandbox: &Sandbox, options: &[&str]) {
    sandbox.pass_file();
    write(&sandbox.path("source/dir/old"), b"from level 0");
    write(&sandbox.path("source/changed"), b"first");
    write(&sandbox.path("source/gone"), b"deleted later");
    sandbox.backup(options);
    write(&sandbox.path("source/changed"), b"second");
    fs::remove_file(sandbox.path("source/gone")).expect("rm");
    sandbox.backup(options);
    write(&sandbox.path("source/changed"), b"third");
    sandbox.backup(options);
}

#[test]
fn list_names_every_backup() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &[]);
    let url = sandbox.url();
    let listed = sandbox.freezer(["list", "--from", &url]).run().expect(0);
    let text = listed.text();
    let rows = text
        .lines()
        .filter(|line| line.contains('t') && line.contains('h'))
        .count();
    assert!(rows >= 3, "{listed}");
    let document = sandbox
        .freezer(["list", "--json", "--from", &url])
        .run()
        .expect(0)
        .json();
    let shown = document.to_string();
    for backup in backups(&sandbox.store(), "h_t") {
        assert!(
            shown.contains(&backup.time.to_string()) || shown.contains("\"level\""),
            "{document:#}"
        );
    }
}

#[test]
fn list_needs_no_password() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &["--encrypt-pass-file", "pass"]);
    let url = sandbox.url();
    sandbox.freezer(["list", "--from", &url]).run().expect(0);
}

#[test]
fn ls_shows_the_state_of_a_date() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &[]);
    let newest = sandbox.verb("ls", &["--recursive"]).run().expect(0).text();
    assert!(
        newest.contains("dir/old") && newest.contains("changed") && !newest.contains("gone"),
        "{newest}"
    );
    let first = backups(&sandbox.store(), "h_t")[0].time.to_string();
    let oldest = sandbox
        .verb("ls", &["--recursive", "--at", &first])
        .run()
        .expect(0)
        .text();
    assert!(oldest.contains("gone"), "{oldest}");
    let below = sandbox.verb("ls", &["dir"]).run().expect(0).text();
    assert!(below.contains("old") && !below.contains("changed"), "{below}");
}

#[test]
fn a_storage_that_was_put_back_to_an_earlier_copy_is_told() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"first");
    sandbox.backup(&[]);
    freezer_tests::copy_tree(&sandbox.store(), &sandbox.path("earlier"));
    write(&sandbox.path("source/f"), b"second");
    sandbox.backup(&[]);
    let url = sandbox.url();
    let list = || sandbox.freezer(["list", "--from", &url]).run().expect(0);
    list().never_says("this machine has seen");
    fs::remove_dir_all(sandbox.store()).expect("rm -r");
    freezer_tests::copy_tree(&sandbox.path("earlier"), &sandbox.store());
    const WARNING: &str = "newer ones were removed, or the storage is an older copy";
    list().says(WARNING);
    sandbox
        .freezer(["check", "--from", &url])
        .run()
        .expect(0)
        .says(WARNING);
    sandbox.restore_command("out", &[]).run().expect(0).says(WARNING);
    sandbox.backup_command(&[]).run().expect(0).says(WARNING);
    list().never_says("this machine has seen");
}

#[test]
fn ls_escapes_what_would_disturb_a_terminal() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source").join("esc\u{1b}[31m\nnext"), b"x");
    sandbox.backup(&[]);
    let listed = sandbox.verb("ls", &["--recursive"]).run().expect(0);
    assert!(
        !listed.stdout.contains(&0x1b),
        "a raw escape reached the terminal\n{listed}"
    );
}

#[test]
fn ls_of_a_path_that_is_not_there_says_so() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &[]);
    sandbox
        .verb("ls", &["no/such"])
        .run()
        .no_crash()
        .expect(4)
        .says("no/such");
}

#[rstest]
#[case::clear(&[], &[])]
#[case::encrypted(&["--encrypt-pass-file", "pass"], &["--encrypt-pass-file", "pass"])]
fn dump_gives_the_bytes_of_a_date(#[case] backup: &[&str], #[case] read: &[&str]) {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, backup);
    let times: Vec<String> = backups(&sandbox.store(), "h_t")
        .iter()
        .map(|b| b.time.to_string())
        .collect();
    for (time, content) in times.iter().zip(["first", "second", "third"]) {
        let mut words = vec!["--at", time.as_str(), "changed"];
        words.extend(read);
        assert_eq!(sandbox.verb("dump", &words).run().expect(0).text(), content);
    }
    let mut words = vec!["dir/old"];
    words.extend(read);
    assert_eq!(
        sandbox.verb("dump", &words).run().expect(0).text(),
        "from level 0"
    );
}

#[test]
fn dump_of_what_is_no_file_says_so() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &[]);
    sandbox
        .verb("dump", &["no/such"])
        .run()
        .no_crash()
        .expect(4)
        .says("no/such");
    let directory = sandbox.verb("dump", &["dir"]).run().no_crash();
    assert_ne!(directory.code, Some(0), "{directory}");
}

#[test]
fn dump_follows_hard_links_and_fills_holes() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/z"), b"linked");
    fs::hard_link(sandbox.path("source/z"), sandbox.path("source/a")).expect("link");
    let file = fs::File::create(sandbox.path("source/holes")).expect("create");
    file.set_len(3 << 20).expect("truncate");
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 1 << 20).expect("write");
    sandbox.backup(&[]);
    for name in ["a", "z"] {
        assert_eq!(sandbox.verb("dump", &[name]).run().expect(0).text(), "linked");
    }
    let holes = sandbox.verb("dump", &["holes"]).run().expect(0).stdout;
    assert!(
        holes == fs::read(sandbox.path("source/holes")).expect("read"),
        "a sparse file came out wrong"
    );
}

/// What one command read from the storage: bytes, and how often an index or a stream was opened.
fn reads_of(sandbox: &Sandbox, arguments: &[&str]) -> (u64, usize, Vec<u8>) {
    let trace = sandbox.path("trace");
    let done = sandbox
        .scrubbed(Path::new("strace"))
        .args([
            "-f",
            "-y",
            "-qq",
            "-e",
            "trace=openat,openat2,read,pread64,readv,preadv,preadv2,mmap,sendfile,copy_file_range",
        ])
        .arg("-o")
        .arg(&trace)
        .arg(freezer_tests::freezer_binary())
        .args(arguments)
        .run()
        .expect(0);
    let store = sandbox.store().display().to_string();
    let (mut bytes, mut opened) = (0, 0);
    for line in fs::read_to_string(&trace)
        .expect("a trace")
        .lines()
        .filter(|line| line.contains(&store))
    {
        let Some(result) = line.rsplit(" = ").next() else {
            continue;
        };
        if line.contains("openat") {
            opened += usize::from(result.ends_with("/index>") || result.ends_with("/data>"));
        } else if let Some(count) = result
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<u64>().ok())
        {
            bytes += count;
        }
    }
    (bytes, opened, done.stdout)
}

/// One small file out of a large backup costs two frames, not the backup: whatever the size and the level.
#[rstest]
#[case::clear(&[])]
#[case::encrypted(&["--encrypt-pass-file", "pass"])]
fn one_small_file_costs_few_reads(#[case] options: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    let mut random = Random::new(9);
    for number in 0..120 {
        let noise: Vec<u8> = (0..60_000).flat_map(|_| random.word().to_le_bytes()).collect();
        write(&sandbox.path(format!("source/{number:03}/large")), &noise);
        write(
            &sandbox.path(format!("source/{number:03}/small")),
            format!("number {number}").as_bytes(),
        );
    }
    sandbox.backup(options);
    for level in 0..2 {
        write(&sandbox.path("source/more"), &[level; 9]);
        sandbox.backup(options);
    }
    let whole = fs::metadata(backups(&sandbox.store(), "h_t")[0].object(Part::Data))
        .expect("data")
        .len();
    assert!(
        whole > 50 << 20,
        "the backup is too small to prove anything: {whole}"
    );
    let url = sandbox.url();
    let mut words = vec!["dump", "--name", "t", "--host", "h", "--from", &url];
    words.extend(options);
    words.push("077/small");
    let (bytes, opened, content) = reads_of(&sandbox, &words);
    assert_eq!(content, b"number 77");
    assert!(bytes > 0, "the trace saw no read at all");
    assert!(
        bytes <= 2 * (1 << 20) + 200_000,
        "{bytes} bytes read for one small file"
    );
    assert!(opened <= 8, "{opened} requests for one small file");
}

#[test]
fn a_part_of_a_backup_is_restored() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &[]);
    write(&sandbox.path("source/dir/deeper/x"), b"x");
    write(&sandbox.path("source/directory-with-longer-name"), b"x");
    sandbox.backup(&[]);
    let target = sandbox.restore("out", &["--path", "dir", "--path", "changed"]);
    assert_same(&sandbox.path("source/dir"), &target.join("dir"), &[]);
    assert_eq!(fs::read(target.join("changed")).expect("changed"), b"third");
    assert!(
        !target.join("directory-with-longer-name").exists(),
        "more than asked for"
    );
    sandbox
        .restore_command("other", &["--path", "no/such"])
        .run()
        .no_crash()
        .expect(4)
        .says("no/such");
}

#[test]
fn a_part_with_a_hard_link_to_the_outside_gets_its_content() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a/first"), b"shared");
    fs::create_dir(sandbox.path("source/b")).expect("mkdir");
    fs::hard_link(sandbox.path("source/a/first"), sandbox.path("source/b/second")).expect("link");
    sandbox.backup(&[]);
    let target = sandbox.restore("out", &["--path", "b"]);
    assert_eq!(fs::read(target.join("b/second")).expect("restored"), b"shared");
    assert!(!target.join("a/first").exists(), "more than asked for");
}

#[test]
fn a_dry_run_writes_nothing() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    sandbox.backup(&["--dry-run"]);
    assert_eq!(
        fs::read_dir(sandbox.store()).expect("store").count(),
        0,
        "a dry run wrote to the storage"
    );
    sandbox.backup(&[]);
    sandbox.restore_command("out", &["--dry-run"]).run().expect(0);
    let made = fs::read_dir(sandbox.path("out"))
        .map(Iterator::count)
        .unwrap_or(0);
    assert_eq!(made, 0, "a dry run restored something");
}

#[test]
fn check_of_a_whole_storage_is_quiet_about_good_ones() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &["--encrypt-pass-file", "pass"]);
    let url = sandbox.url();
    sandbox
        .freezer(["check", "--from", &url, "--encrypt-pass-file", "pass"])
        .run()
        .expect(0);
    sandbox
        .freezer([
            "check",
            "--from",
            &url,
            "--encrypt-pass-file",
            "pass",
            "--read-data",
        ])
        .run()
        .expect(0);
    sandbox.freezer(["check", "--from", &url]).run().expect(0);
}

#[test]
fn json_is_one_document_for_every_verb_and_for_errors() {
    let sandbox = Sandbox::new();
    three_levels(&sandbox, &[]);
    let url = sandbox.url();
    let runs: [&[&str]; 5] = [
        &["list", "--json", "--from", &url],
        &["check", "--json", "--from", &url],
        &[
            "restore", "--json", "--name", "t", "--host", "h", "--from", &url, "--target", "out",
        ],
        &[
            "backup", "source", "--json", "--name", "t", "--host", "h", "--to", &url,
        ],
        &["plugin", "list", "--json"],
    ];
    for words in runs {
        let done = sandbox.freezer(words).run().expect(0);
        serde_json::from_str::<serde_json::Value>(&done.text())
            .unwrap_or_else(|error| panic!("not one document: {error}\n{done}"));
    }
    let failed = sandbox
        .freezer([
            "restore", "--json", "--name", "x", "--host", "h", "--from", &url, "--target", "o",
        ])
        .run();
    assert_eq!(failed.code, Some(4), "{failed}");
    assert!(failed.json().to_string().contains('x'), "{failed}");
}
