//! `CreateResourceShare`: makes a share with everything in it.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Action, Context};
use crate::sandbox::{
    error::Refusal,
    share::{Association, Kind, Share},
    shares::Shares,
    validate::{self, Principal, Tag},
};

pub(super) struct CreateResourceShare;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    name: Option<String>,
    resource_arns: Option<Vec<String>>,
    principals: Option<Vec<String>>,
    tags: Option<Vec<Tag>>,
    allow_external_principals: Option<bool>,
    permission_arns: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    resource_share_configuration: Option<Configuration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    retain_sharing_on_account_leave_organization: Option<bool>,
}

impl Action for CreateResourceShare {
    const NAME: &'static str = "CreateResourceShare";
    const PATH: &'static str = "/createresourceshare";
    const TAKES_TOKEN: bool = true;
    type Input = Input;
    type Checked = Share;

    /// Answers with the share as it will be; it has no number and no ARN yet.
    fn check(input: Input, context: &Context<'_>) -> Result<Share, Refusal> {
        let Context { settings, now, .. } = *context;
        let name = validate::name(input.name.as_deref())?;
        let resources = validate::resources(&input.resource_arns.unwrap_or_default(), settings)?;
        let principals = validate::principals(&input.principals.unwrap_or_default(), settings)?;
        let sources = validate::sources(&input.sources.unwrap_or_default(), &principals)?;
        let permissions = validate::permissions(&input.permission_arns.unwrap_or_default(), settings)?;
        let tags = validate::tags(&input.tags.unwrap_or_default())?;
        let allow_external = input.allow_external_principals.unwrap_or(true);
        refuse_outsiders(allow_external, &principals)?;
        let configuration = input.resource_share_configuration.map(|configuration| {
            json!({ "retainSharingOnAccountLeaveOrganization":
                configuration.retain_sharing_on_account_leave_organization.unwrap_or(false) })
        });

        let mut share = Share::new(0, String::new(), name.to_owned(), now);
        share.associations = associations(resources, principals, sources, context);
        Ok(Share {
            allow_external,
            tags,
            permissions,
            configuration,
            ..share
        })
    }

    fn apply(mut share: Share, context: &Context<'_>, shares: &mut Shares) -> Result<Value, Refusal> {
        let Context { settings, now, .. } = *context;
        if shares.live() >= settings.quotas.shares {
            let message = format!(
                "Account {} has as many resource shares as it may.",
                settings.account
            );
            return Err(Refusal::share_limit_exceeded(message));
        }
        settings.quotas.check(&share)?;

        share.client_token = context.token.map(str::to_owned);
        share.number = shares.next_number();
        let partition = settings.partition();
        share.arn = format!(
            "arn:{partition}:ram:{}:{}:resource-share/{}",
            settings.region,
            settings.account,
            Uuid::new_v4()
        );
        for association in &mut share.associations {
            association.number = shares.next_number();
        }
        let view = share.view(&settings.account);
        shares.insert(share, now);
        Ok(json!({ "resourceShare": view }))
    }

    fn refresh(mut answer: Value, context: &Context<'_>, shares: &Shares) -> Value {
        let arn = answer
            .pointer("/resourceShare/resourceShareArn")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let view = shares.get(arn).map(|share| share.view(&context.settings.account));
        if let (Some(view), Some(place)) = (view, answer.pointer_mut("/resourceShare")) {
            *place = view;
        }
        answer
    }
}

/// Refuses principals of other accounts where the share does not allow them.
pub(super) fn refuse_outsiders(allow_external: bool, principals: &[Principal]) -> Result<(), Refusal> {
    match principals.iter().find(|p| p.external && !allow_external) {
        None => Ok(()),
        Some(outsider) => Err(Refusal::operation_not_permitted(format!(
            "The resource share can be shared within the organization only, and {} is not in it.",
            outsider.entity
        ))),
    }
}

/// New associations, still without their numbers.
pub(super) fn associations(
    resources: Vec<String>,
    principals: Vec<Principal>,
    sources: Vec<String>,
    context: &Context<'_>,
) -> Vec<Association> {
    let created = context.now;
    let new = |kind, entity, external| Association {
        number: 0,
        kind,
        entity,
        external,
        created,
        ended: None,
    };
    let resources = resources
        .into_iter()
        .map(|entity| new(Kind::Resource, entity, false));
    let principals = principals
        .into_iter()
        .map(|p| new(Kind::Principal, p.entity, p.external));
    let sources = sources.into_iter().map(|entity| new(Kind::Source, entity, false));
    resources.chain(principals).chain(sources).collect()
}
