//! The `freezer` command line: arguments → configuration → one recipe → what the user sees.
//!
//! Two faces lead to the same `Command`: our verbs, and the original's options under the program
//! names `freezerc` and `freezer-agent`. In reading order:

mod args;
mod command;
mod compat;
mod config;
mod exit;
mod log;
mod manual;
mod program;
mod render;
mod run;
mod signals;

use std::process::ExitCode;

/// Runs the program on its arguments; `program` chooses the face by the name it was started as.
fn main() -> ExitCode {
    program::run(&std::env::args_os().collect::<Vec<_>>())
}
