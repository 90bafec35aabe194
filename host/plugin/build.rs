//! Pins the digests of the plugins that this binary is built together with.
//!
//! `make plugins` writes `target/plugins/digests`, one line `sha256 name` per plugin. Without it nothing is pinned and
//! every plugin needs a grants.toml.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment alone"
)]
fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let digests = here.join("../../target/plugins/digests");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", digests.display());
    let mut table = String::from("&[\n");
    for (sha256, name) in lines(&digests) {
        table.push_str(&format!("    ({sha256:?}, {name:?}),\n"));
    }
    table.push_str("]\n");
    fs::write(out.join("digests.rs"), table).expect("OUT_DIR can be written");
}

/// The well-formed lines of the list; an absent list has none.
fn lines(digests: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(digests).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(sha256, name)| (sha256.trim().to_owned(), name.trim().to_owned()))
        .filter(|(sha256, _)| sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect()
}
