//! What a plugin travels as: `NAME-VERSION.wasm`, the component with its plugin.toml inside, and beside it, if it is
//! signed, `NAME-VERSION.wasm.minisig`, the signature of the whole file.
//!
//! Both are files that other tools know: `minisign -S` signs and `minisign -V` checks, `sha256sum` gives the digest, and a
//! component without a signature is a packed plugin too. Name, version, contract and licence stand in the plugin.toml
//! and so are signed; the files' names say nothing that is believed.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::component;
use crate::discover;
use crate::error::PluginError;
use crate::manifest::{ManifestError, PluginManifest};
use crate::signature::{MAX_TEXT_BYTES, Signature, SignatureError};

/// What the name of a signature adds to that of the component.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// Why something is no packed plugin.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The component or its plugin.toml can't be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The signature can't be used.
    #[error("can't use the signature {}", path.display())]
    Signature {
        /// The signature's file.
        path: PathBuf,
        /// What is wrong with it.
        source: SignatureError,
    },
    /// A folder doesn't hold exactly one plugin.
    #[error("{} holds {count} files *.wasm: name the one that is meant", path.display())]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// A file can't be read or written.
    #[error("can't {action} {}", path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A plugin as it came from somebody: looked at, not believed, not compiled.
#[derive(Debug)]
pub struct PackedPlugin {
    bytes: Vec<u8>,
    manifest: PluginManifest,
    imports: Vec<String>,
    sha256: String,
    signature: Option<Signature>,
}

impl PackedPlugin {
    /// Looks at a component and the signature that came with it; `from` names it in messages. The contract is judged
    /// before anything else.
    ///
    /// # Errors
    /// [`PackError::Plugin`] for bytes that are no plugin of this contract or have a function that takes too long to
    /// compile; [`PackError::Signature`].
    pub fn new(from: &Path, bytes: Vec<u8>, signature: Option<&str>) -> Result<Self, PackError> {
        let no_plugin = |why: String| PluginError::NotAPlugin {
            path: from.to_owned(),
            why: crate::escape::line(&why, 400),
        };
        let facts = component::read(&bytes).map_err(no_plugin)?;
        let manifest = facts
            .manifest()
            .and_then(|manifest| manifest.check_foreign_variables().map(|()| manifest))
            .map_err(|source| bad_manifest(from, source))?;
        component::check_functions(&bytes).map_err(no_plugin)?;
        let signature = signature.map(Signature::parse).transpose();
        let signature = signature.map_err(|source| PackError::Signature {
            path: signature_path(from),
            source,
        })?;
        Ok(Self {
            sha256: discover::digest(&bytes),
            bytes,
            manifest,
            imports: facts.imports,
            signature,
        })
    }

    /// Reads a packed plugin from its file, or from a folder that holds exactly one; the signature lies beside it.
    ///
    /// # Errors
    /// All of [`PackError`].
    pub fn read(path: &Path) -> Result<Self, PackError> {
        let file = match path.is_dir() {
            true => only_component(path)?,
            false => path.to_owned(),
        };
        let bytes = discover::read_component(&file)?;
        let signature = read_signature(&signature_path(&file))?;
        Self::new(&file, bytes, signature.as_deref())
    }

    /// Writes it into a folder under the name that packed plugins have, and answers the component's path.
    ///
    /// # Errors
    /// [`PackError::File`].
    pub fn write(&self, folder: &Path) -> Result<PathBuf, PackError> {
        let path = folder.join(self.file_name());
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes).map_err(|source| PackError::File {
                action: "write",
                path: path.to_owned(),
                source,
            })
        };
        write(&path, &self.bytes)?;
        if let Some(signature) = &self.signature {
            write(&signature_path(&path), signature.text().as_bytes())?;
        }
        Ok(path)
    }

    /// `NAME-VERSION.wasm`; what is no letter, digit or one of `.+-` in a version becomes `_`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let plain = |letter: char| match letter {
            letter if letter.is_ascii_alphanumeric() || ".+-".contains(letter) => letter,
            _ => '_',
        };
        let version: String = self.manifest.version.chars().take(64).map(plain).collect();
        format!("{}-{version}.wasm", self.manifest.name)
    }

    /// The component.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &PluginManifest {
        &self.manifest
    }

    /// The interfaces that the component imports, read from itself: an upper bound of what it can call.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// The digest of the component, in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The signature that came with it, not yet believed.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }
}

/// Where the signature of a component lies.
#[must_use]
pub fn signature_path(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    PathBuf::from(name)
}

/// The text of a signature file; `None` where there is none.
pub(crate) fn read_signature(path: &Path) -> Result<Option<String>, PackError> {
    let failed = |source| PackError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    // A pipe in its place must not be waited for. The flag's bits fit: they are those of the system call.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it isn't a regular file")));
    }
    let mut bytes = Vec::new();
    let most = MAX_TEXT_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    // What is no text is no signature either, and is said to be none.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The one component of a folder.
fn only_component(folder: &Path) -> Result<PathBuf, PackError> {
    let mut found = discover::files(folder);
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (last, others) => Err(PackError::NotOne {
            path: folder.to_owned(),
            count: others + usize::from(last.is_some()),
        }),
    }
}

/// A plugin.toml's error as the plugin's.
pub(crate) fn bad_manifest(path: &Path, source: ManifestError) -> PluginError {
    match source {
        ManifestError::Contract { wanted, name } => PluginError::Contract {
            plugin: name.unwrap_or_else(|| path.display().to_string()),
            wanted,
        },
        source => PluginError::Manifest {
            path: path.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::tests::SIGNATURE;

    fn component(version: &str) -> Vec<u8> {
        let manifest = format!(
            "name = \"acme\"\nkind = \"mode\"\nversion = {version:?}\ncontract = \"1.0.0\"\nlicense = \"MIT\"\ndescription = \"d\"\n"
        );
        let component = wat::parse_str("(component)").unwrap();
        freezer_format::component::with_plugin_manifest(&component, manifest.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_from_its_file_and_from_its_folder() {
        let temp = tempfile::tempdir().unwrap();
        let packed = PackedPlugin::new(Path::new("x"), component("1.2.0"), Some(SIGNATURE)).unwrap();
        let path = packed.write(temp.path()).unwrap();
        assert_eq!(path, temp.path().join("acme-1.2.0.wasm"));
        for from in [path.as_path(), temp.path()] {
            let read = PackedPlugin::read(from).unwrap();
            assert_eq!((read.bytes(), read.sha256()), (packed.bytes(), packed.sha256()));
            assert_eq!(read.signature().unwrap().text(), SIGNATURE);
        }
        std::fs::write(temp.path().join("other.wasm"), b"").unwrap();
        let error = PackedPlugin::read(temp.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("holds 2 files *.wasm: name the one that is meant"),
            "{error}"
        );
    }

    #[test]
    fn a_version_never_leads_out_of_the_folder() {
        let packed = PackedPlugin::new(Path::new("x"), component("../../1 0"), None).unwrap();
        assert_eq!(packed.file_name(), "acme-.._.._1_0.wasm");
    }

    #[test]
    fn what_lies_in_the_signatures_place_must_be_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.wasm.minisig");
        assert!(read_signature(&path).unwrap().is_none());
        std::fs::create_dir(&path).unwrap();
        assert!(read_signature(&path).is_err());
    }
}
