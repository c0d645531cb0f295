//! The command line entry.
fn main() {}
