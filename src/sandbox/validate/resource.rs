//! The ARNs of what is shared: in the share's Region, owned by the account, at most 100 in one call.

use std::collections::HashSet;

use super::arn;
use crate::sandbox::{Settings, error::Refusal};

/// Global resources have no Region in their ARN and are shared from this one.
const HOME_OF_GLOBAL: &str = "us-east-1";

/// Refuses the first ARN that cannot be shared from here; answers with the list, each ARN once.
pub(crate) fn check(arns: &[String], settings: &Settings) -> Result<Vec<String>, Refusal> {
    let most = settings.quotas.resources_per_call;
    if arns.len() > most {
        let message = format!(
            "You can associate up to {most} resources per call; this one has {}.",
            arns.len()
        );
        return Err(Refusal::share_limit_exceeded(message));
    }
    let mut seen = HashSet::new();
    let mut once = Vec::with_capacity(arns.len());
    for text in arns.iter().filter(|text| seen.insert(*text)) {
        let parsed = arn::parse(text)?;
        let region = if parsed.region.is_empty() {
            HOME_OF_GLOBAL
        } else {
            parsed.region
        };
        if region != settings.region {
            let message = format!(
                "Resource {text} is in Region {region}, not in {}.",
                settings.region
            );
            return Err(Refusal::invalid_parameter(message));
        }
        if parsed.account != settings.account {
            let message = format!("Resource {text} is not owned by account {}.", settings.account);
            return Err(Refusal::invalid_parameter(message));
        }
        once.push(text.clone());
    }
    Ok(once)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBNET: &str = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-1";

    fn code_of(arn: &str, settings: &Settings) -> &'static str {
        check(&[arn.to_owned()], settings).unwrap_err().code
    }

    #[test]
    fn a_repeated_arn_counts_once() {
        let twice = [SUBNET.to_owned(), SUBNET.to_owned()];
        assert_eq!(check(&twice, &Settings::default()), Ok(vec![SUBNET.to_owned()]));
    }

    #[test]
    fn other_regions_and_accounts_are_refused() {
        let settings = Settings::default();
        for arn in [
            "arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-1",
            "arn:aws:ec2:us-east-1:999999999999:subnet/subnet-1",
            "arn:aws:ec2:us-east-1::subnet/subnet-1",
        ] {
            assert_eq!(code_of(arn, &settings), "InvalidParameterException", "{arn}");
        }
        assert_eq!(code_of("subnet-1", &settings), "MalformedArnException");
    }

    #[test]
    fn global_resources_are_shared_from_their_home_region_only() {
        let network = "arn:aws:networkmanager::111122223333:core-network/c";
        assert!(check(&[network.to_owned()], &Settings::default()).is_ok());
        let elsewhere = Settings {
            region: "eu-west-1".to_owned(),
            ..Settings::default()
        };
        assert_eq!(code_of(network, &elsewhere), "InvalidParameterException");
    }

    #[test]
    fn more_than_a_hundred_in_one_call_are_refused() {
        let arns: Vec<_> = (0..101).map(|n| format!("{SUBNET}{n}")).collect();
        assert!(check(&arns[..100], &Settings::default()).is_ok());
        let refusal = check(&arns, &Settings::default()).unwrap_err();
        assert_eq!(refusal.code, "ResourceShareLimitExceededException");
    }
}
