//! Plugins that were installed: the component under its plugin's name, and beside it what is known of where it came from.
//!
//! ```text
//! plugins/acme.wasm                         the component; nothing else of it is ever run
//! plugins/installed/acme-SHA256.toml        version, source, time and signature of exactly this component
//! ```
//!
//! The record is written first, then the component takes the place of the older one by a rename, then the older record
//! goes. So at every moment, also after a kill, the component that is there has its record. A component with records of
//! which none is its own isn't what was installed: it was changed, and isn't used.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::PluginError;
use crate::pack::PackedPlugin;
use crate::trusted;

/// The folder of the records.
const RECORDS: &str = "installed";
/// The end of a record's name.
const RECORD_SUFFIX: &str = ".toml";
/// The most records that are looked at; each plugin has one.
const MAX_RECORDS: usize = 10_000;

/// Where an installed component came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The component's digest, in hex.
    pub sha256: String,
    /// The file or URL.
    pub source: String,
    /// When it was installed.
    pub time: String,
    /// The signature that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What the records say of a component.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// Nothing of a component of this name was installed here.
    Never,
    /// This is what was installed.
    As(Box<Record>),
    /// Another component of this name was installed.
    Other(String),
}

/// What the records of a directory say of a component in it.
pub(crate) fn recorded(component: &Path, sha256: &str) -> io::Result<Recorded> {
    let (Some(directory), Some(stem)) = (
        component.parent(),
        component.file_stem().and_then(|stem| stem.to_str()),
    ) else {
        return Ok(Recorded::Never);
    };
    let folder = directory.join(RECORDS);
    if let Some(record) = read(&folder.join(record_name(stem, sha256)))? {
        return Ok(Recorded::As(Box::new(record)));
    }
    let others = digests(&folder, stem)?;
    Ok(others.into_iter().next().map_or(Recorded::Never, Recorded::Other))
}

/// Installs a component into a directory, in the place of an older one of its name.
///
/// # Errors
/// [`PluginError::Install`]; nothing is changed then, or only the record of the new component was added.
pub fn install(directory: &Path, packed: &PackedPlugin, record: &Record) -> Result<PathBuf, PluginError> {
    let name = &packed.manifest().name;
    let path = directory.join(format!("{name}.wasm"));
    let folder = directory.join(RECORDS);
    let failed = |at: &Path| {
        let path = at.to_owned();
        move |source| PluginError::Install { path, source }
    };
    let text = toml::to_string(record)
        .map_err(io::Error::other)
        .map_err(failed(&folder))?;
    trusted::make_directory(directory, 0o755).map_err(failed(directory))?;
    trusted::make_directory(&folder, 0o755).map_err(failed(&folder))?;
    let record_path = folder.join(record_name(name, packed.sha256()));
    trusted::replace(&record_path, text.as_bytes(), 0o644).map_err(failed(&record_path))?;
    trusted::replace(&path, packed.bytes(), 0o644).map_err(failed(&path))?;
    for other in digests(&folder, name).map_err(failed(&folder))? {
        if other != packed.sha256() {
            let path = folder.join(record_name(name, &other));
            std::fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    Ok(path)
}

/// Removes a component and its records.
///
/// # Errors
/// [`PluginError::Install`].
pub fn remove(component: &Path) -> Result<(), PluginError> {
    let failed = |at: &Path| {
        let path = at.to_owned();
        move |source| PluginError::Install { path, source }
    };
    let directory = component.parent().unwrap_or(Path::new("."));
    trusted::check_directory(directory).map_err(failed(directory))?;
    // First what is run: without its records it would be a component that nobody installed.
    std::fs::remove_file(component).map_err(failed(component))?;
    let beside = crate::pack::signature_path(component);
    let Some(stem) = component.file_stem().and_then(|stem| stem.to_str()) else {
        return Ok(());
    };
    let folder = directory.join(RECORDS);
    let records = digests(&folder, stem).map_err(failed(&folder))?;
    let records = records
        .iter()
        .map(|sha256| folder.join(record_name(stem, sha256)));
    for path in records.chain([beside]) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that nobody but root and this user could have put a component where it is.
///
/// # Errors
/// What is wrong, and what to change.
pub fn check_place(component: &Path) -> Result<(), String> {
    trusted::open(component, std::fs::OpenOptions::new().read(true))
        .map(drop)
        .map_err(|error| error.to_string())
}

fn record_name(stem: &str, sha256: &str) -> String {
    format!("{stem}-{sha256}{RECORD_SUFFIX}")
}

fn read(path: &Path) -> io::Result<Option<Record>> {
    // A folder that isn't there holds no record, and one that others can write none that counts.
    let Some(text) = trusted::read(path)? else {
        return Ok(None);
    };
    let record = toml::from_str(&text);
    record.map(Some).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{}: {}",
                path.display(),
                trusted::at_line(&text, error.span(), error.message())
            ),
        )
    })
}

/// The digests of the components of which a folder holds records for this name.
fn digests(folder: &Path, stem: &str) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let digest = |name: &str| {
        let digest = name
            .strip_prefix(stem)?
            .strip_prefix('-')?
            .strip_suffix(RECORD_SUFFIX)?;
        let hex = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| digest.to_owned())
    };
    let names = entries.take(MAX_RECORDS).filter_map(Result::ok);
    Ok(names
        .filter_map(|entry| digest(entry.file_name().to_str()?))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(version: &str) -> PackedPlugin {
        let manifest = format!(
            "name = \"acme\"\nkind = \"mode\"\nversion = \"{version}\"\ncontract = \"1.0.0\"\nlicense = \"MIT\"\ndescription = \"d\"\n"
        );
        let component = wat::parse_str("(component)").unwrap();
        let bytes = freezer_format::component::with_plugin_manifest(&component, manifest.as_bytes()).unwrap();
        PackedPlugin::new(Path::new("acme.wasm"), bytes, None).unwrap()
    }

    fn record(packed: &PackedPlugin) -> Record {
        Record {
            name: "acme".to_owned(),
            version: packed.manifest().version.clone(),
            sha256: packed.sha256().to_owned(),
            source: "https://plugins.example.org/acme.wasm".to_owned(),
            time: "2026-11-30T09:00:00Z".to_owned(),
            signature: None,
        }
    }

    fn records(directory: &Path) -> usize {
        std::fs::read_dir(directory.join(RECORDS)).unwrap().count()
    }

    #[test]
    fn an_installed_component_has_its_record_and_an_update_takes_both_places() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("share/plugins");
        let (one, two) = (packed("1.0.0"), packed("2.0.0"));
        let path = install(&directory, &one, &record(&one)).unwrap();
        assert!(
            matches!(recorded(&path, one.sha256()).unwrap(), Recorded::As(found) if *found == record(&one))
        );
        install(&directory, &two, &record(&two)).unwrap();
        assert!(matches!(recorded(&path, two.sha256()).unwrap(), Recorded::As(_)));
        assert!(
            matches!(recorded(&path, one.sha256()).unwrap(), Recorded::Other(sha256) if sha256 == two.sha256())
        );
        assert_eq!(records(&directory), 1);
        remove(&path).unwrap();
        assert!(!path.exists() && records(&directory) == 0);
        assert!(matches!(recorded(&path, two.sha256()).unwrap(), Recorded::Never));
    }

    #[test]
    fn nothing_is_installed_through_a_link_or_where_others_can_write() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let temp = tempfile::tempdir().unwrap();
        let (directory, victim) = (temp.path().join("plugins"), temp.path().join("victim"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(&victim, "old").unwrap();
        symlink(&victim, directory.join("acme.wasm")).unwrap();
        let packed = packed("1.0.0");
        let error = install(&directory, &packed, &record(&packed)).unwrap_err();
        assert!(error.to_string().contains("acme.wasm"), "{error}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "old");
        std::fs::remove_file(directory.join("acme.wasm")).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(install(&directory, &packed, &record(&packed)).is_err());
        assert!(!directory.join("acme.wasm").exists());
    }
}
