//! What becomes of a share and of what is in it.

use std::time::Duration;

use aws_sdk_ram::{
    Client,
    types::{ResourceShareAssociationType as Kind, Tag},
};
use ram_facade::sandbox::Settings;

use crate::client::{
    MEMBER, OUTSIDER, SERVICE, SUBNET, arn_of, code, create, named, settings, start, start_with,
};

/// The status of every association of a kind, oldest first.
async fn statuses(client: &Client, kind: Kind) -> Vec<String> {
    let output = client
        .get_resource_share_associations()
        .association_type(kind)
        .send()
        .await
        .unwrap();
    let associations = output.resource_share_associations().iter();
    associations
        .map(|association| association.status().unwrap().as_str().to_owned())
        .collect()
}

#[tokio::test]
async fn an_association_settles() {
    let (_sandbox, client) = start_with(Settings {
        settle: Duration::from_millis(300),
        ..settings()
    })
    .await;
    named(&client).resource_arns(SUBNET).send().await.unwrap();
    assert_eq!(statuses(&client, Kind::Resource).await, ["ASSOCIATING"]);

    let settled = async { while statuses(&client, Kind::Resource).await != ["ASSOCIATED"] {} };
    tokio::time::timeout(Duration::from_secs(10), settled)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_outsider_is_external_and_never_settles() {
    let (_sandbox, client) = start().await;
    named(&client)
        .principals(MEMBER)
        .principals(OUTSIDER)
        .send()
        .await
        .unwrap();

    assert_eq!(
        statuses(&client, Kind::Principal).await,
        ["ASSOCIATED", "ASSOCIATING"]
    );
    let output = client
        .get_resource_share_associations()
        .association_type(Kind::Principal)
        .principal(OUTSIDER)
        .send()
        .await;
    let output = output.unwrap();
    let [outsider] = output.resource_share_associations() else {
        panic!("one: {output:?}")
    };
    assert_eq!(
        (outsider.associated_entity(), outsider.external()),
        (Some(OUTSIDER), Some(true))
    );
}

#[tokio::test]
async fn a_deleted_share_stays_visible_and_cannot_be_deleted_again() {
    let (sandbox, client) = start().await;
    let arn = arn_of(&named(&client).principals(MEMBER).send().await.unwrap());
    let delete = || client.delete_resource_share().resource_share_arn(&arn).send();

    assert_eq!(delete().await.unwrap().return_value(), Some(true));

    let shares = client
        .get_resource_shares()
        .resource_owner("SELF".into())
        .send()
        .await
        .unwrap();
    assert_eq!(shares.resource_shares()[0].status().unwrap().as_str(), "DELETED");
    assert_eq!(statuses(&client, Kind::Principal).await, ["DISASSOCIATED"]);
    assert_eq!(code(delete().await), "InvalidStateTransitionException");
    assert_eq!(
        (
            sandbox.stats().live_shares,
            sandbox.stats().executions_of("DeleteResourceShare")
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn a_share_that_never_was_is_unknown() {
    let (_sandbox, client) = start().await;
    let arn = "arn:aws:ram:us-east-1:111122223333:resource-share/none";
    let delete = client
        .delete_resource_share()
        .resource_share_arn(arn)
        .send()
        .await;
    assert_eq!(code(delete), "UnknownResourceException");
    let malformed = client
        .delete_resource_share()
        .resource_share_arn("none")
        .send()
        .await;
    assert_eq!(code(malformed), "MalformedArnException");
}

#[tokio::test]
async fn members_can_be_added_and_taken_out() {
    let (_sandbox, client) = start().await;
    let arn = create(&client).await;

    let added = client
        .associate_resource_share()
        .resource_share_arn(&arn)
        .principals(MEMBER)
        .resource_arns(SUBNET)
        .send();
    assert_eq!(added.await.unwrap().resource_share_associations().len(), 2);
    let mixed = client
        .associate_resource_share()
        .resource_share_arn(&arn)
        .principals(SERVICE)
        .send()
        .await;
    assert_eq!(code(mixed), "InvalidParameterException");

    let take_out = || {
        client
            .disassociate_resource_share()
            .resource_share_arn(&arn)
            .principals(MEMBER)
            .send()
    };
    take_out().await.unwrap();
    assert_eq!(statuses(&client, Kind::Principal).await, ["DISASSOCIATED"]);
    assert_eq!(statuses(&client, Kind::Resource).await, ["ASSOCIATED"]);
    assert_eq!(code(take_out().await), "UnknownResourceException");
}

#[tokio::test]
async fn what_is_still_being_associated_cannot_be_taken_out() {
    let (_sandbox, client) = start_with(Settings {
        settle: Duration::from_secs(3600),
        ..settings()
    })
    .await;
    let arn = arn_of(&named(&client).principals(MEMBER).send().await.unwrap());
    let refused = client
        .disassociate_resource_share()
        .resource_share_arn(arn)
        .principals(MEMBER)
        .send()
        .await;
    assert_eq!(code(refused), "InvalidStateTransitionException");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let (_sandbox, client) = start().await;
    let arn = arn_of(
        &named(&client)
            .allow_external_principals(false)
            .send()
            .await
            .unwrap(),
    );
    let updated = client
        .update_resource_share()
        .resource_share_arn(arn)
        .name("renamed")
        .send()
        .await
        .unwrap();
    let share = updated.resource_share().unwrap();
    assert_eq!(
        (share.name(), share.allow_external_principals()),
        (Some("renamed"), Some(false))
    );
}

#[tokio::test]
async fn tags_come_and_go() {
    let (_sandbox, client) = start().await;
    let arn = create(&client).await;
    let tag = |key: String| Tag::builder().key(key).value("v").build();
    let add = |tags: Vec<Tag>| {
        client
            .tag_resource()
            .resource_share_arn(&arn)
            .set_tags(Some(tags))
            .send()
    };

    add((0..50).map(|n| tag(format!("k{n}"))).collect())
        .await
        .unwrap();
    add(vec![tag("k0".to_owned())]).await.expect("it replaces a tag");
    assert_eq!(
        code(add(vec![tag("k50".to_owned())]).await),
        "TagLimitExceededException"
    );
    assert_eq!(
        code(add(vec![tag("aws:x".to_owned())]).await),
        "TagPolicyViolationException"
    );

    client
        .untag_resource()
        .resource_share_arn(&arn)
        .tag_keys("k0")
        .tag_keys("none")
        .send()
        .await
        .unwrap();
    let shares = client
        .get_resource_shares()
        .resource_owner("SELF".into())
        .send()
        .await
        .unwrap();
    assert_eq!(shares.resource_shares()[0].tags().len(), 49);
}
