//! ARNs, taken apart.

use super::is_account;

/// Longest ARN that IAM and its siblings accept.
const MAX_ARN: usize = 2048;

/// The parts of an ARN: `arn:partition:service:region:account:resource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// For instance `aws` or `aws-cn`.
    pub partition: &'a str,
    /// For instance `ec2`.
    pub service: &'a str,
    /// Empty for global resources.
    pub region: &'a str,
    /// 12 digits, empty, or `aws`.
    pub account: &'a str,
    /// All behind the fifth colon.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits an ARN and checks each part's form (AWS general reference, "Amazon Resource Names").
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        const FORM: &str = "must have the form arn:partition:service:region:account:resource";
        if text.len() > MAX_ARN {
            return Err("may have at most 2048 characters");
        }
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or(FORM);
        if part()? != "arn" {
            return Err(FORM);
        }
        let arn = Self {
            partition: part()?,
            service: part()?,
            region: part()?,
            account: part()?,
            resource: part()?,
        };

        let is_label = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !is_label(arn.partition) || !arn.partition.starts_with("aws") {
            return Err("names no AWS partition; it begins with arn:aws:, arn:aws-cn: or the like");
        }
        if arn.service.is_empty() || !is_label(arn.service) {
            return Err("names no AWS service; service names are lower case letters, digits and dashes");
        }
        if !is_label(arn.region) {
            return Err("has a malformed Region; Regions are like eu-west-1, or empty for global resources");
        }
        if !arn.account.is_empty() && arn.account != "aws" && !is_account(arn.account) {
            return Err("has a malformed account; account ids have 12 digits");
        }
        let is_fit = |b: u8| b.is_ascii_graphic() && !matches!(b, b'*' | b'?');
        if arn.resource.is_empty() || !arn.resource.bytes().all(is_fit) {
            return Err("has a malformed resource part; it is not empty and has no spaces and no wildcards");
        }
        Ok(arn)
    }
}

/// What stands behind the account: a type and an id, by the first `/` or `:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// For instance `subnet`. Empty where the whole is an id, as for an SNS topic.
    pub kind: &'a str,
    /// For instance `subnet-0a1b2c3d4e5f60718`.
    pub id: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits the last part, more strictly than validation: what AWS's ARNs do not have is refused even where RAM might
    /// take it, so that a policy and RAM cannot read one text as two things.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn split(&self) -> Result<Resource<'a>, &'static str> {
        if self.resource.contains('%') {
            return Err("has a percent sign; ARNs have no escapes");
        }
        if self
            .resource
            .split(['/', ':'])
            .any(|part| matches!(part, "." | ".."))
        {
            return Err("has `.` or `..` as a part of its id");
        }
        let Some((kind, id)) = self.resource.split_once(['/', ':']) else {
            return Ok(Resource {
                kind: "",
                id: self.resource,
            });
        };
        if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err("names no resource type behind the account; look for a colon too many");
        }
        if id.is_empty() {
            return Err("names a resource type without an id");
        }
        Ok(Resource { kind, id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(resource: &str) -> Result<(String, String), &'static str> {
        let text = format!("arn:aws:ec2:eu-west-1:111122223333:{resource}");
        let parts = Arn::parse(&text)?.split()?;
        Ok((parts.kind.to_owned(), parts.id.to_owned()))
    }

    #[test]
    fn the_last_part_splits_at_its_first_separator() {
        for (resource, kind, id) in [
            ("subnet/subnet-1", "subnet", "subnet-1"),
            ("cluster:blue", "cluster", "blue"),
            ("resolver-rule/a/b:c", "resolver-rule", "a/b:c"),
            ("topic", "", "topic"),
        ] {
            assert_eq!(
                split(resource),
                Ok((kind.to_owned(), id.to_owned())),
                "{resource}"
            );
        }
    }

    #[test]
    fn what_no_arn_of_aws_has_is_refused() {
        for resource in [
            ":subnet/subnet-1",
            "444455556666:subnet/subnet-1",
            "/subnet-1",
            "subnet/",
            "subnet/../subnet-1",
            "subnet/%2e%2e/x",
        ] {
            assert!(split(resource).is_err(), "{resource}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in "(arn:aws:[a-z]{0,3}:[a-z-]{0,3}:[0-9]{0,13}:)?.*") {
            if let Ok(arn) = Arn::parse(&text) {
                let whole = [arn.partition, arn.service, arn.region, arn.account, arn.resource].join(":");
                prop_assert_eq!(format!("arn:{whole}"), text.as_str());
                if let Ok(parts) = arn.split() {
                    prop_assert!(arn.resource.starts_with(parts.kind) && arn.resource.ends_with(parts.id));
                }
            }
        }
    }
}
