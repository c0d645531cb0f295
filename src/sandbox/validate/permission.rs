//! Managed permissions: those of AWS, or the account's own.
//!
//! Which permissions exist is not known here. By their naming every permission of AWS begins with `AWSRAM`, so another
//! name is unknown; a permission of the own account is taken as existing.

use std::collections::HashSet;

use super::arn;
use crate::sandbox::{Settings, error::Refusal};

/// Refuses the first ARN that is not a permission, or is one that cannot exist here; each ARN once.
pub(crate) fn check(arns: &[String], settings: &Settings) -> Result<Vec<String>, Refusal> {
    let mut seen = HashSet::new();
    let mut once = Vec::with_capacity(arns.len());
    for text in arns.iter().filter(|text| seen.insert(*text)) {
        one(text, settings)?;
        once.push(text.clone());
    }
    Ok(once)
}

fn one(text: &str, settings: &Settings) -> Result<(), Refusal> {
    let parsed = arn::parse(text)?;
    let name = parsed
        .resource
        .strip_prefix("permission/")
        .filter(|name| is_name(name));
    let exists = match (parsed.service, parsed.region, parsed.account, name) {
        ("ram", "", "aws", Some(name)) => name.starts_with("AWSRAM"),
        ("ram", region, account, Some(_)) if !region.is_empty() && arn::is_account(account) => {
            region == settings.region && account == settings.account
        }
        _ => return Err(Refusal::malformed_arn(text)),
    };
    exists
        .then_some(())
        .ok_or_else(|| Refusal::unknown_resource(format!("Permission {text} could not be found.")))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(arn: &str) -> Option<&'static str> {
        check(&[arn.to_owned()], &Settings::default())
            .err()
            .map(|refusal| refusal.code)
    }

    #[test]
    fn permissions_of_aws_and_of_the_account_are_taken() {
        assert_eq!(
            code_of("arn:aws:ram::aws:permission/AWSRAMDefaultPermissionSubnet"),
            None
        );
        assert_eq!(
            code_of("arn:aws:ram:us-east-1:111122223333:permission/mine"),
            None
        );
    }

    #[test]
    fn permissions_that_cannot_exist_are_unknown() {
        for arn in [
            "arn:aws:ram::aws:permission/NoSuchThing",
            "arn:aws:ram:us-east-1:999999999999:permission/theirs",
            "arn:aws:ram:eu-west-1:111122223333:permission/mine",
        ] {
            assert_eq!(code_of(arn), Some("UnknownResourceException"), "{arn}");
        }
    }

    #[test]
    fn what_is_not_a_permission_is_malformed() {
        for arn in [
            "AWSRAMDefaultPermissionSubnet",
            "arn:aws:iam::aws:permission/AWSRAMX",
            "arn:aws:ram::aws:permission/",
            "arn:aws:ram::aws:permission/AWSRAM/x",
            "arn:aws:ram::111122223333:permission/mine",
            "arn:aws:ram:us-east-1:111122223333:resource-share/x",
        ] {
            assert_eq!(code_of(arn), Some("MalformedArnException"), "{arn}");
        }
    }
}
