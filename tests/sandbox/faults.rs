//! What a fault plan does to a client, and what is left behind.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_ram::{
    config::timeout::TimeoutConfig,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_types::retry::ErrorKind;
use ram_facade::sandbox::{ErrorAnswer, Fault, FaultPlan, RateLimit, RawAnswer, Rule, Sandbox};

use crate::client::{CREATE, CreateError, client_with, code, counts, eventually, named, plan, start};

/// The answer to one Create under a fault, and the counts after it.
async fn under(fault: Fault) -> (Result<Option<String>, CreateError>, (u64, u64, u64)) {
    let (sandbox, client) = start().await;
    sandbox.set_faults(plan(vec![Rule::once(CREATE, fault)]));
    let answer = named(&client).send().await;
    let status = answer.map(|output| {
        output
            .resource_share()
            .map(|s| s.status().unwrap().as_str().to_owned())
    });
    (status, counts(&sandbox))
}

fn unexplained(status: u16) -> ErrorAnswer {
    ErrorAnswer {
        http_status: status,
        body: Some("<html>bad gateway</html>".to_owned()),
        content_type: Some("text/html".to_owned()),
        ..ErrorAnswer::default()
    }
}

#[tokio::test]
async fn an_error_comes_in_place_of_the_work() {
    let (answer, counts) = under(Fault::Error(Fault::code("ServiceUnavailableException", 503))).await;
    assert_eq!(code(answer), "ServiceUnavailableException");
    assert_eq!(counts, (1, 0, 0));
}

#[tokio::test]
async fn an_error_after_execution_leaves_a_share() {
    let (answer, counts) = under(Fault::ErrorAfterExecution(Fault::code(
        "ServerInternalException",
        500,
    )))
    .await;
    assert_eq!(code(answer), "ServerInternalException");
    assert_eq!(counts, (1, 1, 1));
}

#[tokio::test]
async fn an_error_can_be_a_page_of_html_or_nothing_at_all() {
    let (answer, counts) = under(Fault::Error(unexplained(502))).await;
    let error = answer.unwrap_err();
    assert_eq!(error.as_service_error().unwrap().code(), None);
    let response = error.raw_response().unwrap();
    assert_eq!(response.status().as_u16(), 502);
    assert_eq!(
        response.body().bytes(),
        Some(b"<html>bad gateway</html>".as_slice())
    );
    assert_eq!(counts, (1, 0, 0));

    let nothing = ErrorAnswer {
        http_status: 429,
        ..ErrorAnswer::default()
    };
    let (answer, _) = under(Fault::Error(nothing)).await;
    let error = answer.unwrap_err();
    assert_eq!(error.raw_response().unwrap().body().bytes(), Some(b"".as_slice()));
}

#[tokio::test]
async fn an_error_can_have_headers_of_its_own() {
    let mut error = Fault::code("ThrottlingException", 429);
    error
        .headers
        .insert("x-amz-retry-after".to_owned(), "1500".to_owned());
    error
        .headers
        .insert("x-amzn-requestid".to_owned(), "mine".to_owned());
    let (answer, _) = under(Fault::Error(error)).await;
    let error = answer.unwrap_err();
    let headers = error.raw_response().unwrap().headers();
    assert_eq!(headers.get("x-amz-retry-after"), Some("1500"));
    assert_eq!(headers.get("x-amzn-requestid"), Some("mine"));
}

fn connection_lost(answer: Result<Option<String>, CreateError>) -> bool {
    let error = answer.expect_err("there is no answer");
    error.raw_response().is_none()
        && matches!(&error, SdkError::DispatchFailure(f)
            if f.as_connector_error().is_some_and(|e| e.is_io() || e.as_other() == Some(ErrorKind::TransientError)))
}

#[tokio::test]
async fn a_dropped_connection_looks_the_same_with_and_without_a_share() {
    let (answer, counts) = under(Fault::Drop {}).await;
    assert!(connection_lost(answer));
    assert_eq!(counts, (1, 0, 0));

    let (answer, counts) = under(Fault::DropAfterExecution {}).await;
    assert!(connection_lost(answer));
    assert_eq!(counts, (1, 1, 1));
}

#[tokio::test]
async fn a_truncated_answer_has_its_head() {
    let (answer, counts) = under(Fault::TruncateAfterExecution {}).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 200);
    assert_eq!(counts, (1, 1, 1));
}

fn raw_answer(body: &str, execute: bool) -> RawAnswer {
    let (body, headers) = (body.to_owned(), BTreeMap::new());
    RawAnswer {
        http_status: 200,
        body,
        content_type: None,
        headers,
        execute,
    }
}

#[tokio::test]
async fn any_answer_can_be_given_with_and_without_execution() {
    let raw = |body, execute| Fault::Answer(raw_answer(body, execute));
    let (answer, counts) = under(raw("{}", true)).await;
    assert_eq!(answer.unwrap(), None, "an answer without a share");
    assert_eq!(counts, (1, 1, 1));

    // A status that has no body by the rules of HTTP.
    let empty = RawAnswer {
        http_status: 204,
        body: "x".to_owned(),
        ..raw_answer("", false)
    };
    let (answer, _) = under(Fault::Answer(empty)).await;
    assert_eq!(answer.unwrap(), None);

    let (answer, counts) = under(raw("<html>", false)).await;
    assert!(matches!(answer, Err(SdkError::ServiceError(_))));
    assert_eq!(counts, (1, 0, 0));
}

#[tokio::test]
async fn an_answer_can_be_patched() {
    let patch = |pointer: &str, value| Fault::Patch {
        pointer: pointer.to_owned(),
        value,
    };
    let (answer, counts) = under(patch("/resourceShare/status", "FROBBED".into())).await;
    assert_eq!(answer.unwrap().as_deref(), Some("FROBBED"));
    assert_eq!(counts, (1, 1, 1));

    let (sandbox, client) = start().await;
    sandbox.set_faults(plan(vec![Rule::once(
        CREATE,
        patch("/resourceShare/resourceShareArn", ().into()),
    )]));
    let output = named(&client).send().await.unwrap();
    assert_eq!(output.resource_share().unwrap().resource_share_arn(), None);
}

#[tokio::test]
async fn a_delayed_answer_comes() {
    for after_execution in [false, true] {
        let begun = tokio::time::Instant::now();
        let (answer, counts) = under(Fault::Delay {
            ms: 50,
            after_execution,
        })
        .await;
        assert_eq!(answer.unwrap().as_deref(), Some("ACTIVE"));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert_eq!(counts, (1, 1, 1));
    }
}

/// Sends one Create with a client that does not wait long.
async fn give_up_under(fault: Fault) -> Sandbox {
    let (sandbox, _) = start().await;
    sandbox.set_faults(plan(vec![Rule::once(CREATE, fault)]));
    let hasty = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(150))
        .build();
    let answer = named(&client_with(&sandbox, hasty)).send().await;
    assert!(matches!(answer, Err(SdkError::TimeoutError(_))), "{answer:?}");
    sandbox
}

#[tokio::test]
async fn the_work_is_done_even_if_the_client_hangs_up_before_it_begins() {
    let sandbox = give_up_under(Fault::Delay {
        ms: 400,
        after_execution: false,
    })
    .await;
    eventually("the share exists", || counts(&sandbox) == (1, 1, 1)).await;
}

#[tokio::test]
async fn a_held_answer_never_comes_and_the_share_exists() {
    let sandbox = give_up_under(Fault::HoldAfterExecution {}).await;
    assert_eq!(counts(&sandbox), (1, 1, 1));
}

#[tokio::test]
async fn a_reset_ends_a_held_request_and_a_delayed_one_leaves_no_share() {
    let (sandbox, client) = start().await;
    let delay = Fault::Delay {
        ms: 600_000,
        after_execution: false,
    };
    sandbox.set_faults(plan(vec![
        Rule::once(CREATE, Fault::HoldAfterExecution {}),
        Rule::once(CREATE, delay),
    ]));
    let held = tokio::spawn(named(&client).send());
    eventually("the first request is held", || counts(&sandbox) == (1, 1, 1)).await;
    let delayed = tokio::spawn(named(&client).send());
    eventually("the second request is delayed", || counts(&sandbox).0 == 2).await;

    sandbox.reset();

    for request in [held, delayed] {
        assert!(matches!(
            request.await.unwrap(),
            Err(SdkError::DispatchFailure(_))
        ));
    }
    assert_eq!(counts(&sandbox), (0, 0, 0));
}

#[tokio::test]
async fn a_rule_lasts_as_long_as_it_says_and_a_token_recovers_the_share() {
    let (sandbox, client) = start().await;
    let lost = Rule {
        times: Some(2),
        ..Rule::always(CREATE, Fault::DropAfterExecution {})
    };
    sandbox.set_faults(plan(vec![lost]));

    let send = || named(&client).client_token("token").send();
    assert!(send().await.is_err());
    assert!(send().await.is_err());
    send().await.unwrap();

    assert_eq!(counts(&sandbox), (3, 1, 1));
}

#[tokio::test]
async fn requests_over_the_rate_are_throttled_and_counted() {
    let (sandbox, client) = start().await;
    let rate_limit = Some(RateLimit {
        per_second: 0.001,
        burst: 2.0,
        refused_cost: 0.0,
    });
    sandbox.set_faults(FaultPlan {
        rate_limit,
        ..FaultPlan::default()
    });

    named(&client).send().await.unwrap();
    client.list_resource_types().send().await.unwrap();
    let error = named(&client).send().await.unwrap_err();

    assert_eq!(error.raw_response().unwrap().status().as_u16(), 429);
    assert!(error.into_service_error().is_throttling_exception());
    assert_eq!((sandbox.stats().throttled, counts(&sandbox)), (1, (2, 1, 1)));
}

#[tokio::test]
async fn latency_holds_back_every_request_to_ram() {
    let (sandbox, client) = start().await;
    sandbox.set_faults(FaultPlan {
        latency_ms: 60,
        ..FaultPlan::default()
    });
    let begun = tokio::time::Instant::now();
    named(&client).send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(60));
}
