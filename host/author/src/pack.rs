//! Packs a plugin for others: `dist/NAME-VERSION.wasm`, which says itself what it is, and its signature beside it.
//!
//! Signing is left to minisign: the secret key and its password never enter this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use freezer_plugin::CONTRACT;
use freezer_plugin::pack::{PackedPlugin, signature_path};

use crate::error::AuthorError;
use crate::file;
use crate::project::Project;

/// Where packed plugins go, below the plugin's folder.
const FOLDER: &str = "dist";

/// A plugin that was packed.
#[derive(Debug)]
pub struct Packed {
    /// The component's file.
    pub path: PathBuf,
    /// What it says and whose signature it has.
    pub plugin: PackedPlugin,
}

/// Packs a component that was built, and signs it if a secret key is named.
///
/// # Errors
/// [`AuthorError::Unfit`] for what strangers must be told and plugin.toml doesn't; [`AuthorError::Key`] and [`AuthorError::Start`] if
/// it can't be signed: the unsigned file stays.
pub fn pack(project: &Project, component: &Path, key: Option<&Path>) -> Result<Packed, AuthorError> {
    check(project).map_err(AuthorError::Unfit)?;
    let folder = project.folder().join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|source| AuthorError::File {
        action: "write",
        path: folder.clone(),
        source,
    })?;
    let plugin = PackedPlugin::new(component, file::read(component)?, None)?;
    let path = plugin.write(&folder)?;
    // A signature of what was packed before is none of this.
    match std::fs::remove_file(signature_path(&path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(AuthorError::File {
                action: "remove",
                path: signature_path(&path),
                source: error,
            });
        }
        _ => {}
    }
    let Some(key) = key else {
        return Ok(Packed { path, plugin });
    };
    sign(&path, key, &plugin)?;
    let plugin = PackedPlugin::read(&path)?;
    Ok(Packed { path, plugin })
}

/// Signs by minisign, which asks for the key's password itself where it has one.
fn sign(path: &Path, key: &Path, plugin: &PackedPlugin) -> Result<(), AuthorError> {
    let bad_key = |why: &str| AuthorError::Key {
        path: key.to_owned(),
        why: why.to_owned(),
    };
    if !key.is_file() {
        return Err(bad_key("there is no such file"));
    }
    let manifest = plugin.manifest();
    let comment = format!(
        "{} {} sha256:{}",
        manifest.name,
        manifest.version,
        plugin.sha256()
    );
    let mut minisign = Command::new("minisign");
    minisign
        .arg("-S")
        .arg("-s")
        .arg(key)
        .args(["-t", &comment, "-m"])
        .arg(path);
    let status = minisign.stdout(std::io::stderr()).status();
    let status = status.map_err(|source| AuthorError::Start {
        program: "minisign".to_owned(),
        source,
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(bad_key("minisign refused it")),
    }
}

/// What operators must be told about a plugin before they install it.
fn check(project: &Project) -> Result<(), String> {
    let manifest = project.manifest();
    check_license(&manifest.license)?;
    let numbers = |text: &str| {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Option<Vec<u64>> = core.split('.').map(|number| number.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() == 3)
    };
    if numbers(&manifest.version).is_none() {
        return Err(format!("version {:?} isn't like 1.2.3", manifest.version));
    }
    match numbers(&manifest.contract) {
        None => Err(format!("contract {:?} isn't like 1.0.0", manifest.contract)),
        Some(wanted) if Some(&wanted) > numbers(CONTRACT).as_ref() => Err(format!(
            "contract {} isn't known: this freezer speaks {CONTRACT}",
            manifest.contract
        )),
        Some(_) => Ok(()),
    }
}

/// Whether a text has the form of an SPDX expression: `MIT`, `Apache-2.0 OR MIT`, `LicenseRef-Acme`.
///
/// # Errors
/// What is wrong with it.
pub fn check_license(text: &str) -> Result<(), String> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let is_id = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.+:".contains(&byte))
            && word.bytes().any(|byte| byte.is_ascii_alphanumeric())
    };
    let (mut wants_id, mut depth) = (true, 0usize);
    let mut good = true;
    for word in spaced.split_whitespace() {
        good &= match (word, wants_id) {
            ("(", true) => {
                depth += 1;
                true
            }
            (")", false) if depth > 0 => {
                depth -= 1;
                true
            }
            ("AND" | "OR" | "WITH", false) => {
                wants_id = true;
                true
            }
            (word, true) if is_id(word) && !["AND", "OR", "WITH"].contains(&word) => {
                wants_id = false;
                true
            }
            _ => false,
        };
    }
    match good && !wants_id && depth == 0 {
        true => Ok(()),
        false => Err(format!(
            "license {text:?} is no SPDX expression, such as MIT or \"Apache-2.0 OR MIT\" (https://spdx.org/licenses)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spdx_expressions_are_licences() {
        for good in [
            "MIT",
            "Apache-2.0 OR MIT",
            "(MIT AND BSD-3-Clause) OR GPL-2.0-or-later WITH Classpath-exception-2.0",
            "LicenseRef-Acme",
        ] {
            assert_eq!(check_license(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "see LICENSE",
            "MIT OR",
            "OR MIT",
            "(MIT",
            "MIT)",
            "MIT, BSD",
            "\"",
            "MIT MIT",
            "-",
        ] {
            assert!(check_license(bad).is_err(), "{bad}");
        }
    }

    fn project(version: &str, contract: &str) -> (tempfile::TempDir, Project) {
        let temp = tempfile::tempdir().unwrap();
        let text = format!(
            "name = \"acme\"\nkind = \"mode\"\nversion = {version:?}\ncontract = {contract:?}\nlicense = \"MIT\"\ndescription = \"d\"\n"
        );
        std::fs::write(temp.path().join("plugin.toml"), text).unwrap();
        let project = Project::open(temp.path()).unwrap();
        (temp, project)
    }

    #[test]
    fn what_strangers_must_be_told_is_checked() {
        assert_eq!(check(&project("1.2.3", "1.0.0").1), Ok(()));
        assert_eq!(check(&project("1.2.3-rc.1", "1.0.0").1), Ok(()));
        let said = |version, contract| check(&project(version, contract).1).unwrap_err();
        assert_eq!(said("one", "1.0.0"), "version \"one\" isn't like 1.2.3");
        assert!(said("1.0.0", "1.7.0").starts_with("contract 1.7.0 isn't known: this freezer speaks 1."));
    }
}
