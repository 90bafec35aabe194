//! Tells the binary what it is made of: `freezer --version --verbose` shows the engine's patch level, because
//! its security fixes come with patch releases.

use std::path::Path;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment alone"
)]
fn main() {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let lock = Path::new(&here).join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = std::fs::read_to_string(&lock).unwrap_or_default();
    let engine = version_of(&text, "wasmtime").unwrap_or("unknown");
    println!("cargo::rustc-env=FREEZER_ENGINE={engine}");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=FREEZER_TARGET={target}");
}

/// The version that a lock file gives a package.
fn version_of<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let named = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != named);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}
