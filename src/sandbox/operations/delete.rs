//! `DeleteResourceShare`: ends a share, which stays visible as deleted for a while.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{error::Refusal, shares::Shares, validate};

pub(super) struct DeleteResourceShare;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_share_arn: Option<String>,
}

impl Action for DeleteResourceShare {
    const NAME: &'static str = "DeleteResourceShare";
    const METHOD: Method = Method::DELETE;
    const PATH: &'static str = "/deleteresourceshare";
    const TAKES_TOKEN: bool = true;
    type Input = Input;
    type Checked = String;

    fn check(input: Input, _: &Context<'_>) -> Result<String, Refusal> {
        let arn = input.resource_share_arn.unwrap_or_default();
        validate::share_arn(&arn)?;
        Ok(arn)
    }

    fn apply(arn: String, context: &Context<'_>, shares: &mut Shares) -> Result<Value, Refusal> {
        if shares.get(&arn).is_none() {
            return Err(Refusal::unknown_share(&arn));
        }
        if !shares.delete(&arn, context.now) {
            return Err(Refusal::invalid_state_transition(format!(
                "ResourceShare {arn} is deleted already."
            )));
        }
        Ok(json!({ "returnValue": true }))
    }
}
