#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| ram_facade_fuzz::files::feed(text));
