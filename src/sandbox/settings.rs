//! What the endpoint pretends to be.

use std::time::Duration;

use super::{FaultPlan, Quotas};

/// The account behind the endpoint and its manners.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account that owns everything: twelve digits. Default `111122223333`.
    pub account: String,
    /// The Region. Default `us-east-1`, the only one that shares global resources.
    pub region: String,
    /// The organization that the account belongs to, if any. Default `o-sandbox0001`. All of its units exist.
    pub organization: Option<String>,
    /// The other accounts of the organization; they need no invitation. Default `444455556666` and `777788889999`.
    pub organization_accounts: Vec<String>,
    /// How long an association takes to come into force or to end. Default 200 milliseconds; RAM takes up to minutes.
    pub settle: Duration,
    /// How long a client token is remembered after its execution. Default 10 minutes; RAM's own time is not published.
    pub token_memory: Duration,
    /// How much there may be.
    pub quotas: Quotas,
    /// What goes wrong from the start. A reset ends it.
    pub faults: FaultPlan,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            account: "111122223333".to_owned(),
            region: "us-east-1".to_owned(),
            organization: Some("o-sandbox0001".to_owned()),
            organization_accounts: vec!["444455556666".to_owned(), "777788889999".to_owned()],
            settle: Duration::from_millis(200),
            token_memory: Duration::from_secs(10 * 60),
            quotas: Quotas::default(),
            faults: FaultPlan::default(),
        }
    }
}

impl Settings {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// A sentence that names the setting at fault.
    pub fn check(&self) -> Result<(), String> {
        let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        let is_label =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(account) = [&self.account]
            .into_iter()
            .chain(&self.organization_accounts)
            .find(|a| !is_account(a))
        {
            return Err(format!("account `{account}` is not twelve digits"));
        }
        if !is_label(&self.region) {
            return Err(format!("region `{}` is not a Region", self.region));
        }
        match &self.organization {
            Some(id) if !(id.starts_with("o-") && is_label(id)) => Err(format!(
                "organization `{id}` is not an id such as `o-sandbox0001`"
            )),
            Some(_) | None => self.faults.check().map_err(|fault| format!("faults: {fault}")),
        }
    }

    /// The partition that the Region is in.
    pub(crate) fn partition(&self) -> &'static str {
        if self.region.starts_with("cn-") {
            "aws-cn"
        } else if self.region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let base = Settings::default;
        for (settings, name) in [
            (
                Settings {
                    account: "1".to_owned(),
                    ..base()
                },
                "account",
            ),
            (
                Settings {
                    organization_accounts: vec!["x".to_owned()],
                    ..base()
                },
                "account",
            ),
            (
                Settings {
                    region: String::new(),
                    ..base()
                },
                "region",
            ),
            (
                Settings {
                    organization: Some("x".to_owned()),
                    ..base()
                },
                "organization",
            ),
            (
                Settings {
                    faults: FaultPlan {
                        latency_ms: u64::MAX,
                        ..FaultPlan::default()
                    },
                    ..base()
                },
                "faults",
            ),
        ] {
            assert!(settings.check().unwrap_err().starts_with(name), "{name}");
        }
    }
}
