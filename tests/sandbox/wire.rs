//! What an SDK does not show: headers, raw bytes, control requests; and STS.

use std::time::Duration;

use aws_sdk_ram::config::{BehaviorVersion, Region};
use aws_sdk_sts::operation::RequestId as _;
use ram_facade::sandbox::{Fault, Rule, Sandbox};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::client::{CREATE, arn_of, counts, create, credentials, named, plan, start};

/// For a test that fails.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends one request and reads until the endpoint closes.
async fn exchange(sandbox: &Sandbox, head: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A body that is refused for its size is not read to its end.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn signed(sandbox: &Sandbox, head: &str, body: &str) -> String {
    exchange(
        sandbox,
        head,
        "authorization: AWS4-HMAC-SHA256 x\r\n",
        body.as_bytes(),
    )
    .await
}

async fn control(sandbox: &Sandbox, head: &str, body: &str) -> (u16, Value) {
    let answer = exchange(sandbox, head, "", body.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn an_error_has_its_type_and_the_request_its_id() {
    let (sandbox, _) = start().await;
    let answer = signed(&sandbox, "POST /createresourceshare", "{}").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"));
    assert!(answer.contains("x-amzn-errortype: InvalidParameterException\r\n"));
    assert!(answer.contains("\"__type\":\"InvalidParameterException\""));
    let id = answer.split_once("x-amzn-requestid: ").unwrap().1;
    uuid::Uuid::parse_str(&id[..36]).unwrap();
    assert!(answer.contains("date: "));
}

#[tokio::test]
async fn a_share_has_the_members_and_types_of_the_service_model() {
    let (sandbox, _) = start().await;
    let body =
        r#"{"name":"n","resourceShareConfiguration":{"retainSharingOnAccountLeaveOrganization":true}}"#;
    let answer = signed(&sandbox, "POST /createresourceshare", body).await;
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let share = &body["resourceShare"];
    assert!(share["creationTime"].is_f64() && share["lastUpdatedTime"].is_f64());
    assert_eq!(
        share["resourceShareConfiguration"]["retainSharingOnAccountLeaveOrganization"],
        true
    );
    assert!(
        share["resourceShareArn"]
            .as_str()
            .unwrap()
            .starts_with("arn:aws:ram:us-east-1:111122223333:resource-share/")
    );
}

#[tokio::test]
async fn what_is_not_a_request_of_ram_is_refused_without_harm() {
    let (sandbox, _) = start().await;
    let cases = [
        (
            "POST /createresourceshare",
            "not json",
            400,
            "SerializationException",
        ),
        (
            "POST /createresourceshare",
            "[\"n\"]",
            400,
            "SerializationException",
        ),
        (
            "POST /createresourceshare",
            r#"{"name":7}"#,
            400,
            "SerializationException",
        ),
        ("POST /createresourceshare", "", 400, "InvalidParameterException"),
        ("GET /createresourceshare", "", 404, "UnknownOperationException"),
        ("POST /createpermission", "{}", 404, "UnknownOperationException"),
        (
            "DELETE /deleteresourceshare?x=%",
            "",
            400,
            "MalformedArnException",
        ),
        ("POST /", "Action=AssumeRole", 400, "InvalidAction"),
    ];
    for (head, body, status, code) in cases {
        let answer = signed(&sandbox, head, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head} {body}: {answer}"
        );
        assert!(answer.contains(code), "{head} {body}: {answer}");
    }
    assert_eq!(sandbox.stats().live_shares, 0);
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused() {
    let (sandbox, _) = start().await;
    let answer = exchange(&sandbox, "POST /createresourceshare", "", br#"{"name":"n"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 403 "));
    assert!(answer.contains("MissingAuthenticationTokenException"));
    assert_eq!(counts(&sandbox), (1, 0, 0));
    let answer = exchange(&sandbox, "POST /", "", b"Action=GetCallerIdentity").await;
    assert!(
        answer.contains("<Code>MissingAuthenticationToken</Code>"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused() {
    let (sandbox, _) = start().await;
    let body = vec![b' '; 1024 * 1024 + 1];
    let answer = exchange(
        &sandbox,
        "POST /createresourceshare",
        "authorization: x\r\n",
        &body,
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("RequestEntityTooLargeException"));
}

#[tokio::test]
async fn a_dropped_connection_gives_no_byte_and_a_truncated_one_half_a_body() {
    let (sandbox, _) = start().await;
    sandbox.set_faults(plan(vec![
        Rule::once(CREATE, Fault::Drop {}),
        Rule::once(CREATE, Fault::TruncateAfterExecution {}),
    ]));

    assert_eq!(
        signed(&sandbox, "POST /createresourceshare", r#"{"name":"n"}"#).await,
        ""
    );

    let cut = signed(&sandbox, "POST /createresourceshare", r#"{"name":"n"}"#).await;
    let (head, body) = cut.split_once("\r\n\r\n").unwrap();
    let promised: usize = head
        .split_once("content-length: ")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(body.len(), promised / 2);
}

#[tokio::test]
async fn the_control_requests_count_plan_and_reset() {
    let (sandbox, client) = start().await;
    create(&client).await;
    let (status, stats) = control(&sandbox, "GET /_sandbox/stats", "").await;
    assert_eq!(status, 200);
    let wanted =
        json!({"requests": {CREATE: 1}, "executions": {CREATE: 1}, "live_shares": 1, "throttled": 0});
    assert_eq!(stats, wanted);

    let (status, _) = control(
        &sandbox,
        "PUT /_sandbox/faults",
        r#"{"seed":7,"rules":[{"fault":{"kind":"drop"}}]}"#,
    )
    .await;
    assert_eq!(status, 200);
    let (_, faults) = control(&sandbox, "GET /_sandbox/faults", "").await;
    assert_eq!(
        (&faults["seed"], &faults["rules"][0]["fault"]["kind"]),
        (&json!(7), &json!("drop"))
    );
    assert!(client.list_resource_types().send().await.is_err());

    let (status, refusal) = control(&sandbox, "PUT /_sandbox/faults", r#"{"sead":7}"#).await;
    assert_eq!(status, 400);
    assert!(
        refusal["message"]
            .as_str()
            .unwrap()
            .contains("unknown field `sead`"),
        "{refusal}"
    );

    assert_eq!(control(&sandbox, "POST /_sandbox/reset", "").await.0, 200);
    client
        .list_resource_types()
        .send()
        .await
        .expect("the plan is gone");
    assert_eq!(counts(&sandbox), (0, 0, 0));
    assert_eq!(control(&sandbox, "DELETE /_sandbox/stats", "").await.0, 405);
    assert_eq!(control(&sandbox, "GET /_sandbox/nothing", "").await.0, 404);
}

#[tokio::test]
async fn sts_knows_the_account() {
    let (sandbox, _) = start().await;
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials())
        .endpoint_url(sandbox.url())
        .build();
    let identity = aws_sdk_sts::Client::from_conf(config)
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert_eq!(identity.account(), Some("111122223333"));
    assert_eq!(identity.arn(), Some("arn:aws:iam::111122223333:user/sandbox"));
    assert!(identity.request_id().is_some());
    assert_eq!(sandbox.stats().executions_of("GetCallerIdentity"), 1);
}

#[tokio::test]
async fn stopping_and_dropping_free_the_address() {
    let (sandbox, client) = start().await;
    create(&client).await;
    let address = sandbox.address();
    tokio::time::timeout(LIMIT, sandbox.stop())
        .await
        .expect("it stops");
    assert!(TcpStream::connect(address).await.is_err());

    let (sandbox, _) = start().await;
    let address = sandbox.address();
    drop(sandbox);
    let gone = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn the_list_of_shares_says_which_token_made_which() {
    let (sandbox, client) = start().await;
    let first = named(&client).client_token("token").send().await.unwrap();
    let second = named(&client).send().await.unwrap();

    let (_, listed) = control(&sandbox, "GET /_sandbox/shares", "").await;

    let shares = listed["shares"].as_array().unwrap();
    assert_eq!(shares.len(), 2);
    assert_eq!(shares[0]["resourceShareArn"], arn_of(&first).as_str());
    assert_eq!(shares[0]["clientToken"], "token");
    assert_eq!(shares[0]["status"], "ACTIVE");
    assert!(shares[0]["creationTime"].is_f64());
    assert_eq!(shares[1]["resourceShareArn"], arn_of(&second).as_str());
    assert_eq!(
        shares[1]["clientToken"],
        second.client_token().unwrap(),
        "RAM makes a token where none is given"
    );
}
