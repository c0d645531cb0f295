//! `AssociateResourceShare`: adds resources, principals and sources to a share. What is there already is no fault.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context, create};
use crate::sandbox::{
    error::Refusal,
    share::{Association, Kind},
    shares::Shares,
    validate::{self, Principal},
};

pub(super) struct AssociateResourceShare;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_share_arn: Option<String>,
    resource_arns: Option<Vec<String>>,
    principals: Option<Vec<String>>,
    sources: Option<Vec<String>>,
}

pub(super) struct Checked {
    arn: String,
    resources: Vec<String>,
    principals: Vec<Principal>,
    sources: Vec<String>,
}

impl Action for AssociateResourceShare {
    const NAME: &'static str = "AssociateResourceShare";
    const PATH: &'static str = "/associateresourceshare";
    const TAKES_TOKEN: bool = true;
    type Input = Input;
    type Checked = Checked;

    fn check(input: Input, context: &Context<'_>) -> Result<Checked, Refusal> {
        let arn = input.resource_share_arn.unwrap_or_default();
        validate::share_arn(&arn)?;
        let resources = validate::resources(&input.resource_arns.unwrap_or_default(), context.settings)?;
        let principals = validate::principals(&input.principals.unwrap_or_default(), context.settings)?;
        let sources = input.sources.unwrap_or_default();
        if resources.is_empty() && principals.is_empty() && sources.is_empty() {
            return Err(Refusal::invalid_parameter(
                "Name at least one resource, principal or source.",
            ));
        }
        Ok(Checked {
            arn,
            resources,
            principals,
            sources,
        })
    }

    fn apply(checked: Checked, context: &Context<'_>, shares: &mut Shares) -> Result<Value, Refusal> {
        let Context { settings, now } = *context;
        let Checked {
            arn,
            resources,
            principals,
            sources,
        } = checked;
        let share = super::active(shares, &arn)?;
        create::refuse_outsiders(share.allow_external, &principals)?;

        // The rules on mixing hold for the share as it will be.
        let present = share
            .current(Kind::Principal)
            .map(|association| association.entity.clone());
        let asked = principals.iter().map(|principal| principal.entity.clone());
        let all = validate::principals(&present.chain(asked).collect::<Vec<_>>(), settings)?;
        let sources = validate::sources(&sources, &all)?;

        let named = create::associations(resources, principals, sources, context);
        let same =
            |one: &Association, other: &Association| one.kind == other.kind && one.entity == other.entity;
        let is_current = |new: &Association| {
            share
                .associations
                .iter()
                .any(|a| a.ended.is_none() && same(a, new))
        };
        let views_of = |share: &crate::sandbox::share::Share, named: &[(Kind, String)]| -> Vec<Value> {
            let current = share.associations.iter().filter(|a| a.ended.is_none());
            current
                .filter(|a| {
                    named
                        .iter()
                        .any(|(kind, entity)| *kind == a.kind && *entity == a.entity)
                })
                .map(|a| a.view(share, now, settings.settle))
                .collect()
        };
        let names: Vec<_> = named.iter().map(|a| (a.kind, a.entity.clone())).collect();
        let fresh: Vec<_> = named.into_iter().filter(|new| !is_current(new)).collect();
        settings.quotas.check_growth(share, &fresh)?;

        let numbered: Vec<_> = fresh
            .into_iter()
            .map(|association| Association {
                number: shares.next_number(),
                ..association
            })
            .collect();
        let share = super::active(shares, &arn)?;
        share.associations.extend(numbered);
        share.updated = now;
        Ok(json!({ "resourceShareAssociations": views_of(share, &names) }))
    }
}
