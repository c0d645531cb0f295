//! What is fed to the fuzzed code. `tests/fuzz_corpus.rs` feeds it too, with what fuzzing has found so far.

pub mod files;
pub mod records;
pub mod requests;
pub mod rules;
pub mod tokens;
