//! All that a plugin author depends on.
