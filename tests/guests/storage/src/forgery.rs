//! Sins against the machine below the contract: handles that were given back or made up, lengths beyond all memory.
#![expect(
    unsafe_code,
    reason = "a hostile plugin isn't bound by Rust's rules, and what it breaks is its own memory"
)]

use std::mem::ManuallyDrop;

use freezer_sdk::error::Result;
use freezer_sdk::host::bodies::Body;

/// Gives a handle back and goes on with its number.
pub(crate) fn uses_a_dropped_handle(_: &str) -> Result<u64> {
    let body = Body::from_bytes(b"gone")?;
    // SAFETY: none; the copy is used after the handle was given back, which is the sin.
    let copy = ManuallyDrop::new(unsafe { std::ptr::read(&body) });
    drop(body);
    Ok(copy.read(4)?.len() as u64)
}

/// Uses a number as a handle that it was never given.
pub(crate) fn forges_a_handle(number: &str) -> Result<u64> {
    let number: u32 = number.parse().unwrap_or(1);
    // SAFETY: none; a handle is nothing but its number, and this one is made up.
    let body: ManuallyDrop<Body> = unsafe { std::mem::transmute_copy(&number) };
    Ok(body.read(4)?.len() as u64)
}

/// Answers a text that would fill all of its memory many times over.
pub(crate) fn claims_four_gigabytes(_: &str) -> Result<String> {
    let text = ManuallyDrop::new(String::from("short"));
    let length = std::hint::black_box(u32::MAX as usize - 0xffff);
    // SAFETY: none; the length is a lie.
    Ok(unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), length, length) })
}
