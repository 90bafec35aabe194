//! Host interfaces.

pub(crate) mod resources;
