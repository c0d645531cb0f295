//! Everything that a reset empties, behind one lock.

use tokio_util::sync::CancellationToken;

use super::{Settings, faults::Armed, faults::FaultPlan, shares::Shares, stats::Stats, tokens::Tokens};

/// The state of the endpoint.
#[derive(Debug)]
pub(crate) struct World {
    pub(super) shares: Shares,
    pub(super) tokens: Tokens,
    pub(super) faults: Armed,
    pub(super) stats: Stats,
    /// Ends with the next reset, or with the endpoint. A request belongs to the epoch it arrived in and does nothing in
    /// a later one.
    epoch: CancellationToken,
}

impl World {
    /// An empty world that lasts until `end`.
    pub(super) fn new(settings: &Settings, faults: FaultPlan, end: &CancellationToken) -> Self {
        Self {
            shares: Shares::default(),
            tokens: Tokens::new(settings.token_memory),
            faults: Armed::new(faults),
            stats: Stats::default(),
            epoch: end.child_token(),
        }
    }

    /// Counts a request and lets it into the epoch.
    pub(super) fn enter(&mut self, operation: &str) -> CancellationToken {
        self.stats.count_request(operation);
        self.epoch.clone()
    }

    /// Begins a new epoch with nothing in it.
    pub(super) fn reset(&mut self, settings: &Settings, end: &CancellationToken) {
        self.epoch.cancel();
        *self = Self::new(settings, FaultPlan::default(), end);
    }

    /// The counts as they are now.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            live_shares: u64::try_from(self.shares.live()).unwrap_or(u64::MAX),
            ..self.stats.clone()
        }
    }
}
