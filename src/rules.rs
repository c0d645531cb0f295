//! The rules that RAM's values obey, each as a function from a value to what is wrong with it.
//!
//! Only what RAM certainly refuses is refused here; where its rules are not public, RAM decides. The sentences say the
//! rule and the next step and never repeat the value, which may be long or hostile.

mod arn;
mod principal;

use std::collections::HashSet;

use tonic_types::FieldViolation;

pub use arn::{Arn, Resource};
pub use principal::{Kind, Principal};

/// Most resources in one call (RAM API reference, ResourceShareLimitExceededException).
pub const MAX_RESOURCES: usize = 100;
/// Most tags on a share (RAM user guide, "Update a resource share").
pub const MAX_TAGS: usize = 50;

/// Collects violations while a request is read through.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Notes that `field` breaks a rule.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation::new(field, description));
    }

    /// Applies `rule` to one value.
    pub fn check(&mut self, field: &str, value: &str, rule: impl Fn(&str) -> Result<(), &'static str>) {
        if let Err(complaint) = rule(value) {
            self.add(field, complaint);
        }
    }

    /// Applies `rule` to each value of a list. A list of hostile length gives at most 20 violations.
    pub fn check_each(
        &mut self,
        field: &str,
        values: &[String],
        rule: impl Fn(&str) -> Result<(), &'static str>,
    ) {
        let complaints = values
            .iter()
            .enumerate()
            .filter_map(|(i, v)| rule(v).err().map(|e| (i, e)));
        for (i, complaint) in complaints.take(20) {
            self.add(format!("{field}[{i}]"), complaint);
        }
    }

    /// The violations found.
    #[must_use]
    pub fn into_vec(self) -> Vec<FieldViolation> {
        self.0
    }
}

/// The name of a share.
///
/// # Errors
/// When empty, or with characters that RAM's own message excludes. Non-ASCII letters are left to RAM.
pub fn share_name(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        return Err("is required; give the share a name");
    }
    let allowed = |c: char| match c {
        ' ' | '.' | '-' | '_' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => c.is_alphanumeric(),
    };
    if name.chars().all(allowed) {
        return Ok(());
    }
    Err("may have letters, digits, spaces, periods, dashes and underscores only; remove the other characters")
}

/// The ARN of a resource to share.
///
/// # Errors
/// The rule that it breaks.
pub fn resource_arn(arn: &str) -> Result<(), &'static str> {
    Arn::parse(arn).map(drop)
}

/// The ARN of a RAM managed permission.
///
/// # Errors
/// The rule that it breaks.
pub fn permission_arn(arn: &str) -> Result<(), &'static str> {
    let arn = Arn::parse(arn)?;
    if arn.service == "ram" && arn.resource.starts_with("permission/") {
        return Ok(());
    }
    Err("is not a RAM managed permission; its form is arn:aws:ram::aws:permission/NAME")
}

/// Who a share is for.
///
/// # Errors
/// The rule that it breaks.
pub fn principal(principal: &str) -> Result<(), &'static str> {
    if principal.starts_with("arn:") {
        let arn = Arn::parse(principal)?;
        let resource = arn.resource;
        let known = match arn.service {
            "organizations" => resource.starts_with("organization/") || resource.starts_with("ou/"),
            "iam" => resource == "root" || resource.starts_with("role/") || resource.starts_with("user/"),
            _ => false,
        };
        return if known {
            Ok(())
        } else {
            Err("is no organization, organizational unit, IAM role or IAM user; RAM shares with no other ARN")
        };
    }
    if is_account(principal) || is_service(principal) {
        return Ok(());
    }
    if principal.starts_with("o-") || principal.starts_with("ou-") {
        return Err("is a short id, which RAM's API refuses; give the full ARN of the organization or unit");
    }
    Err(
        "must be a 12-digit account id, an ARN of an organization, unit, role or user, or an AWS service name",
    )
}

/// Whether a principal is an AWS service, for instance `pca-connector-ad.amazonaws.com`.
#[must_use]
pub fn is_service(principal: &str) -> bool {
    let host = principal
        .strip_suffix(".amazonaws.com")
        .or_else(|| principal.strip_suffix(".amazonaws.com.cn"));
    let is_label = |l: &str| {
        !l.is_empty()
            && l.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    host.is_some_and(|h| h.split('.').all(is_label))
}

/// Whether `text` is an account id.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The key of a tag.
///
/// # Errors
/// When empty, too long, with control characters, or AWS's own.
pub fn tag_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.chars().count() > 128 {
        Err("must have 1 to 128 characters")
    } else if key.chars().any(char::is_control) {
        Err("may not have control characters")
    } else if key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:")) {
        Err("may not start with aws:, which AWS keeps for itself")
    } else {
        Ok(())
    }
}

/// The tags of a share as (key, value).
pub fn tags<'a>(out: &mut Violations, tags: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut keys = HashSet::new();
    let mut count = 0_usize;
    for (i, (key, value)) in tags.enumerate() {
        count += 1;
        if count > MAX_TAGS {
            continue;
        }
        if let Err(rule) = tag_key(key) {
            out.add(format!("tags[{i}].key"), rule);
        } else if !keys.insert(key) {
            out.add(format!("tags[{i}].key"), "stands twice; give each key once");
        }
        if value.chars().count() > 256 || value.chars().any(char::is_control) {
            out.add(
                format!("tags[{i}].value"),
                "must have at most 256 characters and no control characters",
            );
        }
    }
    if count > MAX_TAGS {
        out.add("tags", "may have at most 50 entries; remove some");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn well_formed_arns_split_into_their_parts() {
        let arn = Arn::parse("arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-1:x").unwrap();

        assert_eq!(
            (arn.partition, arn.service, arn.region),
            ("aws", "ec2", "eu-west-1")
        );
        assert_eq!((arn.account, arn.resource), ("111122223333", "subnet/subnet-1:x"));
        assert!(Arn::parse("arn:aws:networkmanager::111122223333:core-network/core-network-1").is_ok());
    }

    #[test]
    fn tricks_with_arns_are_refused() {
        for trick in [
            "",
            "arn",
            "arn:aws:ec2:eu-west-1:111122223333",
            "arn:aws:ec2:eu-west-1:111122223333:",
            "arn:aws:EC2:eu-west-1:111122223333:subnet/s",
            "arn:aws:ec2:eu-west-1:11112222333:subnet/s",
            "arn:aws:ec2:eu-west-1:1111222233334:subnet/s",
            "arn:aws:ec2:eu-west-1:１１１１２２２２３３３３:subnet/s",
            "arn:aws:ec2:eu-west-1:111122223333:subnet/*",
            "arn:aws:ec2:eu-west-1:111122223333:subnet/s?",
            "arn:aws:ec2:eu-west-1:111122223333:subnet/s ",
            "arn:aws:ec2:eu-west-1:111122223333:subnet/s\n",
            "arn:azure:ec2:eu-west-1:111122223333:subnet/s",
            " arn:aws:ec2:eu-west-1:111122223333:subnet/s",
            "arn:aws:ec2:eu west:111122223333:subnet/s",
        ] {
            assert!(resource_arn(trick).is_err(), "{trick:?}");
        }
        assert!(
            resource_arn(&format!(
                "arn:aws:ec2:eu-west-1:111122223333:{}",
                "x".repeat(5_000_000)
            ))
            .is_err()
        );
    }

    #[test]
    fn every_kind_of_principal_is_accepted() {
        for good in [
            "444455556666",
            "arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5",
            "arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-cdefgh34",
            "arn:aws:iam::444455556666:role/deploy",
            "arn:aws:iam::444455556666:user/jo",
            "pca-connector-ad.amazonaws.com",
        ] {
            assert_eq!(principal(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn other_principals_are_refused() {
        for bad in [
            "",
            "o-a1b2c3d4e5",
            "44445555666",
            "arn:aws:s3:::bucket",
            "evil.com",
            ".amazonaws.com",
            "*",
        ] {
            assert!(principal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_keeps_to_what_ram_allows() {
        assert_eq!(share_name("network-prod subnets_1.0"), Ok(()));
        assert_eq!(share_name("Netz-Überblick"), Ok(()));
        for bad in ["", "  ", "a/b", "a\nb", "a\u{0}b", "<x>"] {
            assert!(share_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tags_break_their_rules_one_by_one() {
        let long = "k".repeat(129);
        let list = [
            ("aws:x", ""),
            ("AWS:x", ""),
            ("", ""),
            (long.as_str(), ""),
            ("a", "1"),
            ("a", "2"),
            ("A", "3"),
        ];
        let mut out = Violations::default();

        tags(&mut out, list.into_iter());

        let fields: Vec<_> = out.into_vec().into_iter().map(|v| v.field).collect();
        assert_eq!(
            fields,
            [
                "tags[0].key",
                "tags[1].key",
                "tags[2].key",
                "tags[3].key",
                "tags[5].key"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_rule_panics_on_any_text(text in ".*") {
            let _ = (Arn::parse(&text), principal(&text), share_name(&text), permission_arn(&text));
            tags(&mut Violations::default(), [(text.as_str(), text.as_str())].into_iter());
        }
    }
}
