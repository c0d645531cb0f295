//! Lists, their filters and their pages.

use aws_sdk_ram::{
    Client,
    operation::get_resource_shares::builders::GetResourceSharesFluentBuilder,
    types::{
        ResourceOwner, ResourceRegionScopeFilter as Scope, ResourceShareAssociationType as Kind,
        ResourceShareStatus, Tag, TagFilter,
    },
};

use crate::client::{MEMBER, SUBNET, arn_of, code, named, start};

fn mine(client: &Client) -> GetResourceSharesFluentBuilder {
    client
        .get_resource_shares()
        .resource_owner(ResourceOwner::SelfValue)
}

async fn names(request: GetResourceSharesFluentBuilder) -> Vec<String> {
    let output = request.send().await.unwrap();
    output
        .resource_shares()
        .iter()
        .map(|share| share.name().unwrap().to_owned())
        .collect()
}

/// Shares `a`, `b` (deleted) and `c`; `a` has the tag `team=red`, `c` has `team=blue`.
async fn three_shares(client: &Client) -> Vec<String> {
    let mut arns = Vec::new();
    for (name, team) in [("a", Some("red")), ("b", None), ("c", Some("blue"))] {
        let tag = team.map(|team| vec![Tag::builder().key("team").value(team).build()]);
        let request = client.create_resource_share().name(name).set_tags(tag);
        arns.push(arn_of(&request.send().await.unwrap()));
    }
    client
        .delete_resource_share()
        .resource_share_arn(&arns[1])
        .send()
        .await
        .unwrap();
    arns
}

#[tokio::test]
async fn each_filter_of_the_shares_filters() {
    let (_sandbox, client) = start().await;
    let arns = three_shares(&client).await;
    let team = |value: &str| TagFilter::builder().tag_key("team").tag_values(value).build();

    assert_eq!(names(mine(&client)).await, ["a", "b", "c"]);
    assert_eq!(names(mine(&client).name("c")).await, ["c"]);
    assert_eq!(names(mine(&client).resource_share_arns(&arns[0])).await, ["a"]);
    assert_eq!(
        names(mine(&client).resource_share_status(ResourceShareStatus::Active)).await,
        ["a", "c"]
    );
    assert_eq!(names(mine(&client).tag_filters(team("red"))).await, ["a"]);
    assert_eq!(
        names(mine(&client).tag_filters(team("red")).tag_filters(team("blue"))).await,
        ["a", "c"]
    );
    assert_eq!(
        names(
            client
                .get_resource_shares()
                .resource_owner(ResourceOwner::OtherAccounts)
        )
        .await,
        [""; 0]
    );
}

#[tokio::test]
async fn wrong_filters_are_refused() {
    let (_sandbox, client) = start().await;
    let unknown = "arn:aws:ram:us-east-1:111122223333:resource-share/none";

    assert_eq!(
        code(client.get_resource_shares().send().await),
        "InvalidParameterException"
    );
    assert_eq!(
        code(mine(&client).max_results(501).send().await),
        "InvalidParameterException"
    );
    assert_eq!(
        code(mine(&client).max_results(0).send().await),
        "InvalidParameterException"
    );
    assert_eq!(
        code(mine(&client).next_token("made up").send().await),
        "InvalidNextTokenException"
    );
    assert_eq!(
        code(mine(&client).resource_share_arns("none").send().await),
        "MalformedArnException"
    );
    assert_eq!(
        code(mine(&client).resource_share_arns(unknown).send().await),
        "UnknownResourceException"
    );
    assert_eq!(
        code(mine(&client).resource_share_status("ODD".into()).send().await),
        "InvalidParameterException"
    );
    let associations = || client.get_resource_share_associations();
    assert_eq!(code(associations().send().await), "InvalidParameterException");
    let crossed = associations()
        .association_type(Kind::Principal)
        .resource_arn(SUBNET);
    assert_eq!(code(crossed.send().await), "InvalidParameterException");
}

#[tokio::test]
async fn the_sdk_pages_through_shares() {
    let (sandbox, client) = start().await;
    for n in 0..5 {
        client
            .create_resource_share()
            .name(format!("share {n}"))
            .send()
            .await
            .unwrap();
    }

    let mut pages = mine(&client).into_paginator().page_size(2).send();
    let mut seen = Vec::new();
    while let Some(page) = pages.next().await {
        seen.extend(
            page.unwrap()
                .resource_shares()
                .iter()
                .map(|share| share.name().unwrap().to_owned()),
        );
    }

    assert_eq!(seen, ["share 0", "share 1", "share 2", "share 3", "share 4"]);
    assert_eq!(sandbox.stats().executions_of("GetResourceShares"), 3);
}

#[tokio::test]
async fn associations_are_filtered_and_paged() {
    let (_sandbox, client) = start().await;
    let resources = (0..3).map(|n| format!("{SUBNET}{n}")).collect();
    let arn = arn_of(
        &named(&client)
            .set_resource_arns(Some(resources))
            .principals(MEMBER)
            .send()
            .await
            .unwrap(),
    );
    named(&client).resource_arns(SUBNET).send().await.unwrap();
    let of = |kind| client.get_resource_share_associations().association_type(kind);
    let count = |request: aws_sdk_ram::operation::get_resource_share_associations::builders::GetResourceShareAssociationsFluentBuilder| async {
        request.send().await.unwrap().resource_share_associations().len()
    };

    assert_eq!(count(of(Kind::Resource)).await, 4);
    assert_eq!(count(of(Kind::Resource).resource_share_arns(&arn)).await, 3);
    assert_eq!(count(of(Kind::Resource).resource_arn(SUBNET)).await, 1);
    assert_eq!(
        count(of(Kind::Resource).association_status("ASSOCIATED".into())).await,
        4
    );
    assert_eq!(
        count(of(Kind::Resource).association_status("FAILED".into())).await,
        0
    );
    assert_eq!(count(of(Kind::Principal)).await, 1);
    assert_eq!(count(of(Kind::Source)).await, 0);
    let first = of(Kind::Resource).max_results(3).send().await.unwrap();
    let second = of(Kind::Resource)
        .max_results(3)
        .set_next_token(first.next_token)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (second.resource_share_associations().len(), second.next_token()),
        (1, None)
    );
}

#[tokio::test]
async fn resource_types_have_a_scope_and_pages() {
    let (_sandbox, client) = start().await;
    let all = client.list_resource_types().send().await.unwrap();
    assert!(
        all.resource_types()
            .iter()
            .any(|known| known.resource_type() == Some("ec2:Subnet"))
    );

    let global = client
        .list_resource_types()
        .resource_region_scope(Scope::Global)
        .send()
        .await
        .unwrap();
    let [network] = global.resource_types() else {
        panic!("one: {global:?}")
    };
    assert_eq!(network.resource_type(), Some("networkmanager:CoreNetwork"));
    assert_eq!(network.service_name(), Some("networkmanager"));

    let first = client.list_resource_types().max_results(15).send().await.unwrap();
    let rest = client
        .list_resource_types()
        .set_next_token(first.next_token)
        .send()
        .await
        .unwrap();
    assert_eq!((rest.resource_types().len(), rest.next_token()), (5, None));
}
