//! What fuzzing was seeded with and what it has found, fed again without a fuzzer.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and what is fed is shared with the fuzzer"
)]
#![cfg(feature = "cedar")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{fs, path::Path};

/// Feeds every file of the target's folders. A fault shows as a panic, behind the name of its file.
fn feed_all(target: &str, feed: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for kind in ["seeds", "corpus"] {
        let folder = fuzz.join(kind).join(target);
        let mut fed = 0;
        for file in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = file.unwrap().path();
            println!("{}", path.display());
            feed(&fs::read(&path).unwrap());
            fed += 1;
        }
        assert!(fed > 0, "{} is empty", folder.display());
    }
}

/// As the fuzzer does it for what takes text: up to the first byte that is none.
fn text(feed: impl Fn(&str)) -> impl Fn(&[u8]) {
    move |bytes| feed(bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid()))
}

#[test]
fn files_of_an_operator_are_taken_or_their_faults_are_listed() {
    feed_all("files", text(fuzz::files::feed));
}

#[test]
fn records_are_read_as_they_were_written_or_not_at_all() {
    feed_all("records", fuzz::records::feed);
}

#[test]
fn the_server_goes_on_serving_whatever_arrives() {
    feed_all("requests", fuzz::requests::feed);
}

#[test]
fn what_the_rules_accept_can_be_taken_apart() {
    feed_all("rules", text(fuzz::rules::feed));
}

#[test]
fn nobody_gets_in_by_a_strange_token() {
    feed_all("tokens", fuzz::tokens::feed);
}
