//! `GetResourceShares`: the account's shares, filtered. Those of other accounts are an empty list.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{error::Refusal, page::Page, share::Share, shares::Shares, validate};

pub(super) struct GetResourceShares;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_owner: Option<String>,
    resource_share_arns: Option<Vec<String>>,
    resource_share_status: Option<String>,
    name: Option<String>,
    tag_filters: Option<Vec<TagFilter>>,
    permission_arn: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagFilter {
    tag_key: Option<String>,
    tag_values: Option<Vec<String>>,
}

impl TagFilter {
    fn matches(&self, share: &Share) -> bool {
        let value = self.tag_key.as_ref().and_then(|key| share.tags.get(key));
        let wanted = self.tag_values.as_deref().unwrap_or_default();
        value.is_some_and(|value| wanted.is_empty() || wanted.contains(value))
    }
}

impl Input {
    fn matches(&self, share: &Share) -> bool {
        self.resource_share_arns
            .as_ref()
            .is_none_or(|arns| arns.contains(&share.arn))
            && self
                .resource_share_status
                .as_ref()
                .is_none_or(|status| status == share.status())
            && self.name.as_ref().is_none_or(|name| *name == share.name)
            && self
                .permission_arn
                .as_ref()
                .is_none_or(|arn| share.permissions.contains(arn))
            && self
                .tag_filters
                .as_ref()
                .is_none_or(|any| any.iter().any(|filter| filter.matches(share)))
    }
}

impl Action for GetResourceShares {
    const NAME: &'static str = "GetResourceShares";
    const PATH: &'static str = "/getresourceshares";
    type Input = Input;
    type Checked = (Input, Page);

    fn check(input: Input, _: &Context<'_>) -> Result<(Input, Page), Refusal> {
        match input.resource_owner.as_deref() {
            Some("SELF" | "OTHER-ACCOUNTS") => {}
            other => {
                let message =
                    format!("resourceOwner {other:?} is not valid. Specify SELF or OTHER-ACCOUNTS.");
                return Err(Refusal::invalid_parameter(message));
            }
        }
        if let Some(status) = input.resource_share_status.as_deref()
            && !matches!(status, "PENDING" | "ACTIVE" | "FAILED" | "DELETING" | "DELETED")
        {
            return Err(Refusal::invalid_parameter(format!(
                "resourceShareStatus {status:?} is not valid."
            )));
        }
        for arn in input.resource_share_arns.iter().flatten() {
            validate::share_arn(arn)?;
        }
        let page = Page::parse(Self::NAME, input.max_results, input.next_token.as_deref())?;
        Ok((input, page))
    }

    fn apply(
        (input, page): Self::Checked,
        context: &Context<'_>,
        shares: &mut Shares,
    ) -> Result<Value, Refusal> {
        if input.resource_owner.as_deref() == Some("OTHER-ACCOUNTS") {
            return Ok(json!({ "resourceShares": [] }));
        }
        if let Some(arn) = input
            .resource_share_arns
            .iter()
            .flatten()
            .find(|arn| shares.get(arn).is_none())
        {
            return Err(Refusal::unknown_share(arn));
        }
        let matching = shares.iter().filter(|share| input.matches(share));
        let (shares, next) =
            page.cut(matching.map(|share| (share.number, share.view(&context.settings.account))));
        Ok(super::listing("resourceShares", shares, next))
    }
}
