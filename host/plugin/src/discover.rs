//! Finds plugin files and looks at each by itself: a bad file is reported, it never hides a good one.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::component;
use crate::error::PluginError;
use crate::facts::{Identity, KnownFiles, Seen};
use crate::installed::{self, Record, Recorded};
use crate::manifest::{ManifestError, PluginManifest};
use crate::pack;
use crate::signature::Signature;

/// The largest component: a Python one has 18 MB.
pub(crate) const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// The digests of the plugins that were built together with this binary.
const FIRST_PARTY: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/digests.rs"));

/// A plugin file that was looked at.
#[derive(Debug)]
pub struct Discovered {
    /// The file.
    pub path: PathBuf,
    /// The plugin's name, as far as it could be read.
    pub name: Option<String>,
    /// What it says about itself, or why it can't be used.
    pub result: Result<PluginManifest, PluginError>,
    /// The digest of the whole file, in hex; empty if it can't be read.
    pub sha256: String,
    /// Whether this binary was built together with it.
    pub first_party: bool,
    /// The interfaces that it imports: an upper bound of what it can call.
    pub imports: Vec<String>,
    /// The file of the same name that is used in its place.
    pub shadowed_by: Option<PathBuf>,
    /// Where it came from, if it was installed.
    pub record: Option<Record>,
    /// The signature that came with it, not yet believed.
    pub signature: Option<Signature>,
}

impl Discovered {
    /// Tells whether it bears a name: a broken file's name may be known by its file alone.
    pub(crate) fn claims(&self, name: &str) -> bool {
        match &self.name {
            Some(own) => own == name,
            None => self.path.file_stem().is_some_and(|stem| stem == name),
        }
    }
}

/// Looks at every `*.wasm` of the directories, which are in order of precedence; absent ones are skipped. Files that are
/// known aren't read.
pub(crate) fn discover(dirs: &[PathBuf], known: Option<&KnownFiles<'_>>) -> Vec<Discovered> {
    let mut all: Vec<Discovered> = Vec::new();
    for path in dirs.iter().flat_map(|dir| files(dir)) {
        // A directory may be named twice, and by two names.
        if all.iter().any(|known| known.path == path) {
            continue;
        }
        all.push(examine(&path, known));
    }
    // Those of this binary first, wherever they lie: nobody else can have their names and schemes.
    for first_party in [true, false] {
        for place in 0..all.len() {
            if all[place].first_party == first_party {
                all[place].shadowed_by = in_place_of(&all, place);
            }
        }
    }
    all
}

/// The file that is used in the place of this one.
fn in_place_of(all: &[Discovered], place: usize) -> Option<PathBuf> {
    let found = &all[place];
    let manifest = found.result.as_ref().ok()?;
    let mut others = all
        .iter()
        .enumerate()
        .filter(|(_, other)| other.shadowed_by.is_none());
    let taker = others.find(|(at, other)| {
        let Ok(theirs) = &other.result else { return false };
        match (other.first_party, found.first_party) {
            (true, false) => shared_claim(manifest, theirs).is_some(),
            (false, true) => false,
            _ => *at < place && theirs.name == manifest.name,
        }
    });
    taker.map(|(_, other)| other.path.clone())
}

/// A name or scheme that both plugins claim for themselves.
pub(crate) fn shared_claim<'a>(one: &'a PluginManifest, other: &PluginManifest) -> Option<&'a str> {
    let claimed =
        |claim: &&String| **claim == other.name || (one.kind == other.kind && other.schemes.contains(claim));
    let schemes = one.schemes.iter().filter(|_| one.kind == other.kind);
    let mut claims = std::iter::once(&one.name).chain(schemes);
    claims.find(claimed).map(String::as_str)
}

/// Tells whether a plugin of this name was built together with this binary.
pub(crate) fn is_pinned_name(name: &str) -> bool {
    FIRST_PARTY.iter().any(|(_, pinned)| *pinned == name)
}

/// Looks at one file.
pub(crate) fn examine(path: &Path, known: Option<&KnownFiles<'_>>) -> Discovered {
    let mut found = Discovered {
        path: path.to_owned(),
        name: None,
        result: Err(PluginError::NotAPlugin {
            path: path.to_owned(),
            why: "it wasn't read".to_owned(),
        }),
        sha256: String::new(),
        first_party: false,
        imports: Vec::new(),
        shadowed_by: None,
        record: None,
        signature: None,
    };
    found.result = look(path, known, &mut found.sha256).and_then(|seen| {
        found.first_party = FIRST_PARTY.iter().any(|(sha256, _)| *sha256 == found.sha256);
        let manifest = seen.facts.manifest();
        found.imports = seen.facts.imports;
        if found.first_party {
            return manifest.map_err(|source| pack::bad_manifest(path, source));
        }
        let allowed = manifest.and_then(|manifest| manifest.check_foreign_variables().map(|()| manifest));
        if let Err(ManifestError::Contract { name, .. }) = &allowed {
            found.name.clone_from(name);
        }
        let manifest = allowed.map_err(|source| pack::bad_manifest(path, source))?;
        found.name = Some(manifest.name.clone());
        origin(&mut found)?;
        Ok(manifest)
    });
    if let Ok(manifest) = &found.result {
        found.name = Some(manifest.name.clone());
    }
    found
}

/// What there is to see in a file; `sha256` is filled in as soon as it is known.
fn look(path: &Path, known: Option<&KnownFiles<'_>>, sha256: &mut String) -> Result<Seen, PluginError> {
    let file = open_component(path)?;
    let before = Identity::of(&file);
    let remembered = known
        .zip(before.as_ref())
        .and_then(|(known, identity)| known.get(path, identity));
    if let Some(seen) = remembered {
        sha256.clone_from(&seen.sha256);
        return Ok(seen);
    }
    let bytes = read_opened(path, &file)?;
    *sha256 = digest(&bytes);
    let seen = Seen {
        sha256: sha256.clone(),
        facts: component::read(&bytes).map_err(|why| no_plugin(path, &why))?,
    };
    if let (Some(known), Some(identity)) = (known, before)
        && Identity::of(&file).as_ref() == Some(&identity)
    {
        known.put(path, identity, seen.clone());
    }
    Ok(seen)
}

/// Looks up where a component came from and the signature that came with it: the one in its record, else the one beside it.
fn origin(found: &mut Discovered) -> Result<(), PluginError> {
    let path = &found.path;
    let recorded = installed::recorded(path, &found.sha256).map_err(|source| PluginError::Record {
        path: path.clone(),
        source,
    })?;
    let signature = match recorded {
        Recorded::As(record) => found.record.insert(*record).signature.clone(),
        Recorded::Other(installed) => {
            return Err(PluginError::Tampered {
                path: path.clone(),
                installed,
                found: found.sha256.clone(),
            });
        }
        Recorded::Never => {
            let beside = pack::read_signature(&pack::signature_path(path));
            beside.map_err(|error| no_plugin(path, &format!("its signature can't be read: {error}")))?
        }
    };
    let signature = signature.as_deref().map(Signature::parse).transpose();
    found.signature = signature.map_err(|error| no_plugin(path, &format!("its signature: {error}")))?;
    Ok(())
}

fn no_plugin(path: &Path, why: &str) -> PluginError {
    PluginError::NotAPlugin {
        path: path.to_owned(),
        why: crate::escape::line(why, 400),
    }
}

/// The whole file.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>, PluginError> {
    read_opened(path, &open_component(path)?)
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> PluginError {
    move |source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn open_component(path: &Path) -> Result<File, PluginError> {
    File::open(path).map_err(unreadable(path))
}

fn read_opened(path: &Path, file: &File) -> Result<Vec<u8>, PluginError> {
    let length = file.metadata().map_err(unreadable(path))?.len();
    if length > MAX_COMPONENT_BYTES {
        let why = format!("it has {length} bytes, at most {MAX_COMPONENT_BYTES} are allowed");
        return Err(PluginError::NotAPlugin {
            path: path.to_owned(),
            why,
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(MAX_COMPONENT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(unreadable(path))?;
    Ok(bytes)
}

/// The digest of a component, in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The `*.wasm` files of one directory in the order of their names.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(dir = %dir.display(), %error, "no plugins here");
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm") && path.is_file())
        .collect();
    files.sort();
    files
}
