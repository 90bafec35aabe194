//! The SDK and the contract as this binary carries them: the sources that it was built from.
//!
//! A new plugin gets a copy of both, so that it builds wherever a compiler is, against exactly the contract that this host
//! speaks. In the copy, `sdk/Cargo.toml` says itself what it took from the workspace.

use std::path::Path;

use freezer_plugin::CONTRACT;
use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::error::AuthorError;
use crate::file;

/// Paths and contents below `sdk/` and `wit/`.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/files.rs"));
/// The workspace's and the SDK's own Cargo.toml.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");
const OWN: &str = include_str!("../../../sdk/Cargo.toml");

/// The compiler that the SDK needs at least.
#[must_use]
pub fn rust_version() -> String {
    let workspace: DocumentMut = WORKSPACE.parse().unwrap_or_default();
    let version = &workspace["workspace"]["package"]["rust-version"];
    version.as_str().unwrap_or_default().to_owned()
}

/// Writes the SDK and the contract into `sdk` and `wit` below a folder.
///
/// # Errors
/// [`AuthorError::File`].
pub fn write(folder: &Path) -> Result<(), AuthorError> {
    write_contract(folder)?;
    for (path, content) in FILES.iter().filter(|(path, _)| path.starts_with("sdk/")) {
        file::write(&folder.join(path), content.as_bytes())?;
    }
    file::write(&folder.join("sdk/Cargo.toml"), manifest().as_bytes())
}

/// Writes the contract alone.
///
/// # Errors
/// [`AuthorError::File`].
pub fn write_contract(folder: &Path) -> Result<(), AuthorError> {
    let contract = FILES.iter().filter(|(path, _)| path.starts_with("wit/"));
    contract
        .into_iter()
        .try_for_each(|(path, content)| file::write(&folder.join(path), content.as_bytes()))
}

/// The SDK's Cargo.toml on its own.
fn manifest() -> String {
    let workspace: DocumentMut = WORKSPACE.parse().unwrap_or_default();
    let mut own: DocumentMut = OWN.parse().unwrap_or_default();
    let workspace = &workspace["workspace"];
    own.remove("lints");
    inherit(&mut own["package"], &workspace["package"]);
    inherit(&mut own["dependencies"], &workspace["dependencies"]);
    if let Some(targets) = own.get_mut("target").and_then(Item::as_table_like_mut) {
        for (_, target) in targets.iter_mut() {
            inherit(&mut target["dependencies"], &workspace["dependencies"]);
        }
    }
    format!(
        "# The SDK for plugin contract {CONTRACT}, as freezer {} carries it. Not to be changed here.\n{own}",
        env!("CARGO_PKG_VERSION")
    )
}

/// Puts the workspace's values where a table says `KEY.workspace = true`.
fn inherit(own: &mut Item, workspace: &Item) {
    let Some(table) = own.as_table_like_mut() else {
        return;
    };
    let inherits = |item: &Item| {
        item.as_table_like()
            .is_some_and(|table| table.contains_key("workspace"))
    };
    let keys: Vec<String> = TableLike::iter(table)
        .filter(|(_, item)| inherits(item))
        .map(|(key, _)| key.to_owned())
        .collect();
    for key in keys {
        let mut value = workspace.get(&key).cloned().unwrap_or(Item::Table(Table::new()));
        if let Some(value) = value.as_value_mut() {
            value.decor_mut().clear();
        }
        table.insert(&key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_of_the_sdk_needs_no_workspace() {
        let text = manifest();
        let parsed: toml::Table = toml::from_str(&text).unwrap();
        assert!(!text.contains("workspace"), "{text}");
        assert_eq!(parsed["package"]["name"].as_str(), Some("freezer-sdk"));
        assert_eq!(parsed["package"]["edition"].as_str(), Some("2024"));
        assert!(
            parsed["dependencies"]["wit-bindgen"]["version"].is_str(),
            "{text}"
        );
        assert!(!rust_version().is_empty());
    }

    #[test]
    fn all_of_sdk_and_contract_is_carried() {
        for path in ["sdk/src/lib.rs", "sdk/src/testing/disk.rs", "wit/worlds.wit"] {
            assert!(FILES.iter().any(|(known, _)| *known == path), "{path}");
        }
    }
}
