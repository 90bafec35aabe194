//! Which versions of the plugin contract this host speaks, and what is said about others.
//!
//! Types are frozen within a major version, and an interface may get functions. So a plugin is judged by the major version that it
//! declares and imports, and for the rest by linking it: one that was built for a newer minor version runs as long as it calls nothing
//! that isn't here.

use crate::error::CONTRACT;
use crate::manifest::{ManifestError, PluginManifest, bad, check_name};

/// What the names of the contract's interfaces begin with.
const PACKAGE: &str = "freezer:plugin/";
/// The one major version that there is.
const MAJOR: u32 = 1;

/// Major, minor and patch.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let numbers: Vec<u32> = version
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Judges the major version that plugin.toml declares, before anything else in it.
///
/// # Errors
/// [`ManifestError::Contract`], or what is wrong with the key.
pub(crate) fn check_declared(table: &toml::Table) -> Result<(), ManifestError> {
    let wanted = match table.get("contract") {
        Some(toml::Value::String(wanted)) => wanted,
        Some(_) => return Err(bad("contract", "must be text such as \"1.0.0\"")),
        None => {
            return Err(bad(
                "contract",
                "is missing: which version of the plugin contract was it built for?",
            ));
        }
    };
    match numbers(wanted) {
        Some([MAJOR, ..]) => Ok(()),
        Some(_) => Err(ManifestError::Contract {
            wanted: wanted.clone(),
            name: table
                .get("name")
                .and_then(toml::Value::as_str)
                .filter(|name| check_name("name", name).is_ok())
                .map(str::to_owned),
        }),
        None => Err(bad("contract", "must be three numbers such as \"1.0.0\"")),
    }
}

/// Holds what a component imports to the same: what it declares may be older than what it was built with.
///
/// # Errors
/// [`ManifestError::Contract`].
pub(crate) fn check_imports(manifest: &PluginManifest, imports: &[String]) -> Result<(), ManifestError> {
    let versions = imports
        .iter()
        .filter_map(|import| import.strip_prefix(PACKAGE)?.split_once('@'));
    let other = versions
        .map(|(_, version)| version)
        .find(|version| numbers(version).is_some_and(|[major, ..]| major != MAJOR));
    match other {
        None => Ok(()),
        Some(wanted) => Err(ManifestError::Contract {
            wanted: wanted.to_owned(),
            name: Some(manifest.name.clone()),
        }),
    }
}

/// What is said beside the reason why a component doesn't link, if it may well be that it is too new.
pub(crate) fn newer(declared: &str) -> Option<String> {
    let newer = numbers(declared) > numbers(CONTRACT);
    newer.then(|| {
        format!("it was built for plugin contract {declared}, this freezer speaks {CONTRACT}: install a newer freezer or an older build of it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_newer_is_called_so() {
        for (declared, is_newer) in [
            ("1.0.0", false),
            ("1.0.1", true),
            ("1.9.0", true),
            ("1.10.0", true),
            ("0.9.0", false),
        ] {
            assert_eq!(newer(declared).is_some(), is_newer, "{declared}");
        }
    }
}
