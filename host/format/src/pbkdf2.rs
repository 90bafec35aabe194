//! PBKDF2 with HMAC-SHA256 for the 48 bytes of a key and its IV, straight on SHA-256's compression: a round is two blocks whose
//! padding never changes, so that nothing but the compression takes time. Whoever guesses passwords has it as fast.
//!
//! Source: RFC 8018 §5.2, RFC 2104.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// From this many iterations on the two blocks of a derivation are worth two threads.
pub(crate) const PARALLEL_FROM: u32 = 10_000;

/// Bytes that SHA-256 takes at once.
const BLOCK: usize = 64;
/// SHA-256's state before the first block (FIPS 180-4 §5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// 48 bytes are two blocks that don't depend on each other: a slow derivation uses two cores.
pub(crate) fn derive(secret: &[u8], salt: &[u8; 8], iterations: u32, out: &mut [u8; 48]) {
    let keyed = Keyed::new(secret);
    let (first, second) = out.split_at_mut(32);
    if iterations < PARALLEL_FROM {
        keyed.block(salt, (1, iterations), first);
        keyed.block(salt, (2, iterations), second);
    } else {
        std::thread::scope(|scope| {
            scope.spawn(|| keyed.block(salt, (1, iterations), first));
            keyed.block(salt, (2, iterations), second);
        });
    }
}

/// HMAC's two hashes after the block that holds the key.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Keyed {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Keyed {
    fn new(secret: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; BLOCK]);
        match key.get_mut(..secret.len()) {
            Some(place) => place.copy_from_slice(secret),
            None => key[..32].copy_from_slice(&Zeroizing::new(<[u8; 32]>::from(Sha256::digest(secret)))[..]),
        }
        let after = |pad: u8| {
            let block = Zeroizing::new(key.map(|byte| byte ^ pad));
            let mut state = START;
            compress256(&mut state, std::slice::from_ref(&*block));
            state
        };
        Self {
            inner: after(0x36),
            outer: after(0x5c),
        }
    }

    /// Function F for block number `index` (from 1); fills at most 32 bytes.
    fn block(&self, salt: &[u8; 8], (index, iterations): (u32, u32), out: &mut [u8]) {
        let mut message = Zeroizing::new([0; BLOCK]);
        message[..8].copy_from_slice(salt);
        message[8..12].copy_from_slice(&index.to_be_bytes());
        end(&mut message, 12);
        let mut digest = Zeroizing::new([0; BLOCK]);
        end(&mut digest, 32);

        let mut round = self.mac(&message, &mut digest);
        let mut sum = Zeroizing::new(round);
        // The further messages are as long as a digest.
        message[32..].copy_from_slice(&digest[32..]);
        for _ in 1..iterations {
            put(&mut message, &round);
            round = self.mac(&message, &mut digest);
            for (sum, word) in sum.iter_mut().zip(round) {
                *sum ^= word;
            }
        }
        put(&mut message, &sum);
        out.copy_from_slice(&message[..out.len()]);
        round.zeroize();
    }

    /// HMAC of a message that is padded as the second block of its hash; `digest` is the same for the outer hash.
    #[inline]
    fn mac(&self, message: &[u8; BLOCK], digest: &mut [u8; BLOCK]) -> [u32; 8] {
        let mut state = self.inner;
        compress256(&mut state, std::slice::from_ref(message));
        put(digest, &state);
        state = self.outer;
        compress256(&mut state, std::slice::from_ref(digest));
        state
    }
}

/// Ends a block that has `length` bytes of a message after one block of the key.
fn end(block: &mut [u8; BLOCK], length: u8) {
    block[usize::from(length)] = 0x80;
    let bits = (BLOCK as u64 + u64::from(length)) * 8;
    block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
}

/// Writes a state as the 32 bytes of its digest.
#[inline]
fn put(block: &mut [u8; BLOCK], state: &[u32; 8]) {
    for (place, word) in block.chunks_exact_mut(4).zip(state) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_derives_the_same() {
        let longest = [b'x'; 1023];
        for secret in [
            &b""[..],
            b"secret",
            &longest[..63],
            &longest[..64],
            &longest[..65],
            &longest,
        ] {
            for iterations in [1, 2, 3, 1000, PARALLEL_FROM] {
                let mut expected = [0; 48];
                pbkdf2::pbkdf2_hmac::<Sha256>(secret, b"saltsalt", iterations, &mut expected);
                let mut derived = [0; 48];
                derive(secret, b"saltsalt", iterations, &mut derived);
                assert_eq!(derived, expected, "{} bytes, {iterations} times", secret.len());
            }
        }
    }
}
