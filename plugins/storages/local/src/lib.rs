//! Storage local: a directory of this machine.
