//! `GetResourceShareAssociations`: what belongs to the shares, and how far it has come.

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Context};
use crate::sandbox::{
    error::Refusal,
    page::Page,
    share::{Association, Kind},
    shares::Shares,
    validate,
};

pub(super) struct GetResourceShareAssociations;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    association_type: Option<String>,
    resource_share_arns: Option<Vec<String>>,
    resource_arn: Option<String>,
    principal: Option<String>,
    association_status: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

const STATUSES: [&str; 8] = [
    "ASSOCIATING",
    "ASSOCIATED",
    "FAILED",
    "DISASSOCIATING",
    "DISASSOCIATED",
    "SUSPENDED",
    "SUSPENDING",
    "RESTORING",
];

impl Action for GetResourceShareAssociations {
    const NAME: &'static str = "GetResourceShareAssociations";
    const PATH: &'static str = "/getresourceshareassociations";
    type Input = Input;
    type Checked = (Input, Kind, Page);

    fn check(input: Input, _: &Context<'_>) -> Result<Self::Checked, Refusal> {
        let kind = match input.association_type.as_deref() {
            Some("PRINCIPAL") => Kind::Principal,
            Some("RESOURCE") => Kind::Resource,
            Some("SOURCE") => Kind::Source,
            other => {
                let message = format!("associationType {other:?} is not PRINCIPAL, RESOURCE or SOURCE.");
                return Err(Refusal::invalid_parameter(message));
            }
        };
        if input.resource_arn.is_some() && kind != Kind::Resource {
            return Err(Refusal::invalid_parameter(
                "resourceArn goes with associationType RESOURCE only.",
            ));
        }
        if input.principal.is_some() && kind != Kind::Principal {
            return Err(Refusal::invalid_parameter(
                "principal goes with associationType PRINCIPAL only.",
            ));
        }
        if let Some(status) = input.association_status.as_deref()
            && !STATUSES.contains(&status)
        {
            return Err(Refusal::invalid_parameter(format!(
                "associationStatus {status:?} is not valid."
            )));
        }
        for arn in input.resource_share_arns.iter().flatten() {
            validate::share_arn(arn)?;
        }
        let page = Page::parse(Self::NAME, input.max_results, input.next_token.as_deref())?;
        Ok((input, kind, page))
    }

    fn apply(
        (input, kind, page): Self::Checked,
        context: &Context<'_>,
        shares: &mut Shares,
    ) -> Result<Value, Refusal> {
        let Context { settings, now, .. } = *context;
        if let Some(arn) = input
            .resource_share_arns
            .iter()
            .flatten()
            .find(|arn| shares.get(arn).is_none())
        {
            return Err(Refusal::unknown_share(arn));
        }
        let wanted = |association: &Association| {
            association.kind == kind
                && [&input.resource_arn, &input.principal]
                    .into_iter()
                    .flatten()
                    .all(|entity| *entity == association.entity)
                && input
                    .association_status
                    .as_ref()
                    .is_none_or(|status| status == association.status(now, settings.settle))
        };
        let mut found: Vec<_> = shares
            .iter()
            .filter(|share| {
                input
                    .resource_share_arns
                    .as_ref()
                    .is_none_or(|arns| arns.contains(&share.arn))
            })
            .flat_map(|share| {
                share
                    .associations
                    .iter()
                    .map(move |association| (share, association))
            })
            .filter(|(_, association)| wanted(association))
            .collect();
        // An association that was added later has a higher number than those of younger shares.
        found.sort_unstable_by_key(|(_, association)| association.number);
        let views = found
            .into_iter()
            .map(|(share, association)| (association.number, association.view(share, now, settings.settle)));
        let (associations, next) = page.cut(views);
        Ok(super::listing("resourceShareAssociations", associations, next))
    }
}
