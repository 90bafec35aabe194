//! `freezer-pack` as the build calls it.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use freezer_format::component::plugin_manifest;
use sha2::{Digest, Sha256};

fn pack(arguments: &[&Path]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_freezer-pack"))
        .args(arguments)
        .output()
}

#[test]
fn a_component_is_packed_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (input, manifest, output) = (path("in.wasm"), path("plugin.toml"), path("out.wasm"));
    std::fs::write(&input, wasm_encoder::Component::new().finish()).unwrap();
    std::fs::write(&manifest, "name = \"local\"\nkind = \"storage\"\n").unwrap();
    let packed = pack(&[&input, &manifest, &output]).unwrap();
    let bytes = std::fs::read(&output).unwrap();
    let line = format!("{} local\n", hex::encode(Sha256::digest(&bytes)));
    assert_eq!(String::from_utf8(packed.stdout).unwrap(), line);
    assert_eq!(
        plugin_manifest(&bytes).unwrap(),
        std::fs::read(&manifest).unwrap()
    );

    let again = pack(&[&output, &manifest, &path("again.wasm")]).unwrap();
    assert!(!again.status.success());
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("holds a plugin manifest already")
    );
    assert!(!path("again.wasm").exists());
}

#[test]
fn wrong_arguments_and_manifests_without_name_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (input, manifest, output) = (path("in.wasm"), path("plugin.toml"), path("out.wasm"));
    std::fs::write(&input, wasm_encoder::Component::new().finish()).unwrap();
    for (arguments, message) in [
        (vec![], "usage: freezer-pack"),
        (vec![&*input, &*manifest, &*output], "plugin.toml"),
        (vec![&*manifest, &*input, &*output], "plugin.toml"),
    ] {
        let refused = pack(&arguments).unwrap();
        assert!(!refused.status.success());
        assert!(String::from_utf8(refused.stderr).unwrap().contains(message));
    }
    std::fs::write(&manifest, "kind = \"storage\"\n").unwrap();
    let refused = pack(&[&input, &manifest, &output]).unwrap();
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("it has no name")
    );
    assert!(!output.exists());
}
