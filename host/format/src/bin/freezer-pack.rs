//! Adds a plugin manifest to a built component: `freezer-pack IN.wasm PLUGIN.toml OUT.wasm`.
//!
//! Prints the SHA-256 of the result and the plugin's name, the line the host's build pins first-party plugins by.
//! Checks of the manifest beyond its name are the host's.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use freezer_format::component::with_plugin_manifest;
use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed, the exit code alone must do.
            drop(writeln!(std::io::stderr(), "error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<(), Box<dyn Error>> {
    let [input, manifest, output] = arguments.as_slice() else {
        return Err("usage: freezer-pack IN.wasm PLUGIN.toml OUT.wasm".into());
    };
    let component = read(input.as_ref())?;
    let text = read(manifest.as_ref())?;
    let name = plugin_name(&text).map_err(|error| in_file(manifest.as_ref(), &error))?;
    let packed = with_plugin_manifest(&component, &text).map_err(|error| in_file(input.as_ref(), &error))?;
    std::fs::write(output, &packed).map_err(|error| in_file(output.as_ref(), &error))?;
    writeln!(
        std::io::stdout(),
        "{} {name}",
        hex::encode(Sha256::digest(&packed))
    )?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| in_file(path, &error))
}

fn plugin_name(manifest: &[u8]) -> Result<String, Box<dyn Error>> {
    let table: toml::Table = std::str::from_utf8(manifest)?.parse()?;
    let name = table.get("name").and_then(toml::Value::as_str);
    Ok(name.ok_or("it has no name")?.to_owned())
}

fn in_file(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("\"{}\": {error}", path.display())
}
