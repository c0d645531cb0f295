//! Who a share is for, taken apart.

use super::{Arn, is_account, is_service};

/// What kind of principal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A whole account, by its id or by the ARN of its root.
    Account,
    /// A whole organization.
    Organization,
    /// An organizational unit.
    OrganizationalUnit,
    /// One IAM role.
    Role,
    /// One IAM user.
    User,
    /// An AWS service.
    Service,
}

impl Kind {
    /// Its name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizational-unit",
            Self::Role => "role",
            Self::User => "user",
            Self::Service => "service",
        }
    }
}

/// The parts of a principal. Those that its kind does not have are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal<'a> {
    /// What kind it is.
    pub kind: Kind,
    /// The smallest party that has to be trusted with the share: an account id, also for the account's roles and users;
    /// an organization id; the id of a unit; the name of an AWS service.
    pub party: &'a str,
    /// Partition, of those that are named by an ARN.
    pub partition: Option<&'a str>,
    /// Account id: of an account, a role or a user.
    pub account: Option<&'a str>,
    /// Organization id: of an organization or a unit.
    pub organization: Option<&'a str>,
    /// Id of a unit.
    pub unit: Option<&'a str>,
}

impl<'a> Principal<'a> {
    /// Takes a principal apart. Stricter than validation, which leaves the form of ids to RAM.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.starts_with("arn:") {
            return Self::of_arn(&Arn::parse(text)?);
        }
        if is_account(text) {
            return Ok(Self {
                account: Some(text),
                ..Self::plain(Kind::Account, text)
            });
        }
        if is_service(text) {
            return Ok(Self::plain(Kind::Service, text));
        }
        Err("is no account id, no ARN of an organization, unit, role or user, and no AWS service")
    }

    fn plain(kind: Kind, party: &'a str) -> Self {
        Self {
            kind,
            party,
            partition: None,
            account: None,
            organization: None,
            unit: None,
        }
    }

    fn of_arn(arn: &Arn<'a>) -> Result<Self, &'static str> {
        if !arn.region.is_empty() {
            return Err("names a Region; principals have none");
        }
        if !is_account(arn.account) {
            return Err("names no account of 12 digits");
        }
        let (kind, rest) = arn.resource.split_once('/').unwrap_or((arn.resource, ""));
        let within = |kind| Self {
            partition: Some(arn.partition),
            account: Some(arn.account),
            ..Self::plain(kind, arn.account)
        };
        match (arn.service, kind) {
            ("iam", "root") if arn.resource == "root" => Ok(within(Kind::Account)),
            ("iam", "role") if is_path(rest) => Ok(within(Kind::Role)),
            ("iam", "user") if is_path(rest) => Ok(within(Kind::User)),
            ("organizations", "organization") if is_id("o-", rest) => Ok(Self {
                partition: Some(arn.partition),
                organization: Some(rest),
                ..Self::plain(Kind::Organization, rest)
            }),
            ("organizations", "ou") => match rest.split_once('/') {
                Some((organization, unit)) if is_id("o-", organization) && is_id("ou-", unit) => Ok(Self {
                    partition: Some(arn.partition),
                    organization: Some(organization),
                    unit: Some(unit),
                    ..Self::plain(Kind::OrganizationalUnit, unit)
                }),
                _ => Err("names no organizational unit; its form is ou/o-ORGANIZATION/ou-UNIT"),
            },
            ("organizations", "organization") => {
                Err("names no organization; its form is organization/o-ORGANIZATION")
            }
            ("iam", _) => Err("is no IAM role, no IAM user and no account's root"),
            _ => Err("is no organization, organizational unit, IAM role or IAM user"),
        }
    }
}

/// Ids of AWS Organizations (API reference, "Organization" and "OrganizationalUnit": `^o-[a-z0-9]{10,32}$`,
/// `^ou-[0-9a-z]{4,32}-[a-z0-9]{8,32}$`), without their lengths, which are RAM's business.
fn is_id(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

/// The path and name of a role or a user: none of its parts is empty, and it has no further colon.
fn is_path(text: &str) -> bool {
    !text.contains([':', '%']) && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_has_its_parts() {
        let parts = |text| {
            let p = Principal::parse(text).unwrap();
            (p.kind, p.party, p.account, p.organization, p.unit)
        };
        let account = Some("444455556666");
        let organization = Some("o-a1b2c3d4e5");

        assert_eq!(
            parts("444455556666"),
            (Kind::Account, "444455556666", account, None, None)
        );
        assert_eq!(
            parts("arn:aws:iam::444455556666:root"),
            (Kind::Account, "444455556666", account, None, None)
        );
        assert_eq!(
            parts("arn:aws:iam::444455556666:role/team/deploy"),
            (Kind::Role, "444455556666", account, None, None)
        );
        assert_eq!(
            parts("arn:aws:iam::444455556666:user/jo"),
            (Kind::User, "444455556666", account, None, None)
        );
        assert_eq!(
            parts("arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5"),
            (Kind::Organization, "o-a1b2c3d4e5", None, organization, None)
        );
        assert_eq!(
            parts("arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-cdefgh34"),
            (
                Kind::OrganizationalUnit,
                "ou-ab12-cdefgh34",
                None,
                organization,
                Some("ou-ab12-cdefgh34")
            )
        );
        assert_eq!(
            parts("pca-connector-ad.amazonaws.com"),
            (Kind::Service, "pca-connector-ad.amazonaws.com", None, None, None)
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_none() {
        for bad in [
            "",
            "44445555666",
            "４４４４５５５５６６６６",
            "arn:aws:iam::aws:role/x",
            "arn:aws:iam:eu-west-1:444455556666:role/x",
            "arn:aws:iam::444455556666:role/",
            "arn:aws:iam::444455556666:role/a//b",
            "arn:aws:iam::444455556666:role/x:y",
            "arn:aws:iam::444455556666:root/x",
            "arn:aws:organizations::111122223333:organization/o-a1/ou-b2",
            "arn:aws:organizations::111122223333:ou/o-a1",
            "arn:aws:organizations::111122223333:ou/o-a1/ou-b2/ou-c3",
            "arn:aws:sts::444455556666:assumed-role/x/y",
        ] {
            assert!(Principal::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_principal_or_refused(text in "(arn:aws:(iam|organizations)::[0-9]{12}:)?.*") {
            if let Ok(principal) = Principal::parse(&text) {
                prop_assert!(text.contains(principal.party));
                // Whatever a policy allows by party is well-formed, so that no party is part of another.
                prop_assert_eq!(super::super::principal(&text), Ok(()));
            }
        }
    }
}
