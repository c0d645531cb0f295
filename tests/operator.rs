//! What an operator sees and does with the records of a stopped server, on the command line.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Client, Process, arn, put_faults, refusal, request, secrets, stats};

struct Setup {
    _sandbox: Process,
    url: String,
    dir: tempfile::TempDir,
    /// With the keys that its records are sealed with, if they are.
    key_file: Option<String>,
}

impl Setup {
    fn new() -> Self {
        let sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        Self {
            url: sandbox.sandbox_url(),
            _sandbox: sandbox,
            dir: tempfile::tempdir().unwrap(),
            key_file: None,
        }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("idempotency.sqlite")
    }

    async fn serve(&self) -> (Process, Client) {
        let store = self.store();
        let arguments = common::serve(&self.url, common::path(&store));
        let mut variables = vec![("RAM_FACADE_RETRY_MAX_ATTEMPTS", "1")];
        variables.extend(
            self.key_file
                .as_deref()
                .map(|file| ("RAM_FACADE_STORE_KEY_FILE", file)),
        );
        let process = Process::start(&arguments, &variables);
        let client = common::connect(process.address()).await;
        (process, client)
    }

    /// A store with a success under `done`, and an open outcome under `open`.
    async fn stopped() -> (Self, String) {
        let setup = Self::new();
        let made = setup.fill().await;
        (setup, made)
    }

    async fn fill(&self) -> String {
        let (process, mut client) = self.serve().await;
        let made = client.create(request("demo", "done")).await.unwrap();
        put_faults(
            &self.url,
            r#"{"rules": [{"operation": "CreateResourceShare", "fault": {"kind": "drop"}}]}"#,
        )
        .await;
        let open = refusal(&client.create(request("demo", "open")).await.unwrap_err());
        assert_eq!(open.metadata["outcome"], "unknown");
        put_faults(&self.url, "{}").await;
        drop(client);
        process.signal("-TERM");
        assert!(process.exit(Duration::from_secs(30)).await.success());
        arn(&made)
    }

    /// Runs a command on the store: its exit code, what it printed, and what it said to the operator's log.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let store = self.store();
        let (verb, rest) = arguments.split_first().unwrap();
        let mut all = vec!["idempotency", verb, "--store", common::path(&store)];
        all.extend(rest);
        let output = common::output(&mut common::command(&all, &[]));
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn name_of(&self, state: &str) -> String {
        let (code, listed, _) = self.run(&["list", "--state", state]);
        assert_eq!((code, listed.lines().count()), (0, 1), "{listed}");
        listed[..8].to_owned()
    }

    async fn requests(&self) -> u64 {
        stats(&self.url).await["requests"]["CreateResourceShare"]
            .as_u64()
            .unwrap()
    }
}

const OPEN: [&str; 8] = [
    "--caller",
    "none/anonymous",
    "--token",
    "open",
    "--account",
    "111122223333",
    "--region",
    "us-east-1",
];
const ARN: &str = "arn:aws:ram:us-east-1:111122223333:resource-share/23e76dc0-3bd1-4b21-bf90-80f8d14c5d59";

#[tokio::test]
async fn records_are_listed_by_state_and_shown_by_name_or_by_token() {
    let (setup, made) = Setup::stopped().await;

    let (_, all, _) = setup.run(&["list"]);
    let (_, one, _) = setup.run(&["list", "--limit", "1"]);
    let (_, none, _) = setup.run(&["list", "--state", "in-flight"]);
    let (_, done, _) = setup.run(&["show", &setup.name_of("succeeded")]);
    let (_, open, _) = setup.run(&["show", &setup.name_of("unknown")]);
    let mut by_token = vec!["show"];
    by_token.extend(OPEN);
    let (_, open_by_token, _) = setup.run(&by_token);

    assert_eq!(
        (all.lines().count(), one.lines().count(), none.as_str()),
        (2, 1, "")
    );
    assert!(all.contains(" ago)  expires in 23 h"), "{all}");
    assert!(done.contains("succeeded") && done.contains(&made), "{done}");
    assert!(
        open.contains("unknown") && open.contains("resend     until 20"),
        "{open}"
    );
    assert_eq!(open, open_by_token);
    for said in [&all, &done, &open] {
        assert!(!said.contains("token-") && !said.contains("demo"), "{said}");
    }
}

#[tokio::test]
async fn a_record_is_shown_with_the_times_of_the_server_s_configuration() {
    let (setup, _) = Setup::stopped().await;
    let file = setup.dir.path().join("config.toml");
    let show = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let name = setup.name_of("unknown");
        setup.run(&["show", &name, "--config", common::path(&file)])
    };
    let hour_and_minute = |shown: &str, line: &str| {
        let line = shown.lines().find(|shown| shown.starts_with(line)).unwrap();
        let (_, time) = line.split_once('T').unwrap();
        time[..2].parse::<u32>().unwrap() * 60 + time[3..5].parse::<u32>().unwrap()
    };

    let (_, shown, _) = show("[idempotency]\ntoken_memory_s = 3600\n");
    let (faulty, _, why) = show("[idempotency]\nttl_s = 1\n");

    // An hour less the six minutes of the signature margin.
    let window = 24 * 60 + hour_and_minute(&shown, "resend") - hour_and_minute(&shown, "claimed");
    assert_eq!(window % (24 * 60), 54, "{shown}");
    assert_eq!(faulty, 2);
    assert!(why.contains("idempotency.ttl_s"), "{why}");
}

#[tokio::test]
async fn a_record_is_settled_with_the_share_that_was_found() {
    let (setup, _) = Setup::stopped().await;
    let name = setup.name_of("unknown");
    let before = setup.requests().await;

    let (unconfirmed, ..) = setup.run(&["resolve", &name, "--succeeded-arn", ARN]);
    assert_eq!((unconfirmed, setup.name_of("unknown")), (2, name.clone()));
    let (no_share, ..) = setup.run(&[
        "resolve",
        &name,
        "--yes",
        "--succeeded-arn",
        "arn:aws:s3:::bucket",
    ]);
    assert_eq!((no_share, setup.name_of("unknown")), (2, name.clone()));
    let (code, said, log) = setup.run(&["resolve", &name, "--yes", "--succeeded-arn", ARN]);

    assert_eq!(code, 0);
    assert!(said.contains(&name) && said.contains(ARN), "{said}");
    assert!(log.is_empty() || log.contains("settled by hand"), "{log}");
    let (_process, mut client) = setup.serve().await;
    let replayed = client.create(request("demo", "open")).await.unwrap();
    assert_eq!(arn(&replayed), ARN);
    assert_eq!(replayed.metadata().get("idempotency-replayed").unwrap(), "true");
    client.create(request("other", "open")).await.unwrap_err();
    assert_eq!(setup.requests().await, before);
}

#[tokio::test]
async fn a_forgotten_record_leaves_its_token_free_and_a_success_is_not_forgotten() {
    let (setup, made) = Setup::stopped().await;

    let (settled, _, why) = setup.run(&["resolve", &setup.name_of("succeeded"), "--yes", "--forget"]);
    assert_eq!(settled, 1);
    assert!(why.contains("succeeded already"), "{why}");
    let mut forget = vec!["resolve", "--yes", "--forget"];
    forget.extend(OPEN);
    let (code, ..) = setup.run(&forget);

    assert_eq!(code, 0);
    assert_eq!(setup.run(&["list", "--state", "unknown"]).1, "");
    let (_process, mut client) = setup.serve().await;
    client.create(request("another", "open")).await.unwrap();
    assert_eq!(arn(&client.create(request("demo", "done")).await.unwrap()), made);
}

#[tokio::test]
async fn a_sealed_record_is_settled_with_its_key_only() {
    let mut setup = Setup::new();
    let keys = setup.dir.path().join("keys");
    let key = "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=";
    secrets::keep("a key of the store", key);
    std::fs::write(&keys, key).unwrap();
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key_file = common::path(&keys).to_owned();
    setup.key_file = Some(key_file.clone());
    setup.fill().await;
    let mut forget = vec!["resolve", "--yes", "--forget"];
    forget.extend(OPEN);

    let (blind, ..) = setup.run(&forget);
    forget.extend(["--store-key-file", &key_file]);
    let (seen, said, why) = setup.run(&forget);

    assert_eq!(blind, 1);
    assert_eq!(seen, 0, "{why}");
    assert!(said.contains("is forgotten"), "{said}");
}

#[tokio::test]
async fn while_the_server_runs_and_without_a_store_there_is_a_clear_error() {
    let setup = Setup::new();
    let (missing, _, no_store) = setup.run(&["list"]);
    let (_process, _client) = setup.serve().await;

    let (running, _, why) = setup.run(&["list"]);
    let (unknown_name, ..) = setup.run(&["show", "no-name"]);

    assert_eq!(missing, 2);
    assert!(no_store.contains("there is no idempotency store"), "{no_store}");
    assert_eq!(running, 1);
    assert!(
        why.contains("another process") && why.contains("stop the server first"),
        "{why}"
    );
    assert_ne!(unknown_name, 0);
}
