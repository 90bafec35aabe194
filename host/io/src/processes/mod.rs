//! Commands of this machine: started without a shell, with a given environment, as a session of their own.
//!
//! A [`Process`] owns its whole group: whoever drops the last handle stops it, and so does [`Process::stop`]. Its output
//! ends well only after exit code 0, its input must be read to the end, and the end of its standard error is kept for
//! messages. Who may start what is decided elsewhere.

mod command;
mod input;
mod output;
mod process;
mod program;
mod spawn;
mod stderr;
#[cfg(test)]
mod tests;

pub use command::{Command, Input};
pub use output::OutputReader;
pub use process::{Exit, Process};
pub use program::{check_trusted, find};
