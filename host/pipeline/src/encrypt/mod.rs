//! Encrypts a stream as `openssl enc -aes-256-cfb` does: `Salted__`, the salt, then AES-256 in CFB.
//!
//! CFB encryption is serial: each block needs the one before. It therefore runs on the one thread that also cuts
//! segments. Pieces of 64 KiB go through the block interface; the buffered one is three to five times slower.

use aes::Aes256;
use cfb_mode::cipher::KeyIvInit;
use freezer_format::chain_key::Cipher;
use freezer_format::openssl::{KeyIv, SALTED};

/// Bytes that are encrypted at once: they stay in the core's cache for the digest and the copy into the segment.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Gathers bytes into pieces and encrypts them, or passes them on if there is no cipher.
pub(crate) struct Encryptor {
    keys: Option<KeyIv>,
    salt: Option<[u8; 8]>,
    piece: Vec<u8>,
}

impl Encryptor {
    /// Makes an encryptor whose first bytes are the header. `salt` must never be used twice.
    pub(crate) fn new(cipher: Option<&Cipher>, salt: [u8; 8]) -> Self {
        Self {
            keys: cipher.map(|cipher| cipher.key_iv(&salt)),
            salt: cipher.map(|_| salt),
            piece: Vec::with_capacity(PIECE_BYTES),
        }
    }

    /// The header that goes before everything else; empty without a cipher.
    pub(crate) fn header(&self) -> Vec<u8> {
        self.salt
            .map(|salt| [&SALTED[..], &salt].concat())
            .unwrap_or_default()
    }

    /// The salt in the header.
    pub(crate) fn salt(&self) -> Option<[u8; 8]> {
        self.salt
    }

    /// Takes bytes and hands finished pieces to `sink`.
    pub(crate) fn write<E>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.keys.is_none() {
            return bytes.chunks(PIECE_BYTES).try_for_each(sink);
        }
        while !bytes.is_empty() {
            let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
            self.piece.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.piece.len() == PIECE_BYTES {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    /// Hands out the last piece, which may end within a cipher block. Nothing may be written afterwards.
    pub(crate) fn finish<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.piece.is_empty() {
            Ok(())
        } else {
            self.flush(sink)
        }
    }

    fn flush<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if let Some(keys) = &mut self.keys {
            cfb_mode::Encryptor::<Aes256>::new(&keys.key.into(), &keys.iv.into()).encrypt(&mut self.piece);
            if let Some(last) = self.piece.last_chunk::<16>() {
                keys.iv = *last;
            }
        }
        sink(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_format::chain_key::ChainKey;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn encrypt(cipher: &Cipher, writes: &[Vec<u8>]) -> Vec<u8> {
        let mut encryptor = Encryptor::new(Some(cipher), *b"saltsalt");
        let mut out = encryptor.header();
        let mut sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok::<_, Infallible>(())
        };
        for bytes in writes {
            encryptor.write(bytes, &mut sink).unwrap();
        }
        encryptor.finish(&mut sink).unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_borders_of_writes_do_not_matter(lengths in proptest::collection::vec(0_usize..100_000, 0..6)) {
            let cipher = Cipher::Chain(ChainKey::new([7; 32]));
            let writes: Vec<Vec<u8>> = lengths.iter().enumerate()
                .map(|(n, length)| (0..*length).map(|byte| (byte * (n + 3)) as u8).collect())
                .collect();
            let stored = encrypt(&cipher, &writes);
            let keys = cipher.key_iv(b"saltsalt");
            let mut plain = stored[16..].to_vec();
            cfb_mode::Decryptor::<Aes256>::new(&keys.key.into(), &keys.iv.into()).decrypt(&mut plain);
            prop_assert!(plain == writes.concat());
            prop_assert_eq!(&stored[..16], b"Salted__saltsalt");
        }
    }
}
