//! The facade dies or its caller goes away at every point of a call: one share, and the token leads to it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{path::Path, time::Duration};

use common::{Client, Facade, Process, arn, put_faults, request, stats, until};
use ram_facade::pb::v1::CreateResourceShareRequest;
use serde_json::Value;
use tonic::Code;

/// A facade in a process of its own on a SQLite file, before a sandbox in another: what survives is on disk or at RAM.
struct Setup {
    sandbox: Process,
    url: String,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        let url = sandbox.sandbox_url();
        Self {
            sandbox,
            url,
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    async fn facade(&self) -> (Process, Client) {
        let store = self.dir.path().join("idempotency.sqlite");
        let arguments = common::serve(&self.url, common::path(&store));
        let process = Process::start(&arguments, &[]);
        let client = common::connect(process.address()).await;
        (process, client)
    }

    async fn count(&self, what: &str) -> u64 {
        stats(&self.url).await[what]["CreateResourceShare"]
            .as_u64()
            .unwrap_or(0)
    }

    /// Starts a create that will not live to see its answer.
    async fn doomed(&self, client: &Client, reached: &'static str) {
        let mut client = client.clone();
        tokio::spawn(async move { client.create(demo()).await });
        until(reached, || async move { self.count(reached).await == 1 }).await;
    }

    /// After the crash: eight callers at once, and one with another request under the token.
    async fn assert_one_share(&self) -> String {
        let (facade, client) = self.facade().await;
        let calls = (0..8).map(|_| {
            let mut client = client.clone();
            async move { client.create(demo()).await }
        });
        let answers = futures_util::future::join_all(calls).await;
        let arns: std::collections::HashSet<_> = answers
            .iter()
            .map(|a| arn(a.as_ref().expect("it is made")))
            .collect();
        assert_eq!(arns.len(), 1, "{arns:?}");
        assert_eq!(self.count("executions").await, 1);
        assert_eq!(stats(&self.url).await["live_shares"], Value::from(1));

        let other = CreateResourceShareRequest {
            name: "other".to_owned(),
            ..demo()
        };
        let refused = client
            .clone()
            .create(other)
            .await
            .expect_err("the token stands for another request");
        assert_eq!(refused.code(), Code::InvalidArgument);
        drop(facade);
        arns.into_iter().next().expect("there is one")
    }
}

fn demo() -> CreateResourceShareRequest {
    request("demo", "token-1")
}

const CREATE: &str = r#""operation": "CreateResourceShare""#;

#[tokio::test]
async fn killed_between_the_claim_and_rams_execution() {
    let setup = Setup::new();
    let (facade, client) = setup.facade().await;
    // RAM takes the request and executes it long after the facade is gone: a late duplicate of what the retry sends.
    put_faults(
        &setup.url,
        &format!(r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "delay", "ms": 700}}}}]}}"#),
    )
    .await;
    setup.doomed(&client, "requests").await;
    assert_eq!(setup.count("executions").await, 0);

    facade.kill();
    put_faults(&setup.url, "{}").await;

    setup.assert_one_share().await;
    until("the late request arrives", || async {
        setup.count("requests").await >= 2
    })
    .await;
    setup.assert_one_share().await;
}

#[tokio::test]
async fn killed_before_ram_saw_anything() {
    let setup = Setup::new();
    let (facade, client) = setup.facade().await;
    put_faults(
        &setup.url,
        &format!(r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "drop"}}}}]}}"#),
    )
    .await;
    setup.doomed(&client, "requests").await;

    facade.kill();
    put_faults(&setup.url, "{}").await;

    setup.assert_one_share().await;
}

#[tokio::test]
async fn killed_after_ram_executed_and_before_its_answer() {
    let setup = Setup::new();
    let (facade, client) = setup.facade().await;
    put_faults(
        &setup.url,
        &format!(r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "hold_after_execution"}}}}]}}"#),
    )
    .await;
    setup.doomed(&client, "executions").await;

    facade.kill();
    put_faults(&setup.url, "{}").await;

    setup.assert_one_share().await;
}

#[tokio::test]
async fn killed_after_the_answer_was_stored() {
    let setup = Setup::new();
    let (facade, mut client) = setup.facade().await;
    let first = client.create(demo()).await.unwrap();

    facade.kill();

    assert_eq!(setup.assert_one_share().await, arn(&first));
    let (_facade, mut client) = setup.facade().await;
    let replayed = client.create(demo()).await.unwrap();
    assert_eq!(replayed.metadata().get("idempotency-replayed").unwrap(), "true");
}

#[tokio::test]
async fn killed_and_restarted_on_the_file_while_ram_has_forgotten_nothing() {
    let setup = Setup::new();
    for _ in 0..5 {
        let (facade, mut client) = setup.facade().await;
        let _ = client.create(demo()).await.unwrap();
        facade.kill();
    }
    setup.assert_one_share().await;
    drop(setup.sandbox);
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused_with_a_clear_error() {
    let setup = Setup::new();
    let (_facade, _) = setup.facade().await;
    let store = setup.dir.path().join("idempotency.sqlite");

    let arguments = common::serve(&setup.url, common::path(&store));
    let output = common::output(&mut common::command(&arguments, &[]));

    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("idempotency store") && said.contains("another process"),
        "{said}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let setup = Setup::new();
    let store = setup.dir.path().join("idempotency.sqlite");
    std::fs::write(&store, "something precious").unwrap();

    let arguments = common::serve(&setup.url, common::path(&store));
    let output = common::output(&mut common::command(&arguments, &[]));

    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(std::fs::read(Path::new(&store)).unwrap(), b"something precious");
}

#[tokio::test]
async fn a_caller_that_disconnects_while_ram_executes_loses_nothing() {
    let facade = Facade::start().await;
    facade.faults(&format!(
        r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "delay", "ms": 300, "after_execution": true}}}}]}}"#
    ));
    let mut leaving = common::connect(facade.server.address()).await;
    let call = tokio::spawn(async move { leaving.create(demo()).await });
    until("RAM executes", || async { facade.created() == 1 }).await;

    call.abort();
    let _ = call.await;

    let answer = facade.create(demo()).await.unwrap();
    assert!(arn(&answer).contains(":resource-share/"));
    assert_eq!(
        (facade.created(), facade.requested()),
        (1, 1),
        "the execution went on without its caller"
    );
    let replayed = facade.create(demo()).await.unwrap();
    assert_eq!(replayed.metadata().get("idempotency-replayed").unwrap(), "true");
}

#[tokio::test]
async fn a_caller_whose_deadline_passes_while_ram_executes_loses_nothing() {
    let facade = Facade::start().await;
    facade.faults(&format!(
        r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "delay", "ms": 600, "after_execution": true}}}}]}}"#
    ));
    let raw = common::raw::Raw::connect(facade.server.address()).await;
    let body = common::raw::frame(&prost::Message::encode_to_vec(&demo()));

    let late = raw
        .send(common::raw::request().header("grpc-timeout", "150m"), &body)
        .await;
    let answer = facade.create(demo()).await.unwrap();

    assert_eq!(
        (late.status, late.reason().as_str()),
        (Some(4), "DEADLINE_EXCEEDED"),
        "{late:?}"
    );
    assert!(arn(&answer).contains(":resource-share/"));
    assert_eq!((facade.created(), facade.requested()), (1, 1));
}

#[tokio::test]
async fn an_execution_that_outlives_its_caller_is_recorded_also_when_the_server_stops() {
    let setup = Setup::new();
    let (facade, client) = setup.facade().await;
    put_faults(
        &setup.url,
        &format!(
            r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "delay", "ms": 500, "after_execution": true}}}}]}}"#
        ),
    )
    .await;
    setup.doomed(&client, "executions").await;
    drop(client);

    facade.signal("-TERM");
    assert!(facade.exit(Duration::from_secs(20)).await.success());
    put_faults(&setup.url, "{}").await;

    setup.assert_one_share().await;
    assert_eq!(
        setup.count("requests").await,
        1,
        "the restarted server answered from its record"
    );
}

#[tokio::test]
async fn an_execution_that_outlives_the_drain_is_cut_by_its_deadline_and_taken_over() {
    let setup = Setup::new();
    let store = setup.dir.path().join("idempotency.sqlite");
    let arguments = common::serve(&setup.url, common::path(&store));
    let facade = Process::start(&arguments, &[("RAM_FACADE_CONNECTIONS_DRAIN_MS", "4000")]);
    let client = common::connect(facade.address()).await;
    put_faults(
        &setup.url,
        &format!(r#"{{"rules": [{{{CREATE}, "fault": {{"kind": "hold_after_execution"}}}}]}}"#),
    )
    .await;
    setup.doomed(&client, "executions").await;

    facade.signal("-TERM");

    // The call holds its connection for the whole drain. Nothing is left for the execution, which has 8 s for an attempt.
    assert_eq!(facade.exit(Duration::from_secs(7)).await.code(), Some(0));
    put_faults(&setup.url, "{}").await;
    setup.assert_one_share().await;
}
