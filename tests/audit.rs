//! The audit log as an operator reads it: what stands in it after calls, and what happens when it cannot be written.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{Facade, Process, arn, connect, refusal, request, secrets, until};
use ram_facade::pb::v1::{CreateResourceShareRequest, ListResourceTypesRequest};
use serde_json::Value;
use tonic::{Code, Request};

const OTHERS: &str = "arn:aws:ec2:us-east-1:999900001111:subnet/subnet-0a1b2c3d4e5f60718";

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    secrets::assert_hidden("the audit log", &text);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}")))
        .collect()
}

/// Waits until the log has so many lines.
async fn lines_of(path: &Path, count: usize) -> Vec<Value> {
    until("the lines are written", async || lines(path).len() >= count).await;
    let lines = lines(path);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[tokio::test]
async fn a_call_leaves_its_decision_and_its_outcome_under_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let facade = Facade::with(&[("audit.file", common::path(&log))]).await;
    let call = |id: &'static str| {
        let mut request = Request::new(CreateResourceShareRequest {
            principals: vec!["444455556666".to_owned()],
            ..request("demo", "secret-token-4711")
        });
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        let mut client = facade.client.clone();
        async move { client.create(request).await.unwrap() }
    };

    let first = call("first-call").await;
    call("second-call").await;

    let lines = lines_of(&log, 4).await;
    let events: Vec<_> = lines
        .iter()
        .map(|l| (l["event"].as_str().unwrap(), l["replayed"].as_bool()))
        .collect();
    assert_eq!(
        events,
        [
            ("decision", None),
            ("outcome", Some(false)),
            ("decision", None),
            ("outcome", Some(true))
        ]
    );
    assert_eq!(lines[0]["request_id"], lines[1]["request_id"]);
    assert_ne!(lines[0]["request_id"], lines[2]["request_id"]);
    assert_eq!(lines[0]["decision"], "permit");
    assert_eq!(lines[0]["request"]["name"], "demo");
    assert_eq!(lines[0]["request"]["principals"][0], "444455556666");
    assert_eq!(lines[0]["request"]["allow_external_principals"], true);
    for line in &lines {
        assert_eq!(line["caller"]["subject"], "anonymous");
        assert_eq!(line["target"]["account"], "111122223333");
        assert_eq!(line["intent"], lines[0]["intent"]);
        assert_eq!(line["intent"].as_str().unwrap().len(), 12);
    }
    for outcome in [&lines[1], &lines[3]] {
        assert_eq!(outcome["code"], "OK");
        assert_eq!(outcome["share_arn"], arn(&first));
    }
    assert!(!fs::read_to_string(&log).unwrap().contains("secret-token-4711"));
}

#[tokio::test]
async fn a_read_and_a_failure_of_ram_are_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let facade = Facade::with(&[("audit.file", common::path(&log))]).await;
    let mut client = facade.client.clone();

    client
        .list_resource_types(ListResourceTypesRequest::default())
        .await
        .unwrap();
    let foreign = CreateResourceShareRequest {
        resource_arns: vec![OTHERS.to_owned()],
        ..request("demo", "t")
    };
    let status = facade.create(foreign).await.unwrap_err();

    let lines = lines_of(&log, 4).await;
    assert_eq!(lines[0]["operation"], "ListResourceTypes");
    assert_eq!(lines[1]["code"], "OK");
    assert_eq!(lines[3]["reason"], refusal(&status).reason);
    assert_eq!(
        lines[3]["aws_request_id"],
        refusal(&status).metadata["awsRequestId"]
    );
}

#[cfg(feature = "cedar")]
#[tokio::test]
async fn a_denied_call_is_on_record_with_its_policies_and_without_an_execution() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let policy = folder.path().join("p.cedar");
    fs::write(&policy, "@id(\"closed\") forbid (principal, action, resource);").unwrap();
    let facade = Facade::with(&[
        ("audit.file", common::path(&log)),
        ("policy.file", common::path(&policy)),
    ])
    .await;

    facade.create(request("demo", "t")).await.unwrap_err();

    let lines = lines_of(&log, 2).await;
    assert_eq!(lines[0]["decision"], "deny");
    assert_eq!(lines[0]["policies"], serde_json::json!(["closed"]));
    assert_eq!(lines[0]["why"], "forbidden by policy `closed`");
    assert_eq!(lines[1]["code"], "PERMISSION_DENIED");
    assert_eq!(lines[1]["reason"], "NOT_PERMITTED");
}

#[tokio::test]
async fn a_caller_who_goes_away_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let facade = Facade::with(&[("audit.file", common::path(&log))]).await;
    facade.faults(r#"{"latency_ms": 3000}"#);

    let call = facade.create(request("demo", "t"));
    let gone = tokio::time::timeout(Duration::from_millis(300), call).await;

    assert!(gone.is_err(), "it was answered");
    let lines = lines_of(&log, 2).await;
    assert_eq!(
        (&lines[1]["code"], &lines[1]["reason"]),
        (&"CANCELLED".into(), &"CALLER_GONE".into())
    );
}

#[tokio::test]
async fn a_required_log_that_cannot_be_written_stops_changes_and_no_reads() {
    let facade = Facade::with(&[("audit.file", "/dev/full"), ("audit.required", "true")]).await;
    let mut client = facade.client.clone();

    let refusal = refusal(&facade.create(request("demo", "t")).await.unwrap_err());

    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "AUDIT_UNAVAILABLE")
    );
    assert_eq!(refusal.metadata["outcome"], "not_executed");
    assert!(refusal.details.retry_info().is_some());
    assert_eq!(facade.requested(), 0);
    client
        .list_resource_types(ListResourceTypesRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_log_that_is_not_required_stops_nothing() {
    let facade = Facade::with(&[("audit.file", "/dev/full")]).await;

    facade.create(request("demo", "t")).await.unwrap();

    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn a_rotated_log_goes_on_in_a_new_file_and_is_flushed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let process = Process::start(
        &[
            "serve",
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--audit-file",
            common::path(&log),
        ],
        &[],
    );
    let mut client = connect(process.address()).await;
    client.create(request("before", "a")).await.unwrap();
    lines_of(&log, 2).await;

    fs::rename(&log, folder.path().join("audit.jsonl.1")).unwrap();
    process.signal("-HUP");
    until("there is a new file", async || log.exists()).await;
    client.create(request("after", "b")).await.unwrap();
    process.signal("-TERM");
    assert!(process.exit(Duration::from_secs(20)).await.success());

    let lines = lines(&log);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0]["request"]["name"], "after");
}
