//! The `freezer` command line: arguments → configuration → one recipe → what the user sees.
//!
//! Two faces lead to the same `Command`: our verbs, and the original's options under the program
//! names `freezerc` and `freezer-agent`. In reading order:

mod program;
mod args;
mod config;
mod compat;
mod command;
mod run;
mod render;
mod manual;
mod signals;
mod exit;

use std::process::ExitCode;

/// Runs the program on its arguments; `program` chooses the face by the name it was started as.
fn main() -> ExitCode {
    program::run(&std::env::args_os().collect::<Vec<_>>())
}
