//! The compiler's own process: it confines itself, and only then looks at what it is to compile.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use wasmtime::Engine;

use super::{COMPILED, REFUSED};
use crate::confine::{self, Rights};
use crate::discover::MAX_COMPONENT_BYTES;
use crate::engine::{self, reason};

/// The first argument of a program that is to compile, and do nothing else.
pub const WORD: &str = "compile-component";

/// Compiles the component on standard input, under the limits in the arguments that follow [`WORD`]. To be called before
/// anything else is done: it closes all descriptors but the first three.
#[must_use]
pub fn serve(arguments: &[OsString]) -> ExitCode {
    let (kind, content) = match compile(arguments) {
        Ok(code) => (COMPILED, code),
        Err(why) => (REFUSED, why.into_bytes()),
    };
    let mut out = io::stdout().lock();
    let written = out
        .write_all(&[kind])
        .and_then(|()| out.write_all(&content))
        .and_then(|()| out.flush());
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody listens any more.
        Err(_) => ExitCode::FAILURE,
    }
}

fn compile(arguments: &[OsString]) -> Result<Vec<u8>, String> {
    let [reservation_bytes, memory_bytes, seconds] = numbers(arguments)
        .ok_or("this is a part of freezer that it starts itself: it takes three numbers and a component")?;
    confine::close_descriptors(3, u32::MAX)?;
    let engine = Engine::new(&engine::config(reservation_bytes)).map_err(|error| reason(&error))?;
    let rights = Rights {
        memory_bytes,
        seconds: Some(seconds),
        descriptors: 3,
        threads: true,
    };
    confine::confine(&rights).map_err(|why| format!("the compiler can't be confined: {why}"))?;
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_COMPONENT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    engine
        .precompile_component(&bytes)
        .map_err(|error| reason(&error))
}

fn numbers(arguments: &[OsString]) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = arguments
        .iter()
        .map(|argument| argument.to_str()?.parse().ok())
        .collect();
    numbers?.try_into().ok()
}
