//! What `openssl enc` does: the key derivations, the pass file's rules, the header of an encrypted object.
//!
//! ```text
//! "Salted__"  8 bytes
//! salt        8 bytes
//! ciphertext  AES-256 in CFB128, no padding, no authentication
//! ```
//!
//! Source: OpenSSL 3.0 `enc`, `-pbkdf2 -md sha256` and its older EVP_BytesToKey with one iteration.

use std::fmt;

use hmac::{Hmac, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::pbkdf2;

/// The first eight bytes of an encrypted object.
pub const SALTED: &[u8; 8] = b"Salted__";

/// Bytes before the ciphertext: [`SALTED`] and the salt.
pub const HEADER_BYTES: usize = 16;

/// Longest password that `-pass file:` reads; more is cut off there.
pub const MAX_PASSPHRASE_BYTES: usize = 1023;

/// How key and IV come out of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kdf {
    /// PBKDF2 with HMAC-SHA256.
    Pbkdf2 {
        /// At least 1; 0 counts as 1.
        iterations: u32,
    },
    /// EVP_BytesToKey with SHA-256: OpenSSL's default since 1.1.0.
    BytesToKeySha256,
    /// EVP_BytesToKey with MD5: OpenSSL's default up to 1.0.2.
    BytesToKeyMd5,
}

/// A key and an IV for AES-256-CFB. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeyIv {
    /// The AES-256 key.
    pub key: [u8; 32],
    /// The initialisation vector.
    pub iv: [u8; 16],
}

impl KeyIv {
    fn from_bytes(bytes: &[u8; 48]) -> Self {
        let mut pair = Self {
            key: [0; 32],
            iv: [0; 16],
        };
        pair.key.copy_from_slice(&bytes[..32]);
        pair.iv.copy_from_slice(&bytes[32..]);
        pair
    }
}

impl fmt::Debug for KeyIv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyIv(..)")
    }
}

/// Derives key and IV as `openssl enc` does.
pub fn derive(kdf: Kdf, secret: &[u8], salt: &[u8; 8]) -> KeyIv {
    let mut bytes = Zeroizing::new([0; 48]);
    match kdf {
        Kdf::Pbkdf2 { iterations } => pbkdf2::derive(secret, salt, iterations, &mut bytes),
        Kdf::BytesToKeySha256 => bytes_to_key::<Sha256>(secret, salt, &mut bytes),
        Kdf::BytesToKeyMd5 => bytes_to_key::<md5::Md5>(secret, salt, &mut bytes),
    }
    KeyIv::from_bytes(&bytes)
}

/// An HMAC-SHA256 with this key, which may have any length.
pub(crate) fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// D₁ = H(secret ‖ salt), Dᵢ = H(Dᵢ₋₁ ‖ secret ‖ salt), one after the other.
fn bytes_to_key<D: Digest>(secret: &[u8], salt: &[u8; 8], out: &mut [u8; 48]) {
    let mut previous = Zeroizing::new(Vec::new());
    let mut filled = 0;
    while filled < out.len() {
        let mut digest = D::new();
        digest.update(&*previous);
        digest.update(secret);
        digest.update(salt);
        previous = Zeroizing::new(digest.finalize().to_vec());
        let take = previous.len().min(out.len() - filled);
        out[filled..filled + take].copy_from_slice(&previous[..take]);
        filled += take;
    }
}

/// A password, any bytes. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(Vec<u8>);

impl Passphrase {
    /// Takes the first line of a pass file, to encrypt with.
    ///
    /// # Errors
    /// The line is empty, or openssl would read something else than what stands there.
    pub fn from_file_bytes(content: &[u8]) -> Result<(Self, Vec<PassWarning>), PassError> {
        let line = first_line(content);
        if line.is_empty() {
            return Err(PassError::Empty);
        }
        if line.contains(&0) {
            return Err(PassError::Nul);
        }
        if line.len() > MAX_PASSPHRASE_BYTES {
            return Err(PassError::TooLong { bytes: line.len() });
        }
        let mut warnings = Vec::new();
        if line.contains(&b'\r') {
            warnings.push(PassWarning::CarriageReturn);
        }
        if line
            .iter()
            .rev()
            .find(|byte| **byte != b'\r')
            .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
        {
            warnings.push(PassWarning::TrailingBlank);
        }
        Ok((Self(line.to_vec()), warnings))
    }

    /// Takes what openssl reads from a pass file, cut where it cuts: to decrypt what others wrote.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn as_openssl_reads(content: &[u8]) -> Result<Self, PassError> {
        let line = first_line(content);
        let line = &line[..line.len().min(MAX_PASSPHRASE_BYTES)];
        let line = line.split(|byte| *byte == 0).next().unwrap_or(line);
        if line.is_empty() {
            return Err(PassError::Empty);
        }
        Ok(Self(line.to_vec()))
    }

    /// The bytes, for a derivation.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

fn first_line(content: &[u8]) -> &[u8] {
    content.split(|byte| *byte == b'\n').next().unwrap_or(content)
}

/// Something in a pass file that is taken literally and rarely meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassWarning {
    /// A file written on Windows, as a rule.
    #[error("the password holds a carriage return; it counts as part of it")]
    CarriageReturn,
    /// Easily lost when typed.
    #[error("the password ends in a blank; it counts as part of it")]
    TrailingBlank,
}

/// Why a pass file can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// Nothing before the first line end.
    #[error("the first line of the pass file is empty")]
    Empty,
    /// openssl would stop there.
    #[error("the password holds a zero byte, where openssl would cut it")]
    Nul,
    /// openssl would cut it.
    #[error("the password has {bytes} bytes; openssl reads {MAX_PASSPHRASE_BYTES} at most")]
    TooLong {
        /// Length of the line.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn hex_pair(kdf: Kdf, secret: &[u8]) -> String {
        let pair = derive(kdf, secret, b"saltsalt");
        format!("{} {}", hex::encode(pair.key), hex::encode(pair.iv))
    }

    /// `openssl enc -aes-256-cfb -P …` prints key and IV; `None` if openssl isn't installed.
    fn openssl_pair(options: &[&str], secret: &str) -> Option<String> {
        let output = std::process::Command::new("openssl")
            .args([
                "enc",
                "-aes-256-cfb",
                "-P",
                "-S",
                &hex::encode(b"saltsalt"),
                "-pass",
            ])
            .arg(format!("pass:{secret}"))
            .args(options)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).unwrap();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
                .to_ascii_lowercase()
        };
        Some(format!("{} {}", field("key="), field("iv =")))
    }

    #[rstest]
    #[case(Kdf::BytesToKeySha256, &["-md", "sha256"])]
    #[case(Kdf::BytesToKeyMd5, &["-md", "md5"])]
    #[case(Kdf::Pbkdf2 { iterations: 1 }, &["-pbkdf2", "-iter", "1", "-md", "sha256"])]
    #[case(Kdf::Pbkdf2 { iterations: 20_000 }, &["-pbkdf2", "-iter", "20000", "-md", "sha256"])]
    fn openssl_derives_the_same(#[case] kdf: Kdf, #[case] options: &[&str]) {
        for secret in ["x", "correct horse battery staple", &"long ".repeat(40)] {
            if let Some(expected) = openssl_pair(options, secret) {
                assert_eq!(hex_pair(kdf, secret.as_bytes()), expected, "{kdf:?} {secret:?}");
            }
        }
    }

    #[rstest]
    #[case(b"secret", b"secret", &[])]
    #[case(b"secret\n", b"secret", &[])]
    #[case(b"secret\nsecond\n", b"secret", &[])]
    #[case(b"secret\r\n", b"secret\r", &[PassWarning::CarriageReturn])]
    #[case(b"secret \n", b"secret ", &[PassWarning::TrailingBlank])]
    #[case(b" \t\r\n", b" \t\r", &[PassWarning::CarriageReturn, PassWarning::TrailingBlank])]
    #[case(b"\xff\xfe\n", b"\xff\xfe", &[])]
    fn the_first_line_is_the_pass_phrase(
        #[case] content: &[u8],
        #[case] expected: &[u8],
        #[case] expected_warnings: &[PassWarning],
    ) {
        let (passphrase, warnings) = Passphrase::from_file_bytes(content).unwrap();
        assert_eq!(passphrase.as_bytes(), expected);
        assert_eq!(warnings, expected_warnings);
    }

    #[rstest]
    #[case(b"", PassError::Empty)]
    #[case(b"\nsecond", PassError::Empty)]
    #[case(b"sec\0ret", PassError::Nul)]
    fn what_openssl_reads_otherwise_is_refused(#[case] content: &[u8], #[case] expected: PassError) {
        assert_eq!(Passphrase::from_file_bytes(content), Err(expected));
    }

    #[test]
    fn the_longest_pass_phrase_has_1023_bytes() {
        let line = vec![b'x'; 1024];
        assert!(Passphrase::from_file_bytes(&line[..1023]).is_ok());
        assert_eq!(
            Passphrase::from_file_bytes(&line),
            Err(PassError::TooLong { bytes: 1024 })
        );
        assert_eq!(
            Passphrase::as_openssl_reads(&line).unwrap().as_bytes(),
            &line[..1023]
        );
    }

    #[test]
    fn others_pass_phrases_are_cut_as_openssl_cuts_them() {
        assert_eq!(
            Passphrase::as_openssl_reads(b"sec\0ret\n").unwrap().as_bytes(),
            b"sec"
        );
        assert_eq!(Passphrase::as_openssl_reads(b"\0x"), Err(PassError::Empty));
    }

    #[test]
    fn secrets_are_not_shown() {
        let (passphrase, _) = Passphrase::from_file_bytes(b"canary").unwrap();
        let pair = derive(Kdf::BytesToKeySha256, b"canary", b"saltsalt");
        let shown = format!("{passphrase:?} {pair:?}");
        assert_eq!(shown, "Passphrase(..) KeyIv(..)");
    }
}
