//! What RAM answers, and what the caller gets for it: over gRPC, through the real SDK, from the sandbox's faults.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{Facade, Refusal, arn, refusal, request};
use ram_facade::pb::v1::{CreateResourceShareRequest, ListResourceTypesRequest};
use tonic::Code;

/// Which typed detail must come along.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Detail {
    Nothing,
    BadRequest(&'static str),
    Quota,
    Precondition,
    Resource,
}

async fn refused_with(fault: &str) -> (Refusal, Facade) {
    let facade = Facade::start().await;
    facade.faults(&format!(
        r#"{{"rules": [{{"operation": "CreateResourceShare", "fault": {fault}}}]}}"#
    ));
    let request = CreateResourceShareRequest {
        principals: vec!["444455556666".to_owned()],
        ..request("demo", "token-1")
    };
    let status = facade.create(request).await.unwrap_err();
    (refusal(&status), facade)
}

fn assert_detail(refusal: &Refusal, detail: Detail) {
    let details = &refusal.details;
    let violations = details.bad_request().map(|b| b.field_violations[0].field.clone());
    match detail {
        Detail::Nothing => assert_eq!(violations, None),
        Detail::BadRequest(field) => assert_eq!(violations.as_deref(), Some(field)),
        Detail::Quota => {
            let violation = &details.quota_failure().unwrap().violations[0];
            assert_eq!(violation.subject, "aws-account:111122223333/us-east-1");
        }
        Detail::Precondition => assert_eq!(details.precondition_failure().unwrap().violations.len(), 1),
        Detail::Resource => assert_eq!(details.resource_info().unwrap().resource_name, "444455556666"),
    }
}

#[tokio::test]
async fn every_modelled_exception_of_create_has_its_code_reason_and_details() {
    use Code::{FailedPrecondition, Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable};
    use Detail::{BadRequest, Nothing, Precondition, Quota, Resource};
    // (exception, HTTP status, code, reason, detail, attempts, outcome, RetryInfo)
    let rows = [
        (
            "IdempotentParameterMismatchException",
            400,
            InvalidArgument,
            "IDEMPOTENT_PARAMETER_MISMATCH",
            BadRequest("client_token"),
            "1",
            "not_executed",
            false,
        ),
        (
            "InvalidStateTransitionException",
            400,
            FailedPrecondition,
            "INVALID_STATE_TRANSITION",
            Precondition,
            "1",
            "not_executed",
            false,
        ),
        (
            "UnknownResourceException",
            400,
            NotFound,
            "UNKNOWN_RESOURCE",
            Resource,
            "1",
            "not_executed",
            false,
        ),
        (
            "MalformedArnException",
            400,
            InvalidArgument,
            "MALFORMED_ARN",
            BadRequest("principals[0]"),
            "1",
            "not_executed",
            false,
        ),
        (
            "InvalidClientTokenException",
            400,
            InvalidArgument,
            "INVALID_CLIENT_TOKEN",
            BadRequest("client_token"),
            "1",
            "not_executed",
            false,
        ),
        (
            "InvalidParameterException",
            400,
            InvalidArgument,
            "INVALID_PARAMETER",
            BadRequest("principals[0]"),
            "1",
            "not_executed",
            false,
        ),
        (
            "OperationNotPermittedException",
            400,
            FailedPrecondition,
            "OPERATION_NOT_PERMITTED",
            Precondition,
            "1",
            "not_executed",
            false,
        ),
        (
            "ResourceShareLimitExceededException",
            400,
            ResourceExhausted,
            "RESOURCE_SHARE_LIMIT_EXCEEDED",
            Quota,
            "1",
            "not_executed",
            false,
        ),
        (
            "TagPolicyViolationException",
            400,
            InvalidArgument,
            "TAG_POLICY_VIOLATION",
            BadRequest("principals[0]"),
            "1",
            "not_executed",
            false,
        ),
        (
            "TagLimitExceededException",
            400,
            ResourceExhausted,
            "TAG_LIMIT_EXCEEDED",
            Quota,
            "1",
            "not_executed",
            false,
        ),
        (
            "ServerInternalException",
            500,
            Internal,
            "SERVER_INTERNAL",
            Nothing,
            "3",
            "unknown",
            true,
        ),
        (
            "ServiceUnavailableException",
            503,
            Unavailable,
            "SERVICE_UNAVAILABLE",
            Nothing,
            "3",
            "unknown",
            true,
        ),
        (
            "ThrottlingException",
            429,
            ResourceExhausted,
            "THROTTLING",
            Quota,
            "1",
            "not_executed",
            true,
        ),
    ];
    for (exception, http_status, code, reason, detail, attempts, outcome, retry) in rows {
        let fault = format!(
            r#"{{"kind": "error", "code": "{exception}", "http_status": {http_status},
                 "message": "no good: 444455556666"}}"#
        );
        let (refusal, facade) = refused_with(&fault).await;

        assert_eq!(refusal.code, code, "{exception}");
        assert_eq!(
            (refusal.domain.as_str(), refusal.reason.as_str()),
            ("ram.amazonaws.com", reason)
        );
        let metadata = |key: &str| refusal.metadata.get(key).map_or("", String::as_str);
        assert_eq!(metadata("awsErrorCode"), exception);
        assert_eq!(metadata("awsRequestId").len(), 36, "{exception}");
        assert_eq!(metadata("operation"), "CreateResourceShare");
        assert_eq!(metadata("region"), "us-east-1");
        assert_eq!(
            (metadata("attempts"), metadata("outcome")),
            (attempts, outcome),
            "{exception}"
        );
        assert_eq!(metadata("httpStatus"), http_status.to_string());
        assert_eq!(refusal.details.retry_info().is_some(), retry, "{exception}");
        assert!(!refusal.details.request_info().unwrap().request_id.is_empty());
        assert_detail(&refusal, detail);
        // What RAM throttles asks again by itself, eight times.
        let requests = if reason == "THROTTLING" { "9" } else { attempts };
        assert_eq!(facade.requested().to_string(), requests, "{exception}");
        assert_eq!(facade.created(), 0, "{exception}");
    }
}

#[tokio::test]
async fn every_other_answer_of_aws_has_its_code_and_reason() {
    use Code::{
        Internal, InvalidArgument, PermissionDenied, ResourceExhausted, Unavailable, Unimplemented, Unknown,
    };
    let error = |code: &str, status: u16| {
        format!(r#"{{"kind": "error", "code": "{code}", "http_status": {status}, "message": "m"}}"#)
    };
    let bare = |status: u16, body: &str| {
        format!(
            r#"{{"kind": "error", "http_status": {status}, "body": "{body}", "content_type": "text/html"}}"#
        )
    };
    let answer = |body: &str| format!(r#"{{"kind": "answer", "body": "{body}", "execute": false}}"#);
    // (fault, code, domain is RAM's, reason, attempts, outcome)
    let rows = [
        (
            error("AccessDeniedException", 403),
            PermissionDenied,
            false,
            "AWS_ACCESS_DENIED",
            1,
            "not_executed",
        ),
        (
            error("NotAuthorized", 401),
            PermissionDenied,
            false,
            "AWS_ACCESS_DENIED",
            1,
            "not_executed",
        ),
        (
            error("UnrecognizedClientException", 403),
            Internal,
            false,
            "FACADE_CREDENTIALS_REJECTED",
            1,
            "not_executed",
        ),
        (
            error("InvalidClientTokenId", 403),
            Internal,
            false,
            "FACADE_CREDENTIALS_REJECTED",
            1,
            "not_executed",
        ),
        (
            error("MissingAuthenticationTokenException", 403),
            Internal,
            false,
            "FACADE_CREDENTIALS_REJECTED",
            1,
            "not_executed",
        ),
        (
            error("IncompleteSignatureException", 403),
            Internal,
            false,
            "FACADE_CREDENTIALS_REJECTED",
            1,
            "not_executed",
        ),
        (
            error("InvalidSignatureException", 403),
            Internal,
            false,
            "FACADE_CREDENTIALS_REJECTED",
            1,
            "not_executed",
        ),
        (
            error("OptInRequired", 403),
            Internal,
            false,
            "FACADE_CREDENTIALS_REJECTED",
            1,
            "not_executed",
        ),
        (
            error("ExpiredTokenException", 403),
            Unavailable,
            false,
            "FACADE_CREDENTIALS_EXPIRED",
            2,
            "not_executed",
        ),
        (
            error("RequestExpired", 400),
            Unavailable,
            false,
            "FACADE_CLOCK_SKEW",
            2,
            "not_executed",
        ),
        (
            error("TooManyRequestsException", 429),
            ResourceExhausted,
            true,
            "THROTTLING",
            1,
            "not_executed",
        ),
        (
            error("RequestLimitExceeded", 503),
            ResourceExhausted,
            true,
            "THROTTLING",
            1,
            "not_executed",
        ),
        (
            bare(429, ""),
            ResourceExhausted,
            true,
            "THROTTLING",
            1,
            "not_executed",
        ),
        (
            error("RequestTimeoutException", 408),
            Unavailable,
            false,
            "AWS_REQUEST_TIMEOUT",
            3,
            "unknown",
        ),
        (
            error("InternalFailure", 500),
            Internal,
            true,
            "SERVER_INTERNAL",
            3,
            "unknown",
        ),
        (
            bare(500, "oops"),
            Internal,
            false,
            "AWS_INTERNAL_ERROR",
            3,
            "unknown",
        ),
        (
            bare(502, "<html>"),
            Unavailable,
            false,
            "AWS_UNAVAILABLE",
            3,
            "unknown",
        ),
        (bare(503, ""), Unavailable, false, "AWS_UNAVAILABLE", 3, "unknown"),
        (
            bare(504, "<html>"),
            Unavailable,
            false,
            "AWS_UNAVAILABLE",
            3,
            "unknown",
        ),
        (
            error("ValidationException", 400),
            InvalidArgument,
            true,
            "INVALID_PARAMETER",
            1,
            "not_executed",
        ),
        (
            error("SerializationException", 400),
            Internal,
            false,
            "AWS_REQUEST_REJECTED",
            1,
            "not_executed",
        ),
        (
            bare(413, ""),
            InvalidArgument,
            false,
            "REQUEST_TOO_LARGE",
            1,
            "not_executed",
        ),
        (
            error("UnknownOperationException", 404),
            Unimplemented,
            false,
            "AWS_OPERATION_UNKNOWN",
            1,
            "not_executed",
        ),
        (
            bare(404, "<html>"),
            Internal,
            false,
            "AWS_UNEXPECTED_RESPONSE",
            1,
            "not_executed",
        ),
        (
            bare(301, ""),
            Internal,
            false,
            "AWS_UNEXPECTED_RESPONSE",
            1,
            "not_executed",
        ),
        (
            error("FrobException", 400),
            Unknown,
            false,
            "AWS_UNRECOGNIZED_ERROR",
            1,
            "not_executed",
        ),
        (
            error("FrobException", 500),
            Internal,
            false,
            "AWS_INTERNAL_ERROR",
            3,
            "unknown",
        ),
        (
            r#"{"kind": "drop"}"#.to_owned(),
            Unavailable,
            false,
            "AWS_CONNECTION_LOST",
            3,
            "unknown",
        ),
        (
            answer("<html>"),
            Internal,
            false,
            "AWS_RESPONSE_UNPARSABLE",
            2,
            "unknown",
        ),
        (answer("{}"), Internal, false, "AWS_RESPONSE_EMPTY", 2, "unknown"),
        (answer(""), Internal, false, "AWS_RESPONSE_EMPTY", 2, "unknown"),
    ];
    for (fault, code, ram, reason, attempts, outcome) in rows {
        let (refusal, facade) = refused_with(&fault).await;

        let domain = if ram { "ram.amazonaws.com" } else { "ram-facade" };
        assert_eq!((refusal.code, refusal.reason.as_str()), (code, reason), "{fault}");
        assert_eq!(refusal.domain, domain, "{fault}");
        assert_eq!(refusal.metadata["attempts"], attempts.to_string(), "{fault}");
        assert_eq!(refusal.metadata["outcome"], outcome, "{fault}");
        let requests = if reason == "THROTTLING" { 9 } else { attempts };
        assert_eq!(facade.requested(), requests, "{fault}");
    }
}

#[tokio::test]
async fn a_code_in_the_header_counts_when_the_body_cannot_be_read() {
    let fault = r#"{"kind": "error", "code": "ThrottlingException", "http_status": 429,
                    "body": "<html>", "content_type": "text/html"}"#;

    let (refusal, _) = refused_with(fault).await;

    assert_eq!(
        (refusal.reason.as_str(), refusal.metadata["awsErrorCode"].as_str()),
        ("THROTTLING", "ThrottlingException")
    );
}

#[tokio::test]
async fn a_signature_error_with_a_skewed_date_is_tried_once_more_and_blames_the_clock() {
    let fault = r#"{"kind": "error", "code": "InvalidSignatureException", "http_status": 403,
                    "headers": {"date": "Thu, 15 Dec 1994 08:12:31 GMT"}}"#;

    let (refusal, facade) = refused_with(fault).await;

    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "FACADE_CLOCK_SKEW")
    );
    assert_eq!(facade.requested(), 2);
    assert!(refusal.details.retry_info().is_some());
}

#[tokio::test]
async fn texts_that_could_name_the_facades_role_never_reach_the_caller() {
    for code in [
        "AccessDeniedException",
        "UnrecognizedClientException",
        "ExpiredTokenException",
        "FrobException",
    ] {
        let fault = format!(
            r#"{{"kind": "error", "code": "{code}", "http_status": 403, "message": "arn:aws:sts::1:assumed-role/secret"}}"#
        );
        let (refusal, _) = refused_with(&fault).await;

        assert!(
            !format!("{refusal:?}").contains("assumed-role"),
            "{code}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn a_pause_that_ram_asks_for_is_passed_on() {
    let fault = r#"{"kind": "error", "code": "ThrottlingException", "http_status": 429, "headers": {"x-amz-retry-after": "29000"}}"#;
    let facade = Facade::with(&[("deadline.default_ms", "5000")]).await;
    facade.faults(&format!(
        r#"{{"rules": [{{"operation": "CreateResourceShare", "fault": {fault}}}]}}"#
    ));

    let status = facade.create(request("demo", "t")).await.unwrap_err();

    let refusal = refusal(&status);
    let delay = refusal.details.retry_info().unwrap().retry_delay.unwrap();
    assert!(delay >= Duration::from_secs(29), "{delay:?}");
    assert_eq!(
        status.metadata().get("grpc-retry-pushback-ms").unwrap(),
        &delay.as_millis().to_string()
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_the_outcome_open_until_a_retry_settles_it() {
    let (refusal, facade) = refused_with(r#"{"kind": "truncate_after_execution"}"#).await;

    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "AWS_RESPONSE_INCOMPLETE")
    );
    assert_eq!(refusal.metadata["outcome"], "unknown");
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn what_ram_did_before_the_answer_was_lost_is_found_by_the_next_attempt() {
    for fault in [
        r#"{"kind": "error_after_execution", "code": "ServerInternalException", "http_status": 500}"#,
        r#"{"kind": "drop_after_execution"}"#,
        r#"{"kind": "truncate_after_execution"}"#,
        r#"{"kind": "answer", "body": "{}", "execute": true}"#,
        r#"{"kind": "patch", "pointer": "/resourceShare", "value": null}"#,
    ] {
        let facade = Facade::start().await;
        facade.faults(&format!(
            r#"{{"rules": [{{"operation": "CreateResourceShare", "times": 1, "fault": {fault}}}]}}"#
        ));

        let first = facade.create(request("demo", "token-1")).await.unwrap();
        let again = facade.create(request("demo", "token-1")).await.unwrap();

        assert_eq!((facade.created(), facade.requested()), (1, 2), "{fault}");
        assert_eq!(arn(&first), arn(&again));
        assert!(arn(&first).contains(":resource-share/"));
    }
}

#[tokio::test]
async fn a_refusal_after_an_open_attempt_does_not_settle_it() {
    let facade = Facade::start().await;
    facade.faults(
        r#"{"rules": [
            {"operation": "CreateResourceShare", "times": 1, "fault": {"kind": "drop_after_execution"}},
            {"operation": "CreateResourceShare", "times": 1,
             "fault": {"kind": "error", "code": "OperationNotPermittedException", "http_status": 400}}]}"#,
    );

    let refused = refusal(&facade.create(request("demo", "token-1")).await.unwrap_err());
    let settled = facade.create(request("demo", "token-1")).await.unwrap();

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Unavailable, "OUTCOME_UNKNOWN")
    );
    assert_eq!(refused.metadata["cause"], "OPERATION_NOT_PERMITTED");
    assert_eq!(refused.metadata["awsErrorCode"], "OperationNotPermittedException");
    assert_eq!(refused.metadata["outcome"], "unknown");
    assert!(refused.details.retry_info().is_some());
    assert!(arn(&settled).contains(":resource-share/"));
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn an_open_outcome_without_a_token_is_not_retried_by_stock_clients() {
    let facade = Facade::start().await;
    facade.faults(
        r#"{"rules": [{"operation": "CreateResourceShare", "fault": {"kind": "drop_after_execution"}}]}"#,
    );

    let status = facade.create(request("demo", "")).await.unwrap_err();

    let refused = refusal(&status);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Unknown, "AWS_CONNECTION_LOST")
    );
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    assert_eq!(refused.metadata["retrySafe"], "false");
    // All attempts had one token: one share, which the token in the metadata leads to.
    assert_eq!((facade.created(), facade.requested()), (1, 3));
    facade.faults("{}");
    assert!(
        facade
            .create(request("demo", &refused.metadata["clientToken"]))
            .await
            .is_ok()
    );
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn a_ram_that_does_not_answer_is_given_up_in_time_and_nothing_is_lost() {
    let facade = Facade::with(&[("attempt.limit_ms", "100")]).await;
    facade.faults(
        r#"{"rules": [{"operation": "CreateResourceShare", "fault": {"kind": "hold_after_execution"}}]}"#,
    );

    let refused = refusal(&facade.create(request("demo", "token-1")).await.unwrap_err());
    facade.faults("{}");
    let settled = facade.create(request("demo", "token-1")).await.unwrap();

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Unavailable, "AWS_TIMEOUT")
    );
    assert_eq!(refused.metadata["outcome"], "unknown");
    assert!(settled.metadata().get("idempotency-replayed").is_none());
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn a_ram_that_cannot_be_reached_is_unavailable_and_nothing_was_executed() {
    // A port that nobody listens on any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let facade = common::Process::start(
        &common::serve(&format!("http://127.0.0.1:{port}"), ":memory:"),
        &[
            ("RAM_FACADE_RAM_ACCOUNT", "111122223333"),
            ("RAM_FACADE_RETRY_BACKOFF_MS", "1"),
        ],
    );
    let mut client = common::connect(facade.address()).await;

    let refused = refusal(&client.create(request("demo", "token-1")).await.unwrap_err());

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Unavailable, "AWS_UNREACHABLE")
    );
    assert_eq!(
        (
            refused.metadata["outcome"].as_str(),
            refused.metadata["attempts"].as_str()
        ),
        ("not_executed", "3")
    );
}

#[tokio::test]
async fn a_facade_without_credentials_says_so_and_never_blames_the_caller() {
    let sandbox = common::Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
    let url = sandbox.sandbox_url();
    let facade = common::Process::start(
        &common::serve(&url, ":memory:"),
        &[
            ("RAM_FACADE_RAM_ACCOUNT", "111122223333"),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ],
    );
    let mut client = common::connect(facade.address()).await;

    let refused = refusal(&client.create(request("demo", "token-1")).await.unwrap_err());

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Internal, "FACADE_MISCONFIGURED")
    );
    assert_eq!(refused.metadata["outcome"], "not_executed");
    assert_eq!(
        common::stats(&url).await["requests"]["CreateResourceShare"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn the_sdk_makes_one_request_per_attempt_whatever_the_environment_says() {
    let sandbox = common::Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
    let url = sandbox.sandbox_url();
    common::put_faults(
        &url,
        r#"{"rules": [{"operation": "CreateResourceShare", "fault": {"kind": "error", "code": "ServerInternalException", "http_status": 500}}]}"#,
    )
    .await;
    let facade = common::Process::start(
        &common::serve(&url, ":memory:"),
        &[
            ("AWS_MAX_ATTEMPTS", "5"),
            ("AWS_RETRY_MODE", "adaptive"),
            ("RAM_FACADE_RETRY_BACKOFF_MS", "1"),
        ],
    );
    let mut client = common::connect(facade.address()).await;

    let refused = refusal(&client.create(request("demo", "token-1")).await.unwrap_err());

    assert_eq!(refused.metadata["attempts"], "3");
    assert_eq!(common::stats(&url).await["requests"]["CreateResourceShare"], 3);
}

#[tokio::test]
async fn a_read_that_fails_has_no_outcome_to_doubt() {
    let facade = Facade::start().await;
    facade.faults(r#"{"rules": [{"operation": "ListResourceTypes", "fault": {"kind": "drop"}}]}"#);

    let mut client = facade.client.clone();
    let refused = refusal(
        &client
            .list_resource_types(ListResourceTypesRequest::default())
            .await
            .unwrap_err(),
    );

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Unavailable, "AWS_CONNECTION_LOST")
    );
    assert_eq!(refused.metadata["outcome"], "not_executed");
    assert!(refused.details.retry_info().is_some());
}

#[tokio::test]
async fn credentials_that_cannot_be_had_right_now_are_a_reason_to_try_again() {
    let sandbox = common::Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
    // A credential endpoint, as containers have one, where nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let facade = common::Process::start(
        &common::serve(&sandbox.sandbox_url(), ":memory:"),
        &[
            ("RAM_FACADE_RAM_ACCOUNT", "111122223333"),
            ("RAM_FACADE_RETRY_MAX_ATTEMPTS", "1"),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                &format!("http://127.0.0.1:{port}/credentials"),
            ),
        ],
    );
    let mut client = common::connect(facade.address()).await;

    let refused = refusal(&client.create(request("demo", "token-1")).await.unwrap_err());

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::Unavailable, "FACADE_CREDENTIALS_UNAVAILABLE")
    );
    assert_eq!(refused.metadata["outcome"], "not_executed");
    assert!(refused.details.retry_info().is_some());
}
