//! A store that is sealed, through the whole server: what lies on the disk, and what a key that is missing does.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tonic::Code;

use common::{Facade, arn, command, path, refusal, request, secrets};

const OLD: &str = "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=";
const NEW: &str = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=";
const NAME: &str = "a-name-that-nobody-else-may-read";

fn write_keys(file: &Path, lines: &[&str]) {
    for key in lines {
        secrets::keep("a key of the store", key);
    }
    fs::write(file, lines.join("\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn shows_the_name(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes.windows(NAME.len()).any(|window| window == NAME.as_bytes())
    })
}

#[tokio::test]
async fn an_answer_is_replayed_after_a_restart_although_nobody_can_read_it_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (store, keys) = (directory.path().join("records"), directory.path().join("keys"));
    let both = [("store", path(&store)), ("store_key_file", path(&keys))];
    write_keys(&keys, &[OLD]);
    let facade = Facade::with(&both).await;
    let first = facade.create(request(NAME, "token")).await.unwrap();
    assert!(!shows_the_name(directory.path()), "while it runs");
    facade.server.stop().await;
    assert!(!shows_the_name(directory.path()), "after it has stopped");

    write_keys(&keys, &[NEW, OLD]);
    let facade = Facade::with(&both).await;
    let second = facade.create(request(NAME, "token")).await.unwrap();

    assert_eq!(arn(&first), arn(&second));
    assert_eq!(facade.requested(), 0);
    facade.server.stop().await;
}

#[tokio::test]
async fn without_the_key_nothing_is_sent_for_a_sealed_intent() {
    let directory = tempfile::tempdir().unwrap();
    let (store, keys) = (directory.path().join("records"), directory.path().join("keys"));
    let sealed = [("store", path(&store)), ("store_key_file", path(&keys))];
    write_keys(&keys, &[OLD]);
    let facade = Facade::with(&sealed).await;
    facade.create(request(NAME, "token")).await.unwrap();
    facade.server.stop().await;

    write_keys(&keys, &[NEW]);
    let other_key = Facade::with(&sealed).await;
    let refused = other_key.create(request(NAME, "token")).await.unwrap_err();
    let requested = other_key.requested();
    other_key.server.stop().await;
    let no_key = Facade::with(&[("store", path(&store))]).await;
    let refused_as_well = no_key.create(request(NAME, "token")).await.unwrap_err();

    for status in [refused, refused_as_well] {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(refusal(&status).reason, "IDEMPOTENCY_STORE_UNAVAILABLE");
    }
    assert_eq!((requested, no_key.requested()), (0, 0));
}

#[tokio::test]
async fn a_key_file_that_is_open_to_others_is_a_fault_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    write_keys(&keys, &[NEW]);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();

    for command_line in [&["check-config", "--sandbox"], &["serve", "--sandbox"]] {
        let output = common::output(&mut command(
            command_line,
            &[("RAM_FACADE_STORE_KEY_FILE", path(&keys))],
        ));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("has mode 0644"), "{said}");
    }
}

#[tokio::test]
async fn an_operator_reads_and_settles_sealed_records_with_the_key_and_seals_them_again() {
    const ARN: &str =
        "arn:aws:ram:us-east-1:111122223333:resource-share/23e76dc0-3bd1-4b21-bf90-80f8d14c5d59";
    let directory = tempfile::tempdir().unwrap();
    let (store, keys) = (directory.path().join("records"), directory.path().join("keys"));
    write_keys(&keys, &[NEW]);
    let both = [
        ("store", path(&store)),
        ("store_key_file", path(&keys)),
        ("retry.max_attempts", "1"),
    ];
    let facade = Facade::with(&both).await;
    facade.faults(r#"{"rules": [{"operation": "CreateResourceShare", "fault": {"kind": "drop"}}]}"#);
    facade.create(request(NAME, "token")).await.unwrap_err();
    facade.server.stop().await;
    let operate = |verb: &str, more: &[&str]| {
        let arguments = [&["idempotency", verb, "--store", path(&store)], more].concat();
        let output = common::output(&mut command(&arguments, &[]));
        String::from_utf8(output.stdout).unwrap()
    };
    let with_key = ["--store-key-file", path(&keys)];

    let blind = operate("list", &[]);
    let seen = operate("list", &with_key);
    let settle = [&with_key[..], &["--succeeded-arn", ARN, "--yes", &seen[..8]]].concat();
    let settled = operate("resolve", &settle);

    assert!(blind.contains("the record is sealed"), "{blind}");
    assert!(seen.contains("unknown"), "{seen}");
    assert!(settled.contains("succeeded with"), "{settled}");
    let bytes = fs::read(&store).unwrap();
    assert!(!bytes.windows(ARN.len()).any(|window| window == ARN.as_bytes()));
    let facade = Facade::with(&both).await;
    assert_eq!(arn(&facade.create(request(NAME, "token")).await.unwrap()), ARN);
    facade.server.stop().await;
}
