//! `UpdateResourceShare`: changes the name and whether other accounts may be principals. What is left out stays.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{error::Refusal, shares::Shares, validate};

pub(super) struct UpdateResourceShare;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_share_arn: Option<String>,
    name: Option<String>,
    allow_external_principals: Option<bool>,
}

impl Action for UpdateResourceShare {
    const NAME: &'static str = "UpdateResourceShare";
    const PATH: &'static str = "/updateresourceshare";
    const TAKES_TOKEN: bool = true;
    type Input = Input;
    type Checked = (String, Input);

    fn check(mut input: Input, _: &Context<'_>) -> Result<Self::Checked, Refusal> {
        let arn = input.resource_share_arn.take().unwrap_or_default();
        validate::share_arn(&arn)?;
        if let Some(name) = input.name.as_deref() {
            validate::name(Some(name))?;
        }
        Ok((arn, input))
    }

    fn apply(
        (arn, input): Self::Checked,
        context: &Context<'_>,
        shares: &mut Shares,
    ) -> Result<Value, Refusal> {
        let share = super::active(shares, &arn)?;
        if let Some(name) = input.name {
            share.name = name;
        }
        if let Some(allow) = input.allow_external_principals {
            share.allow_external = allow;
        }
        share.updated = context.now;
        Ok(json!({ "resourceShare": share.view(&context.settings.account) }))
    }
}
