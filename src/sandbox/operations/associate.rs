//! `AssociateResourceShare`: adds resources, principals and sources to a share. What is there already is no fault.

use std::collections::HashSet;

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
        let Context { settings, now, .. } = *context;
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
        let keys: HashSet<_> = named.iter().map(Association::key).collect();
        let there: HashSet<_> = share.current_among(&keys).map(Association::key).collect();
        let fresh: Vec<_> = named
            .into_iter()
            .filter(|new| !there.contains(&new.key()))
            .collect();
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
        let views: Vec<_> = share
            .current_among(&keys)
            .map(|a| a.view(share, now, settings.settle))
            .collect();
        Ok(json!({ "resourceShareAssociations": views }))
    }
}
