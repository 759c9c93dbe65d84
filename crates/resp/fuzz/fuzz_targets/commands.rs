//! Feeds `entry::commands`.
#![no_main]

#[path = "../entry.rs"]
#[allow(dead_code, reason = "each target calls one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::commands(data));
