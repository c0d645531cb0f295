//! With whom a share may be shared: accounts, the organization and its units, IAM roles and users, or service principals.

use std::collections::HashSet;

use super::arn;
use crate::sandbox::{Settings, error::Refusal};

/// A principal that the rules accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// As the caller wrote it.
    pub(crate) entity: String,
    /// Belongs to an account outside of the organization.
    pub(crate) external: bool,
    /// Names an AWS service. Only such a principal may come with sources, and none of another kind beside it.
    pub(crate) service: bool,
}

/// Refuses the first principal that is not valid; answers with the list, each principal once.
pub(crate) fn check(entities: &[String], settings: &Settings) -> Result<Vec<Principal>, Refusal> {
    let mut seen = HashSet::new();
    let mut once = Vec::with_capacity(entities.len());
    for entity in entities.iter().filter(|entity| seen.insert(*entity)) {
        once.push(one(entity, settings)?);
    }
    if once.iter().any(|p| p.service) && !once.iter().all(|p| p.service) {
        return Err(Refusal::invalid_parameter(
            "Service principals cannot be combined with principals of another kind.",
        ));
    }
    Ok(once)
}

fn one(entity: &str, settings: &Settings) -> Result<Principal, Refusal> {
    let principal = |external, service| Principal {
        entity: entity.to_owned(),
        external,
        service,
    };
    if arn::is_account(entity) {
        return Ok(principal(is_external(entity, settings), false));
    }
    if is_service(entity) {
        return Ok(principal(false, true));
    }
    if !entity.starts_with("arn:") {
        let message = format!("Principal ID {entity} is malformed. Verify the ID and try again.");
        return Err(Refusal::invalid_parameter(message));
    }
    let parsed = arn::parse(entity)?;
    match parsed.service {
        "organizations" => {
            in_organization(entity, parsed.resource, settings).map(|()| principal(false, false))
        }
        "iam"
            if parsed.region.is_empty()
                && arn::is_account(parsed.account)
                && is_identity(parsed.resource) =>
        {
            Ok(principal(is_external(parsed.account, settings), false))
        }
        _ => Err(Refusal::malformed_arn(entity)),
    }
}

fn is_external(account: &str, settings: &Settings) -> bool {
    let member =
        settings.organization.is_some() && settings.organization_accounts.iter().any(|a| a == account);
    account != settings.account && !member
}

fn is_identity(resource: &str) -> bool {
    ["role/", "user/"]
        .iter()
        .any(|kind| resource.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
}

fn is_service(entity: &str) -> bool {
    let name = entity
        .strip_suffix(".amazonaws.com")
        .or_else(|| entity.strip_suffix(".amazonaws.com.cn"));
    name.is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    })
}

/// Every unit of the known organization exists; of another organization nothing does.
fn in_organization(entity: &str, resource: &str, settings: &Settings) -> Result<(), Refusal> {
    let malformed = || Refusal::malformed_arn(entity);
    let (kind, path) = resource.split_once('/').ok_or_else(malformed)?;
    let (organization, unit) = match path.split_once('/') {
        Some((organization, unit)) => (organization, Some(unit)),
        None => (path, None),
    };
    let known = settings.organization.as_deref() == Some(organization);
    match (kind, unit) {
        ("organization", None) if is_id(organization, "o-") => {
            let missing =
                || Refusal::unknown_resource(format!("Organization {organization} could not be found."));
            known.then_some(()).ok_or_else(missing)
        }
        ("ou", Some(unit)) if is_id(organization, "o-") && is_id(unit, "ou-") => {
            let missing =
                || Refusal::unknown_resource(format!("OrganizationalUnit {unit} could not be found."));
            known.then_some(()).ok_or_else(missing)
        }
        _ => Err(malformed()),
    }
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|id| {
        !id.is_empty()
            && id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn externals(entities: &[&str]) -> Result<Vec<bool>, &'static str> {
        let entities: Vec<_> = entities.iter().map(|e| (*e).to_owned()).collect();
        match check(&entities, &Settings::default()) {
            Ok(principals) => Ok(principals.iter().map(|p| p.external).collect()),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn every_kind_is_taken_and_only_foreign_accounts_are_external() {
        assert_eq!(
            externals(&[
                "111122223333",
                "444455556666",
                "999999999999",
                "arn:aws:iam::999999999999:role/path/r",
                "arn:aws:iam::444455556666:user/u",
                "arn:aws:organizations::111122223333:organization/o-sandbox0001",
                "arn:aws:organizations::111122223333:ou/o-sandbox0001/ou-ab12-cd34",
            ]),
            Ok(vec![false, false, true, true, false, false, false])
        );
        assert_eq!(externals(&["pca-connector-ad.amazonaws.com"]), Ok(vec![false]));
    }

    #[test]
    fn short_ids_and_nonsense_are_malformed() {
        for bad in [
            "o-sandbox0001",
            "ou-ab12-cd34",
            "",
            "12345",
            "1234567890123",
            "someone",
            ".amazonaws.com",
        ] {
            assert_eq!(externals(&[bad]), Err("InvalidParameterException"), "{bad:?}");
        }
    }

    #[test]
    fn arns_of_other_things_are_malformed() {
        for bad in [
            "arn:aws:iam::444455556666:group/g",
            "arn:aws:iam::444455556666:role/",
            "arn:aws:iam:::role/r",
            "arn:aws:ec2:us-east-1:444455556666:subnet/s",
            "arn:aws:organizations::111122223333:organization/o-sandbox0001/ou-ab12-cd34",
            "arn:aws:organizations::111122223333:ou/ou-ab12-cd34",
            "arn:aws:organizations::111122223333:account",
        ] {
            assert_eq!(externals(&[bad]), Err("MalformedArnException"), "{bad:?}");
        }
    }

    #[test]
    fn other_organizations_are_unknown() {
        for bad in [
            "arn:aws:organizations::111122223333:organization/o-other00001",
            "arn:aws:organizations::111122223333:ou/o-other00001/ou-ab12-cd34",
        ] {
            assert_eq!(externals(&[bad]), Err("UnknownResourceException"), "{bad:?}");
        }
    }

    #[test]
    fn services_stay_among_themselves() {
        let mixed = externals(&["pca-connector-ad.amazonaws.com", "444455556666"]);
        assert_eq!(mixed, Err("InvalidParameterException"));
    }
}
