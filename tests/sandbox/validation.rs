//! What RAM refuses, under RAM's own exceptions.

use aws_sdk_ram::{operation::create_resource_share::builders::CreateResourceShareFluentBuilder, types::Tag};
use ram_facade::sandbox::{Quotas, Settings};

use crate::client::{
    MEMBER, OUTSIDER, SERVICE, SUBNET, code, counts, create, named, settings, start, start_with,
};

fn tag(key: impl Into<String>) -> Tag {
    Tag::builder().key(key).value("value").build()
}

#[tokio::test]
async fn every_rule_has_its_exception() {
    let (sandbox, client) = start().await;
    let new = || named(&client);
    let tags = |count: usize| (0..count).map(|n| tag(format!("key{n}"))).collect::<Vec<_>>();
    let subnets = |count: usize| (0..count).map(|n| format!("{SUBNET}{n}")).collect::<Vec<_>>();

    let refused: Vec<(&str, &str, CreateResourceShareFluentBuilder)> = vec![
        (
            "no name",
            "InvalidParameterException",
            client.create_resource_share(),
        ),
        ("empty name", "InvalidParameterException", new().name("")),
        ("slash in name", "InvalidParameterException", new().name("a/b")),
        ("no ARN", "MalformedArnException", new().resource_arns("subnet-1")),
        (
            "other Region",
            "InvalidParameterException",
            new().resource_arns(SUBNET.replace("us-east-1", "eu-west-1")),
        ),
        (
            "other owner",
            "InvalidParameterException",
            new().resource_arns(SUBNET.replace("111122223333", OUTSIDER)),
        ),
        (
            "101 resources",
            "ResourceShareLimitExceededException",
            new().set_resource_arns(Some(subnets(101))),
        ),
        (
            "short id",
            "InvalidParameterException",
            new().principals("o-sandbox0001"),
        ),
        (
            "malformed ARN",
            "MalformedArnException",
            new().principals("arn:aws:iam::444455556666:group/g"),
        ),
        (
            "other organization",
            "UnknownResourceException",
            new().principals("arn:aws:organizations::111122223333:organization/o-other00001"),
        ),
        (
            "mixed principals",
            "InvalidParameterException",
            new().principals(MEMBER).principals(SERVICE),
        ),
        (
            "sources alone",
            "InvalidParameterException",
            new().principals(MEMBER).sources(MEMBER),
        ),
        (
            "outsider",
            "OperationNotPermittedException",
            new().principals(OUTSIDER).allow_external_principals(false),
        ),
        (
            "51 tags",
            "TagLimitExceededException",
            new().set_tags(Some(tags(51))),
        ),
        (
            "reserved tag",
            "TagPolicyViolationException",
            new().tags(tag("aws:team")),
        ),
        (
            "tag without key",
            "InvalidParameterException",
            new().tags(Tag::builder().value("v").build()),
        ),
        (
            "long tag key",
            "InvalidParameterException",
            new().tags(tag("k".repeat(129))),
        ),
        (
            "same tag twice",
            "InvalidParameterException",
            new().tags(tag("k")).tags(tag("k")),
        ),
        (
            "no permission",
            "MalformedArnException",
            new().permission_arns(SUBNET),
        ),
        (
            "unknown permission",
            "UnknownResourceException",
            new().permission_arns("arn:aws:ram::aws:permission/NoSuchThing"),
        ),
    ];
    let count = refused.len() as u64;
    for (what, exception, request) in refused {
        assert_eq!(code(request.send().await), exception, "{what}");
    }
    assert_eq!(counts(&sandbox), (count, 0, 0), "a refused request does nothing");
}

#[tokio::test]
async fn everything_that_is_right_is_taken_together() {
    let (_sandbox, client) = start().await;

    let output = named(&client)
        .resource_arns(SUBNET)
        .principals(MEMBER)
        .principals("arn:aws:organizations::111122223333:ou/o-sandbox0001/ou-ab12-cd34")
        .principals("arn:aws:iam::444455556666:role/path/reader")
        .tags(tag("team"))
        .permission_arns("arn:aws:ram::aws:permission/AWSRAMDefaultPermissionSubnet")
        .allow_external_principals(false)
        .send()
        .await
        .unwrap();

    let share = output.resource_share().unwrap();
    assert_eq!(share.name(), Some("share"));
    assert_eq!(share.owning_account_id(), Some("111122223333"));
    assert_eq!(share.status().unwrap().as_str(), "ACTIVE");
    assert_eq!(share.feature_set().unwrap().as_str(), "STANDARD");
    assert_eq!(share.allow_external_principals(), Some(false));
    assert_eq!(share.tags(), [tag("team")]);
    assert!(share.creation_time().unwrap().secs() > 1_700_000_000);

    named(&client)
        .principals(SERVICE)
        .sources("o-sandbox0001")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_malformed_arn_is_named_in_the_message() {
    let (_sandbox, client) = start().await;
    let error = named(&client)
        .resource_arns("subnet-1")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(error.is_malformed_arn_exception());
    assert!(error.meta().message().unwrap().contains("subnet-1"));
}

#[tokio::test]
async fn quotas_count_what_lives() {
    let quotas = Quotas {
        shares: 1,
        resources_per_share: 1,
        ..Quotas::default()
    };
    let (sandbox, client) = start_with(Settings { quotas, ..settings() }).await;
    let full = "ResourceShareLimitExceededException";

    let two = named(&client)
        .resource_arns(SUBNET)
        .resource_arns(format!("{SUBNET}2"))
        .send()
        .await;
    assert_eq!(code(two), full);

    let arn = create(&client).await;
    assert_eq!(code(named(&client).send().await), full);
    client
        .delete_resource_share()
        .resource_share_arn(arn)
        .send()
        .await
        .unwrap();
    let arn = create(&client).await;
    assert_eq!(sandbox.stats().live_shares, 1);

    let add = |resource: String| {
        client
            .associate_resource_share()
            .resource_share_arn(&arn)
            .resource_arns(resource)
    };
    add(SUBNET.to_owned()).send().await.unwrap();
    add(SUBNET.to_owned())
        .send()
        .await
        .expect("it is there already, so nothing is added");
    assert_eq!(code(add(format!("{SUBNET}2")).send().await), full);
}
