//! Proves the password by SCRAM-SHA-256 or SCRAM-SHA-1 (RFC 5802, RFC 7677), and demands the server's proof that it knows it, too.
//!
//! ```text
//! client: n,,n=USER,r=NONCE                    server: r=NONCE…,s=SALT,i=ROUNDS
//! client: c=biws,r=NONCE…,p=PROOF              server: v=PROOF, or e=REASON
//! ```
//!
//! As MongoDB has it: SHA-1 hashes the password with the user's name first, SHA-256 prepares it (RFC 4013). How often it is hashed is
//! the server's word, so it is held to bounds before anything is computed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use freezer_sdk::error::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Fewer rounds would make a stolen proof easy to guess from; MongoDB's specification of drivers says the same.
const LEAST_ROUNDS: u32 = 4096;
/// More would take longer than a plugin may compute; MongoDB's usual count is 15 000.
const MOST_ROUNDS: u32 = 1_000_000;
/// The longest message of a server; usual ones have 100 bytes.
const MAX_MESSAGE_BYTES: usize = 4096;
/// Random bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// A way to prove a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// SCRAM-SHA-256, since MongoDB 4.0.
    Sha256,
    /// SCRAM-SHA-1.
    Sha1,
}

impl Mechanism {
    /// The best of those that the server offers for the user; it may not tell.
    ///
    /// # Errors
    /// `unsupported` if it offers neither.
    pub(crate) fn choose(offered: Option<&[String]>) -> Result<Self> {
        let Some(offered) = offered else {
            return Ok(Self::Sha256);
        };
        let offers = |mechanism: &Self| offered.iter().any(|name| name == mechanism.name());
        let found = [Self::Sha256, Self::Sha1].into_iter().find(offers);
        found.ok_or_else(|| {
            Error::unsupported(format!(
                "the server lets this user in by {} only; freezer knows SCRAM-SHA-256 and SCRAM-SHA-1",
                offered.join(", ")
            ))
        })
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha1 => "SCRAM-SHA-1",
        }
    }

    /// What stands for the password in the exchange.
    fn prepare(self, user: &str, password: &str) -> Result<Zeroizing<String>> {
        match self {
            Self::Sha256 => {
                let prepared = stringprep::saslprep(password);
                let prepared = prepared
                    .map_err(|_| Error::invalid("the password has characters that no password may have"))?;
                Ok(Zeroizing::new(prepared.into_owned()))
            }
            Self::Sha1 => {
                let text = Zeroizing::new(format!("{user}:mongo:{password}"));
                Ok(Zeroizing::new(hex::encode(Md5::digest(text.as_bytes()))))
            }
        }
    }

    /// The password, hashed that often.
    fn salted(self, password: &str, salt: &[u8], rounds: u32) -> Zeroizing<Vec<u8>> {
        let mut salted = Zeroizing::new(match self {
            Self::Sha256 => vec![0; 32],
            Self::Sha1 => vec![0; 20],
        });
        match self {
            Self::Sha256 => pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut salted),
            Self::Sha1 => pbkdf2_hmac::<Sha1>(password.as_bytes(), salt, rounds, &mut salted),
        }
        salted
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
        }
    }

    fn sign(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac256(key, text).finalize().into_bytes().to_vec(),
            Self::Sha1 => mac1(key, text).finalize().into_bytes().to_vec(),
        }
    }

    /// Compares in constant time.
    fn is_signed(self, key: &[u8], text: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Sha256 => mac256(key, text).verify_slice(signature),
            Self::Sha1 => mac1(key, text).verify_slice(signature),
        };
        verified.is_ok()
    }
}

fn mac256(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key will do");
    mac.update(text);
    mac
}

fn mac1(key: &[u8], text: &[u8]) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length of key will do");
    mac.update(text);
    mac
}

/// One exchange.
pub(crate) struct Exchange {
    mechanism: Mechanism,
    password: Zeroizing<String>,
    nonce: String,
    /// Our first message without its header.
    first: String,
    progress: Progress,
}

/// How far it is.
enum Progress {
    /// The server's first message comes next.
    Begun,
    /// Our proof is sent; the server's is to come.
    Proven {
        server_key: Zeroizing<Vec<u8>>,
        signed: String,
    },
    /// Both are proven.
    Done,
}

impl Exchange {
    /// Begins one; answers it with the first message for the server.
    ///
    /// # Errors
    /// `invalid` for a password with characters that none may have; `other` without random numbers.
    pub(crate) fn begin(mechanism: Mechanism, user: &str, password: &str) -> Result<(Self, Vec<u8>)> {
        let mut random = [0; NONCE_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| Error::other(format!("there are no random numbers: {error}")))?;
        let nonce = STANDARD.encode(random);
        let name = user.replace('=', "=3D").replace(',', "=2C");
        let exchange = Self {
            mechanism,
            password: mechanism.prepare(user, password)?,
            first: format!("n={name},r={nonce}"),
            nonce,
            progress: Progress::Begun,
        };
        let message = format!("n,,{}", exchange.first);
        Ok((exchange, message.into_bytes()))
    }

    /// Takes a message of the server and answers the next one for it.
    ///
    /// # Errors
    /// `denied` if the server can't prove that it knows the password; `other` for a message that is none.
    pub(crate) fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        let text = std::str::from_utf8(message)
            .ok()
            .filter(|text| text.len() <= MAX_MESSAGE_BYTES);
        let text = text.ok_or_else(|| nonsense("a message of it is no text or too long"))?;
        match &self.progress {
            Progress::Begun => self.prove(text).map(String::into_bytes),
            Progress::Proven { server_key, signed } => {
                let signature = text
                    .strip_prefix("v=")
                    .and_then(|proof| STANDARD.decode(proof).ok());
                let proven = signature.is_some_and(|signature| {
                    self.mechanism
                        .is_signed(server_key, signed.as_bytes(), &signature)
                });
                if !proven {
                    return Err(Error::denied(
                        "the server doesn't prove that it knows the password",
                    ));
                }
                self.progress = Progress::Done;
                Ok(Vec::new())
            }
            // Older servers want one more round.
            Progress::Done if text.is_empty() => Ok(Vec::new()),
            Progress::Done => Err(nonsense("it goes on after its end")),
        }
    }

    /// Whether the server has proven that it knows the password.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.progress, Progress::Done)
    }

    /// Answers the server's first message.
    fn prove(&mut self, message: &str) -> Result<String> {
        let mut fields = message.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(rounds)) = (field("r="), field("s="), field("i=")) else {
            return Err(nonsense("the first message of the server isn't r=…,s=…,i=…"));
        };
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(nonsense("the server answers another login"));
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| nonsense("the salt isn't Base64"))?;
        let rounds = rounds.parse().map_err(|_| nonsense("the rounds are no number"))?;
        if !(LEAST_ROUNDS..=MOST_ROUNDS).contains(&rounds) {
            return Err(Error::denied(format!(
                "the server asks for {rounds} rounds of hashing: {LEAST_ROUNDS} to {MOST_ROUNDS} are sensible"
            )));
        }
        let mechanism = self.mechanism;
        let salted = mechanism.salted(&self.password, &salt, rounds);
        let last = format!("c=biws,r={nonce}");
        let signed = format!("{},{message},{last}", self.first);
        let client_key = Zeroizing::new(mechanism.sign(&salted, b"Client Key"));
        let signature = mechanism.sign(&mechanism.hash(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(key, signature)| key ^ signature)
            .collect();
        self.progress = Progress::Proven {
            server_key: Zeroizing::new(mechanism.sign(&salted, b"Server Key")),
            signed,
        };
        Ok(format!("{last},p={}", STANDARD.encode(proof)))
    }
}

fn nonsense(why: &str) -> Error {
    Error::other(format!("the login makes no sense: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange with the nonce of an example.
    fn exchange(mechanism: Mechanism, user: &str, password: &str, nonce: &str) -> Exchange {
        Exchange {
            mechanism,
            password: Zeroizing::new(password.to_owned()),
            first: format!("n={user},r={nonce}"),
            nonce: nonce.to_owned(),
            progress: Progress::Begun,
        }
    }

    #[test]
    fn the_examples_of_the_standards_come_out() {
        // RFC 7677, section 3; RFC 5802, section 5.
        for (mechanism, nonce, server, proof, last) in [
            (
                Mechanism::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
            (
                Mechanism::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
        ] {
            let mut exchange = exchange(mechanism, "user", "pencil", nonce);
            let answered = exchange.answer(server.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(answered).unwrap(), proof);
            assert!(!exchange.is_done());
            assert_eq!(exchange.answer(last.as_bytes()).unwrap(), b"");
            assert!(exchange.is_done() && exchange.answer(b"").is_ok() && exchange.answer(b"v=").is_err());
        }
    }

    #[test]
    fn messages_that_make_no_sense_are_refused() {
        for server in [
            "",
            "r=",
            "r=abc,s=,i=4096",
            "s=QSXC,i=4096",
            "r=abcd,s=!,i=4096",
            "r=abcd,s=QSXC,i=x",
            "m=x,r=abcd,s=QSXC,i=4096",
        ] {
            let mut exchange = exchange(Mechanism::Sha256, "user", "pencil", "abc");
            let error = exchange.answer(server.as_bytes()).unwrap_err();
            assert!(
                error.message.starts_with("the login makes no sense"),
                "{server}: {error}"
            );
        }
        for server in [&[0xff][..], &[b'x'; 5000]] {
            assert!(
                exchange(Mechanism::Sha256, "user", "pencil", "abc")
                    .answer(server)
                    .is_err()
            );
        }
        for last in ["", "v", "v=", "v=AAAA", "e=other-error", "p=x"] {
            let mut exchange = exchange(Mechanism::Sha256, "user", "pencil", "abc");
            exchange.answer(b"r=abcd,s=QSXC,i=4096").unwrap();
            assert!(
                exchange.answer(last.as_bytes()).is_err() && !exchange.is_done(),
                "{last}"
            );
        }
    }

    #[test]
    fn names_are_escaped_and_nonces_differ() {
        let (one, first) = Exchange::begin(Mechanism::Sha1, "a,b=c", "x").unwrap();
        assert!(first.starts_with(b"n,,n=a=2Cb=3Dc,r="));
        let (other, _) = Exchange::begin(Mechanism::Sha1, "a,b=c", "x").unwrap();
        assert_ne!(one.nonce, other.nonce);
        assert!(Exchange::begin(Mechanism::Sha256, "a", "\u{7}").is_err());
    }
}
