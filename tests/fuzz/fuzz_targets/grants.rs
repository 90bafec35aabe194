//! Grants as operators write them, and requests judged by them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| freezer_plugin::testing::grants(bytes));
