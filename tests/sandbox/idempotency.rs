//! One token, one share.

use std::time::Duration;

use ram_facade::sandbox::Settings;

use crate::client::{arn_of, code, counts, create, named, settings, start, start_with};

#[tokio::test]
async fn the_same_token_gives_the_same_share_and_executes_nothing_again() {
    let (sandbox, client) = start().await;

    let first = named(&client).client_token("token").send().await.unwrap();
    let second = named(&client).client_token("token").send().await.unwrap();

    assert_eq!(arn_of(&first), arn_of(&second));
    assert_eq!(second.client_token(), Some("token"));
    assert_eq!(counts(&sandbox), (2, 1, 1));
}

#[tokio::test]
async fn the_same_token_with_other_parameters_is_refused() {
    let (sandbox, client) = start().await;
    named(&client).client_token("token").send().await.unwrap();

    let other = client
        .create_resource_share()
        .name("other")
        .client_token("token")
        .send()
        .await;

    assert_eq!(code(other), "IdempotentParameterMismatchException");
    assert_eq!(counts(&sandbox), (2, 1, 1));
}

#[tokio::test]
async fn without_a_token_each_request_makes_a_share_and_learns_a_new_token() {
    let (sandbox, client) = start().await;

    let first = named(&client).send().await.unwrap();
    let second = named(&client).send().await.unwrap();

    assert_ne!(arn_of(&first), arn_of(&second));
    assert_ne!(first.client_token(), second.client_token());
    assert_eq!(first.client_token().unwrap().len(), 36, "a UUID");
    assert_eq!(counts(&sandbox), (2, 2, 2));
}

#[tokio::test]
async fn a_forgotten_token_executes_again() {
    let (sandbox, client) = start_with(Settings {
        token_memory: Duration::ZERO,
        ..settings()
    })
    .await;

    let first = named(&client).client_token("token").send().await.unwrap();
    let second = named(&client).client_token("token").send().await.unwrap();

    assert_ne!(arn_of(&first), arn_of(&second));
    assert_eq!(counts(&sandbox), (2, 2, 2));
}

#[tokio::test]
async fn a_refused_request_leaves_its_token_free() {
    let (sandbox, client) = start().await;

    let refused = client
        .create_resource_share()
        .name("a/b")
        .client_token("token")
        .send()
        .await;
    assert_eq!(code(refused), "InvalidParameterException");

    named(&client).client_token("token").send().await.unwrap();
    assert_eq!(counts(&sandbox), (2, 1, 1));
}

#[tokio::test]
async fn a_repeated_create_shows_the_share_as_it_is_now() {
    let (_sandbox, client) = start().await;
    let arn = arn_of(&named(&client).client_token("token").send().await.unwrap());
    client
        .delete_resource_share()
        .resource_share_arn(&arn)
        .send()
        .await
        .unwrap();

    let again = named(&client).client_token("token").send().await.unwrap();

    assert_eq!(arn_of(&again), arn);
    assert_eq!(
        again.resource_share().unwrap().status().unwrap().as_str(),
        "DELETED"
    );
}

#[tokio::test]
async fn a_token_that_deleted_deletes_once() {
    let (sandbox, client) = start().await;
    let arn = create(&client).await;

    let delete = || {
        client
            .delete_resource_share()
            .resource_share_arn(&arn)
            .client_token("t ok+en/1")
            .send()
    };
    delete().await.unwrap();
    let again = delete().await.unwrap();

    assert_eq!(
        (again.return_value(), again.client_token()),
        (Some(true), Some("t ok+en/1"))
    );
    assert_eq!(sandbox.stats().executions_of("DeleteResourceShare"), 1);
}

#[tokio::test]
async fn tokens_that_are_too_long_empty_or_unprintable_are_refused() {
    let (sandbox, client) = start().await;
    for token in [
        "x".repeat(65),
        String::new(),
        "line\nbreak".to_owned(),
        "é".to_owned(),
    ] {
        let refused = named(&client).client_token(&token).send().await;
        assert_eq!(code(refused), "InvalidClientTokenException", "{token:?}");
    }
    assert_eq!(sandbox.stats().executions_of("CreateResourceShare"), 0);
}

#[tokio::test]
async fn many_requests_at_once_with_one_token_make_one_share() {
    let (sandbox, client) = start().await;

    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        requests.spawn(named(&client).client_token("token").send());
    }
    let mut arns: Vec<_> = requests
        .join_all()
        .await
        .into_iter()
        .map(|answer| arn_of(&answer.unwrap()))
        .collect();
    arns.dedup();

    assert_eq!(arns.len(), 1);
    assert_eq!(counts(&sandbox), (20, 1, 1));
}
