//! `TagResource`: adds tags to a share and replaces those with the same key.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{
    error::Refusal,
    shares::Shares,
    validate::{self, MOST_TAGS, Tag},
};

pub(super) struct TagResource;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_share_arn: Option<String>,
    resource_arn: Option<String>,
    tags: Option<Vec<Tag>>,
}

impl Action for TagResource {
    const NAME: &'static str = "TagResource";
    const PATH: &'static str = "/tagresource";
    type Input = Input;
    type Checked = (String, BTreeMap<String, String>);

    fn check(input: Input, _: &Context<'_>) -> Result<Self::Checked, Refusal> {
        let arn = input
            .resource_share_arn
            .or(input.resource_arn)
            .unwrap_or_default();
        validate::share_arn(&arn)?;
        Ok((arn, validate::tags(&input.tags.unwrap_or_default())?))
    }

    fn apply(
        (arn, tags): Self::Checked,
        context: &Context<'_>,
        shares: &mut Shares,
    ) -> Result<Value, Refusal> {
        let share = super::active(shares, &arn)?;
        let added = tags.keys().filter(|key| !share.tags.contains_key(*key)).count();
        if share.tags.len().saturating_add(added) > MOST_TAGS {
            return Err(Refusal::tag_limit_exceeded(format!(
                "A resource share can have {MOST_TAGS} tags."
            )));
        }
        share.tags.extend(tags);
        share.updated = context.now;
        Ok(json!({}))
    }
}
