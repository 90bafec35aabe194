//! Compiled plugins, kept between runs.
//!
//! Loading compiled code is like loading a program: whoever can write it owns us. So the directory must be ours and 0700,
//! each file ours and 0600 and no link, and each carries an HMAC over its name and content under a key that lies in the
//! same directory. What fails any of this is compiled again and replaced. Without a usable directory all works the same,
//! only slower. What was seen in component files ([`facts`](crate::facts)) lies here, too.
//!
//! File: magic `FZPLUG1\n` (8 bytes) · HMAC-SHA-256 of name and content (32 bytes) · content: code as the engine serialised it, or a document.
//! Name of code: SHA-256 of the component, `-`, the engine's compatibility hash (32 hex digits), `.cwasm`.

use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
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

/// A file whose content is authentic.
struct Kept {
    bytes: Vec<u8>,
    /// When it was written, in seconds since 1970.
    written: i64,
}

impl Kept {
    fn content(&self) -> &[u8] {
        &self.bytes[MAGIC.len() + TAG_BYTES..]
    }
}

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
        let name = file_name(engine, sha256);
        let file = self.read(&name, MAX_FILE_BYTES)?;
        match load(engine, file.content()) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::debug!(name, %error, "a compiled plugin doesn't load: compiling again");
                None
            }
        }
    }

    /// The same as bytes, none of which is loaded here. Code of another build of the engine has another name.
    pub(crate) fn code(&self, engine: &Engine, sha256: &str) -> Option<Vec<u8>> {
        let file = self.read(&file_name(engine, sha256), MAX_FILE_BYTES)?;
        Some(file.content().to_vec())
    }

    /// Keeps the compiled form of a component; a failure only costs time later.
    pub(crate) fn put(&self, engine: &Engine, sha256: &str, code: &[u8]) {
        let Some(opened) = self.opened() else { return };
        let name = file_name(engine, sha256);
        if let Err(why) = keep(opened, &name, code) {
            tracing::debug!(name, why, "can't keep a compiled plugin");
        }
    }

    /// A document that was kept under this name, and when that was, in seconds since 1970 by the clock of the file system.
    pub(crate) fn document(&self, name: &str, most: u64) -> Option<(Vec<u8>, i64)> {
        let file = self.read(name, most)?;
        Some((file.content().to_vec(), file.written))
    }

    /// Keeps a document; a failure only costs time later.
    pub(crate) fn keep_document(&self, name: &str, content: &[u8]) {
        let Some(opened) = self.opened() else { return };
        if let Err(why) = keep(opened, name, content) {
            tracing::debug!(name, why, "can't keep what was seen of plugins");
        }
    }

    /// A file of ours, if its content is authentic.
    fn read(&self, name: &str, most: u64) -> Option<Kept> {
        let opened = self.opened()?;
        let (bytes, written) = read_ours(&opened.handle, name, most).ok()?;
        let (tag, content) = bytes.strip_prefix(MAGIC)?.split_at_checked(TAG_BYTES)?;
        if mac(&opened.key, name, content)?.verify_slice(tag).is_err() {
            tracing::debug!(name, "a file of the cache isn't what was written: it isn't used");
            return None;
        }
        Some(Kept { bytes, written })
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

/// Loads compiled code. Only for what a compiler of this program answered just now, and for what was kept of that and is
/// authentic: code can do all that this process can.
pub(crate) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(
        unsafe_code,
        reason = "both callers have the bytes from a compiler that this program started, or from its own file"
    )]
    // SAFETY: the bytes are what `precompile_component` of the same engine build and configuration returned: to this process
    // or to its child by a pipe, or the HMAC shows it, whose key is readable by this user alone.
    unsafe {
        Component::deserialize(engine, code)
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
            Ok((key, _)) if key.len() == KEY_BYTES => key,
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

fn keep(opened: &Opened, name: &str, code: &[u8]) -> Result<(), String> {
    let tag = mac(&opened.key, name, code)
        .ok_or("the key is unusable")?
        .finalize()
        .into_bytes();
    write_ours(&opened.handle, name, &[MAGIC, &tag, code])
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

/// Reads a file that is ours, closed to others and no link; answers also when it was written.
fn read_ours(dir: &OwnedFd, name: &str, most: u64) -> Result<(Vec<u8>, i64), String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|errno| errno.to_string())?;
    check_ours(&file, FileType::RegularFile)?;
    let file = std::fs::File::from(file);
    let facts = file.metadata().map_err(|error| error.to_string())?;
    let length = facts.len();
    if length > most {
        return Err(format!("it has {length} bytes"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok((bytes, facts.mtime()))
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::engine;

    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    /// A cache with one compiled component.
    struct Filled {
        temp: tempfile::TempDir,
        engine: Engine,
        code: Vec<u8>,
    }

    impl Filled {
        fn new() -> Self {
            let engine = Engine::new(&engine::config(1 << 20)).unwrap();
            let component = wat::parse_str("(component)").unwrap();
            let code = engine.precompile_component(&component).unwrap();
            let kept = Self {
                temp: tempfile::tempdir().unwrap(),
                engine,
                code,
            };
            kept.put();
            assert!(kept.has());
            kept
        }

        /// A cache as another run of the program has it.
        fn opened(&self) -> Cache {
            Cache::new(Some(&self.temp.path().join("cache")))
        }

        fn put(&self) {
            self.opened().put(&self.engine, SHA256, &self.code);
        }

        /// Whether the component would be loaded from it.
        fn has(&self) -> bool {
            self.opened().get(&self.engine, SHA256).is_some()
        }

        fn dir(&self) -> PathBuf {
            self.temp.path().join("cache/plugins")
        }

        fn file(&self) -> PathBuf {
            self.dir().join(file_name(&self.engine, SHA256))
        }

        fn key(&self) -> PathBuf {
            self.dir().join(KEY_NAME)
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    /// Puts a link to the same content in a path's place.
    fn link_away(path: &Path) {
        let away = path.with_extension("away");
        std::fs::rename(path, &away).unwrap();
        symlink(&away, path).unwrap();
    }

    fn fifo(path: &Path) {
        std::fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo")
            .args([OsStr::new("-m"), OsStr::new("600"), path.as_os_str()])
            .status();
        assert!(made.unwrap().success());
    }

    /// Makes somebody else the owner; only root can, so others test one attack less.
    fn give_away(path: &Path) {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(path, Some(65534), Some(65534)).unwrap();
        } else {
            set_mode(path, 0o770);
        }
    }

    type Attack = (&'static str, fn(&Path));

    const ON_FILES: [Attack; 8] = [
        ("empty", |path| change(path, Vec::clear)),
        ("cut short", |path| {
            change(path, |bytes| bytes.truncate(bytes.len() - 1))
        }),
        ("longer", |path| change(path, |bytes| bytes.push(0))),
        ("of another owner", give_away),
        ("readable by the group", |path| set_mode(path, 0o640)),
        ("writable by all", |path| set_mode(path, 0o602)),
        ("a link", link_away),
        ("a pipe", fifo),
    ];

    const ON_CODE: [Attack; 6] = [
        ("cut in the tag", |path| change(path, |bytes| bytes.truncate(20))),
        ("first bit", |path| change(path, |bytes| bytes[0] ^= 1)),
        ("bit of the tag", |path| {
            change(path, |bytes| bytes[MAGIC.len()] ^= 1)
        }),
        ("first bit of the code", |path| {
            change(path, |bytes| bytes[MAGIC.len() + TAG_BYTES] ^= 1)
        }),
        ("bit of the code", |path| change(path, |bytes| bytes[1000] ^= 1)),
        ("last bit", |path| {
            change(path, |bytes| *bytes.last_mut().unwrap() ^= 0x80)
        }),
    ];

    #[test]
    fn code_that_was_tampered_with_is_never_loaded_and_is_replaced() {
        for (name, attack) in ON_FILES.iter().chain(&ON_CODE) {
            let kept = Filled::new();
            attack(&kept.file());
            let away = kept.file().with_extension("away");
            assert!(!kept.has(), "{name}");
            kept.put();
            assert!(kept.has(), "{name}: it is compiled again and kept");
            if away.exists() {
                change(&away, Vec::clear);
                assert!(kept.has(), "{name}: nothing was written through the link");
            }
        }
    }

    #[test]
    fn a_key_that_was_tampered_with_speaks_for_nothing() {
        let bit: Attack = ("bit", |path| change(path, |bytes| bytes[0] ^= 1));
        for (name, attack) in ON_FILES.iter().chain([&bit]) {
            let kept = Filled::new();
            let key = std::fs::read(kept.key()).unwrap();
            attack(&kept.key());
            assert!(!kept.has(), "{name}");
            kept.put();
            assert!(kept.has(), "{name}: there is a new key");
            let now = std::fs::symlink_metadata(kept.key()).unwrap();
            assert!(now.is_file() && now.mode() & 0o777 == 0o600, "{name}");
            assert_ne!(std::fs::read(kept.key()).unwrap(), key, "{name}");
        }
    }

    #[test]
    fn a_directory_that_others_reach_is_not_used_at_all() {
        let attacks: [Attack; 5] = [
            ("of another owner", give_away),
            ("writable by its group", |path| set_mode(path, 0o720)),
            ("open to all", |path| set_mode(path, 0o777)),
            ("a link", link_away),
            ("a pipe", |path| {
                std::fs::rename(path, path.with_extension("away")).unwrap();
                std::fs::write(path, "").unwrap();
                fifo(path);
            }),
        ];
        for (name, attack) in attacks {
            let kept = Filled::new();
            let before = std::fs::read(kept.file()).unwrap();
            attack(&kept.dir());
            assert!(!kept.has(), "{name}");
            kept.opened().put(&kept.engine, SHA256, b"other code");
            assert!(!kept.has(), "{name}");
            let away = kept.dir().with_extension("away");
            let dir = if away.exists() { away } else { kept.dir() };
            assert_eq!(
                std::fs::read(dir.join(file_name(&kept.engine, SHA256))).unwrap(),
                before,
                "{name}"
            );
        }
    }

    #[test]
    fn what_was_compiled_as_something_else_is_not_loaded() {
        let kept = Filled::new();
        let key = std::fs::read(kept.key()).unwrap();
        let (own, other) = (
            file_name(&kept.engine, SHA256),
            file_name(&kept.engine, &"0".repeat(64)),
        );
        let plant = |key: &[u8], name: &str| {
            let tag = mac(key, name, &kept.code).unwrap().finalize().into_bytes();
            let file = [MAGIC.as_slice(), &tag, &kept.code].concat();
            std::fs::write(kept.file(), file).unwrap();
        };
        plant(&[7; KEY_BYTES], &own);
        assert!(!kept.has(), "by somebody who doesn't know the key");
        plant(&key, &other);
        assert!(!kept.has(), "another component's, under this one's name");
        plant(&key, &own);
        assert!(kept.has(), "the test makes files as the cache does");
        let settings = Engine::new(&engine::config(1 << 21)).unwrap();
        assert!(
            kept.opened().get(&settings, SHA256).is_none(),
            "by an engine that is set otherwise"
        );
    }
}
