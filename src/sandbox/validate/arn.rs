//! Takes an Amazon Resource Name apart.

use crate::sandbox::error::Refusal;

const LONGEST: usize = 2_048;

/// The parts behind `arn:`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) service: &'a str,
    /// Empty for what is global.
    pub(crate) region: &'a str,
    /// Twelve digits, `aws`, or empty.
    pub(crate) account: &'a str,
    /// Everything behind the fifth colon.
    pub(crate) resource: &'a str,
}

/// Parses `text`, or refuses it with `MalformedArnException`.
pub(crate) fn parse(text: &str) -> Result<Arn<'_>, Refusal> {
    split(text).ok_or_else(|| Refusal::malformed_arn(text))
}

/// Parses the ARN of a resource share; whether it exists is another question.
pub(crate) fn share(text: &str) -> Result<(), Refusal> {
    let arn = parse(text)?;
    let id = arn.resource.strip_prefix("resource-share/").unwrap_or_default();
    if arn.service == "ram" && is_account(arn.account) && !id.is_empty() {
        Ok(())
    } else {
        Err(Refusal::malformed_arn(text))
    }
}

/// Twelve digits.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn split(text: &str) -> Option<Arn<'_>> {
    if text.len() > LONGEST || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let mut parts = text.splitn(6, ':');
    let (arn, partition) = (parts.next()?, parts.next()?);
    let parsed = Arn {
        service: parts.next()?,
        region: parts.next()?,
        account: parts.next()?,
        resource: parts.next()?,
    };
    let well_formed = arn == "arn"
        && (partition == "aws" || partition.starts_with("aws-"))
        && is_label(partition)
        && is_label(parsed.service)
        && (parsed.region.is_empty() || is_label(parsed.region))
        && (matches!(parsed.account, "" | "aws") || is_account(parsed.account))
        && !parsed.resource.is_empty();
    well_formed.then_some(parsed)
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_keeps_its_own_colons() {
        let arn = parse("arn:aws:rds:us-east-1:111122223333:cluster:one").unwrap();
        assert_eq!((arn.service, arn.region), ("rds", "us-east-1"));
        assert_eq!((arn.account, arn.resource), ("111122223333", "cluster:one"));
    }

    #[test]
    fn what_is_not_an_arn_is_refused_by_name() {
        for bad in [
            "",
            "arn",
            "subnet-1",
            "arn:aws:ec2:us-east-1:111122223333",
            "arn:aws:ec2:us-east-1:111122223333:",
            "arn:aws:ec2:us-east-1:1111:subnet/s",
            "arn:other:ec2:us-east-1:111122223333:subnet/s",
            "arn:aws::us-east-1:111122223333:subnet/s",
            "arn:aws:ec2:US:111122223333:subnet/s",
            "arn:aws:ec2:us-east-1:111122223333:subnet/a b",
            "ärn:aws:ec2:us-east-1:111122223333:subnet/s",
        ] {
            let refusal = parse(bad).unwrap_err();
            assert_eq!(refusal.code, "MalformedArnException", "{bad:?}");
            assert!(refusal.message.contains(bad));
        }
    }

    #[test]
    fn a_share_arn_is_one_of_ram() {
        assert!(share("arn:aws:ram:us-east-1:111122223333:resource-share/x").is_ok());
        assert!(share("arn:aws:ram:us-east-1:111122223333:resource-share/").is_err());
        assert!(share("arn:aws:ec2:us-east-1:111122223333:resource-share/x").is_err());
        assert!(share("arn:aws:ram:us-east-1:111122223333:permission/x").is_err());
    }
}
