//! The chain key: 32 random bytes per chain, wrapped by the password so that plain openssl unwraps it.
//!
//! ```text
//! X        64 lower-case hex digits of the 32 bytes M
//! wrapped  base64 of  "Salted__" salt(8) AES-256-CFB(X "\n"), key and IV by PBKDF2-HMAC-SHA256(password)
//! streams  key and IV by PBKDF2-HMAC-SHA256(X, salt, 1 iteration): X needs no stretching
//! K_x      HKDF-SHA256(M, no salt, info "freezer/1 " x), x = check | manifest
//! check    HMAC-SHA256(K_check, "freezer key check")
//! ```
//!
//! One slow derivation opens any number of levels. Randomness is handed in.

use std::fmt;

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cfb_mode::cipher::KeyIvInit;
use hkdf::Hkdf;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::openssl::{HEADER_BYTES, Kdf, KeyIv, Passphrase, SALTED, derive, hmac_sha256};

/// Iterations of a new wrapping; about a quarter of a second.
pub const WRAP_ITERATIONS: u32 = 600_000;

/// Most iterations that a reader performs: a hostile object must not keep a core busy for hours.
pub const MAX_ITERATIONS: u32 = 10_000_000;

/// Header, 64 hex digits and a line end.
const WRAPPED_BYTES: usize = HEADER_BYTES + 65;

/// A chain's key. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChainKey([u8; 32]);

/// The key of the manifest's HMAC. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MacKey([u8; 32]);

impl ChainKey {
    /// Makes a key of 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// What openssl takes as the password of a stream: 64 hex digits.
    pub fn stream_secret(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0))
    }

    /// The key of the manifest's HMAC.
    pub fn mac_key(&self) -> MacKey {
        MacKey(*self.expand("freezer/1 manifest"))
    }

    /// Encrypts the key with a password. `salt` must be fresh; `iterations` is clamped to what readers take.
    pub fn wrap(&self, passphrase: &Passphrase, salt: [u8; 8], iterations: u32) -> KeyInfo {
        let iterations = iterations.clamp(1, MAX_ITERATIONS);
        let pair = derive(Kdf::Pbkdf2 { iterations }, passphrase.as_bytes(), &salt);
        let mut bytes = Vec::with_capacity(WRAPPED_BYTES);
        bytes.extend_from_slice(SALTED);
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(self.stream_secret().as_bytes());
        bytes.push(b'\n');
        cfb_mode::Encryptor::<Aes256>::new(&pair.key.into(), &pair.iv.into())
            .encrypt(&mut bytes[HEADER_BYTES..]);
        KeyInfo {
            wrapped: STANDARD.encode(bytes),
            iterations,
            check: hex::encode(self.check()),
        }
    }

    fn check(&self) -> [u8; 32] {
        let mut mac = hmac_sha256(&*self.expand("freezer/1 check"));
        mac.update(b"freezer key check");
        mac.finalize().into_bytes().into()
    }

    fn expand(&self, info: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(info.as_bytes(), &mut *key)
            .expect("32 bytes are less than HKDF's limit of 8160");
        key
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey(..)")
    }
}

impl MacKey {
    /// The key's bytes, as `openssl dgst -mac HMAC -macopt hexkey:` takes them in hex.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// A wrapped chain key as manifest and `metadata` hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyInfo {
    /// 108 characters of base64.
    pub wrapped: String,
    /// PBKDF2 iterations of the wrapping, 1 to 10 000 000.
    pub iterations: u32,
    /// 64 hex digits that tell a wrong password from damage.
    pub check: String,
}

impl KeyInfo {
    /// Opens the key. Slow by intention: callers keep the result by the wrapped text.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] if the password doesn't open it, [`KeyError::Malformed`] if nothing could.
    pub fn unwrap(&self, passphrase: &Passphrase) -> Result<ChainKey, KeyError> {
        let (salt, mut secret) = self.parse()?;
        let pair = derive(
            Kdf::Pbkdf2 {
                iterations: self.iterations,
            },
            passphrase.as_bytes(),
            &salt,
        );
        cfb_mode::Decryptor::<Aes256>::new(&pair.key.into(), &pair.iv.into()).decrypt(&mut secret[..]);
        let (digits, end) = secret.split_at(64);
        let mut key = ChainKey([0; 32]);
        // Only lower-case digits: the text itself is the streams' secret.
        let canonical = digits
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if end != b"\n" || !canonical || hex::decode_to_slice(digits, &mut key.0).is_err() {
            return Err(KeyError::Wrong);
        }
        let check = hex::decode(&self.check).map_err(|_| KeyError::Malformed("its check value is no hex"))?;
        if bool::from(key.check().as_slice().ct_eq(&check)) {
            Ok(key)
        } else {
            Err(KeyError::Malformed("it doesn't fit its check value"))
        }
    }

    /// The salt and the encrypted text.
    fn parse(&self) -> Result<([u8; 8], Zeroizing<Vec<u8>>), KeyError> {
        if !(1..=MAX_ITERATIONS).contains(&self.iterations) {
            return Err(KeyError::Malformed(
                "its iteration count is not between 1 and 10 000 000",
            ));
        }
        if self.wrapped.len() != WRAPPED_BYTES.div_ceil(3) * 4 {
            return Err(KeyError::Malformed("its wrapped text has a wrong length"));
        }
        let bytes = STANDARD
            .decode(&self.wrapped)
            .map_err(|_| KeyError::Malformed("its wrapped text is no base64"))?;
        let salt = bytes
            .strip_prefix(SALTED)
            .filter(|_| bytes.len() == WRAPPED_BYTES)
            .and_then(|rest| rest.first_chunk::<8>())
            .ok_or(KeyError::Malformed("its wrapped text has no openssl header"))?;
        Ok((*salt, Zeroizing::new(bytes[HEADER_BYTES..].to_vec())))
    }
}

/// Why a chain key can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another password wrapped it, or its text was altered.
    #[error("can't decrypt: wrong password or damaged")]
    Wrong,
    /// No password opens it.
    #[error("the wrapped key is damaged: {0}")]
    Malformed(&'static str),
}

/// How one stored object is encrypted.
#[derive(Debug, Clone)]
pub enum Cipher {
    /// By the chain's key, one PBKDF2 iteration.
    Chain(ChainKey),
    /// By the password itself, as the original does.
    Password {
        /// The password.
        passphrase: Passphrase,
        /// Its derivation.
        kdf: Kdf,
    },
}

impl Cipher {
    /// Key and IV of an object with this salt.
    pub fn key_iv(&self, salt: &[u8; 8]) -> KeyIv {
        match self {
            Self::Chain(key) => derive(
                Kdf::Pbkdf2 { iterations: 1 },
                key.stream_secret().as_bytes(),
                salt,
            ),
            Self::Password { passphrase, kdf } => derive(*kdf, passphrase.as_bytes(), salt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::from_file_bytes(text.as_bytes()).unwrap().0
    }

    fn key() -> ChainKey {
        ChainKey::new(std::array::from_fn(|index| {
            u8::try_from(index * 7 % 256).unwrap()
        }))
    }

    /// Runs openssl on `input`; `None` if it isn't installed.
    fn openssl(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}");
        Some(output.stdout)
    }

    #[test]
    fn a_wrapped_key_is_opened_by_its_pass_phrase_only() {
        let info = key().wrap(&passphrase("right"), *b"saltsalt", 5);
        assert_eq!(info.wrapped.len(), 108);
        assert_eq!(info.unwrap(&passphrase("right")), Ok(key()));
        assert_eq!(info.unwrap(&passphrase("wrong")), Err(KeyError::Wrong));
    }

    #[test]
    fn openssl_opens_our_wrapping() {
        let info = key().wrap(&passphrase("right"), *b"saltsalt", 1000);
        let options = [
            "enc",
            "-d",
            "-a",
            "-A",
            "-aes-256-cfb",
            "-pbkdf2",
            "-iter",
            "1000",
            "-md",
            "sha256",
        ];
        let arguments = [&options[..], &["-pass", "pass:right"]].concat();
        if let Some(text) = openssl(&arguments, info.wrapped.as_bytes()) {
            assert_eq!(text, format!("{}\n", *key().stream_secret()).as_bytes());
        }
    }

    #[test]
    fn we_open_openssl_s_wrapping() {
        let options = [
            "enc",
            "-a",
            "-A",
            "-aes-256-cfb",
            "-pbkdf2",
            "-iter",
            "1000",
            "-md",
            "sha256",
        ];
        let arguments = [&options[..], &["-pass", "pass:right"]].concat();
        let text = format!("{}\n", *key().stream_secret());
        if let Some(wrapped) = openssl(&arguments, text.as_bytes()) {
            let check = key().wrap(&passphrase("x"), [0; 8], 1).check;
            let info = KeyInfo {
                wrapped: String::from_utf8(wrapped).unwrap(),
                iterations: 1000,
                check,
            };
            assert_eq!(info.unwrap(&passphrase("right")), Ok(key()));
        }
    }

    #[test]
    fn openssl_expands_the_same_manifest_key() {
        let hexkey = format!("hexkey:{}", *key().stream_secret());
        let arguments = [
            "kdf",
            "-keylen",
            "32",
            "-kdfopt",
            "digest:SHA256",
            "-kdfopt",
            &hexkey,
            "-kdfopt",
            "info:freezer/1 manifest",
            "-binary",
            "HKDF",
        ];
        if let Some(bytes) = openssl(&arguments, b"") {
            assert_eq!(bytes, key().mac_key().as_bytes());
        }
    }

    #[test]
    fn openssl_decrypts_a_stream() {
        let pair = Cipher::Chain(key()).key_iv(b"saltsalt");
        let mut content = b"the stream".to_vec();
        cfb_mode::Encryptor::<Aes256>::new(&pair.key.into(), &pair.iv.into()).encrypt(&mut content);
        let object = [&SALTED[..], b"saltsalt", &content].concat();
        let secret = format!("pass:{}", *key().stream_secret());
        let options = [
            "enc",
            "-d",
            "-aes-256-cfb",
            "-pbkdf2",
            "-iter",
            "1",
            "-md",
            "sha256",
            "-pass",
        ];
        if let Some(text) = openssl(&[&options[..], &[&secret]].concat(), &object) {
            assert_eq!(text, b"the stream");
        }
    }

    #[rstest]
    #[case(0)]
    #[case(MAX_ITERATIONS + 1)]
    #[case(u32::MAX)]
    fn hostile_iteration_counts_are_refused_before_any_work(#[case] iterations: u32) {
        let info = KeyInfo {
            iterations,
            ..key().wrap(&passphrase("right"), [1; 8], 1)
        };
        assert!(matches!(
            info.unwrap(&passphrase("right")),
            Err(KeyError::Malformed(_))
        ));
    }

    #[test]
    fn another_key_s_check_value_is_damage() {
        let other = ChainKey::new([9; 32]).wrap(&passphrase("right"), [1; 8], 1);
        let info = KeyInfo {
            check: other.check,
            ..key().wrap(&passphrase("right"), [1; 8], 1)
        };
        assert!(matches!(
            info.unwrap(&passphrase("right")),
            Err(KeyError::Malformed(_))
        ));
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let info = key().wrap(&passphrase("right"), [1; 8], 1);
        for index in 0..info.wrapped.len() {
            let mut wrapped = info.wrapped.clone().into_bytes();
            wrapped[index] = if wrapped[index] == b'A' { b'B' } else { b'A' };
            let altered = KeyInfo {
                wrapped: String::from_utf8(wrapped).unwrap(),
                ..info.clone()
            };
            assert!(altered.unwrap(&passphrase("right")).is_err(), "character {index}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?} {:?}", key(), key().mac_key(), Cipher::Chain(key()));
        assert_eq!(shown, "ChainKey(..) MacKey(..) Chain(ChainKey(..))");
    }
}
