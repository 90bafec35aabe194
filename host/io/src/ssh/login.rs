//! Proving to the other machine who we are, and saying clearly why it didn't believe it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt};
use zeroize::Zeroizing;

use super::link::Link;
use crate::error::{Error, ErrorKind, code};

/// libssh2: the key can't be read.
const FILE: i32 = -16;
/// libssh2: the key's parts don't fit, or its signature failed.
const METHOD_NONE: i32 = -17;

/// How a user logs in.
pub enum Login {
    /// By a password.
    Password(Zeroizing<String>),
    /// By a private key.
    Key {
        /// The file's content.
        content: Zeroizing<String>,
        /// Its passphrase.
        passphrase: Option<Zeroizing<String>>,
        /// The file, for messages.
        file: PathBuf,
    },
    /// By the keys that an agent holds, which listens at this socket.
    Agent(PathBuf),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Key { .. } => "Key(…)",
            Self::Agent(_) => "Agent(…)",
        })
    }
}

/// Logs in.
///
/// # Errors
/// `Denied`, with what was refused and which methods the server offers; `Invalid` for a key that can't be used.
pub(super) fn log_in(link: &mut Link, user: &str, login: &Login) -> Result<(), Error> {
    authenticate(link, user, login).map_err(|error| match error.kind {
        ErrorKind::Denied => error.with_code(code::LOGIN),
        _ => error,
    })
}

fn authenticate(link: &mut Link, user: &str, login: &Login) -> Result<(), Error> {
    let offered = link.call(|session| session.auth_methods(user).map(str::to_owned))?;
    let offered = match offered {
        Ok(offered) => offered,
        // The server let us in without asking.
        Err(_) if link.session.authenticated() => return Ok(()),
        Err(error) => return Err(link.lost(error.message())),
    };
    let offers = |method: &str| offered.split(',').any(|offered| offered == method);
    match login {
        Login::Password(password) if !offers("password") && offers("keyboard-interactive") => {
            let answer =
                link.call(|session| session.userauth_keyboard_interactive(user, &mut Typist { password }))?;
            answer.map_err(|error| refused(link, "the password", &offered, &error))
        }
        Login::Password(password) => {
            let answer = link.call(|session| session.userauth_password(user, password))?;
            answer.map_err(|error| refused(link, "the password", &offered, &error))
        }
        Login::Key {
            content,
            passphrase,
            file,
        } => {
            let passphrase = passphrase.as_ref().map(|text| text.as_str());
            let answer =
                link.call(|session| session.userauth_pubkey_memory(user, None, content, passphrase))?;
            answer.map_err(|error| match error.code() {
                ErrorCode::Session(FILE | METHOD_NONE) => unusable(content, passphrase.is_some(), file),
                _ => refused(link, &format!("the key {}", file.display()), &offered, &error),
            })
        }
        Login::Agent(socket) => by_agent(link, user, socket, &offered),
    }
}

fn by_agent(link: &mut Link, user: &str, socket: &Path, offered: &str) -> Result<(), Error> {
    let failed = |error: ssh2::Error| {
        let message = format!(
            "can't ask the agent at {} for its keys: {}",
            socket.display(),
            error.message()
        );
        Error::new(ErrorKind::Denied, message)
    };
    let mut agent = link.session.agent().map_err(failed)?;
    agent.set_identity_path(socket).map_err(failed)?;
    agent.connect().map_err(failed)?;
    agent.list_identities().map_err(failed)?;
    let keys = agent.identities().map_err(failed)?;
    if keys.is_empty() {
        let message = format!(
            "the agent at {} holds no key: add one with ssh-add",
            socket.display()
        );
        return Err(Error::new(ErrorKind::Denied, message));
    }
    let mut last = None;
    for key in &keys {
        match link.call(|_| agent.userauth(user, key))? {
            Ok(()) => return Ok(()),
            // A server ends the connection after some refusals: that is still their no.
            Err(error) if last.is_none() || is_refusal(&error) => last = Some(error),
            Err(_) => break,
        }
    }
    let what = format!("each of the {} keys of the agent", keys.len());
    Err(match last {
        Some(error) => refused(link, &what, offered, &error),
        None => Error::new(ErrorKind::Denied, format!("{} refused {what}", link.place)),
    })
}

/// The server's no. Only a real no: a connection that broke is another matter.
fn refused(link: &mut Link, what: &str, offered: &str, error: &ssh2::Error) -> Error {
    if !is_refusal(error) {
        return link.lost(error.message());
    }
    let message = format!(
        "{} refused {what}; it takes: {}",
        link.place,
        offered.replace(',', ", ")
    );
    Error::new(ErrorKind::Denied, message)
}

/// Tells whether the server answered with a no. libssh2 gives the same codes (authentication failed, public key unverified)
/// where it waited for an answer and the connection ended; only its words differ.
fn is_refusal(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(-18 | -19)) && !error.message().starts_with("Waiting for")
}

fn unusable(content: &str, has_passphrase: bool, file: &std::path::Path) -> Error {
    let file = file.display();
    let message = match (is_encrypted(content), has_passphrase) {
        (true, true) => format!("the passphrase doesn't open the key {file}"),
        (true, false) => {
            format!("the key {file} has a passphrase: give it with the setting ssh-key-passphrase")
        }
        (false, _) => format!("{file} holds no private key that can be used (OpenSSH's own and PEM can)"),
    };
    Error::new(ErrorKind::Denied, message)
}

/// Tells whether a private key is encrypted, by what its format says openly.
fn is_encrypted(content: &str) -> bool {
    if content.contains("ENCRYPTED") {
        return true;
    }
    let lines = content.lines().map(str::trim);
    let base64: String = lines.filter(|line| !line.starts_with('-')).collect();
    // "openssh-key-v1\0", then the cipher's name with its length.
    let head = base64.get(..32).and_then(|head| STANDARD.decode(head).ok());
    head.is_some_and(|head| {
        head.starts_with(b"openssh-key-v1\0") && !head[15..].starts_with(b"\0\0\0\x04none")
    })
}

/// Answers every question that isn't echoed with the password.
struct Typist<'a> {
    password: &'a str,
}

impl KeyboardInteractivePrompt for Typist<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'_>| match prompt.echo {
            true => String::new(),
            false => self.password.to_owned(),
        };
        prompts.iter().map(answer).collect()
    }
}

/// Asks first for ciphers that the processor does itself, and for the kinds of key by which the machine is known.
///
/// # Errors
/// If this libssh2 knows none of them.
pub(super) fn prefer(session: &ssh2::Session, known_kinds: &[&str]) -> Result<(), ssh2::Error> {
    const CIPHERS: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";
    session.method_pref(MethodType::CryptCs, CIPHERS)?;
    session.method_pref(MethodType::CryptSc, CIPHERS)?;
    let usual = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ];
    // An RSA key is known by its kind, and asked for by its signatures.
    let is_known = |method: &&str| {
        let kind = if method.starts_with("rsa-") {
            "ssh-rsa"
        } else {
            method
        };
        known_kinds.contains(&kind)
    };
    let (known, other): (Vec<&str>, Vec<&str>) = usual.iter().partition(|method| is_known(method));
    let order = known.into_iter().chain(other).collect::<Vec<_>>().join(",");
    session.method_pref(MethodType::HostKey, &order)
}
