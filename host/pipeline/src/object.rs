//! One stored object as the bytes that were put into it: read by ranges or front to back, decrypted on the way.
//!
//! Layout of an encrypted object: `Salted__`, 8 bytes of salt, AES-256-CFB of the content (as `openssl enc`).
//! CFB decrypts from any 16-byte border with the ciphertext block before it as IV, so a range costs one request.
//! Nothing here checks authenticity: frames and index blocks carry digests, their readers compare them.

use std::io::{self, Read};
use std::sync::Arc;

use aes::Aes256;
use aes::cipher::KeyIvInit;
use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::index::{IndexError, IndexReader, ReadRange};
use freezer_format::openssl::{Kdf, KeyIv, Passphrase, SALTED};

use crate::job::IndexFacts;
use crate::store::{ErrorKind, Store, StoreError};

/// Bytes before the content of an encrypted object: magic and salt.
const HEAD_BYTES: u64 = 16;
/// Bytes of an AES block.
const BLOCK: u64 = 16;
/// Objects up to this size are fetched by one request; a one-file restore may read 200 KB besides its frames.
const WHOLE_BYTES: u64 = 96 * 1024;
/// What the first request of a larger object fetches: its salt and the fixed header that follows.
const START_BYTES: u64 = 64;
/// Piece in which a stream is decrypted: fits the second-level cache, and CFB runs in parallel inside it.
const PIECE_BYTES: usize = 256 * 1024;

/// Most bytes that are reserved before any of them arrived.
const RESERVED_BYTES: u64 = 64 << 20;

/// Why a stored object can't be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading broke off.
    #[error("can't read {key:?} at byte {offset}")]
    Read {
        /// The object's key.
        key: String,
        /// Where, in the stored object.
        offset: u64,
        /// What the storage's reader says.
        #[source]
        source: io::Error,
    },
    /// The object is shorter than it must be.
    #[error("{key:?} is damaged: it is only {bytes} bytes long")]
    TooShort {
        /// The object's key.
        key: String,
        /// Bytes stored.
        bytes: u64,
    },
    /// The object should be encrypted and has no salt, or another one than its manifest says.
    #[error("{key:?} is damaged: it doesn't begin with its salt")]
    Salt {
        /// The object's key.
        key: String,
    },
    /// The decrypted content makes no sense.
    #[error("can't decrypt {key:?}: wrong password or damaged")]
    Undecipherable {
        /// The object's key.
        key: String,
    },
    /// A range beyond the end was asked for.
    #[error("{key:?} is damaged: bytes {offset} to {end} of its content are asked for, it has {bytes}")]
    Beyond {
        /// The object's key.
        key: String,
        /// First byte of the range in the content.
        offset: u64,
        /// End of the range in the content.
        end: u64,
        /// Bytes of the content.
        bytes: u64,
    },
}

impl ObjectError {
    /// True if what is stored is wrong, not the storage's service.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound),
            Self::Read { source, .. } => source.kind() == io::ErrorKind::UnexpectedEof,
            _ => true,
        }
    }
}

/// An object of a storage, opened for reading. Ranges may be read from several threads at once.
pub struct StoredObject {
    store: Arc<dyn Store>,
    key: String,
    stored_bytes: u64,
    /// Key and derived IV, if encrypted.
    keys: Option<KeyIv>,
    /// The first bytes of the stored object, as far as opening fetched them.
    start: Vec<u8>,
}

/// The index of a stored level.
pub type StoredIndex = IndexReader<StoredObject>;

impl StoredObject {
    /// Opens an object of `stored_bytes` bytes. An encrypted one costs one request, for its salt; a small one is
    /// fetched whole by it.
    ///
    /// # Errors
    /// The storage fails, or an encrypted object doesn't begin with `Salted__`.
    pub fn open(
        store: Arc<dyn Store>,
        key: &str,
        stored_bytes: u64,
        cipher: Option<&Cipher>,
    ) -> Result<Self, ObjectError> {
        let mut object = Self {
            store,
            key: key.to_owned(),
            stored_bytes,
            keys: None,
            start: Vec::new(),
        };
        let start = if stored_bytes <= WHOLE_BYTES {
            stored_bytes
        } else {
            START_BYTES
        };
        if cipher.is_some() || stored_bytes <= WHOLE_BYTES {
            object.start = object.fetch(0, start)?;
        }
        if let Some(cipher) = cipher {
            let salt = object.salt()?;
            object.keys = Some(cipher.key_iv(&salt));
        }
        Ok(object)
    }

    /// Opens an object whose salt is known from its manifest, without any request.
    #[must_use]
    pub fn with_salt(
        store: Arc<dyn Store>,
        key: &str,
        stored_bytes: u64,
        cipher: &Cipher,
        salt: &[u8; 8],
    ) -> Self {
        let keys = Some(cipher.key_iv(salt));
        Self {
            store,
            key: key.to_owned(),
            stored_bytes,
            keys,
            start: Vec::new(),
        }
    }

    /// The object's key in its storage.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes of the content, which are fewer than are stored if it is encrypted.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.stored_bytes - self.head_bytes()
    }

    /// Bytes in the stored object before byte 0 of the content.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        if self.keys.is_some() { HEAD_BYTES } else { 0 }
    }

    /// Reads `length` bytes of the content from `offset` on, by one request.
    ///
    /// # Errors
    /// The storage fails or answers fewer bytes, or the range lies beyond the end.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        let end = offset.saturating_add(length as u64);
        if end > self.content_bytes() {
            let (key, bytes) = (self.key.clone(), self.content_bytes());
            return Err(ObjectError::Beyond {
                key,
                offset,
                end,
                bytes,
            });
        }
        let Some(keys) = &self.keys else {
            return self.fetch(offset, length as u64);
        };
        // The block before the first one wanted is its IV; the first of all has the derived one.
        let first = offset - offset % BLOCK;
        let from = first.saturating_sub(BLOCK);
        let mut bytes = self.fetch(HEAD_BYTES + from, end - from)?;
        let mut iv = keys.iv;
        if first > 0 {
            iv.copy_from_slice(&bytes[..BLOCK as usize]);
            bytes.drain(..BLOCK as usize);
        }
        decrypt(keys, &iv, &mut bytes);
        bytes.drain(..(offset - first) as usize);
        Ok(bytes)
    }

    /// Opens the content front to back.
    ///
    /// # Errors
    /// The storage can't open the object.
    pub fn reader(&self) -> Result<ObjectReader, ObjectError> {
        let length = self.content_bytes();
        let inner = self.open_stored(self.head_bytes(), length)?;
        Ok(self.decrypting(inner))
    }

    /// Opens the stored bytes front to back, as they are, salt included.
    ///
    /// # Errors
    /// The storage can't open the object.
    pub(crate) fn stored_reader(&self) -> Result<Box<dyn Read + Send>, ObjectError> {
        self.open_stored(0, self.stored_bytes)
    }

    /// Opens a range of the stored bytes. It lies within what was once stored: a storage that finds it behind the end has
    /// a shortened object.
    fn open_stored(&self, offset: u64, length: u64) -> Result<Box<dyn Read + Send>, ObjectError> {
        self.store.read(&self.key, offset, Some(length)).map_err(|error| {
            let found = match error.kind {
                ErrorKind::Invalid => self.store.stat(&self.key).ok().flatten(),
                _ => None,
            };
            match found {
                Some(entry) if entry.size < self.stored_bytes => ObjectError::TooShort {
                    key: self.key.clone(),
                    bytes: entry.size,
                },
                _ => error.into(),
            }
        })
    }

    /// Decrypts what `inner` reads, the stored bytes from the head on.
    pub(crate) fn decrypting<R: Read>(&self, inner: R) -> ObjectReader<R> {
        ObjectReader {
            inner,
            key: self.key.clone(),
            keys: self.keys.clone(),
            offset: self.head_bytes(),
            left: self.content_bytes(),
            piece: Vec::new(),
            position: 0,
        }
    }

    fn salt(&self) -> Result<[u8; 8], ObjectError> {
        if self.stored_bytes < HEAD_BYTES {
            return Err(ObjectError::TooShort {
                key: self.key.clone(),
                bytes: self.stored_bytes,
            });
        }
        let head = self.start.first_chunk::<16>();
        let salt = head
            .filter(|head| head.starts_with(SALTED))
            .and_then(|head| head.last_chunk::<8>());
        salt.copied().ok_or_else(|| ObjectError::Salt {
            key: self.key.clone(),
        })
    }

    /// Reads stored bytes, as they are.
    fn fetch(&self, offset: u64, length: u64) -> Result<Vec<u8>, ObjectError> {
        let end = offset.saturating_add(length);
        if end <= self.start.len() as u64 {
            return Ok(self.start[offset as usize..end as usize].to_vec());
        }
        // A wrong length must not make us allocate what isn't there.
        let mut bytes = Vec::with_capacity(length.min(RESERVED_BYTES) as usize);
        let reader = self.open_stored(offset, length)?;
        let read = reader.take(length).read_to_end(&mut bytes);
        let at = offset + bytes.len() as u64;
        let failed = |source| ObjectError::Read {
            key: self.key.clone(),
            offset: at,
            source,
        };
        read.map_err(failed)?;
        if (bytes.len() as u64) < length {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

impl ReadRange for StoredObject {
    fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.read_at(offset, length).map_err(io::Error::other)
    }
}

/// The content of an object, front to back. A short object ends in an error, never in an early end.
pub struct ObjectReader<R = Box<dyn Read + Send>> {
    inner: R,
    key: String,
    keys: Option<KeyIv>,
    /// Where the next piece begins in the stored object.
    offset: u64,
    left: u64,
    piece: Vec<u8>,
    position: usize,
}

impl<R: Read> ObjectReader<R> {
    /// The reader below.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// Fetches and decrypts the next piece.
    fn refill(&mut self) -> io::Result<()> {
        let length = self.left.min(PIECE_BYTES as u64) as usize;
        self.piece.resize(length, 0);
        self.position = 0;
        if let Err(source) = self.inner.read_exact(&mut self.piece) {
            self.piece.clear();
            return Err(io::Error::other(ObjectError::Read {
                key: self.key.clone(),
                offset: self.offset,
                source,
            }));
        }
        self.left -= length as u64;
        self.offset += length as u64;
        if let Some(keys) = &mut self.keys {
            let iv = keys.iv;
            if let Some(last) = self.piece.last_chunk::<16>() {
                keys.iv = *last;
            }
            decrypt(keys, &iv, &mut self.piece);
        }
        Ok(())
    }
}

impl<R: Read> Read for ObjectReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.piece.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.refill()?;
        }
        let available = &self.piece[self.position..];
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.position += length;
        Ok(length)
    }
}

fn decrypt(keys: &KeyIv, iv: &[u8; 16], bytes: &mut [u8]) {
    cfb_mode::Decryptor::<Aes256>::new((&keys.key).into(), iv.into()).decrypt(bytes);
}

/// Opens a stored index. A small one is fetched whole; a larger one costs what its reader needs, and one request
/// for the salt where the manifest doesn't tell it.
///
/// The trailer comes from the manifest, so that everything below it is authentic.
///
/// # Errors
/// The object can't be read, or its footer isn't what the trailer says.
pub fn open_index(
    store: Arc<dyn Store>,
    key: &str,
    facts: &IndexFacts,
    cipher: Option<&Cipher>,
) -> Result<StoredIndex, OpenIndexError> {
    let object = match (cipher, &facts.salt) {
        (Some(cipher), Some(salt)) if facts.bytes > WHOLE_BYTES => {
            StoredObject::with_salt(store, key, facts.bytes, cipher, salt)
        }
        _ => StoredObject::open(store, key, facts.bytes, cipher)?,
    };
    let body = object.content_bytes();
    Ok(IndexReader::open(object, body, Some(&facts.trailer))?)
}

/// Why an index can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenIndexError {
    /// The object can't be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It can be read and is no index, or not this one.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Finds out how the original derived the key of a stream, which it doesn't record: SHA-256 since OpenSSL 1.1,
/// MD5 before. Tells by the first decrypted bytes, which must be those of a compressed stream.
///
/// # Errors
/// The object can't be read, or neither derivation gives a stream of `compression` (of any, if `None`).
pub fn detect_cipher(
    store: Arc<dyn Store>,
    key: &str,
    stored_bytes: u64,
    passphrase: &Passphrase,
    compression: Option<Compression>,
) -> Result<Cipher, ObjectError> {
    for kdf in [Kdf::BytesToKeySha256, Kdf::BytesToKeyMd5] {
        let cipher = Cipher::Password {
            passphrase: passphrase.clone(),
            kdf,
        };
        let object = StoredObject::open(Arc::clone(&store), key, stored_bytes, Some(&cipher))?;
        let length = object.content_bytes().min(6) as usize;
        let found = Compression::detect(&object.read_at(0, length)?);
        if found.is_some() && (compression.is_none() || compression == found) {
            return Ok(cipher);
        }
    }
    Err(ObjectError::Undecipherable { key: key.to_owned() })
}
