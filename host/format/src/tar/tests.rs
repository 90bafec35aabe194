//! What is written is read back; what others write is read; what is hostile is an error.

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;

use super::header::{self, Header, Magic};
use super::*;
use crate::time::Time;

fn bytes_without_zero(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1u8..=255, 1..most)
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    let name = vec(prop_oneof![4 => Just(b'x'), 1 => 1u8..=255], 1..60).prop_map(|mut name| {
        name.iter_mut()
            .filter(|byte| **byte == b'/')
            .for_each(|byte| *byte = b'_');
        name
    });
    name.prop_filter("dots have a meaning", |name| name != b"." && name != b"..")
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(component(), 1..6), 1 => vec(component(), 40..80)]
        .prop_map(|components| components.join(&b'/'))
}

fn time() -> impl Strategy<Value = Time> {
    let seconds = prop_oneof![0i64..1 << 33, any::<i64>()];
    let nanoseconds = prop_oneof![Just(0u32), 0u32..1_000_000_000];
    (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
}

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..70_000, 2_097_150u64..2_097_160, any::<u64>()]
}

fn attributes() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = "(user|trusted)\\.[a-z=%/ ]{1,12}".prop_map(String::into_bytes);
    proptest::collection::btree_map(name, vec(any::<u8>(), 0..80), 0..3)
        .prop_map(|map| map.into_iter().collect())
}

/// Pieces within a file and the file's size.
fn pieces() -> impl Strategy<Value = (Vec<(u64, u64)>, u64)> {
    (vec((1u64..1 << 34, 1u64..6), 0..40), 0u64..1 << 34, 0u64..512).prop_map(|(gaps, rest, last)| {
        let (mut end, mut pieces) = (0, Vec::new());
        for (hole, blocks) in gaps {
            pieces.push((end + hole, blocks * 512));
            end += hole + blocks * 512;
        }
        if let Some((_, length)) = pieces.last_mut() {
            *length -= last;
        }
        (pieces, end + rest)
    })
}

fn dumpdir() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<bool>(), component()), 0..12).prop_map(|names| {
        let mut writer = dumpdir::DumpdirWriter::new();
        for (is_directory, name) in names {
            if is_directory {
                writer.directory(&name)
            } else {
                writer.kept(&name)
            }
        }
        writer.finish()
    })
}

fn of_kind(member: Member) -> BoxedStrategy<Member> {
    match member.kind {
        MemberKind::File => {
            let plain = (0u64..3000).prop_map(|size| (None, size));
            let sparse = pieces().prop_map(|(pieces, size)| (Some(pieces), size));
            prop_oneof![plain, sparse]
                .prop_map(move |(sparse, size)| Member {
                    sparse,
                    size,
                    ..member.clone()
                })
                .boxed()
        }
        MemberKind::Directory => proptest::option::of(dumpdir())
            .prop_map(move |dumpdir| Member {
                dumpdir,
                ..member.clone()
            })
            .boxed(),
        MemberKind::Symlink => bytes_without_zero(300)
            .prop_map(move |link| Member {
                link,
                ..member.clone()
            })
            .boxed(),
        MemberKind::HardLink => path()
            .prop_map(move |link| Member {
                link,
                ..member.clone()
            })
            .boxed(),
        MemberKind::CharDevice | MemberKind::BlockDevice => any::<(u32, u32)>()
            .prop_map(move |rdev| Member {
                rdev,
                ..member.clone()
            })
            .boxed(),
        MemberKind::Fifo => Just(member).boxed(),
    }
}

fn member() -> impl Strategy<Value = Member> {
    let kind = prop_oneof![
        3 => Just(MemberKind::File),
        2 => Just(MemberKind::Directory),
        1 => Just(MemberKind::Symlink),
        1 => Just(MemberKind::HardLink),
        1 => Just(MemberKind::Fifo),
        1 => Just(MemberKind::CharDevice),
        1 => Just(MemberKind::BlockDevice),
    ];
    let names = (
        proptest::option::of("[a-z]{0,40}"),
        proptest::option::of("[a-z]{0,40}"),
    );
    let acls = (
        proptest::option::of("[a-z:,\n]{0,80}"),
        proptest::option::of("[a-z:,\n]{0,80}"),
    );
    (
        path(),
        kind,
        0u32..=0o7777,
        (id(), id()),
        names,
        time(),
        attributes(),
        acls,
    )
        .prop_map(
            |(path, kind, mode, (uid, gid), (uname, gname), mtime, xattrs, acls)| Member {
                mode,
                uid,
                gid,
                uname: uname.unwrap_or_default().into_bytes(),
                gname: gname.unwrap_or_default().into_bytes(),
                mtime,
                xattrs,
                acl_access: acls.0.map(String::into_bytes),
                acl_default: acls.1.map(String::into_bytes),
                ..Member::new(path, kind)
            },
        )
        .prop_flat_map(of_kind)
}

/// Content that tells members apart.
fn content(member: &Member, seed: usize) -> Vec<u8> {
    (0..content_bytes(member))
        .map(|at| (at as usize * 31 + seed * 7) as u8)
        .collect()
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for (seed, member) in members.iter().enumerate() {
        encode(member, &mut out).unwrap();
        out.extend(content(member, seed));
        out.resize(out.len() + padding(content_bytes(member)), 0);
    }
    out.extend_from_slice(&END);
    out
}

/// Members with their content, the error that ended them, and how the archive ended.
type ReadAll = (Vec<(Member, Vec<u8>)>, Option<TarError>, Option<End>);

/// Reads all members, or those up to the first error.
fn read_all(bytes: &[u8], options: ReadOptions) -> ReadAll {
    let mut reader = MemberReader::new(bytes, 0, options);
    let mut members = Vec::new();
    loop {
        match reader.next_member() {
            Ok(Some(member)) => {
                let mut content = Vec::new();
                if let Err(error) = reader.read_to_end(&mut content) {
                    return (
                        members,
                        Some(TarError::Io {
                            offset: 0,
                            source: error,
                        }),
                        None,
                    );
                }
                members.push((member, content));
            }
            Ok(None) => return (members, None, reader.end()),
            Err(error) => return (members, Some(error), reader.end()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn members_round_trip(members in vec(member(), 0..8)) {
        let bytes = archive(&members);
        prop_assert_eq!(bytes.len() % BLOCK, 0);
        let (read, error, end) = read_all(&bytes, ReadOptions::default());
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(end, Some(End::Marked));
        prop_assert_eq!(read.len(), members.len());
        for (seed, (written, (read, bytes))) in members.iter().zip(&read).enumerate() {
            prop_assert_eq!(read, written);
            prop_assert_eq!(bytes, &content(written, seed));
        }
    }

    #[test]
    fn each_member_is_found_at_its_offset(members in vec(member(), 1..5)) {
        let bytes = archive(&members);
        let mut reader = MemberReader::new(bytes.as_slice(), 0, ReadOptions::default());
        while let Some(member) = reader.next_member().unwrap() {
            let offset = reader.member_offset();
            let mut alone = MemberReader::new(&bytes[offset as usize..], offset, ReadOptions::default());
            prop_assert_eq!(alone.next_member().unwrap(), Some(member));
            prop_assert_eq!(alone.member_offset(), offset);
        }
    }

    #[test]
    fn a_cut_archive_gives_a_prefix_of_its_members(members in vec(member(), 1..5), cut: prop::sample::Index) {
        let bytes = archive(&members);
        let cut = cut.index(bytes.len());
        let (read, error, end) = read_all(&bytes[..cut], ReadOptions::default());
        for (written, (read, _)) in members.iter().zip(&read) {
            prop_assert_eq!(read, written);
        }
        // Either the cut shows, or it fell on a border, which the end without its mark tells.
        prop_assert!(error.is_some() || end == Some(End::Unmarked));
    }

    #[test]
    fn changed_bytes_never_panic(
        members in vec(member(), 1..5),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        reseal: bool,
        ignore_zeros: bool,
    ) {
        let mut bytes = archive(&members);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if reseal {
            // Damage below the checksum: the parsers behind it must hold too.
            for block in bytes.chunks_exact_mut(BLOCK) {
                let mut header = Header { bytes: (&*block).try_into().unwrap() };
                if header.bytes[257..262] == *b"ustar" {
                    header.seal();
                    block.copy_from_slice(&header.bytes);
                }
            }
        }
        let (read, _, _) = read_all(&bytes, ReadOptions { ignore_zeros });
        prop_assert!(read.len() <= bytes.len() / BLOCK);
    }

    #[test]
    fn random_sealed_headers_never_panic(mut block in vec(any::<u8>(), BLOCK), flags in vec(any::<u8>(), BLOCK * 3)) {
        for typeflag in *b"0125LKxgDSVMX\0" {
            block[156] = typeflag;
            for field in [header::MODE, header::UID, header::GID, header::SIZE, header::MTIME] {
                block[field].fill(b'1');
            }
            let mut header = Header { bytes: block.as_slice().try_into().unwrap() };
            header.set_number(header::SIZE, u64::from(flags[0]) * 4);
            header.seal();
            let bytes = [&header.bytes, flags.as_slice()].concat();
            read_all(&bytes, ReadOptions::default());
        }
    }
}

/// Makes a sealed header of a size that its data needn't have.
fn claiming(typeflag: u8, size: u64) -> Vec<u8> {
    let mut header = Header::new(typeflag, Magic::Gnu);
    header.set_text(header::NAME, b"./x");
    header.set_number(header::SIZE, size);
    header.seal();
    header.bytes.to_vec()
}

#[test]
fn claims_of_huge_headers_are_refused_before_they_are_read() {
    for (typeflag, size) in [
        (b'L', RECORD_MAX + 1),
        (b'K', u64::MAX >> 2),
        (b'g', 64 * 1024 + 1),
        (b'x', DUMPDIR_MAX + RECORDS_MAX + 1),
        (b'D', DUMPDIR_MAX + 1),
    ] {
        let (read, error, _) = read_all(&claiming(typeflag, size), ReadOptions::default());
        assert!(
            read.is_empty() && matches!(error, Some(TarError::Damaged { .. })),
            "{}",
            char::from(typeflag)
        );
    }
}

#[test]
fn claims_that_are_not_there_are_cut_archives() {
    for (typeflag, size) in [
        (b'L', RECORD_MAX),
        (b'x', DUMPDIR_MAX),
        (b'D', DUMPDIR_MAX),
        (b'0', u64::MAX >> 2),
        (b'V', 9),
    ] {
        let (_, error, _) = read_all(&claiming(typeflag, size), ReadOptions::default());
        let error = error.map(std::io::Error::from);
        assert_eq!(
            error.unwrap().kind(),
            std::io::ErrorKind::UnexpectedEof,
            "{}",
            char::from(typeflag)
        );
    }
}

#[test]
fn records_above_their_limit_are_refused_but_dumpdirs_are_not() {
    let read = |key: &[u8], bytes: usize| {
        let mut records = Vec::new();
        pax::put(&mut records, key, &vec![b'D'; bytes]);
        let mut archive = claiming(b'x', records.len() as u64);
        archive.extend_from_slice(&records);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        archive.extend_from_slice(&claiming(b'5', 0));
        read_all(&archive, ReadOptions::default())
    };
    assert!(matches!(
        read(b"path", RECORD_MAX as usize + 1).1,
        Some(TarError::Damaged { .. })
    ));
    assert!(matches!(
        read(b"comment", RECORD_MAX as usize + 1).1,
        Some(TarError::Damaged { .. })
    ));
    let (members, error, _) = read(b"GNU.dumpdir", 5_000_000);
    assert!(error.is_none());
    assert_eq!(members[0].0.dumpdir.as_ref().unwrap().len(), 5_000_000);
}

#[test]
fn headers_before_one_member_do_not_add_up_without_bound() {
    let header = |number: usize, count: usize, bytes: usize| {
        let mut records = Vec::new();
        for attribute in 0..count {
            pax::put(
                &mut records,
                format!("SCHILY.xattr.user.{number}.{attribute}").as_bytes(),
                &vec![0; bytes],
            );
        }
        let mut header = claiming(b'x', records.len() as u64);
        header.extend_from_slice(&records);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    };
    let large: Vec<u8> = (0..20).flat_map(|number| header(number, 1, 1_000_000)).collect();
    assert!(matches!(
        read_all(&large, ReadOptions::default()).1,
        Some(TarError::Damaged { .. })
    ));
    let many: Vec<u8> = (0..20).flat_map(|number| header(number, 1000, 1)).collect();
    assert!(matches!(
        read_all(&many, ReadOptions::default()).1,
        Some(TarError::Damaged { .. })
    ));
}

#[test]
fn a_map_that_lies_is_refused() {
    let sparse = Member {
        size: 10_000,
        sparse: Some(vec![(1000, 512), (5000, 50)]),
        ..Member::new("s", MemberKind::File)
    };
    let good = archive(std::slice::from_ref(&sparse));
    assert!(read_all(&good, ReadOptions::default()).1.is_none());
    for (from, to) in [
        ("1000\n512\n", "1000\n900\n"),
        ("5000\n50\n", "1050\n50\n"),
        ("5000\n50\n", "9990\n50\n"),
        ("3\n1000", "9\n1000"),
    ] {
        let text = good
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        let mut bad = good.clone();
        bad[text..text + from.len()].copy_from_slice(to.as_bytes());
        let (members, error, _) = read_all(&bad, ReadOptions::default());
        assert!(members.is_empty() && error.is_some(), "{from:?} {to:?}");
    }
}

#[test]
fn a_lone_zero_block_ends_an_archive_unless_zeros_are_ignored() {
    let file = |name: &str| archive(&[Member::new(name, MemberKind::Fifo)])[..BLOCK].to_vec();
    let bytes = [file("a"), vec![0; BLOCK], file("b"), END.to_vec(), file("c")].concat();
    let names = |options| {
        let (members, error, end) = read_all(&bytes, options);
        assert!(error.is_none());
        (
            members
                .into_iter()
                .map(|(member, _)| String::from_utf8(member.path).unwrap())
                .collect::<String>(),
            end,
        )
    };
    assert_eq!(names(ReadOptions::default()), ("a".into(), Some(End::Unmarked)));
    assert_eq!(
        names(ReadOptions { ignore_zeros: true }),
        ("abc".into(), Some(End::Unmarked))
    );
}

#[test]
fn global_records_hold_for_all_and_volume_labels_are_skipped() {
    let mut records = Vec::new();
    pax::put(&mut records, b"uname", b"all");
    pax::put(&mut records, b"mtime", b"5.25");
    let mut bytes = claiming(b'V', 0);
    bytes.extend(claiming(b'g', records.len() as u64));
    bytes.extend_from_slice(&records);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes.extend(archive(&[
        Member::new("a", MemberKind::Fifo),
        Member::new("b", MemberKind::Fifo),
    ]));
    let (members, error, _) = read_all(&bytes, ReadOptions::default());
    assert!(error.is_none());
    assert_eq!(members.len(), 2);
    for (member, _) in members {
        assert_eq!(
            (member.uname.as_slice(), member.mtime),
            (
                &b"all"[..],
                Time {
                    seconds: 5,
                    nanoseconds: 250_000_000
                }
            )
        );
    }
}

#[test]
fn continued_volumes_and_unknown_types_are_named() {
    for typeflag in [b'M', b'Z', 0xff] {
        let (_, error, _) = read_all(&claiming(typeflag, 0), ReadOptions::default());
        assert!(matches!(error, Some(TarError::Unsupported { .. })));
    }
}

#[test]
fn a_directory_of_many_names_is_data_with_gnu_magic() {
    let mut writer = dumpdir::DumpdirWriter::new();
    for number in 0..40_000 {
        writer.kept(format!("a rather long name of a file {number}").as_bytes());
    }
    let member = Member {
        dumpdir: Some(writer.finish()),
        mtime: Time {
            seconds: 9,
            nanoseconds: 8,
        },
        ..Member::new("many", MemberKind::Directory)
    };
    let bytes = archive(&[member.clone(), Member::new("next", MemberKind::Fifo)]);
    assert_eq!(&bytes[156..157], b"x");
    assert_eq!(
        (&bytes[BLOCK * 2 + 156..][..1], &bytes[BLOCK * 2 + 257..][..8]),
        (&b"D"[..], &b"ustar  \0"[..])
    );
    let (members, error, _) = read_all(&bytes, ReadOptions::default());
    assert!(error.is_none());
    assert_eq!(members[0].0, member);
    assert_eq!(members[1].0.path, b"next");
}

#[test]
fn small_values_need_no_extended_header() {
    let member = Member {
        mode: 0o644,
        uid: 1000,
        mtime: Time {
            seconds: 1,
            nanoseconds: 0,
        },
        ..Member::new("a/b", MemberKind::File)
    };
    let mut bytes = Vec::new();
    encode(&member, &mut bytes).unwrap();
    assert_eq!(bytes.len(), BLOCK);
    // A name of 155 + 100 bytes still fits.
    let long = [vec![b'p'; 150], vec![b'n'; 100]].join(&b'/');
    bytes.clear();
    encode(&Member::new(long, MemberKind::Fifo), &mut bytes).unwrap();
    assert_eq!(bytes.len(), BLOCK);
}

#[test]
fn what_has_no_form_in_tar_is_refused_and_appends_nothing() {
    let file = || Member::new("a", MemberKind::File);
    let bad = [
        Member::new(&b"a\0b"[..], MemberKind::File),
        Member {
            mode: 0o10000,
            ..file()
        },
        Member {
            dumpdir: Some(vec![0]),
            ..file()
        },
        Member {
            link: b"x".to_vec(),
            ..file()
        },
        Member::new("l", MemberKind::Symlink),
        Member {
            size: 1,
            ..Member::new("d", MemberKind::Directory)
        },
        Member {
            size: 10,
            sparse: Some(vec![(5, 6)]),
            ..file()
        },
        Member {
            size: 10,
            sparse: Some(vec![(5, 0)]),
            ..file()
        },
        Member {
            xattrs: vec![(b"user.x".to_vec(), vec![0; RECORD_MAX as usize])],
            ..file()
        },
        Member {
            size: 5000,
            sparse: Some(vec![(5, 6), (512, 512)]),
            ..file()
        },
        Member {
            xattrs: vec![(Vec::new(), Vec::new())],
            ..file()
        },
    ];
    for member in bad {
        let mut out = b"before".to_vec();
        assert!(
            matches!(encode(&member, &mut out), Err(TarError::Unwritable { .. })),
            "{member:?}"
        );
        assert_eq!(out, b"before");
    }
}

#[test]
fn an_old_sparse_header_with_many_pieces_is_read() {
    let mut header = Header::new(b'S', Magic::Gnu);
    header.set_text(header::NAME, b"./old");
    header.set_number(header::SIZE, 30);
    header.set_number(header::REAL_SIZE, 30_000);
    for field in [header::MODE, header::UID, header::GID, header::MTIME] {
        header.set_number(field, 0);
    }
    let mut pieces = (0..30u64).map(|piece| (piece * 1000, 1u64));
    let mut put = |bytes: &mut [u8]| {
        for place in bytes.chunks_exact_mut(24) {
            let Some((offset, length)) = pieces.next() else {
                break;
            };
            let text = format!("{offset:011o}\0{length:011o}\0");
            place.copy_from_slice(text.as_bytes());
        }
    };
    put(&mut header.bytes[386..482]);
    header.bytes[482] = 1;
    header.seal();
    let mut bytes = header.bytes.to_vec();
    for more in [1, 0] {
        let mut block = [0; BLOCK];
        put(&mut block[..504]);
        block[504] = more;
        bytes.extend_from_slice(&block);
    }
    bytes.extend_from_slice(&[7; 30]);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes.extend_from_slice(&END);
    let (members, error, end) = read_all(&bytes, ReadOptions::default());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(end, Some(End::Marked));
    assert_eq!(
        (members[0].0.size, members[0].1.as_slice()),
        (30_000, &[7; 30][..])
    );
    assert_eq!(members[0].0.sparse.as_ref().unwrap().len(), 30);
}
