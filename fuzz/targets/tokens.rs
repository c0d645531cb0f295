#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ram_facade_fuzz::tokens::feed(bytes));
