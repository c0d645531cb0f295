//! Counts what reached the endpoint and what it did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The counts since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// HTTP requests by operation: also those that were refused, throttled, cut off or answered from a client token.
    pub requests: BTreeMap<String, u64>,
    /// Requests that did their work, by operation. The answer may have been lost on its way.
    pub executions: BTreeMap<String, u64>,
    /// Resource shares that exist and are not deleted.
    pub live_shares: u64,
    /// Requests refused by the rate limit of the fault plan.
    pub throttled: u64,
}

impl Stats {
    /// How often `operation` was asked for.
    pub fn requests_of(&self, operation: &str) -> u64 {
        self.requests.get(operation).copied().unwrap_or_default()
    }

    /// How often `operation` was executed.
    pub fn executions_of(&self, operation: &str) -> u64 {
        self.executions.get(operation).copied().unwrap_or_default()
    }

    pub(super) fn count_request(&mut self, operation: &str) {
        *self.requests.entry(operation.to_owned()).or_default() += 1;
    }

    pub(super) fn count_execution(&mut self, operation: &str) {
        *self.executions.entry(operation.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_counts_as_zero() {
        let mut stats = Stats::default();
        stats.count_request("CreateResourceShare");
        stats.count_request("CreateResourceShare");
        stats.count_execution("CreateResourceShare");
        assert_eq!(stats.requests_of("CreateResourceShare"), 2);
        assert_eq!(stats.executions_of("CreateResourceShare"), 1);
        assert_eq!(stats.requests_of("DeleteResourceShare"), 0);
    }
}
