//! `ResourceShareService.Create`: RAM's CreateResourceShare.
//!
//! Source of the members and their meaning: AWS RAM API reference, CreateResourceShare.

use aws_sdk_ram::{operation::RequestId, types};
use prost_types::Timestamp;
use tonic_types::FieldViolation;

use crate::{
    failure::Failure,
    idempotency::{CanonicalWriter, UpstreamToken, client_token_fault},
    operation::{Facts, Operation, Repeat},
    pb::{
        recognize,
        v1::{self, CreateResourceShareRequest, CreateResourceShareResponse},
    },
    ram::{
        Ram,
        error::{self, Place},
    },
    rules::{self, Violations},
};

/// The operation.
#[derive(Debug)]
pub struct CreateResourceShare;

impl Operation for CreateResourceShare {
    const NAME: &'static str = "CreateResourceShare";
    const ACTION: &'static str = "ram:CreateResourceShare";
    const REPEAT: Repeat = Repeat::WithToken;
    const MARKED: bool = true;
    type Input = CreateResourceShareRequest;
    type Output = CreateResourceShareResponse;

    fn validate(input: &Self::Input) -> Vec<FieldViolation> {
        let mut out = Violations::default();
        out.check("name", &input.name, rules::share_name);
        if input.resource_arns.len() > rules::MAX_RESOURCES {
            out.add(
                "resource_arns",
                "may have at most 100 entries; attach the others to the share afterwards",
            );
        }
        out.check_each("resource_arns", &input.resource_arns, rules::resource_arn);
        out.check_each("principals", &input.principals, rules::principal);
        let services = input.principals.iter().filter(|p| rules::is_service(p)).count();
        if services > 0 && services < input.principals.len() {
            out.add(
                "principals",
                "mixes AWS services with other principals; make a share for each kind",
            );
        }
        if services == 0 && !input.sources.is_empty() {
            out.add(
                "sources",
                "goes with AWS services as principals only; remove it or name a service",
            );
        }
        if input.sources.iter().any(|s| s.trim().is_empty()) {
            out.add("sources", "has an empty entry; remove it");
        }
        rules::tags(
            &mut out,
            input.tags.iter().map(|t| (t.key.as_str(), t.value.as_str())),
        );
        if let Some(fault) = Self::client_token(input).and_then(client_token_fault) {
            out.add("client_token", fault);
        }
        out.check_each("permission_arns", &input.permission_arns, rules::permission_arn);
        out.into_vec()
    }

    fn describe(input: &Self::Input) -> Facts<'_> {
        Facts {
            name: &input.name,
            resource_arns: &input.resource_arns,
            principals: &input.principals,
            allow_external_principals: !forbids_external(input),
            retain_on_leave: retains_on_leave(input),
            tags: input
                .tags
                .iter()
                .map(|t| (t.key.as_str(), t.value.as_str()))
                .collect(),
            permission_arns: &input.permission_arns,
            sources: &input.sources,
        }
    }

    fn validate_marker(input: &Self::Input, marker_tag: &str) -> Vec<FieldViolation> {
        let mut out = Violations::default();
        for (i, _) in input.tags.iter().enumerate().filter(|(_, t)| t.key == marker_tag) {
            let rule = "is the key of the tag by which this service finds the share again; choose another";
            out.add(format!("tags[{i}].key"), rule);
        }
        if input.tags.len() == rules::MAX_TAGS {
            let rule = "may have at most 49 entries, since this service adds one by which it finds the share again; \
                        remove one";
            out.add("tags", rule);
        }
        out.into_vec()
    }

    fn client_token(input: &Self::Input) -> Option<&str> {
        (!input.client_token.is_empty()).then_some(input.client_token.as_str())
    }

    fn set_client_token(output: &mut Self::Output, token: &str) {
        token.clone_into(&mut output.client_token);
    }

    fn share_arn(output: &Self::Output) -> Option<&str> {
        output
            .resource_share
            .as_ref()
            .map(|s| s.resource_share_arn.as_str())
    }

    fn validate_only(input: &Self::Input) -> bool {
        input.validate_only
    }

    fn canonical(input: &Self::Input, out: &mut CanonicalWriter) {
        out.text(1, &input.name);
        out.texts_as_set(2, &input.resource_arns);
        out.texts_as_set(3, &input.principals);
        out.pairs_by_key(4, input.tags.iter().map(|t| (t.key.as_str(), t.value.as_str())));
        if forbids_external(input) {
            out.flag(5, false);
        }
        out.texts_as_set(7, &input.permission_arns);
        out.texts_as_set(8, &input.sources);
        if retains_on_leave(input) {
            out.flag(9, true);
        }
    }

    async fn send(ram: &Ram, input: &Self::Input, token: &UpstreamToken) -> Result<Self::Output, Failure> {
        let output = ram
            .client
            .create_resource_share()
            .name(&input.name)
            .set_resource_arns(as_set(&input.resource_arns))
            .set_principals(as_set(&input.principals))
            .set_tags(tags_by_key(&input.tags, &ram.marker_tag, token))
            .set_allow_external_principals(forbids_external(input).then_some(false))
            .client_token(token.as_str())
            .set_permission_arns(as_set(&input.permission_arns))
            .set_sources(as_set(&input.sources))
            .set_resource_share_configuration(retains_on_leave(input).then(|| {
                types::ResourceShareConfiguration::builder()
                    .retain_sharing_on_account_leave_organization(true)
                    .build()
            }))
            .send()
            .await
            .map_err(|e| error::failure(e, &ram.target, &places(input)))?;

        // A success without an ARN proves nothing: it must not be recorded as one.
        let request_id = output.request_id().map(ToOwned::to_owned);
        let share = output
            .resource_share
            .filter(|s| s.resource_share_arn.as_ref().is_some_and(|a| !a.is_empty()));
        let share = share.ok_or_else(|| error::empty_answer(request_id.as_deref()))?;
        Ok(CreateResourceShareResponse {
            resource_share: Some(resource_share(share, &ram.marker_tag)),
            client_token: String::new(),
        })
    }

    /// Finds the share by its tag, in whatever state RAM lists it: one that failed or is being deleted was executed.
    async fn find(ram: &Ram, token: &UpstreamToken) -> Result<Option<Self::Output>, Failure> {
        let mut found = Vec::new();
        let mut next_token = None;
        // A page may be empty and not the last.
        loop {
            let page = ram
                .client
                .get_resource_shares()
                .resource_owner(types::ResourceOwner::SelfValue)
                .tag_filters(
                    types::TagFilter::builder()
                        .tag_key(&*ram.marker_tag)
                        .tag_values(token.as_str())
                        .build(),
                )
                .set_next_token(next_token)
                .send()
                .await
                .map_err(|e| error::failure(e, &ram.target, &[]))?;
            let request_id = page.request_id().map(ToOwned::to_owned);
            let shares = page
                .resource_shares
                .ok_or_else(|| error::empty_answer(request_id.as_deref()))?;
            for share in shares {
                if !carries(&share, &ram.marker_tag, token) {
                    // RAM answered another question, so that this one has no answer.
                    return Err(error::empty_answer(request_id.as_deref()));
                }
                found.push(share);
            }
            next_token = page.next_token.filter(|token| !token.is_empty());
            if next_token.is_none() {
                break;
            }
        }
        // A copy of the tag on another share is somebody's own doing, and later than the original.
        let first = found.into_iter().min_by_key(|share| {
            let created = share.creation_time.map(|at| (at.secs(), at.subsec_nanos()));
            (created, share.resource_share_arn.clone())
        });
        Ok(first.map(|share| CreateResourceShareResponse {
            resource_share: Some(resource_share(share, &ram.marker_tag)),
            client_token: String::new(),
        }))
    }
}

/// Whether RAM's answer fits the question: a share without the tag is another's, one without a name is none.
fn carries(share: &types::ResourceShare, marker_tag: &str, token: &UpstreamToken) -> bool {
    share.resource_share_arn().is_some_and(|arn| !arn.is_empty())
        && share
            .tags()
            .iter()
            .any(|tag| tag.key() == Some(marker_tag) && tag.value() == Some(token.as_str()))
}

// A default that is spelt out is the same intent as one left out. Neither the fingerprint nor RAM sees a difference: RAM
// compares what it gets under a token, and may do so literally.

/// Whether external principals are forbidden; AWS's default is that they are not.
fn forbids_external(input: &CreateResourceShareRequest) -> bool {
    input.allow_external_principals == Some(false)
}

/// Whether an account that leaves the organization keeps its access; AWS's default is that it does not.
fn retains_on_leave(input: &CreateResourceShareRequest) -> bool {
    let configuration = input.resource_share_configuration.as_ref();
    configuration.and_then(|c| c.retain_sharing_on_account_leave_organization) == Some(true)
}

/// Sorted and without duplicates, as the fingerprint sees it: RAM compares what it gets under a token, and whether it
/// minds the order is not published. `None` when empty, because RAM tells an empty list from none.
fn as_set(values: &[String]) -> Option<Vec<String>> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    (!values.is_empty()).then_some(values)
}

/// The caller's tags and the marker.
fn tags_by_key(tags: &[v1::Tag], marker_tag: &str, token: &UpstreamToken) -> Option<Vec<types::Tag>> {
    let mut tags: Vec<_> = tags.iter().map(|t| (t.key.as_str(), t.value.as_str())).collect();
    if !marker_tag.is_empty() {
        tags.push((marker_tag, token.as_str()));
    }
    tags.sort_unstable_by_key(|(key, _)| *key);
    let tags: Vec<_> = tags
        .iter()
        .map(|(key, value)| types::Tag::builder().key(*key).value(*value).build())
        .collect();
    (!tags.is_empty()).then_some(tags)
}

/// The values that RAM's messages quote.
fn places(input: &CreateResourceShareRequest) -> Vec<Place<'_>> {
    let lists = [
        ("resource_arns", &input.resource_arns),
        ("principals", &input.principals),
        ("permission_arns", &input.permission_arns),
        ("sources", &input.sources),
    ];
    let listed = lists.into_iter().flat_map(|(field, values)| {
        values
            .iter()
            .enumerate()
            .map(move |(i, value)| (format!("{field}[{i}]"), value.as_str()))
    });
    let tags = input
        .tags
        .iter()
        .enumerate()
        .map(|(i, tag)| (format!("tags[{i}].key"), tag.key.as_str()));
    listed.chain(tags).collect()
}

/// The share as its caller knows it: without the marker, which they did not send.
fn resource_share(share: types::ResourceShare, marker_tag: &str) -> v1::ResourceShare {
    use v1::{ResourceShareFeatureSet as FeatureSet, ResourceShareStatus as Status};

    let status = share.status.as_ref().map(types::ResourceShareStatus::as_str);
    let (status, unrecognized_status) = recognize("RESOURCE_SHARE_STATUS_", status, Status::from_str_name);
    let feature_set = share
        .feature_set
        .as_ref()
        .map(types::ResourceShareFeatureSet::as_str);
    let (feature_set, unrecognized_feature_set) = recognize(
        "RESOURCE_SHARE_FEATURE_SET_",
        feature_set,
        FeatureSet::from_str_name,
    );
    v1::ResourceShare {
        status: status.into(),
        unrecognized_status,
        feature_set: feature_set.into(),
        unrecognized_feature_set,
        resource_share_arn: share.resource_share_arn.unwrap_or_default(),
        name: share.name.unwrap_or_default(),
        owning_account_id: share.owning_account_id.unwrap_or_default(),
        allow_external_principals: share.allow_external_principals,
        status_message: share.status_message.unwrap_or_default(),
        tags: share
            .tags
            .unwrap_or_default()
            .into_iter()
            .filter(|t| marker_tag.is_empty() || t.key.as_deref() != Some(marker_tag))
            .map(|t| v1::Tag {
                key: t.key.unwrap_or_default(),
                value: t.value.unwrap_or_default(),
            })
            .collect(),
        creation_time: share.creation_time.map(timestamp),
        last_updated_time: share.last_updated_time.map(timestamp),
        resource_share_configuration: share.resource_share_configuration.map(|c| {
            v1::ResourceShareConfiguration {
                retain_sharing_on_account_leave_organization: c.retain_sharing_on_account_leave_organization,
            }
        }),
    }
}

fn timestamp(time: aws_smithy_types::DateTime) -> Timestamp {
    Timestamp {
        seconds: time.secs(),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    }
}
