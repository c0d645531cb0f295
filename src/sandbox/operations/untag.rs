//! `UntagResource`: takes tags from a share. A key that is not there is no fault.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{error::Refusal, shares::Shares, validate};

pub(super) struct UntagResource;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_share_arn: Option<String>,
    resource_arn: Option<String>,
    tag_keys: Option<Vec<String>>,
}

impl Action for UntagResource {
    const NAME: &'static str = "UntagResource";
    const PATH: &'static str = "/untagresource";
    type Input = Input;
    type Checked = (String, Vec<String>);

    fn check(input: Input, _: &Context<'_>) -> Result<Self::Checked, Refusal> {
        let arn = input
            .resource_share_arn
            .or(input.resource_arn)
            .unwrap_or_default();
        validate::share_arn(&arn)?;
        Ok((arn, input.tag_keys.unwrap_or_default()))
    }

    fn apply(
        (arn, keys): Self::Checked,
        context: &Context<'_>,
        shares: &mut Shares,
    ) -> Result<Value, Refusal> {
        let share = super::active(shares, &arn)?;
        share.tags.retain(|key, _| !keys.contains(key));
        share.updated = context.now;
        Ok(json!({}))
    }
}
