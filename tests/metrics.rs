//! What a running service shows of itself.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeSet;

use common::{
    Facade, http,
    issuer::{SigningKey, jwks},
    jwks_server::{JwksServer, Play},
    path, request, until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn scrape(facade: &Facade) -> String {
    let address = facade.server.metrics_address().expect("they are served");
    http(&format!("http://{address}"), "GET", "/metrics", "").await
}

/// A facade that was asked for something new, for the same again, and under the same token for something else.
async fn used() -> Facade {
    let facade = Facade::with(&[("metrics.listen", "127.0.0.1:0")]).await;
    facade.create(request("a", "t")).await.unwrap();
    facade.create(request("a", "t")).await.unwrap();
    facade.create(request("b", "t")).await.unwrap_err();
    facade
}

#[tokio::test]
async fn what_calls_came_to_is_counted() {
    let page = scrape(&used().await).await;

    for line in [
        r#"ram_facade_idempotency_outcomes_total{outcome="fresh"} 1"#,
        r#"ram_facade_idempotency_outcomes_total{outcome="replayed"} 1"#,
        r#"ram_facade_idempotency_outcomes_total{outcome="refused"} 1"#,
        r#"rpc_server_call_duration_seconds_count{rpc_method="/ramfacade.v1.ResourceShareService/Create",rpc_response_status_code="OK"} 2"#,
        r#"rpc_server_call_duration_seconds_count{rpc_method="/ramfacade.v1.ResourceShareService/Create",rpc_response_status_code="INVALID_ARGUMENT"} 1"#,
        r#"ram_facade_pace_rate{account=""#,
    ] {
        assert!(page.contains(line), "{line} is missing from {page}");
    }
    assert!(page.ends_with("# EOF\n"), "{page}");
}

#[tokio::test]
async fn a_throttle_and_a_refusal_show() {
    let facade = Facade::with(&[("metrics.listen", "127.0.0.1:0"), ("deadline.default_ms", "2000")]).await;
    facade.faults(
        r#"{"rules": [{"operation": "CreateResourceShare", "fault":
            {"kind": "error", "code": "ThrottlingException", "http_status": 429, "headers": {"x-amz-retry-after": "20000"}}}]}"#,
    );
    facade.create(request("a", "t")).await.unwrap_err();
    facade.create(request("b", "u")).await.unwrap_err();

    let page = scrape(&facade).await;

    assert!(
        page.contains("ram_facade_pace_throttles_total{") && page.contains(r#"why="too_late""#),
        "{page}"
    );
    let throttles = page
        .lines()
        .find(|l| l.starts_with("ram_facade_pace_throttles_total"))
        .unwrap();
    assert!(throttles.ends_with(" 1"), "{throttles}");
}

/// A facade with an issuer at `jwks_url`, and an audit log on a disk that is full.
async fn audited(jwks_url: &str) -> Facade {
    let folder = tempfile::tempdir().unwrap();
    let issuers = folder.path().join("issuers.toml");
    let text = format!(
        "[[issuer]]\nissuer = \"https://issuer.example\"\naudiences = [\"a\"]\nalgorithms = [\"ES256\"]\n\
         jwks_url = \"{jwks_url}\"\n"
    );
    std::fs::write(&issuers, text).unwrap();
    Facade::with(&[
        ("metrics.listen", "127.0.0.1:0"),
        ("auth.issuers_file", path(&issuers)),
        ("audit.file", "/dev/full"),
    ])
    .await
}

#[tokio::test]
async fn fetches_of_keys_are_counted_for_each_issuer() {
    let issuer = JwksServer::start(Play::Status(500)).await;
    let facade = audited(&issuer.url()).await;
    let fetches = async |outcome: &str| {
        let labels = format!("issuer=\"https://issuer.example\",outcome=\"{outcome}\"");
        let name = format!("ram_facade_issuer_key_fetches_total{{{labels}}} ");
        let page = scrape(&facade).await;
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix(&name))
            .map(str::to_owned);
        count.unwrap_or_else(|| panic!("{name} is missing from {page}"))
    };
    assert_eq!(fetches("succeeded").await, "0");
    until("a fetch has failed", async || fetches("failed").await != "0").await;

    issuer.play(Play::Body(jwks(&[&SigningKey::p256("k")])));

    until("a fetch has succeeded", async || {
        fetches("succeeded").await == "1"
    })
    .await;
}

#[tokio::test]
async fn lines_that_the_audit_log_lost_are_counted() {
    let keys = [("metrics.listen", "127.0.0.1:0"), ("audit.file", "/dev/full")];
    let facade = Facade::with(&keys).await;
    let lost = async |count: &str| {
        let line = format!("ram_facade_audit_lost_lines_total {count}\n");
        scrape(&facade).await.contains(&line)
    };
    assert!(lost("0").await);

    facade.create(request("a", "t")).await.unwrap();

    // The decision and the outcome.
    until("they are counted", async || lost("2").await).await;
}

#[tokio::test]
async fn the_page_of_metrics_names_exactly_those_that_are_shown() {
    let issuer = JwksServer::start(Play::Status(500)).await;
    let page = scrape(&used().await).await + &scrape(&audited(&issuer.url()).await).await;
    let shown: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        })
        .collect();

    let docs = include_str!("../docs/metrics.md");
    let documented: BTreeSet<_> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();

    assert_eq!(shown, documented, "docs/metrics.md");
}

#[tokio::test]
async fn nothing_else_is_served_there_and_nothing_at_all_by_default() {
    let facade = Facade::with(&[("metrics.listen", "127.0.0.1:0")]).await;
    let address = facade.server.metrics_address().unwrap();

    assert!(Facade::start().await.server.metrics_address().is_none());
    for (line, status) in [("GET / HTTP/1.1", "404"), ("POST /metrics HTTP/1.1", "405")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{line}\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {answer}"
        );
    }
}
