//! Mode fs: a directory tree.
