//! How native work fails: the closed set of kinds that the plugin contract knows, and a message for people.

use rustix::io::Errno;

/// Why a call failed, in the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It isn't there.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// Not permitted.
    Denied,
    /// The call itself is wrong.
    Invalid,
    /// The other side asks to come back later.
    Busy,
    /// The other side can't be reached.
    Unavailable,
    /// What was read isn't what was written.
    Corrupt,
    /// This machine can't do that.
    Unsupported,
    /// The run was cancelled.
    Cancelled,
    /// Anything else, a full disk for example.
    Other,
}

/// A failure: its kind, and one line that says what failed on which thing, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What failed on which thing, and why.
    pub message: String,
    /// One of the [`code`]s, where it is known what stood in the way.
    pub code: Option<&'static str>,
}

/// The host's own words for what stood in the way.
pub mod code {
    /// Who we are isn't believed.
    pub const LOGIN: &str = "login";
    /// A machine that isn't known answered.
    pub const UNKNOWN_MACHINE: &str = "unknown-machine";
    /// A machine answered with another key than it is known by.
    pub const CHANGED_MACHINE: &str = "changed-machine";
    /// No machine has that name.
    pub const NO_SUCH_HOST: &str = "no-such-host";
    /// Nothing accepts connections there.
    pub const NO_CONNECTION: &str = "no-connection";
    /// The certificate doesn't count.
    pub const CERTIFICATE: &str = "certificate";
}

impl Error {
    /// Makes an error from its parts.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
        }
    }

    /// Says what stood in the way.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// Says that the system refused: `what` follows "can't".
    #[must_use]
    pub fn system(what: &str, errno: Errno) -> Self {
        Self {
            kind: kind_of(errno),
            message: format!("can't {what}: {}", cause_of(errno)),
            code: None,
        }
    }
}

impl From<Error> for std::io::Error {
    /// Keeps the kind: [`Error::from_io`] finds it again behind a reader, and who reads sees whether another try can help.
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NotFound => std::io::ErrorKind::NotFound,
            ErrorKind::Denied => std::io::ErrorKind::PermissionDenied,
            ErrorKind::Busy | ErrorKind::Unavailable => std::io::ErrorKind::ConnectionAborted,
            // What ended too early. `Interrupted` would mean "call again at once", which cancelled work must not say.
            ErrorKind::Corrupt => std::io::ErrorKind::UnexpectedEof,
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl Error {
    /// What broke a stream, with the kind that its source gave it; anything else is `Corrupt`.
    #[must_use]
    pub fn from_io(error: &std::io::Error) -> Self {
        let own = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>());
        own.cloned()
            .unwrap_or_else(|| Self::new(ErrorKind::Corrupt, error.to_string()))
    }
}

/// The kind of a system error.
#[must_use]
pub fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT => ErrorKind::NotFound,
        Errno::EXIST => ErrorKind::AlreadyExists,
        // openat2 answers LOOP for a symlink and XDEV for a way out of the root.
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::LOOP | Errno::XDEV => ErrorKind::Denied,
        Errno::NOTDIR | Errno::ISDIR | Errno::INVAL | Errno::NAMETOOLONG | Errno::NOTEMPTY | Errno::FBIG => {
            ErrorKind::Invalid
        }
        Errno::AGAIN | Errno::BUSY | Errno::TXTBSY => ErrorKind::Busy,
        Errno::NOSYS | Errno::OPNOTSUPP => ErrorKind::Unsupported,
        Errno::STALE | Errno::TIMEDOUT | Errno::HOSTDOWN => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// The cause in words, without the system's error number.
fn cause_of(errno: Errno) -> String {
    match errno {
        Errno::NOSPC => "the file system is full".to_owned(),
        Errno::DQUOT => "the disk quota is used up".to_owned(),
        Errno::ROFS => "the file system is read-only".to_owned(),
        Errno::LOOP => "a symbolic link lies on the way, and those aren't followed here".to_owned(),
        Errno::XDEV => "the path leads out of its directory".to_owned(),
        Errno::NOENT => "it doesn't exist".to_owned(),
        Errno::FBIG => "the file would be larger than the file system allows".to_owned(),
        _ => {
            let text = std::io::Error::from(errno).to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut letters = text.chars();
            letters
                .next()
                .map(|first| first.to_lowercase().chain(letters).collect())
                .unwrap_or_default()
        }
    }
}
