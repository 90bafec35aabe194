//! The seal, the order of keys and the limits of a manifest.

use super::*;
use crate::chain_key::ChainKey;
use proptest::prelude::*;

fn key() -> MacKey {
    ChainKey::new([7; 32]).mac_key()
}

fn sample() -> Manifest {
    let json = serde_json::json!({"one-file-system": true, "exclude": ["*.o"]});
    Manifest {
        format: FORMAT,
        run: "0123456789abcdef".into(),
        engine: Engine::Tar,
        name: HostBackupName::new("web01", "etc").unwrap(),
        zero: Timestamp(100),
        level: Level(1),
        time: Timestamp(200),
        parent: Some(ParentLink {
            level: Level(0),
            time: Timestamp(100),
            manifest: Some([1; 32]),
        }),
        previous: Some(PreviousLink {
            zero: Timestamp(100),
            level: Level(0),
            time: Timestamp(100),
            manifest: None,
        }),
        mode: "fs".into(),
        path: Some("/etc".into()),
        options: json.as_object().unwrap().clone(),
        tool: "freezer 0.1.0".into(),
        plugins: vec![PluginUse {
            name: "local".into(),
            version: "0.1.0".into(),
            sha256: "ab".into(),
        }],
        encryption: Some(Encryption {
            cipher: "aes-256-cfb".into(),
            kdf: StreamKdf::Pbkdf2Sha256,
            iterations: 1,
            salt: *b"saltsalt",
        }),
        key: Some(KeyInfo {
            wrapped: "w".into(),
            iterations: 600_000,
            check: "c".into(),
        }),
        compression: Compression::Gzip,
        frame: 1 << 20,
        data: DataFacts {
            bytes: 10,
            plain: 20,
            segment: 32 << 20,
            segments: 1,
            sha256: [2; 32],
        },
        index: sample_index(),
        engine_metadata: None,
        file_system: Some(FileSystem {
            id: u64::MAX,
            kind: 0xef53,
        }),
        counts: Counts {
            files: 3,
            ..Counts::default()
        },
        warnings: vec![NotedWarning {
            path: "a\nb".into(),
            message: "it shrank".into(),
        }],
        status: Status::Partial,
        note: None,
    }
}

#[test]
fn a_sealed_manifest_opens_with_its_key() {
    let bytes = sample().seal(Some(&key()));
    let opened = Manifest::open(&bytes, Some(&key())).unwrap();
    assert!(opened.authentic);
    assert_eq!(opened.manifest, sample());
    assert_eq!(opened.line_sha256, Manifest::peek(&bytes).unwrap().line_sha256);
}

#[test]
fn keys_stand_in_the_documented_order() {
    let text = String::from_utf8(sample().seal(None)).unwrap();
    let keys = [
        "format",
        "run",
        "engine",
        "name",
        "zero",
        "level",
        "time",
        "parent",
        "previous",
        "mode",
        "path",
        "options",
        "tool",
        "plugins",
        "encryption",
        "\"key\"",
        "\"compression\"",
        "frame",
        "\"data\"",
        "\"index\"",
        "engine_metadata",
        "counts",
        "warnings",
        "status",
        "note",
    ];
    let places: Vec<_> = keys.iter().map(|key| text.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(text.starts_with(
        r#"{"format":1,"run":"0123456789abcdef","engine":"tar","name":"web01_etc","zero":100,"#
    ));
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn openssl_computes_the_same_seal() {
    let bytes = sample().seal(Some(&key()));
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    std::fs::write(&path, [PREFIX, &bytes[..end]].concat()).unwrap();
    let hexkey = format!("hexkey:{}", hex::encode(key().as_bytes()));
    let Ok(output) = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &hexkey])
        .arg(&path)
        .output()
    else {
        return;
    };
    let printed = String::from_utf8(output.stdout).unwrap();
    let seal = String::from_utf8(bytes[end..].to_vec()).unwrap();
    assert_eq!(printed.trim().rsplit(' ').next(), seal.trim().rsplit(' ').next());
}

#[test]
fn without_the_key_or_without_an_hmac_nothing_is_authentic() {
    assert!(
        !Manifest::open(&sample().seal(Some(&key())), None)
            .unwrap()
            .authentic
    );
    assert!(
        !Manifest::open(&sample().seal(None), Some(&key()))
            .unwrap()
            .authentic
    );
    assert!(!Manifest::open(&sample().seal(None), None).unwrap().authentic);
}

#[test]
fn another_key_doesnt_open_it() {
    let other = ChainKey::new([8; 32]).mac_key();
    let result = Manifest::open(&sample().seal(Some(&key())), Some(&other));
    assert!(matches!(result, Err(ManifestError::Seal)));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = sample().seal(Some(&key()));
    for place in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[place / 8] ^= 1 << (place % 8);
        if let Ok(opened) = Manifest::open(&altered, Some(&key())) {
            // Upper-case hex digits of the seal are the one spelling that differs without a difference.
            assert!(opened.authentic && opened.manifest == sample(), "bit {place}");
        }
    }
}

#[test]
fn cut_manifests_are_refused() {
    let bytes = sample().seal(Some(&key()));
    for end in 0..bytes.len() {
        assert!(
            Manifest::open(&bytes[..end], Some(&key())).is_err(),
            "cut at {end}"
        );
    }
    assert!(Manifest::open(&[&bytes[..], b"\n"].concat(), Some(&key())).is_err());
}

#[test]
fn a_newer_format_is_named() {
    let manifest = Manifest {
        format: 2,
        ..sample()
    };
    let result = Manifest::open(&manifest.seal(None), None);
    assert!(matches!(result, Err(ManifestError::Newer { format: 2 })));
    let bare = b"{\"format\":3}\n".to_vec();
    let seal = format!("sha256 {}\n", hex::encode(digest_of(&bare)));
    let bytes = [bare, seal.into_bytes()].concat();
    assert!(matches!(
        Manifest::peek(&bytes),
        Err(ManifestError::Newer { format: 3 })
    ));
}

#[test]
fn huge_manifests_are_refused_unread() {
    let bytes = vec![b'{'; MAX_MANIFEST_BYTES + 1];
    assert!(matches!(
        Manifest::open(&bytes, None),
        Err(ManifestError::TooLarge)
    ));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::open(&bytes, Some(&key())).is_err());
        prop_assert!(Manifest::peek(&bytes).is_err());
    }
}

fn sample_index() -> IndexFacts {
    IndexFacts {
        bytes: 5,
        sha256: [3; 32],
        trailer: [4; 64],
        salt: Some(*b"saltsalt"),
    }
}
