//! What can be wrong with an archive or with a member to be written.

use std::io;

/// Why an archive can't be read or a member can't be written.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream below failed; whether a retry helps is its matter.
    #[error("can't read the archive at byte {offset}")]
    Io {
        /// Position in the archive.
        offset: u64,
        /// The failure of the stream below.
        #[source]
        source: io::Error,
    },
    /// The archive ends inside a member.
    #[error("the archive is cut off at byte {offset}")]
    Truncated {
        /// Position in the archive where bytes were missing.
        offset: u64,
    },
    /// A block that should be a header is none: its checksum or a field is wrong.
    #[error("the archive is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Position of the header in the archive.
        offset: u64,
        /// Which field is wrong.
        reason: &'static str,
    },
    /// The archive uses a form that isn't read, for example a multi-volume continuation.
    #[error("the archive holds a member of type {typeflag:?} at byte {offset}, which isn't supported")]
    Unsupported {
        /// Position of the header in the archive.
        offset: u64,
        /// The type flag of the member.
        typeflag: char,
    },
    /// A member can't be written: a value has no form in tar or is over a limit.
    #[error("the member can't be written: {reason}")]
    Unwritable {
        /// Which value, and why.
        reason: &'static str,
    },
}

impl TarError {
    /// What is wrong, without the place: for messages that name the place themselves.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Truncated { .. } => "the archive is cut off".to_owned(),
            Self::Damaged { reason, .. } => (*reason).to_owned(),
            Self::Unsupported { typeflag, .. } => {
                format!("a member of type {typeflag:?}, which isn't supported")
            }
            Self::Io { .. } | Self::Unwritable { .. } => self.to_string(),
        }
    }
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> io::Error {
        match error {
            TarError::Io { source, .. } => source,
            TarError::Truncated { .. } => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            TarError::Damaged { .. } | TarError::Unsupported { .. } | TarError::Unwritable { .. } => {
                io::Error::new(io::ErrorKind::InvalidData, error)
            }
        }
    }
}
