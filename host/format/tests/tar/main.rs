//! Archives against the world: the original's own, GNU tar's and Python's, and random histories of trees.

mod golden;
mod interop;
mod model;
mod tree;
