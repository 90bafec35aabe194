//! Compiled plugins, kept between runs.
//!
//! Loading compiled code is like loading a program: whoever can write it owns us. So the directory must be ours and 0700,
//! each file ours and 0600 and no link, and each carries an HMAC over its name and content under a key that lies in the
//! same directory. What fails any of this is compiled again and replaced. Without a usable directory all works the same,
//! only slower.
//!
//! File: magic `FZPLUG1\n` (8 bytes) · HMAC-SHA-256 of name and code (32 bytes) · code as the engine serialised it.
//! Name: SHA-256 of the component, `-`, the engine's compatibility hash (32 hex digits), `.cwasm`.

use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"FZPLUG1\n";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
const KEY_NAME: &str = "key";
/// The largest file that is read: compiled code of an 18 MB Python component has 39 MB.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// The cache, opened when it is first asked.
pub(crate) struct Cache {
    dir: Option<PathBuf>,
    opened: OnceLock<Option<Opened>>,
}

struct Opened {
    handle: OwnedFd,
    key: Zeroizing<Vec<u8>>,
}

impl Cache {
    /// A cache below `dir`, or none.
    pub(crate) fn new(dir: Option<&Path>) -> Self {
        Self {
            dir: dir.map(|dir| dir.join("plugins")),
            opened: OnceLock::new(),
        }
    }

    /// The compiled form of a component, if there is one that can be trusted.
    pub(crate) fn get(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let opened = self.opened()?;
        let name = file_name(engine, sha256);
        let file = read_ours(&opened.handle, &name, MAX_FILE_BYTES).ok()?;
        let code = file.strip_prefix(MAGIC)?;
        let (tag, code) = code.split_at_checked(TAG_BYTES)?;
        if mac(&opened.key, &name, code)?.verify_slice(tag).is_err() {
            tracing::debug!(name, "a compiled plugin isn't what was written: compiling again");
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the HMAC shows that this process's user wrote these bytes with this engine"
        )]
        // SAFETY: the bytes are what `Component::serialize` of the same engine build and configuration returned, which
        // the compatibility hash in the authenticated name says; the key is readable by this user alone.
        let component = unsafe { Component::deserialize(engine, code) };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::debug!(name, %error, "a compiled plugin doesn't load: compiling again");
                None
            }
        }
    }

    /// Keeps the compiled form of a component; a failure only costs time later.
    pub(crate) fn put(&self, engine: &Engine, sha256: &str, component: &Component) {
        let Some(opened) = self.opened() else { return };
        let name = file_name(engine, sha256);
        if let Err(why) = keep(opened, &name, component) {
            tracing::debug!(name, why, "can't keep a compiled plugin");
        }
    }

    fn opened(&self) -> Option<&Opened> {
        let open = || {
            let dir = self.dir.as_deref()?;
            match Opened::open(dir) {
                Ok(opened) => Some(opened),
                Err(why) => {
                    tracing::debug!(dir = %dir.display(), why, "compiled plugins aren't kept");
                    None
                }
            }
        };
        self.opened.get_or_init(open).as_ref()
    }
}

impl Opened {
    fn open(dir: &Path) -> Result<Self, String> {
        let parent = dir.parent().ok_or("it has no parent")?;
        std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        match rustix::fs::mkdir(dir, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.to_string()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| errno.to_string())?;
        check_ours(&handle, FileType::Directory)?;
        let key = match read_ours(&handle, KEY_NAME, KEY_BYTES as u64) {
            Ok(key) if key.len() == KEY_BYTES => key,
            // Absent, damaged or not ours: a new key makes all older files worthless, which is right.
            _ => new_key(&handle)?,
        };
        Ok(Self {
            handle,
            key: Zeroizing::new(key),
        })
    }
}

fn new_key(dir: &OwnedFd) -> Result<Vec<u8>, String> {
    let mut key = vec![0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    write_ours(dir, KEY_NAME, &[&key])?;
    Ok(key)
}

fn keep(opened: &Opened, name: &str, component: &Component) -> Result<(), String> {
    let code = component.serialize().map_err(|error| error.to_string())?;
    let tag = mac(&opened.key, name, &code)
        .ok_or("the key is unusable")?
        .finalize()
        .into_bytes();
    write_ours(&opened.handle, name, &[MAGIC, &tag, &code])
}

fn mac(key: &[u8], name: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(code);
    Some(mac)
}

fn file_name(engine: &Engine, sha256: &str) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let engine = hex::encode(&hasher.0.finalize()[..16]);
    format!("{sha256}-{engine}.cwasm")
}

/// Feeds what `Hash` hands out to a digest that nobody can steer into collisions.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Only the digest is used.
        0
    }
}

/// Reads a file that is ours, closed to others and no link.
fn read_ours(dir: &OwnedFd, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|errno| errno.to_string())?;
    check_ours(&file, FileType::RegularFile)?;
    let file = std::fs::File::from(file);
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    if length > most {
        return Err(format!("it has {length} bytes"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn check_ours(file: &OwnedFd, kind: FileType) -> Result<(), String> {
    let facts = rustix::fs::fstat(file).map_err(|errno| errno.to_string())?;
    if FileType::from_raw_mode(facts.st_mode) != kind {
        return Err("it is of the wrong type".to_owned());
    }
    if facts.st_uid != rustix::process::geteuid().as_raw() {
        return Err("it belongs to somebody else".to_owned());
    }
    if facts.st_mode & 0o077 != 0 {
        return Err("others may use it: its mode must be 0700".to_owned());
    }
    Ok(())
}

/// Writes a file under a temporary name and renames it into place.
fn write_ours(dir: &OwnedFd, name: &str, pieces: &[&[u8]]) -> Result<(), String> {
    let temporary = format!("{name}.{}", std::process::id());
    let remove = || rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
    // Left by a process of the same number that was killed.
    if remove().is_ok() {
        tracing::debug!(temporary, "removed a half-written file");
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::openat(dir, &temporary, flags, mode).map_err(|errno| errno.to_string())?;
    let mut file = std::fs::File::from(file);
    let written = pieces
        .iter()
        .try_for_each(|piece| file.write_all(piece))
        .map_err(|error| error.to_string());
    let renamed = written
        .and_then(|()| rustix::fs::renameat(dir, &temporary, dir, name).map_err(|errno| errno.to_string()));
    renamed.inspect_err(|_| {
        if let Err(errno) = remove() {
            tracing::debug!(temporary, %errno, "can't remove a half-written file");
        }
    })
}
