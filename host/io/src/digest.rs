//! Digests that services ask for, in lower-case hex.

use sha2::Digest;

/// Which digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// For ETags only.
    Md5,
    /// For old signature schemes only.
    Sha1,
    /// 256 bits.
    Sha256,
}

/// The digest of `bytes`.
#[must_use]
pub fn hex_digest(algorithm: Algorithm, bytes: &[u8]) -> String {
    match algorithm {
        Algorithm::Md5 => hex::encode(md5::Md5::digest(bytes)),
        Algorithm::Sha1 => hex::encode(sha1::Sha1::digest(bytes)),
        Algorithm::Sha256 => hex::encode(sha2::Sha256::digest(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(
            hex_digest(Algorithm::Md5, b""),
            "d41d8cd98f00b204e9800998ecf8427e"
        );
        assert_eq!(
            hex_digest(Algorithm::Sha1, b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hex_digest(Algorithm::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
