//! The WebAssembly host: finds, checks, grants, limits and runs plugins.
