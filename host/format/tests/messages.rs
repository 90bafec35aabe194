//! What each error of this crate says, to the letter: one row for each variant, or the count doesn't fit.

use freezer_format::chain::SelectError;
use freezer_format::chain_key::KeyError;
use freezer_format::component::ComponentError;
use freezer_format::compression::UnknownCompression;
use freezer_format::index::IndexError;
use freezer_format::manifest::ManifestError;
use freezer_format::metadata::MetadataError;
use freezer_format::name::{Level, LevelId, NameError, Timestamp};
use freezer_format::openssl::{PassError, PassWarning};
use freezer_format::retention::EmptyPolicy;
use freezer_format::tar::TarError;

/// A source of this crate beside the rows for its errors.
#[track_caller]
fn says(source: &str, rows: &[(&dyn std::fmt::Display, &str)]) {
    for (error, wanted) in rows {
        assert_eq!(error.to_string(), *wanted);
    }
    assert_eq!(
        source.matches("#[error(").count(),
        rows.len(),
        "each variant has one row here"
    );
}

fn bad_json() -> serde_json::Error {
    serde_json::from_str::<u32>("x").expect_err("it is no number")
}

#[test]
fn of_names_and_chains() {
    let dots = "..".to_owned();
    let (name, character) = ("a/b".to_owned(), '/');
    says(
        include_str!("../src/name.rs"),
        &[
            (&NameError::Empty, "the backup name is empty"),
            (&NameError::EmptyHost, "the host name is empty"),
            (&NameError::Dots { name: dots }, "\"..\" can't be a backup name"),
            (
                &NameError::Character { name, character },
                "the backup name \"a/b\" holds '/'",
            ),
            (
                &NameError::TooLong { bytes: 300 },
                "host and backup name are 300 bytes long together, at most 255 are possible",
            ),
        ],
    );
    let (at, oldest) = (Timestamp(5), Timestamp(7));
    let (zero, level) = (Timestamp(10), Level(1));
    let wanted = LevelId {
        zero,
        level: Level(2),
        time: Timestamp(30),
    };
    says(
        include_str!("../src/chain.rs"),
        &[
            (&SelectError::Empty, "there is no backup"),
            (
                &SelectError::NoneBefore { at, oldest },
                "no backup is as old as 5; the oldest is of 7",
            ),
            (
                &SelectError::MissingLevel { zero, level, wanted },
                "level 1 of the chain begun at 10 is missing, so level 2 of 30 can't be restored",
            ),
        ],
    );
}

#[test]
fn of_retention() {
    says(
        include_str!("../src/retention.rs"),
        &[(&EmptyPolicy, "no rule says what to keep")],
    );
}

#[test]
fn of_keys_and_pass_phrases() {
    says(
        include_str!("../src/chain_key.rs"),
        &[
            (&KeyError::Wrong, "can't decrypt: wrong password or damaged"),
            (
                &KeyError::Malformed("no base64"),
                "the wrapped key is damaged: no base64",
            ),
        ],
    );
    says(
        include_str!("../src/openssl.rs"),
        &[
            (
                &PassWarning::CarriageReturn,
                "the password holds a carriage return; it counts as part of it",
            ),
            (
                &PassWarning::TrailingBlank,
                "the password ends in a blank; it counts as part of it",
            ),
            (&PassError::Empty, "the first line of the pass file is empty"),
            (
                &PassError::Nul,
                "the password holds a zero byte, where openssl would cut it",
            ),
            (
                &PassError::TooLong { bytes: 2000 },
                "the password has 2000 bytes; openssl reads 1023 at most",
            ),
        ],
    );
}

#[test]
fn of_documents() {
    says(
        include_str!("../src/compression.rs"),
        &[(
            &UnknownCompression {
                text: "lzma".to_owned(),
            },
            "unknown compression \"lzma\": gzip, bzip2, xz, zstd and none are known",
        )],
    );
    says(
        include_str!("../src/metadata.rs"),
        &[
            (&MetadataError::Empty, "it is empty"),
            (
                &MetadataError::TooLarge,
                "it has more than 1048576 bytes, and none is that large",
            ),
            (&MetadataError::Json(bad_json()), "it isn't the expected JSON"),
        ],
    );
    says(
        include_str!("../src/manifest.rs"),
        &[
            (
                &ManifestError::TooLarge,
                "it has more than 16777216 bytes, and none is that large",
            ),
            (
                &ManifestError::Form,
                "it doesn't consist of a document and its seal",
            ),
            (
                &ManifestError::Seal,
                "its seal doesn't fit: it was altered, damaged, or sealed with another key",
            ),
            (
                &ManifestError::Newer { format: 9 },
                "it has format 9, and this freezer reads up to 1",
            ),
            (&ManifestError::Json(bad_json()), "it isn't the expected JSON"),
        ],
    );
    let not_wasm = freezer_format::component::plugin_manifest(b"no component").unwrap_err();
    assert!(matches!(not_wasm, ComponentError::NotWasm));
    let damaged = freezer_format::component::plugin_manifest(b"\0asm\x0d").unwrap_err();
    assert!(matches!(damaged, ComponentError::Damaged(_)));
    says(
        include_str!("../src/component.rs"),
        &[
            (&not_wasm, "it isn't WebAssembly"),
            (&damaged, "it is damaged, or isn't whole"),
            (
                &ComponentError::NotAComponent,
                "it is a WebAssembly module, not a component",
            ),
            (
                &ComponentError::NoManifest,
                "it holds no plugin manifest (custom section \"freezer:plugin.toml\")",
            ),
            (
                &ComponentError::ManifestTwice,
                "it holds a plugin manifest already (custom section \"freezer:plugin.toml\")",
            ),
            (
                &ComponentError::ManifestTooLarge,
                "its plugin manifest is larger than 65536 bytes",
            ),
        ],
    );
}

#[test]
fn of_archives_and_indexes() {
    let io = || std::io::Error::other("the disk says no");
    says(
        include_str!("../src/tar/error.rs"),
        &[
            (
                &TarError::Io {
                    offset: 512,
                    source: io(),
                },
                "can't read the archive at byte 512",
            ),
            (
                &TarError::Truncated { offset: 512 },
                "the archive is cut off at byte 512",
            ),
            (
                &TarError::Damaged {
                    offset: 512,
                    reason: "a wrong checksum",
                },
                "the archive is damaged at byte 512: a wrong checksum",
            ),
            (
                &TarError::Unsupported {
                    offset: 512,
                    typeflag: 'V',
                },
                "the archive holds a member of type 'V' at byte 512, which isn't supported",
            ),
            (
                &TarError::Unwritable {
                    reason: "its path is empty",
                },
                "the member can't be written: its path is empty",
            ),
        ],
    );
    says(
        include_str!("../src/index/error.rs"),
        &[
            (&IndexError::Io(io()), "can't read or write the index"),
            (
                &IndexError::Damaged("rows out of order"),
                "the index is damaged: rows out of order",
            ),
            (
                &IndexError::Newer("an unknown kind of block"),
                "the index was written by a newer freezer: an unknown kind of block",
            ),
            (
                &IndexError::MissingPlace { level: 3 },
                "the index refers to that of level 3, which isn't at hand",
            ),
            (
                &IndexError::Unwritable("a path of more than 64 KiB"),
                "the row can't be written to the index: a path of more than 64 KiB",
            ),
        ],
    );
}
