//! Files of known machines as OpenSSH keeps them: who is known by which key, and whose key was revoked.
//!
//! Read here and not by libssh2, which knows neither `@revoked` nor patterns. A line that makes no sense is passed over, as
//! OpenSSH does: it can only make a machine less known. Lines of certificate authorities count for nothing, since no
//! certificate is asked for.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Digest;

use crate::error::{Error, ErrorKind};

/// The largest file that is read; a hundred thousand machines fit.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// Connections of one process write new machines down one after the other, so that each is written once.
static WRITING: Mutex<()> = Mutex::new(());

/// Where known machines are looked up, and where a new one is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHostsFiles {
    /// Read in this order; one that isn't there is empty.
    pub files: Vec<PathBuf>,
    /// Whether a machine that none of them knows is written into the first one and trusted from then on.
    pub accept_new: bool,
}

/// The key that a machine showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostKey {
    /// Its blob, as the protocol carries it.
    pub(super) blob: Vec<u8>,
}

/// What the files say about a machine's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the known one.
    Known,
    /// The machine isn't known.
    Unknown,
    /// The machine is known by another key, which stands there.
    Changed(String),
    /// Nobody may use that key, says the line there.
    Revoked(String),
}

/// All lines of all files.
#[derive(Debug, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    revoked: bool,
    names: Names,
    kind: String,
    blob: Vec<u8>,
    /// File and number, for messages.
    place: String,
}

#[derive(Debug)]
enum Names {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// The name under which a machine is known: the port counts unless it is the usual one.
pub(super) fn known_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

impl HostKey {
    /// What kind of key it is: "ssh-ed25519".
    pub(super) fn kind(&self) -> &str {
        let length = self.blob.get(..4).and_then(|bytes| bytes.try_into().ok());
        let length = usize::try_from(length.map_or(0, u32::from_be_bytes)).unwrap_or(usize::MAX);
        let text = self.blob.get(4..).and_then(|rest| rest.get(..length));
        text.and_then(|bytes| std::str::from_utf8(bytes).ok())
            .filter(|kind| kind.bytes().all(|byte| byte.is_ascii_graphic()))
            .unwrap_or("unknown")
    }

    /// The digest that people compare: "SHA256:…".
    pub(super) fn fingerprint(&self) -> String {
        format!(
            "SHA256:{}",
            STANDARD_NO_PAD.encode(sha2::Sha256::digest(&self.blob))
        )
    }

    /// The line by which a machine of that name is known.
    pub(super) fn line(&self, name: &str) -> String {
        format!("{name} {} {}", self.kind(), STANDARD.encode(&self.blob))
    }
}

impl KnownHosts {
    /// Reads all files.
    ///
    /// # Errors
    /// `Denied` or `Invalid` for a file that is there but can't be read.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut known = Self::default();
        for file in files {
            if let Some(text) = read_text(file)? {
                known.add(&text, &file.display().to_string());
            }
        }
        Ok(known)
    }

    fn add(&mut self, text: &str, file: &str) {
        let lines = text.lines().enumerate();
        self.lines
            .extend(lines.filter_map(|(number, line)| parse_line(line, || format!("{file}:{}", number + 1))));
    }

    /// The kinds of key by which a machine is known: what to ask it for.
    pub(super) fn kinds(&self, name: &str) -> Vec<&str> {
        let of_name = self
            .lines
            .iter()
            .filter(|line| !line.revoked && line.names.match_name(name));
        of_name.map(|line| line.kind.as_str()).collect()
    }

    /// Judges the key that the machine of that name showed.
    pub(super) fn judge(&self, name: &str, key: &HostKey) -> Verdict {
        let of_name = || self.lines.iter().filter(|line| line.names.match_name(name));
        if let Some(line) = of_name().find(|line| line.revoked && line.blob == key.blob) {
            return Verdict::Revoked(line.place.clone());
        }
        let mut known = of_name().filter(|line| !line.revoked).peekable();
        let Some(first) = known.peek().map(|line| line.place.clone()) else {
            return Verdict::Unknown;
        };
        match known.any(|line| line.blob == key.blob) {
            true => Verdict::Known,
            false => Verdict::Changed(first),
        }
    }
}

impl KnownHostsFiles {
    /// Writes a new machine down, unless another connection just did.
    ///
    /// # Errors
    /// If there is no file to write to, or it can't be written.
    pub(super) fn accept(&self, name: &str, key: &HostKey) -> Result<(), Error> {
        let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.files.first() else {
            let message = "can't write the new machine down: no file of known machines is named and there is no home directory";
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        match Self::look_again(file, name, key)? {
            Verdict::Known => return Ok(()),
            Verdict::Unknown => {}
            Verdict::Changed(place) | Verdict::Revoked(place) => {
                let message = format!("another key of {name} was just written to {place}");
                return Err(Error::new(ErrorKind::Denied, message));
            }
        }
        append(file, &key.line(name)).map_err(|error| {
            let message = format!("can't write the new machine to {}: {error}", file.display());
            Error::new(ErrorKind::Denied, message)
        })
    }

    fn look_again(file: &Path, name: &str, key: &HostKey) -> Result<Verdict, Error> {
        Ok(KnownHosts::read(&[file.to_owned()])?.judge(name, key))
    }
}

fn append(file: &Path, line: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.exists()) {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(folder)?;
    }
    let mut options = OpenOptions::new();
    let mut known = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    let mut text = String::new();
    let length = known.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        std::os::unix::fs::FileExt::read_exact_at(&known, &mut last, length - 1)?;
        // Somebody's editor left the last line open.
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    known.write_all(text.as_bytes())?;
    known.sync_all()
}

fn read_text(file: &Path) -> Result<Option<String>, Error> {
    let failed = |error: std::io::Error| {
        let message = format!("can't read the known machines in {}: {error}", file.display());
        Error::new(ErrorKind::Denied, message)
    };
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    let read = opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    if read.map_err(failed)? as u64 > MAX_FILE_BYTES {
        let message = format!("{} is too large for a file of known machines", file.display());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// `[@marker] names kind key [comment]`; `None` for all else.
fn parse_line(line: &str, place: impl FnOnce() -> String) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let mut names = words.next()?;
    let revoked = names == "@revoked";
    if revoked {
        names = words.next()?;
    } else if names.starts_with('@') {
        return None;
    }
    let kind = words.next()?.to_owned();
    let blob = STANDARD.decode(words.next()?).ok()?;
    let names = match names.strip_prefix("|1|") {
        Some(hashed) => {
            let (salt, hash) = hashed.split_once('|')?;
            Names::Hashed {
                salt: STANDARD.decode(salt).ok()?,
                hash: STANDARD.decode(hash).ok()?,
            }
        }
        None => Names::Patterns(names.split(',').map(str::to_ascii_lowercase).collect()),
    };
    Some(Line {
        revoked,
        names,
        kind,
        blob,
        place: place(),
    })
}

impl Names {
    fn match_name(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let excluded = |pattern: &String| {
                    pattern
                        .strip_prefix('!')
                        .is_some_and(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
                };
                let included = |pattern: &String| matches(pattern.as_bytes(), name.as_bytes());
                !patterns.iter().any(excluded) && patterns.iter().any(included)
            }
            Self::Hashed { salt, hash } => {
                let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(salt) else {
                    return false;
                };
                mac.update(name.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
        }
    }
}

/// `*` stands for any run of bytes and `?` for one. Linear space; goes back to the last star only.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                position = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key(kind: &str, content: u8) -> HostKey {
        let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        blob.extend_from_slice(kind.as_bytes());
        blob.extend_from_slice(&[content; 40]);
        HostKey { blob }
    }

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(text, "known");
        known
    }

    #[test]
    fn a_machine_is_known_by_each_of_its_keys_at_its_port_only() {
        let (one, two) = (key("ssh-ed25519", 1), key("ssh-rsa", 2));
        let text = format!(
            "# a comment\nodd line\n{}\n{}\n",
            one.line("[h.example]:2222"),
            two.line("[h.example]:2222")
        );
        let known = known(&text);
        let name = known_name("H.Example", 2222);
        assert_eq!(known.judge(&name, &one), Verdict::Known);
        assert_eq!(known.judge(&name, &two), Verdict::Known);
        assert_eq!(known.kinds(&name), ["ssh-ed25519", "ssh-rsa"]);
        assert_eq!(known.judge(&known_name("h.example", 22), &one), Verdict::Unknown);
        let other = key("ssh-ed25519", 3);
        assert_eq!(known.judge(&name, &other), Verdict::Changed("known:3".into()));
    }

    #[test]
    fn a_key_of_another_kind_is_a_change_too() {
        let known = known(&key("ssh-rsa", 2).line("h"));
        assert_eq!(
            known.judge("h", &key("ssh-ed25519", 1)),
            Verdict::Changed("known:1".into())
        );
    }

    #[test]
    fn a_revoked_key_is_refused_though_it_is_known() {
        let one = key("ssh-ed25519", 1);
        let known = known(&format!("{}\n@revoked {}", one.line("h"), one.line("*")));
        assert_eq!(known.judge("h", &one), Verdict::Revoked("known:2".into()));
    }

    #[test]
    fn an_authority_makes_nobody_known() {
        let one = key("ssh-ed25519", 1);
        assert_eq!(
            known(&format!("@cert-authority {}", one.line("h"))).judge("h", &one),
            Verdict::Unknown
        );
    }

    #[test]
    fn hashed_names_are_found() {
        // Made by `ssh-keygen -H` of OpenSSH 9.2 for h.example and [h.example]:2222.
        let hosts = known(concat!(
            "|1|gGPvQMuFwofl9T5R5w/QWHm88Bg=|iklVXxWfvuQQX31vSetFgVXo0HE= ssh-ed25519 AAAA\n",
            "|1|LsckCQTEEmJRHK2SqoSl4SRSG+U=|OjRbfimunOsVnK8Xi2KbRuMj8Hk= ssh-rsa AAAA\n",
        ));
        assert_eq!(hosts.kinds("h.example"), ["ssh-ed25519"]);
        assert_eq!(hosts.kinds("[h.example]:2222"), ["ssh-rsa"]);
        assert!(hosts.kinds("i.example").is_empty());
    }

    #[test]
    fn patterns_and_exclusions() {
        let one = key("ssh-ed25519", 1);
        let known = known(&one.line("*.example,!bad.example,10.0.?.1"));
        for (name, verdict) in [
            ("a.example", Verdict::Known),
            ("bad.example", Verdict::Unknown),
            ("10.0.3.1", Verdict::Known),
            ("10.0.33.1", Verdict::Unknown),
            ("example", Verdict::Unknown),
        ] {
            assert_eq!(known.judge(name, &one), verdict, "{name}");
        }
        assert!(matches(b"a*b*c", b"aXbYbZc") && !matches(b"a*b*c", b"aXbYbZ"));
    }

    #[test]
    fn a_new_machine_is_written_down_once_in_a_file_of_its_own_line() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("new/known_hosts");
        let files = KnownHostsFiles {
            files: vec![file.clone()],
            accept_new: true,
        };
        let one = key("ssh-ed25519", 1);
        files.accept("h", &one).unwrap();
        files.accept("h", &one).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), one.line("h") + "\n");
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        files.accept("h", &key("ssh-ed25519", 2)).unwrap_err();
        std::fs::write(&file, one.line("h")).unwrap();
        files.accept("i", &one).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{}\n{}\n", one.line("h"), one.line("i")));
    }

    #[test]
    fn a_broken_key_has_no_kind() {
        for blob in [vec![], vec![0, 0, 0, 9, 1], vec![255; 4], vec![0, 0, 0, 1, b' ']] {
            assert_eq!(HostKey { blob }.kind(), "unknown");
        }
    }
}
