//! Components, read without being compiled.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| freezer_plugin::testing::component(bytes));
