//! `ResourceShareService.Create` as a caller sees it, through the real SDK against the sandbox.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    Facade, arn, refusal, request,
    secrets::{ALPHA, BETA, token_line},
};
use ram_facade::pb::v1::{
    CreateResourceShareRequest, ListResourceTypesRequest, ResourceShareConfiguration,
    ResourceShareFeatureSet, ResourceShareStatus, Tag,
};
use tonic::{Code, Request};

const SUBNET: &str = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-0a1b2c3d4e5f60718";

fn full_request() -> CreateResourceShareRequest {
    CreateResourceShareRequest {
        name: "network-prod".to_owned(),
        resource_arns: vec![SUBNET.to_owned()],
        principals: vec!["444455556666".to_owned()],
        tags: vec![Tag {
            key: "team".to_owned(),
            value: "network".to_owned(),
        }],
        allow_external_principals: Some(true),
        client_token: "intent-1".to_owned(),
        permission_arns: vec!["arn:aws:ram::aws:permission/AWSRAMDefaultPermissionSubnet".to_owned()],
        ..CreateResourceShareRequest::default()
    }
}

#[tokio::test]
async fn a_share_is_created_with_everything_the_request_says() {
    let facade = Facade::start().await;

    let response = facade.create(full_request()).await.unwrap().into_inner();

    let share = response.resource_share.unwrap();
    assert_eq!(response.client_token, "intent-1");
    assert!(
        share
            .resource_share_arn
            .starts_with("arn:aws:ram:us-east-1:111122223333:resource-share/")
    );
    assert_eq!(
        (share.name.as_str(), share.owning_account_id.as_str()),
        ("network-prod", "111122223333")
    );
    assert_eq!(share.status(), ResourceShareStatus::Active);
    assert_eq!(share.feature_set(), ResourceShareFeatureSet::Standard);
    assert_eq!(share.allow_external_principals, Some(true));
    assert_eq!(
        share.tags,
        [Tag {
            key: "team".to_owned(),
            value: "network".to_owned()
        }]
    );
    assert!(share.creation_time.unwrap().seconds > 1_700_000_000);
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn the_same_token_again_gives_the_same_share_and_says_so() {
    let facade = Facade::start().await;

    let first = facade.create(full_request()).await.unwrap();
    let again = facade.create(full_request()).await.unwrap();

    assert_eq!(arn(&first), arn(&again));
    assert!(first.metadata().get("idempotency-replayed").is_none());
    assert_eq!(again.metadata().get("idempotency-replayed").unwrap(), "true");
    assert!(again.metadata().get("idempotency-recorded-at").is_some());
    assert_eq!(again.get_ref().client_token, "intent-1");
    assert_eq!((facade.created(), facade.requested()), (1, 1));
}

#[tokio::test]
async fn order_and_duplicates_of_lists_and_spelt_out_defaults_make_no_other_request() {
    let facade = Facade::start().await;
    let other = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-2";
    let mut first = full_request();
    first.resource_arns = vec![SUBNET.to_owned(), other.to_owned()];
    first.allow_external_principals = None;
    let mut again = full_request();
    again.resource_arns = vec![other.to_owned(), SUBNET.to_owned(), SUBNET.to_owned()];
    again.allow_external_principals = Some(true);

    let first = facade.create(first).await.unwrap();
    let again = facade.create(again).await.unwrap();

    assert_eq!(arn(&first), arn(&again));
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn another_request_under_the_token_is_refused_and_changes_nothing() {
    let facade = Facade::start().await;
    let first = facade.create(full_request()).await.unwrap();

    let mut other = full_request();
    other.name = "something-else".to_owned();
    let refused = refusal(&facade.create(other).await.unwrap_err());

    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(
        (refused.domain.as_str(), refused.reason.as_str()),
        ("ram-facade", "IDEMPOTENT_PARAMETER_MISMATCH")
    );
    assert_eq!(
        refused.details.bad_request().unwrap().field_violations[0].field,
        "client_token"
    );
    assert_eq!(refused.metadata["outcome"], "not_executed");
    assert_eq!(arn(&facade.create(full_request()).await.unwrap()), arn(&first));
    assert_eq!(facade.requested(), 1);
}

#[tokio::test]
async fn fifty_duplicates_at_once_make_one_share() {
    let facade = Facade::start().await;
    facade.faults(r#"{"latency_ms": 100}"#);

    let calls = (0..50).map(|_| facade.create(full_request()));
    let arns: std::collections::HashSet<_> = futures_util::future::join_all(calls)
        .await
        .iter()
        .map(|r| arn(r.as_ref().unwrap()))
        .collect();

    assert_eq!(arns.len(), 1);
    assert_eq!((facade.created(), facade.requested()), (1, 1));
}

#[tokio::test]
async fn without_a_token_the_facade_makes_one_that_the_caller_can_use() {
    let facade = Facade::start().await;

    let first = facade.create(request("demo", "")).await.unwrap();
    let second = facade.create(request("demo", "")).await.unwrap();

    let (one, two) = (&first.get_ref().client_token, &second.get_ref().client_token);
    assert!(one.len() == 36 && one != two, "{one} {two}");
    assert_ne!(arn(&first), arn(&second));
    // Sent again under the minted token, RAM itself recognises the request.
    let again = facade.create(request("demo", one)).await.unwrap();
    assert_eq!(arn(&again), arn(&first));
    assert_eq!(facade.created(), 2);
}

#[tokio::test]
async fn the_callers_token_never_reaches_ram() {
    let facade = Facade::start().await;
    let response = facade.create(full_request()).await.unwrap();
    assert_eq!(response.get_ref().client_token, "intent-1");

    // Were it RAM's token, this request, made past the facade, would be taken for the same one.
    let config = aws_sdk_ram::Config::builder()
        .behavior_version(aws_sdk_ram::config::BehaviorVersion::latest())
        .region(aws_sdk_ram::config::Region::new("us-east-1"))
        .credentials_provider(aws_sdk_ram::config::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .endpoint_url(facade.sandbox().url())
        .build();
    let direct = aws_sdk_ram::Client::from_conf(config);
    let share = direct
        .create_resource_share()
        .name("direct")
        .client_token("intent-1")
        .send()
        .await
        .unwrap();

    assert_ne!(
        share.resource_share.unwrap().resource_share_arn.unwrap(),
        arn(&response)
    );
}

#[tokio::test]
async fn two_callers_with_the_same_token_get_two_shares() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    let tokens = token_line(ALPHA, "service-a") + &token_line(BETA, "service-b");
    std::fs::write(&file, tokens).unwrap();
    let facade = Facade::with(&[("auth.tokens_file", common::path(&file))]).await;
    let call = |bearer: &'static str| {
        let mut request = Request::new(full_request());
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {bearer}").parse().unwrap());
        let mut client = facade.client.clone();
        async move { client.create(request).await }
    };

    let a = call(ALPHA).await.unwrap();
    let b = call(BETA).await.unwrap();
    let a_again = call(ALPHA).await.unwrap();

    assert_ne!(arn(&a), arn(&b));
    assert_eq!(arn(&a), arn(&a_again));
    assert_eq!(facade.created(), 2);

    let wrong = refusal(&call("gamma").await.unwrap_err());
    assert_eq!(
        (wrong.code, wrong.reason.as_str()),
        (Code::Unauthenticated, "CREDENTIALS_INVALID")
    );
    let none = refusal(&facade.create(full_request()).await.unwrap_err());
    assert_eq!(
        (none.code, none.reason.as_str()),
        (Code::Unauthenticated, "CREDENTIALS_MISSING")
    );
    assert_eq!(facade.requested(), 2);
}

#[tokio::test]
async fn validate_only_checks_everything_and_sends_nothing() {
    let facade = Facade::start().await;
    let dry = CreateResourceShareRequest {
        validate_only: true,
        ..full_request()
    };

    let response = facade.create(dry.clone()).await.unwrap().into_inner();
    let refused = refusal(
        &facade
            .create(CreateResourceShareRequest {
                name: String::new(),
                ..dry
            })
            .await
            .unwrap_err(),
    );

    assert_eq!(response.resource_share, None);
    assert_eq!(response.client_token, "intent-1");
    assert_eq!(refused.reason, "INVALID_REQUEST");
    assert_eq!(facade.requested(), 0);
    // Nothing was recorded under the token either.
    let other = CreateResourceShareRequest {
        name: "other".to_owned(),
        ..full_request()
    };
    assert!(facade.create(other).await.is_ok());
}

#[tokio::test]
async fn a_state_that_the_contract_does_not_name_still_reaches_the_caller() {
    let facade = Facade::start().await;
    facade.faults(
        r#"{"rules": [{"fault": {"kind": "patch", "pointer": "/resourceShare/status", "value": "FROBBED"}}]}"#,
    );

    let share = facade
        .create(full_request())
        .await
        .unwrap()
        .into_inner()
        .resource_share
        .unwrap();

    assert_eq!(share.status(), ResourceShareStatus::Unspecified);
    assert_eq!(share.unrecognized_status, "FROBBED");
}

#[tokio::test]
async fn a_share_that_ram_reports_as_failed_is_an_answer_and_no_error() {
    let facade = Facade::start().await;
    facade.faults(
        r#"{"rules": [{"fault": {"kind": "patch", "pointer": "/resourceShare/status", "value": "FAILED"}}]}"#,
    );

    let share = facade
        .create(full_request())
        .await
        .unwrap()
        .into_inner()
        .resource_share
        .unwrap();

    assert_eq!(share.status(), ResourceShareStatus::Failed);
    assert!(!share.resource_share_arn.is_empty());
}

#[tokio::test]
async fn the_callers_request_id_comes_back_and_one_is_made_where_there_is_none() {
    let facade = Facade::start().await;
    let mut with_id = Request::new(request("a", "1"));
    with_id
        .metadata_mut()
        .insert("x-request-id", "mine-1".parse().unwrap());

    let given = facade.client.clone().create(with_id).await.unwrap();
    let made = facade.create(request("b", "2")).await.unwrap();

    assert_eq!(given.metadata().get("x-request-id").unwrap(), "mine-1");
    assert!(made.metadata().get("x-request-id").unwrap().len() >= 32);
}

#[tokio::test]
async fn reads_go_through_the_same_stack_and_pass_pages_on() {
    let facade = Facade::start().await;
    let list = |next_token: String| {
        let mut client = facade.client.clone();
        let request = ListResourceTypesRequest {
            next_token,
            max_results: Some(7),
            ..Default::default()
        };
        async move { client.list_resource_types(request).await.unwrap().into_inner() }
    };

    let first = list(String::new()).await;
    let second = list(first.next_token.clone()).await;

    assert_eq!(first.resource_types.len(), 7);
    assert!(!second.resource_types.is_empty());
    assert_ne!(first.resource_types[0], second.resource_types[0]);
    assert!(
        first.resource_types[0].resource_type.contains(':'),
        "{:?}",
        first.resource_types[0]
    );
}

#[tokio::test]
async fn a_default_that_only_the_retry_spells_out_is_the_same_request_for_ram_too() {
    let facade = Facade::start().await;
    facade.faults(r#"{"rules": [{"operation": "CreateResourceShare", "times": 3, "fault": {"kind": "drop_after_execution"}}]}"#);
    let short = CreateResourceShareRequest {
        allow_external_principals: None,
        ..full_request()
    };
    let configuration = ResourceShareConfiguration {
        retain_sharing_on_account_leave_organization: Some(false),
    };
    let long = CreateResourceShareRequest {
        allow_external_principals: Some(true),
        resource_share_configuration: Some(configuration),
        ..full_request()
    };

    let open = facade.create(short).await.unwrap_err();
    let settled = facade.create(long).await;

    assert_eq!(refusal(&open).metadata["outcome"], "unknown");
    assert!(settled.is_ok(), "{settled:?}");
    assert_eq!(facade.created(), 1);
}
