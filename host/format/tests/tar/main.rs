//! Archives against the world: the original's own, GNU tar's and Python's, and random histories of trees.

#[cfg(test)]
mod golden;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tree;
