//! Backups are readable without freezer: `openssl`, a decompressor and GNU tar give every level back.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{
    Backup, Finished, Mutator, Part, Sandbox, assert_same, backups, copy_tree, differences, make_odd_tree,
    program, write,
};
use rstest::rstest;

/// The pipeline from one stored level to standard output, by plain tools only.
fn decode(backup: &Backup, decompress: &str, encryption: Encryption, key: &Path) -> String {
    let data = backup.object(Part::Data).display().to_string();
    match encryption {
        Encryption::None => format!("{decompress} < '{data}'"),
        Encryption::Chain => format!(
            "openssl enc -d -aes-256-cfb -pbkdf2 -iter 1 -md sha256 -pass 'file:{}' -in '{data}' | {decompress}",
            key.display()
        ),
        Encryption::Compat => {
            format!(
                "openssl enc -d -aes-256-cfb -md sha256 -pass file:pass -in '{data}' 2>/dev/null | {decompress}"
            )
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    None,
    Chain,
    Compat,
}

impl Encryption {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Chain => &["--encrypt-pass-file", "pass"],
            Self::Compat => &["--encrypt-pass-file", "pass", "--compat"],
        }
    }
}

/// The wrapped chain key of a level, unwrapped by openssl into a file.
fn unwrap_key(sandbox: &Sandbox, backup: &Backup) -> PathBuf {
    let metadata: serde_json::Value =
        serde_json::from_slice(&fs::read(backup.object(Part::Metadata)).expect("metadata")).expect("JSON");
    let wrapped = metadata["key"]["wrapped"]
        .as_str()
        .expect("a wrapped key")
        .to_owned();
    let iterations = metadata["key"]["iterations"]
        .as_u64()
        .expect("iterations")
        .to_string();
    let key = program("openssl")
        .args([
            "enc",
            "-d",
            "-a",
            "-A",
            "-aes-256-cfb",
            "-pbkdf2",
            "-iter",
            &iterations,
            "-md",
            "sha256",
        ])
        .arg("-pass")
        .arg(format!("file:{}", sandbox.path("pass").display()))
        .stdin(wrapped)
        .run()
        .expect(0);
    let path = sandbox.path("chain.key");
    write(&path, &key.stdout);
    path
}

fn shell(sandbox: &Sandbox, script: &str) -> Finished {
    sandbox
        .scrubbed(Path::new("bash"))
        .args(["-c", &format!("set -eo pipefail\n{script}")])
        .run()
}

const TAR: &str = "tar -x --incremental --xattrs --xattrs-include='*' --acls --warning=no-timestamp";

#[rstest]
fn plain_tools_restore_every_level(
    #[values(("gzip", "gzip -d"), ("bzip2", "bzip2 -d"), ("xz:1", "xz -d"), ("zstd", "zstd -dq"), ("none", "cat"))]
    compression: (&str, &str),
    #[values(Encryption::None, Encryption::Chain, Encryption::Compat)] encryption: Encryption,
) {
    let (name, decompress) = compression;
    if encryption == Encryption::Compat && (name == "zstd" || name == "none") {
        // The original has no name for these; that they are refused is the golden transcripts' business.
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    let mut mutator = Mutator::new(name.len() as u64);
    mutator.change(&sandbox.source(), 40);
    for level in 0..3 {
        let mut options = vec!["--compression", name];
        options.extend(encryption.options());
        sandbox.backup(&options);
        copy_tree(&sandbox.source(), &sandbox.path(format!("state{level}")));
        mutator.change(&sandbox.source(), 15);
    }
    let stored = backups(&sandbox.store(), "h_t");
    assert_eq!(stored.len(), 3);
    fs::create_dir(sandbox.path("out")).expect("mkdir");
    for (level, backup) in stored.iter().enumerate() {
        let key = if encryption == Encryption::Chain {
            unwrap_key(&sandbox, backup)
        } else {
            PathBuf::new()
        };
        let pipe = decode(backup, decompress, encryption, &key);
        shell(&sandbox, &format!("{pipe} | {TAR} -C out")).expect(0);
        if let Some(found) = differences(&sandbox.path(format!("state{level}")), &sandbox.path("out"), &[]) {
            panic!("level {level}:\n{found}\n{}", mutator.log.join("\n"));
        }
    }
}

/// The command line that the original runs at restore: with `--overwrite`, which writes through old hard links.
#[test]
fn the_originals_own_tar_command_restores_every_level() {
    let sandbox = Sandbox::new();
    for seed in [21, 22] {
        let mut mutator = Mutator::new(seed);
        let out = sandbox.path(format!("out{seed}"));
        fs::create_dir(&out).expect("mkdir");
        mutator.change(&sandbox.source(), 30);
        for level in 0..4 {
            sandbox.backup(if level == 0 { &["--full"] } else { &[] });
            let newest = backups(&sandbox.store(), "h_t")
                .into_iter()
                .max_by_key(|b| b.time)
                .expect("a backup");
            let data = newest.object(Part::Data);
            let script = format!(
                "tar -z --incremental --extract --ignore-zeros --warning=none --overwrite --directory '{}' < '{}'",
                out.display(),
                data.display()
            );
            shell(&sandbox, &script).expect(0);
            if let Some(found) = differences(&sandbox.source(), &out, &["--ignore", "xattrs"]) {
                panic!("seed {seed}, level {level}:\n{found}\n{}", mutator.log.join("\n"));
            }
            mutator.change(&sandbox.source(), 12);
        }
    }
}

#[test]
fn gnu_tar_restores_an_odd_tree() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 60_000);
    // tar itself can't make paths beyond PATH_MAX.
    fs::remove_dir_all(sandbox.path("source/beyond")).expect("rm -r");
    sandbox.backup(&[]);
    let data = backups(&sandbox.store(), "h_t")[0].object(Part::Data);
    fs::create_dir(sandbox.path("out")).expect("mkdir");
    shell(
        &sandbox,
        &format!("gzip -d < '{}' | {TAR} -p --numeric-owner -C out", data.display()),
    )
    .expect(0);
    assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
    // Nothing in the stream is unknown to tar: no warning but those about odd times.
    let listed = shell(
        &sandbox,
        &format!(
            "gzip -d < '{}' | tar -t --warning=no-timestamp > list",
            data.display()
        ),
    )
    .expect(0);
    assert!(listed.stderr.trim().is_empty(), "tar complains\n{listed}");
}

/// `tar --compare` is one more witness, of another kind.
#[test]
fn gnu_tar_compares_a_level_equal_to_the_tree() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 100);
    for name in ["beyond", "special", "holes/over-8-gib", "holes/one-byte-at-end"] {
        let path = sandbox.path("source").join(name);
        if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .expect("rm");
    }
    sandbox.backup(&["--compression", "none"]);
    let data = backups(&sandbox.store(), "h_t")[0].object(Part::Data);
    let compared = shell(
        &sandbox,
        &format!(
            "tar --compare --warning=no-timestamp --numeric-owner -f '{}' -C source",
            data.display()
        ),
    );
    // tar also compares dumpdirs with what it would write itself, which lists every name as stored here.
    let text = compared.text();
    let differs = |line: &&str| match line.strip_suffix(": Contents differ") {
        Some(path) => !path.contains('\\') && !sandbox.path("source").join(path).is_dir(),
        None => true,
    };
    let lines: Vec<&str> = text
        .lines()
        .chain(compared.stderr.lines())
        .filter(differs)
        .collect();
    assert!(lines.is_empty(), "tar sees differences: {lines:?}\n{compared}");
    assert!(
        text.contains("./many: Contents differ"),
        "tar compared nothing\n{compared}"
    );
}

/// The commands that freezer prints for a backup are run as they are printed.
#[rstest]
#[case::plain(&[], "gzip")]
#[case::zstd_encrypted(&["--encrypt-pass-file", "pass"], "zstd")]
#[case::compat_encrypted(&["--encrypt-pass-file", "pass", "--compat"], "bzip2")]
fn printed_recovery_commands_work_as_printed(#[case] options: &[&str], #[case] compression: &str) {
    let sandbox = Sandbox::new();
    let pass = sandbox.pass_file();
    let mut mutator = Mutator::new(5);
    mutator.change(&sandbox.source(), 30);
    for _ in 0..3 {
        let mut words = vec!["--compression", compression];
        words.extend(options);
        sandbox.backup(&words);
        mutator.change(&sandbox.source(), 10);
    }
    let state = sandbox.path("state");
    copy_tree(&sandbox.source(), &state);
    let mut words = vec!["--compression", compression];
    words.extend(options);
    sandbox.backup(&words);
    let printed = sandbox.verb("list", &["--recovery"]).run().expect(0).text();
    let work = sandbox.path("work");
    fs::create_dir(&work).expect("mkdir");
    let run = sandbox
        .scrubbed(Path::new("bash"))
        .arg("-s")
        .env("PASS", pass)
        .stdin(printed.clone())
        .cwd(&work)
        .run();
    assert!(run.code == Some(0), "{run}\nthe commands were:\n{printed}");
    assert!(
        !printed.contains("freezer restore"),
        "the commands need freezer:\n{printed}"
    );
    assert_same(&state, &sandbox.path("work/out"), &[]);
}

/// An increment names nothing outside itself, and an encrypted backup shows no names.
#[test]
fn an_encrypted_backup_shows_no_file_names() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/very-secret-name"), b"very secret content");
    sandbox.backup(&["--encrypt-pass-file", "pass", "--compression", "none"]);
    for needle in ["very-secret-name", "very secret content", "correct horse"] {
        let found = program("grep").args(["-rla", needle]).arg(sandbox.store()).run();
        assert!(
            found.stdout.is_empty(),
            "{needle:?} is readable in\n{}",
            found.text()
        );
    }
}

/// Two streams never share a salt, and with it a key stream.
#[test]
fn every_stream_has_its_own_salt() {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    write(&sandbox.path("source/f"), b"x");
    for _ in 0..3 {
        sandbox.backup(&["--encrypt-pass-file", "pass"]);
    }
    let mut salts = Vec::new();
    for backup in backups(&sandbox.store(), "h_t") {
        for part in [Part::Data, Part::Index] {
            let bytes = fs::read(backup.object(part)).expect("object");
            assert_eq!(&bytes[..8], b"Salted__", "{part:?}");
            salts.push(bytes[8..16].to_vec());
        }
    }
    let count = salts.len();
    salts.sort();
    salts.dedup();
    assert_eq!((count, salts.len()), (6, 6));
}

/// The digests of manifest and metadata can be checked by hand, as docs/format.md says.
#[test]
fn the_manifest_seals_itself_and_is_named_by_metadata() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    sandbox.backup(&[]);
    let backup = &backups(&sandbox.store(), "h_t")[0];
    let manifest = backup.object(Part::Manifest).display().to_string();
    let metadata = backup.object(Part::Metadata).display().to_string();
    let script = format!(
        "printf 'sha256 %s\\n' $( (printf 'freezer manifest 1\\n'; head -n1 '{manifest}') | sha256sum | cut -d' ' -f1) \
         | cmp - <(tail -n1 '{manifest}')\n\
         grep -q $(head -n1 '{manifest}' | sha256sum | cut -d' ' -f1) '{metadata}'\n\
         data=$(python3 -c 'import json,sys; print(json.loads(open(sys.argv[1]).readline())[\"data\"][\"bytes\"])' '{manifest}')\n\
         test \"$data\" = $(stat -c %s '{}')",
        backup.object(Part::Data).display()
    );
    shell(&sandbox, &script).expect(0);
}
