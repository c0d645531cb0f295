//! `DisassociateResourceShare`: takes resources, principals and sources out of a share.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{error::Refusal, share::Kind, shares::Shares, validate};

pub(super) struct DisassociateResourceShare;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_share_arn: Option<String>,
    resource_arns: Option<Vec<String>>,
    principals: Option<Vec<String>>,
    sources: Option<Vec<String>>,
}

impl Action for DisassociateResourceShare {
    const NAME: &'static str = "DisassociateResourceShare";
    const PATH: &'static str = "/disassociateresourceshare";
    const TAKES_TOKEN: bool = true;
    type Input = Input;
    type Checked = (String, HashSet<(Kind, String)>);

    fn check(input: Input, _: &Context<'_>) -> Result<Self::Checked, Refusal> {
        let arn = input.resource_share_arn.unwrap_or_default();
        validate::share_arn(&arn)?;
        let named: HashSet<_> = [
            (Kind::Resource, input.resource_arns),
            (Kind::Principal, input.principals),
            (Kind::Source, input.sources),
        ]
        .into_iter()
        .flat_map(|(kind, entities)| {
            entities
                .unwrap_or_default()
                .into_iter()
                .map(move |entity| (kind, entity))
        })
        .collect();
        if named.is_empty() {
            return Err(Refusal::invalid_parameter(
                "Name at least one resource, principal or source.",
            ));
        }
        Ok((arn, named))
    }

    fn apply(
        (arn, named): Self::Checked,
        context: &Context<'_>,
        shares: &mut Shares,
    ) -> Result<Value, Refusal> {
        let Context { settings, now, .. } = *context;
        let share = super::active(shares, &arn)?;
        let there: HashMap<_, _> = share.current_among(&named).map(|a| (a.key(), a)).collect();
        for key in &named {
            let (_, entity) = key;
            let Some(current) = there.get(key) else {
                return Err(Refusal::unknown_resource(format!(
                    "{entity} is not associated with {arn}."
                )));
            };
            // An external principal never gets further than that, so it may always be taken out.
            if current.status(now, settings.settle) == "ASSOCIATING" && !current.external {
                return Err(Refusal::invalid_state_transition(format!(
                    "{entity} is still being associated."
                )));
            }
        }

        let mut ended = HashSet::new();
        for association in share.associations.iter_mut().filter(|a| a.ended.is_none()) {
            if named.contains(&association.key()) {
                association.ended = Some(now);
                ended.insert(association.number);
            }
        }
        share.updated = now;
        let views: Vec<_> = share
            .associations
            .iter()
            .filter(|a| ended.contains(&a.number))
            .map(|a| a.view(share, now, settings.settle))
            .collect();
        Ok(json!({ "resourceShareAssociations": views }))
    }
}
