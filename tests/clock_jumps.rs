//! The wall clock is set while calls are under way, in a real process: libfaketime moves it, the monotonic clock runs on.
//! Not part of a plain `cargo test`, since it needs that library: `make test-clock`.

// A target that is no part of a plain `cargo test` is checked as if it were production code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{collections::BTreeSet, fs, path::PathBuf};

use common::{Client, Process, arn, put_faults, refusal, request, stats, until};

/// The library, where Debian and its like keep it. Variable `LIBFAKETIME` for others.
fn library() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "a test says where its tool is")]
    if let Some(path) = std::env::var_os("LIBFAKETIME") {
        return path.into();
    }
    let folders = fs::read_dir("/usr/lib").expect("it exists").flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .expect("libfaketime is not installed: scripts/tools.sh faketime")
}

/// A facade whose wall clock is set by a file, before a sandbox whose clock is right.
struct Setup {
    url: String,
    client: Client,
    offset: PathBuf,
    _facade: Process,
    _sandbox: Process,
    _directory: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        let url = sandbox.sandbox_url();
        let (offset, store) = (
            directory.path().join("offset"),
            directory.path().join("store.sqlite"),
        );
        fs::write(&offset, "+0").unwrap();
        let library = library();
        let variables = [
            ("LD_PRELOAD", common::path(&library)),
            ("FAKETIME_TIMESTAMP_FILE", common::path(&offset)),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let facade = Process::start(&common::serve(&url, common::path(&store)), &variables);
        Self {
            client: common::connect(facade.address()).await,
            url,
            offset,
            _facade: facade,
            _sandbox: sandbox,
            _directory: directory,
        }
    }

    async fn count(&self, what: &str) -> u64 {
        stats(&self.url).await[what]["CreateResourceShare"]
            .as_u64()
            .unwrap_or(0)
    }

    /// The one ARN that eight callers at once get.
    async fn ask(&self, token: &str) -> String {
        let calls = (0..8).map(|_| {
            let mut client = self.client.clone();
            async move { client.create(request(token, token)).await }
        });
        let answers = futures_util::future::join_all(calls).await;
        let arns: BTreeSet<_> = answers
            .iter()
            .map(|answer| arn(answer.as_ref().unwrap()))
            .collect();
        assert_eq!(arns.len(), 1, "{arns:?}");
        arns.into_iter().next().unwrap()
    }
}

/// Sets the clock by `jump` while a call is under way: neither that call nor an earlier one is executed again.
async fn survives(jump: &str) {
    let setup = Setup::new().await;
    let earlier = setup.ask("earlier").await;

    put_faults(&setup.url, r#"{"latency_ms": 500}"#).await;
    let mut client = setup.client.clone();
    let call = tokio::spawn(async move { client.create(request("meanwhile", "meanwhile")).await });
    until("RAM has the request", || async {
        setup.count("requests").await == 2
    })
    .await;
    fs::write(&setup.offset, jump).unwrap();
    let meanwhile = arn(&call.await.unwrap().unwrap());
    put_faults(&setup.url, "{}").await;

    assert_eq!(setup.ask("meanwhile").await, meanwhile);
    assert_eq!(
        setup.ask("earlier").await,
        earlier,
        "a record does not expire by a jump"
    );
    setup.ask("later").await;
    let other = setup.client.clone().create(request("other", "meanwhile")).await;
    assert_eq!(
        refusal(&other.unwrap_err()).reason,
        "IDEMPOTENT_PARAMETER_MISMATCH"
    );
    assert_eq!(setup.count("executions").await, 3, "one for each token");
    assert_eq!(setup.count("requests").await, 3, "and nothing was sent again");
}

#[tokio::test]
async fn an_hour_back_in_mid_call_makes_no_second_share() {
    survives("-3600").await;
}

#[tokio::test]
async fn a_day_and_an_hour_ahead_in_mid_call_makes_no_second_share() {
    // Past the life of a record.
    survives("+90000").await;
}

#[tokio::test]
async fn ten_minutes_ahead_in_mid_call_makes_no_second_share() {
    // Past the window in which a request may be sent again.
    survives("+600").await;
}
