//! Lists the SDK and the contract, so that they are in the binary: a new plugin gets its own copy and builds anywhere.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment alone"
)]
fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = here.join("../..");
    let mut files = Vec::new();
    for folder in ["sdk/src", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        collect(&root, Path::new(folder), &mut files);
    }
    for file in ["Cargo.toml", "sdk/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    files.sort();
    let mut table = String::from("&[\n");
    for path in &files {
        let (name, place) = (path.to_string_lossy(), root.join(path));
        table.push_str(&format!("    ({name:?}, include_str!({place:?})),\n"));
    }
    table.push_str("]\n");
    fs::write(out.join("files.rs"), table).expect("OUT_DIR can be written");
}

/// All files below a folder, by their paths from the root.
fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(folder))
        .expect("the workspace's own folder")
        .flatten()
    {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else {
            files.push(path);
        }
    }
}
