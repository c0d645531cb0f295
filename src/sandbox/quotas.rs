//! How much of everything there may be.

use super::{
    error::Refusal,
    share::{Association, Kind, Share},
};

/// The quotas of the account. The defaults are those of the RAM User Guide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Resource shares that are not deleted. Default 25,000.
    pub shares: usize,
    /// Resources in one share. Default 5,000.
    pub resources_per_share: usize,
    /// Principals in one share. Default 5,000.
    pub principals_per_share: usize,
    /// Resources named in one call. Default 100.
    pub resources_per_call: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            shares: 25_000,
            resources_per_share: 5_000,
            principals_per_share: 5_000,
            resources_per_call: 100,
        }
    }
}

impl Quotas {
    /// Refuses a share that holds more than it may.
    pub(crate) fn check(&self, share: &Share) -> Result<(), Refusal> {
        self.check_growth(share, &[])
    }

    /// Refuses what would be too much in `share` together with `added`.
    pub(crate) fn check_growth(&self, share: &Share, added: &[Association]) -> Result<(), Refusal> {
        let limits = [
            (Kind::Resource, self.resources_per_share, "resources"),
            (Kind::Principal, self.principals_per_share, "principals"),
        ];
        for (kind, most, what) in limits {
            let count = share.current(kind).count() + added.iter().filter(|a| a.kind == kind).count();
            if count > most {
                let message =
                    format!("A resource share can have {most} {what}; this one would have {count}.");
                return Err(Refusal::share_limit_exceeded(message));
            }
        }
        Ok(())
    }
}
