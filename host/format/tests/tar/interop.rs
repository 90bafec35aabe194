//! GNU tar and Python read what we write, and we read what they write in each of their forms.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::tree::{Tree, assert_same, run, unfold};
use freezer_format::tar::dumpdir::DumpdirWriter;
use freezer_format::tar::snar::{SnarDirectory, SnarKind, SnarReader, SnarWriter};
use freezer_format::tar::{
    END, Member, MemberKind, MemberReader, ReadOptions, SPARSE_PIECES_MAX, content_bytes, encode, padding,
};
use freezer_format::time::Time;

/// Prints what Python's tarfile makes of an archive: a JSON object a member.
const LIST: &str = r#"
import json, sys, tarfile, hashlib
for m in tarfile.open(sys.argv[1], encoding='utf-8', errors='surrogateescape'):
    b = lambda text: text.encode('utf-8', 'surrogateescape').hex()
    data = hashlib.sha256(b'')
    if m.isreg():
        f = sys.modules['tarfile'].open(sys.argv[1], errors='surrogateescape').extractfile(m) if m.size < 1 << 24 else None
        while f and (piece := f.read(1 << 16)):
            data.update(piece)
    print(json.dumps(dict(name=b(m.name), type=m.type.decode('latin1'), size=m.size, mode=m.mode, uid=m.uid, gid=m.gid,
        uname=b(m.uname), gname=b(m.gname), mtime=str(m.pax_headers.get('mtime', m.mtime)), link=b(m.linkname),
        major=m.devmajor, minor=m.devminor, sha=data.hexdigest(), pax={k: b(v) for k, v in m.pax_headers.items()})))
"#;

fn file(path: impl Into<Vec<u8>>, size: u64) -> Member {
    Member {
        size,
        mode: 0o640,
        mtime: Time {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        ..Member::new(path, MemberKind::File)
    }
}

fn write(archive: &Path, members: &[(Member, Vec<u8>)]) {
    let mut out = Vec::new();
    for (member, content) in members {
        encode(member, &mut out).unwrap();
        assert_eq!(content.len() as u64, content_bytes(member));
        out.extend_from_slice(content);
        out.resize(out.len() + padding(content.len() as u64), 0);
    }
    out.extend_from_slice(&END);
    std::fs::write(archive, out).unwrap();
}

/// One of every odd kind of member, with content.
fn odd_members() -> Vec<(Member, Vec<u8>)> {
    let members = odd_files().into_iter().chain(odd_nodes());
    members
        .map(|member| {
            let content = vec![b'x'; content_bytes(&member) as usize];
            (member, content)
        })
        .collect()
}

fn odd_files() -> Vec<Member> {
    let at = |seconds, nanoseconds, path: &str| Member {
        mtime: Time { seconds, nanoseconds },
        ..file(path, 0)
    };
    let long = vec![b"directory-of-a-long-path".to_vec(); 120].join(&b'/');
    let mut large_ids = file("large-ids", 3);
    (large_ids.uid, large_ids.gid) = (4_000_000_000, 2_097_152);
    let mut names = file("names", 0);
    (names.uname, names.gname) = (vec![b'u'; 40], b"g".to_vec());
    let mut setuid = file("setuid", 0);
    setuid.mode = 0o4755;
    vec![
        large_ids,
        at(-6, 500_000_000, "before-1970"),
        at(8_000_000_000, 1, "after-2106"),
        at(1_600_000_000, 123_456_789, "nanoseconds"),
        names,
        file(&b"bad\xff\xfe\nname"[..], 1),
        file(vec![b'n'; 255], 513),
        file(long, 1),
        setuid,
        with_attributes(),
    ]
}

fn with_attributes() -> Member {
    let mut member = file("attributes", 0);
    member.xattrs = vec![
        (b"user.a=b%c".to_vec(), b"raw\0\n\xff".to_vec()),
        (b"user.empty".to_vec(), Vec::new()),
    ];
    let acl = b"user::rw-\nuser:12345:r--\ngroup::r--\nmask::r--\nother::---\n";
    member.acl_access = Some(acl.to_vec());
    member
}

fn odd_nodes() -> Vec<Member> {
    let node = |path: &str, kind, mode| Member {
        mode,
        ..Member::new(path, kind)
    };
    let mut symlink = node("symlink", MemberKind::Symlink, 0o777);
    symlink.link = vec![b't'; 1000];
    let mut hard = node("hard", MemberKind::HardLink, 0o640);
    hard.link = vec![b'n'; 255];
    let mut disk = node("disk", MemberKind::BlockDevice, 0o660);
    disk.rdev = (8, 70_000);
    vec![
        symlink,
        hard,
        disk,
        node("fifo", MemberKind::Fifo, 0o600),
        node("directory", MemberKind::Directory, 0o750),
    ]
}

#[test]
fn gnu_tar_restores_attributes_and_acls() {
    // Not every file system of temporary files holds attributes; that of the build directory should.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (archive, out) = (directory.path().join("a.tar"), directory.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    write(&archive, &[(with_attributes(), Vec::new())]);
    let mut tar = Command::new("tar");
    tar.args([
        "-x",
        "--no-same-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "-C",
    ])
    .arg(&out)
    .arg("-f")
    .arg(&archive);
    run(&mut tar);
    let script = "import os, sys
for name in sorted(os.listxattr(sys.argv[1])):
    if not name.startswith('security.'):
        print(name, os.getxattr(sys.argv[1], name).hex())";
    let listing = run(Command::new("python3")
        .args(["-c", script])
        .arg(out.join("attributes")));
    let listing = String::from_utf8(listing).unwrap();
    let lines: Vec<_> = listing.lines().collect();
    assert_eq!(lines.len(), 3, "{listing}");
    // User 12345 may read.
    assert!(
        lines[0].starts_with("system.posix_acl_access ") && lines[0].contains("0200040039300000"),
        "{listing}"
    );
    assert_eq!(lines[1..], ["user.a=b%c 726177000aff", "user.empty "]);
}

#[test]
fn python_reads_what_we_write() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("a.tar");
    let members = odd_members();
    write(&archive, &members);
    let listing = run(Command::new("python3").args(["-c", LIST]).arg(&archive));
    let rows: Vec<serde_json::Value> = String::from_utf8(listing)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), members.len());
    for (row, (member, _)) in rows.iter().zip(&members) {
        let hex = |key: &str| hex::decode(row[key].as_str().unwrap()).unwrap();
        assert_eq!(hex("name"), [b"./", member.path.as_slice()].concat());
        assert_eq!(row["size"], member.size);
        assert_eq!(
            (&row["uid"], &row["gid"]),
            (&member.uid.into(), &member.gid.into())
        );
        assert_eq!(row["mode"], member.mode);
        assert_eq!(
            (hex("uname"), hex("gname")),
            (member.uname.clone(), member.gname.clone())
        );
        if member.kind == MemberKind::Symlink {
            assert_eq!(hex("link"), member.link);
        }
        if member.kind == MemberKind::BlockDevice {
            assert_eq!(
                (&row["major"], &row["minor"]),
                (&member.rdev.0.into(), &member.rdev.1.into())
            );
        }
        let mtime: f64 = row["mtime"].as_str().unwrap().parse().unwrap();
        assert!(
            (mtime - member.mtime.as_nanos() as f64 / 1e9).abs() < 1e-6,
            "{row}"
        );
    }
}

#[test]
fn gnu_tar_lists_large_sizes_and_ids() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("a.tar");
    let size = 20 << 30;
    let sparse = Member {
        sparse: Some(vec![(10 << 30, 4)]),
        uid: 4_000_000_000,
        ..file("big", size)
    };
    write(&archive, &[(sparse, b"data".to_vec())]);
    let listing = run(Command::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(&archive));
    let listing = String::from_utf8(listing).unwrap();
    assert!(
        listing.contains("4000000000/0") && listing.contains(&size.to_string()),
        "{listing}"
    );
    assert!(listing.trim_end().ends_with("./big"), "{listing}");
}

#[test]
fn gnu_tar_extracts_what_we_write() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("a.tar"), directory.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    let mut members = odd_members();
    // Making devices and giving files away takes root; these are compared by listing.
    members.retain(|(member, _)| member.kind != MemberKind::BlockDevice && member.acl_access.is_none());
    let content: Vec<u8> = (0..9000u32).map(|at| at as u8 | 1).collect();
    let pieces = vec![(1 << 20, 4096), (3 << 20, 4904)];
    let name = vec![vec![b's'; 170]; 2].join(&b'/');
    let sparse = Member {
        sparse: Some(pieces),
        ..file(name, 5 << 20)
    };
    members.push((sparse, content.clone()));
    let hole = Member {
        sparse: Some(Vec::new()),
        ..file("hole", 7 << 20)
    };
    members.push((hole, Vec::new()));
    write(&archive, &members);
    let mut tar = Command::new("tar");
    tar.args([
        "--warning=no-timestamp",
        "--no-same-owner",
        "-p",
        "-x",
        "--xattrs",
        "-C",
    ])
    .arg(&out)
    .arg("-f")
    .arg(&archive);
    run(&mut tar);
    let mut ours = Tree::default();
    ours.apply(std::fs::File::open(&archive).unwrap());
    let mut theirs = Tree::of_disk(&out);
    // Directories that only paths name have no member, and setuid may go with the owner.
    theirs.nodes.retain(|path, _| ours.nodes.contains_key(path));
    for tree in [&mut ours, &mut theirs] {
        tree.nodes.values_mut().for_each(|node| node.mode &= 0o777);
        tree.remove(b"symlink");
    }
    assert_same(&theirs, &ours, "extracted");
    let blocks =
        |name: &str| std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(out.join(name)).unwrap());
    assert_eq!(blocks("hole"), 0);
}

/// Reads all members of an archive with their whole content.
fn read(archive: &Path, options: ReadOptions) -> Vec<(Member, Vec<u8>)> {
    let file = std::io::BufReader::new(std::fs::File::open(archive).unwrap());
    let mut reader = MemberReader::new(file, 0, options);
    let mut members = Vec::new();
    while let Some(member) = reader.next_member().unwrap() {
        let mut stored = Vec::new();
        reader.read_to_end(&mut stored).unwrap();
        let content = unfold(&member, &stored);
        members.push((member, content));
    }
    members
}

/// Makes a small tree of odd entries.
fn make_tree(root: &Path) {
    let long = root.join("d".repeat(200)).join("e".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("f".repeat(100)), "deep").unwrap();
    std::fs::write(root.join("plain"), "content").unwrap();
    std::fs::write(root.join("name\nwith newline"), "").unwrap();
    std::fs::hard_link(root.join("plain"), root.join("second")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), root.join("symlink")).unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo")));
    let script = "import sys
f = open(sys.argv[1], 'wb')
for i in range(40):
    f.seek(i * 131072); f.write(bytes([i + 1]) * 5000)
f.truncate(40 * 131072)";
    run(Command::new("python3")
        .args(["-c", script])
        .arg(root.join("sparse")));
}

fn archive_of(root: &Path, archive: &Path, options: &[&str]) {
    let snapshot = root.with_extension("snar");
    let options = options
        .iter()
        .map(|option| option.replace("SNAPSHOT", snapshot.to_str().unwrap()));
    run(Command::new("tar")
        .arg("-cf")
        .arg(archive)
        .args(options)
        .arg("-C")
        .arg(root)
        .arg("."));
    if snapshot.exists() {
        std::fs::remove_file(snapshot).unwrap();
    }
}

#[test]
fn we_read_every_form_of_gnu_tar() {
    let directory = tempfile::tempdir().unwrap();
    let (root, archive) = (directory.path().join("in"), directory.path().join("a.tar"));
    std::fs::create_dir(&root).unwrap();
    make_tree(&root);
    let expected = Tree::of_disk(&root);
    for options in [
        &["--format=posix"] as &[&str],
        &["--format=posix", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix", "--listed-incremental=SNAPSHOT"],
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=gnu", "--listed-incremental=SNAPSHOT"],
        &["--format=oldgnu", "--sparse"],
        &[
            "--format=gnu",
            "--label=a volume",
            "--owner=nobody:5000000",
            "--group=staff:4000000",
        ],
    ] {
        archive_of(&root, &archive, options);
        let mut tree = Tree::default();
        tree.apply(std::fs::File::open(&archive).unwrap());
        let mut expected = expected.clone();
        if options[0] != "--format=posix" {
            // Only pax holds nanoseconds.
            expected.nodes.values_mut().for_each(|node| node.mtime.1 = 0);
        }
        assert_same(&tree, &expected, &format!("{options:?}"));
        let members = read(&archive, ReadOptions::default());
        let sparse = &members
            .iter()
            .find(|(member, _)| member.path == b"sparse")
            .unwrap()
            .0;
        assert_eq!(
            sparse.sparse.is_some(),
            options.contains(&"--sparse"),
            "{options:?}"
        );
        let is_incremental = options.iter().any(|option| option.starts_with("--listed"));
        assert_eq!(members[0].0.dumpdir.is_some(), is_incremental, "{options:?}");
        if options.contains(&"--owner=nobody:5000000") {
            assert_eq!(
                (members[0].0.uid, members[0].0.uname.as_slice()),
                (5_000_000, &b"nobody"[..])
            );
        }
    }
}

#[test]
fn archives_one_after_another_are_one_when_zeros_are_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("in");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("f"), "x").unwrap();
    let (one, both) = (directory.path().join("1.tar"), directory.path().join("2.tar"));
    archive_of(&root, &one, &["--format=ustar"]);
    let bytes = std::fs::read(&one).unwrap();
    std::fs::write(&both, [bytes.as_slice(), &bytes].concat()).unwrap();
    assert_eq!(read(&both, ReadOptions::default()).len(), 2);
    assert_eq!(read(&both, ReadOptions { ignore_zeros: true }).len(), 4);
}

#[test]
fn gnu_tar_deletes_by_both_forms_of_our_dumpdirs() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("a.tar"), directory.path().join("out"));
    for count in [10, 40_000] {
        std::fs::create_dir(&out).unwrap();
        let mut names = DumpdirWriter::new();
        // Out of order: GNU tar would remove all, since it looks names up by halving.
        names.kept(b"kept");
        names.directory(b"sub");
        for number in 0..count {
            names.kept(format!("a name that isn't there {number}").as_bytes());
        }
        std::fs::write(out.join("kept"), "kept").unwrap();
        std::fs::write(out.join("gone"), "gone").unwrap();
        std::fs::create_dir_all(out.join("gone-too/below")).unwrap();
        std::fs::create_dir(out.join("sub")).unwrap();
        let root = Member {
            mode: 0o755,
            mtime: Time {
                seconds: 1_500_000_000,
                nanoseconds: 5,
            },
            dumpdir: Some(names.finish()),
            ..Member::new("", MemberKind::Directory)
        };
        write(&archive, &[(root, Vec::new())]);
        let mut tar = Command::new("tar");
        run(tar
            .args(["-x", "-p", "--no-same-owner", "--incremental", "-C"])
            .arg(&out)
            .arg("-f")
            .arg(&archive));
        let tree = Tree::of_disk(&out);
        let paths: Vec<_> = tree
            .nodes
            .keys()
            .map(|path| String::from_utf8_lossy(path))
            .collect();
        assert_eq!(paths, ["", "kept", "sub"], "{count} names");
        assert_eq!(tree.nodes[&b""[..]].mtime, (1_500_000_000, 5));
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn a_file_of_too_many_pieces_is_refused_rather_than_written_unreadable() {
    let pieces: Vec<_> = (0..SPARSE_PIECES_MAX as u64)
        .map(|piece| (piece * 1024, 512))
        .collect();
    let member = Member {
        sparse: Some(pieces),
        ..file("s", 1 << 40)
    };
    assert!(encode(&member, &mut Vec::new()).is_err());
}

#[test]
fn gnu_tar_continues_from_our_snapshot_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("in");
    std::fs::create_dir_all(root.join("sub/deeper")).unwrap();
    for name in ["old", "sub/kept", "sub/deeper/kept"] {
        std::fs::write(root.join(name), name).unwrap();
    }
    // Files as of a time before the snapshot's.
    run(Command::new("bash")
        .args(["-c", "find . -exec touch -h -d @1500000000 {} +"])
        .current_dir(&root));
    let started = std::time::UNIX_EPOCH.elapsed().unwrap();
    let started = Time {
        seconds: started.as_secs() as i64 + 1,
        nanoseconds: 0,
    };
    let mut writer = SnarWriter::new(Vec::new(), started).unwrap();
    for (path, names) in [
        ("", vec![(SnarKind::Kept, "old"), (SnarKind::Directory, "sub")]),
        (
            "sub",
            vec![(SnarKind::Directory, "deeper"), (SnarKind::Kept, "kept")],
        ),
        ("sub/deeper", vec![(SnarKind::Kept, "kept")]),
    ] {
        let facts = std::fs::metadata(root.join(path)).unwrap();
        let mtime = Time {
            seconds: facts.mtime(),
            nanoseconds: facts.mtime_nsec() as u32,
        };
        let directory = SnarDirectory {
            nfs: false,
            mtime,
            device: facts.dev(),
            inode: facts.ino(),
            path: path.into(),
        };
        writer.begin(&directory).unwrap();
        for (kind, name) in names {
            writer.name(kind, name.as_bytes()).unwrap();
        }
        writer.end().unwrap();
    }
    let snapshot = directory.path().join("snar");
    std::fs::write(&snapshot, writer.finish()).unwrap();
    std::fs::remove_file(root.join("old")).unwrap();
    std::fs::write(root.join("sub/new"), "new").unwrap();
    // The clock of the snapshot lies in the future, so only the new name is news.
    let archive = directory.path().join("1.tar");
    let mut tar = Command::new("tar");
    tar.arg("-cf")
        .arg(&archive)
        .arg("--listed-incremental")
        .arg(&snapshot)
        .arg("-C")
        .arg(&root)
        .arg(".");
    run(&mut tar);
    let members = read(&archive, ReadOptions::default());
    let files: Vec<_> = members
        .iter()
        .filter(|(member, _)| member.kind != MemberKind::Directory)
        .map(|(member, _)| String::from_utf8_lossy(&member.path))
        .collect();
    assert_eq!(files, ["sub/new"]);
    assert_eq!(members[0].0.dumpdir.as_deref(), Some(&b"Dsub\0\0"[..]));
    // And what GNU tar wrote in its turn is read.
    let bytes = std::fs::read(&snapshot).unwrap();
    let mut reader = SnarReader::open(bytes.as_slice()).unwrap();
    let mut count = 0;
    while reader.next_directory().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
}
