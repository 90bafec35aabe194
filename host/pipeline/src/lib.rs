//! The road of the bytes: archive, compress, encrypt, segment, store, and back.
