//! `ListResourceTypes`: a part of what RAM can share, enough to page through.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Context};
use crate::sandbox::{error::Refusal, page::Page, shares::Shares};

pub(super) struct ListResourceTypes;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_region_scope: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

const TYPES: [(&str, &str); 20] = [
    ("acm-pca:CertificateAuthority", "REGIONAL"),
    ("appmesh:Mesh", "REGIONAL"),
    ("codebuild:Project", "REGIONAL"),
    ("codebuild:ReportGroup", "REGIONAL"),
    ("ec2:CapacityReservation", "REGIONAL"),
    ("ec2:DedicatedHost", "REGIONAL"),
    ("ec2:IpamPool", "REGIONAL"),
    ("ec2:PrefixList", "REGIONAL"),
    ("ec2:Subnet", "REGIONAL"),
    ("ec2:TransitGateway", "REGIONAL"),
    ("glue:Catalog", "REGIONAL"),
    ("glue:Database", "REGIONAL"),
    ("glue:Table", "REGIONAL"),
    ("imagebuilder:Component", "REGIONAL"),
    ("imagebuilder:Image", "REGIONAL"),
    ("license-manager:LicenseConfiguration", "REGIONAL"),
    ("networkmanager:CoreNetwork", "GLOBAL"),
    ("rds:Cluster", "REGIONAL"),
    ("resource-groups:Group", "REGIONAL"),
    ("route53resolver:ResolverRule", "REGIONAL"),
];

impl Action for ListResourceTypes {
    const NAME: &'static str = "ListResourceTypes";
    const PATH: &'static str = "/listresourcetypes";
    type Input = Input;
    type Checked = (String, Page);

    fn check(input: Input, _: &Context<'_>) -> Result<(String, Page), Refusal> {
        let scope = input.resource_region_scope.unwrap_or_else(|| "ALL".to_owned());
        if !matches!(scope.as_str(), "ALL" | "REGIONAL" | "GLOBAL") {
            return Err(Refusal::invalid_parameter(format!(
                "resourceRegionScope {scope:?} is not valid."
            )));
        }
        Ok((
            scope,
            Page::parse(Self::NAME, input.max_results, input.next_token.as_deref())?,
        ))
    }

    fn apply((scope, page): (String, Page), _: &Context<'_>, _: &mut Shares) -> Result<Value, Refusal> {
        let numbered = (1..).zip(TYPES);
        let wanted = numbered.filter(|(_, (_, its))| scope == "ALL" || scope == *its);
        let (types, next) = page.cut(wanted.map(|(number, (name, scope))| {
            let service = name.split(':').next();
            (
                number,
                json!({ "resourceType": name, "serviceName": service, "resourceRegionScope": scope }),
            )
        }));
        Ok(super::listing("resourceTypes", types, next))
    }
}
