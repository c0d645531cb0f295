//! `ResourceShareService.ListResourceTypes`: RAM's ListResourceTypes.

use aws_sdk_ram::types;
use tonic_types::FieldViolation;

use crate::{
    failure::Failure,
    idempotency::UpstreamToken,
    operation::{Facts, Operation, Repeat},
    pb::{
        recognize,
        v1::{self, ListResourceTypesRequest, ListResourceTypesResponse},
    },
    ram::{Ram, error},
    rules::Violations,
};

/// The operation.
#[derive(Debug)]
pub struct ListResourceTypes;

impl Operation for ListResourceTypes {
    const NAME: &'static str = "ListResourceTypes";
    const ACTION: &'static str = "ram:ListResourceTypes";
    const REPEAT: Repeat = Repeat::Safe;
    const READS_ONLY: bool = true;
    type Input = ListResourceTypesRequest;
    type Output = ListResourceTypesResponse;

    fn validate(input: &Self::Input) -> Vec<FieldViolation> {
        let mut out = Violations::default();
        if input.max_results.is_some_and(|n| !(1..=500).contains(&n)) {
            out.add("max_results", "must be 1 to 500, or unset");
        }
        if v1::ResourceRegionScopeFilter::try_from(input.resource_region_scope).is_err() {
            out.add(
                "resource_region_scope",
                "is not a value that this service knows; leave it unset to list all",
            );
        }
        out.into_vec()
    }

    fn describe(_: &Self::Input) -> Facts<'_> {
        Facts::default()
    }

    async fn send(ram: &Ram, input: &Self::Input, _token: &UpstreamToken) -> Result<Self::Output, Failure> {
        use v1::ResourceRegionScopeFilter as Filter;
        let scope = match input.resource_region_scope() {
            Filter::Unspecified => None,
            Filter::All => Some(types::ResourceRegionScopeFilter::All),
            Filter::Regional => Some(types::ResourceRegionScopeFilter::Regional),
            Filter::Global => Some(types::ResourceRegionScopeFilter::Global),
        };
        let output = ram
            .client
            .list_resource_types()
            .set_next_token((!input.next_token.is_empty()).then(|| input.next_token.clone()))
            .set_max_results(input.max_results)
            .set_resource_region_scope(scope)
            .send()
            .await
            .map_err(|e| error::failure(e, &ram.target, &[]))?;
        Ok(ListResourceTypesResponse {
            resource_types: output
                .resource_types
                .unwrap_or_default()
                .into_iter()
                .map(resource_type)
                .collect(),
            next_token: output.next_token.unwrap_or_default(),
        })
    }
}

fn resource_type(item: types::ServiceNameAndResourceType) -> v1::ServiceNameAndResourceType {
    let scope = item
        .resource_region_scope
        .as_ref()
        .map(types::ResourceRegionScope::as_str);
    let (scope, unrecognized) = recognize(
        "RESOURCE_REGION_SCOPE_",
        scope,
        v1::ResourceRegionScope::from_str_name,
    );
    v1::ServiceNameAndResourceType {
        resource_type: item.resource_type.unwrap_or_default(),
        service_name: item.service_name.unwrap_or_default(),
        resource_region_scope: scope.into(),
        unrecognized_resource_region_scope: unrecognized,
    }
}
