//! plugin.toml as it stands in a component.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| freezer_plugin::testing::manifest(bytes));
