//! Golden transcripts of the command line: `tests/cli/*.trycmd`, one entry for each message that it makes itself.
//!
//! Those with a `*.out` directory beside them run in a copy of their `*.in`, so that they can store backups and damage
//! them; `sh` is there for that alone. What differs from run to run (times, sizes) stands as `[..]`.
//!
//! `TRYCMD=overwrite cargo nextest run --release -p freezer-tests --test cli` writes them anew; review the difference.

use std::os::unix::fs::symlink;

use freezer_tests::{freezer_binary, workspace};

#[test]
fn transcripts() {
    let names = tempfile::tempdir().expect("a directory for the original's names");
    let cases = trycmd::TestCases::new();
    cases.register_bin("freezer", freezer_binary());
    for name in ["freezerc", "freezer-agent"] {
        let link = names.path().join(name);
        symlink(freezer_binary(), &link).expect("a link to the binary");
        cases.register_bin(name, link);
    }
    cases.register_bin("sh", std::path::PathBuf::from("/bin/sh"));
    // Nothing of the machine that runs this may show: an empty variable counts as absent.
    for name in [
        "FREEZER_CONFIG",
        "FREEZER_HOST",
        "FREEZER_PASS_FILE",
        "FREEZER_PLUGINS",
        "FREEZER_STORAGE",
        "HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    ] {
        cases.env(name, "");
    }
    // Compiled plugins are kept from one command to the next: it is the messages that are tested.
    cases.env("XDG_CACHE_HOME", names.path().to_string_lossy());
    let plugins = workspace().join("target/release/lib/freezer/plugins");
    cases.env("PLUGINS", plugins.to_string_lossy());
    cases.env("TZ", "UTC").env("LC_ALL", "C");
    cases.case("cli/*.trycmd");
    cases.run();
}
