//! Sins of wanting too much: time, memory, handles, attention.

use std::time::Duration;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::control;

/// Computes without an end in sight.
pub(crate) fn loops_for_ever(_: &str) -> Result<u64> {
    let mut number = 1_u64;
    while number != 0 {
        number = std::hint::black_box(number | 1);
    }
    Ok(number)
}

pub(crate) fn sleeps_in_a_host_call(_: &str) -> Result<u64> {
    control::wait(Duration::from_secs(60))?;
    Ok(0)
}

/// Eats memory until there is none.
pub(crate) fn allocates_without_end(_: &str) -> Result<u64> {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        if eaten.len() == usize::MAX {
            return Ok(0);
        }
    }
}

pub(crate) fn recurses(_: &str) -> Result<u64> {
    Ok(deeper(0))
}

fn deeper(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        0
    } else {
        deeper(depth + 1) + room[0]
    }
}

pub(crate) fn panics(_: &str) -> Result<u64> {
    panic!("on purpose")
}

pub(crate) fn hoards_handles(_: &str) -> Result<u64> {
    hoard(b"x")
}

/// Few handles, but much behind them.
pub(crate) fn hoards_bodies(_: &str) -> Result<u64> {
    hoard(&vec![1; 16 << 20])
}

/// Takes handles and gives none back.
fn hoard(content: &[u8]) -> Result<u64> {
    let mut bodies = Vec::new();
    loop {
        bodies.push(Body::from_bytes(content)?);
    }
}

/// Takes handles and loses them: no call ever closes them.
pub(crate) fn forgets_handles(_: &str) -> Result<u64> {
    for _ in 0..3 {
        std::mem::forget(Body::from_bytes(b"x")?);
    }
    Ok(3)
}

pub(crate) fn passes_too_much(_: &str) -> Result<u64> {
    control::debug("x".repeat(20 << 20));
    Ok(0)
}

pub(crate) fn floods_the_log(_: &str) -> Result<u64> {
    for number in 0..5000 {
        control::warning(format!("\u{1b}[31mred {number}\u{1b}[0m\nsecond line"));
    }
    Ok(0)
}

#[expect(
    clippy::print_stdout,
    reason = "flooding standard output is the sin under test"
)]
pub(crate) fn floods_its_output(_: &str) -> Result<u64> {
    println!("{}", "\u{1b}[2Jx".repeat(100_000));
    Ok(0)
}

pub(crate) fn fails_with_escapes(_: &str) -> Result<u64> {
    Err(Error::invalid("\u{1b}]0;owned\u{7}\nnext line"))
}
