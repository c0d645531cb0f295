//! The rate limit: a bucket of tokens that fills steadily; each request takes one.

use serde::{Deserialize, Serialize};

use crate::sandbox::clock::Moment;

/// How fast requests may come before they are refused with 429.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per second that are let through in the long run; more than 0.
    pub per_second: f64,
    /// Requests that are let through at once after a pause; at least 1. Default 1.
    #[serde(default = "one")]
    pub burst: f64,
    /// What a refused request takes from the bucket: above 0, hammering delays the recovery. Default 0.
    #[serde(default)]
    pub refused_cost: f64,
}

const fn one() -> f64 {
    1.0
}

impl RateLimit {
    pub(super) fn check(&self) -> Result<(), String> {
        let finite = |value: f64| value.is_finite();
        if !finite(self.per_second) || self.per_second <= 0.0 {
            return Err(format!("per_second is {}; it must be above 0", self.per_second));
        }
        if !finite(self.burst) || self.burst < 1.0 {
            return Err(format!("burst is {}; it must be at least 1", self.burst));
        }
        if !finite(self.refused_cost) || self.refused_cost < 0.0 {
            return Err(format!(
                "refused_cost is {}; it must not be negative",
                self.refused_cost
            ));
        }
        Ok(())
    }
}

/// A rate limit at work.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    tokens: f64,
    filled: Option<Moment>,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(limit: RateLimit) -> Self {
        Self {
            tokens: limit.burst,
            limit,
            filled: None,
        }
    }

    /// Whether a request may pass now.
    pub(super) fn admits(&mut self, now: Moment) -> bool {
        let passed = self
            .filled
            .replace(now)
            .map_or(0.0, |then| now.since(then).as_secs_f64());
        self.tokens = (self.tokens + passed * self.limit.per_second).min(self.limit.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return true;
        }
        self.tokens = (self.tokens - self.limit.refused_cost).max(0.0);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bucket(refused_cost: f64) -> Bucket {
        Bucket::new(RateLimit {
            per_second: 2.0,
            burst: 2.0,
            refused_cost,
        })
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (mut bucket, now) = (bucket(0.0), Moment::now());
        assert!(bucket.admits(now) && bucket.admits(now));
        assert!(!bucket.admits(now));
        assert!(bucket.admits(now.later(Duration::from_millis(500))));
        assert!(!bucket.admits(now.later(Duration::from_millis(500))));
    }

    #[test]
    fn a_refused_request_can_cost_too() {
        let (mut bucket, now) = (bucket(0.5), Moment::now());
        assert!(bucket.admits(now) && bucket.admits(now));
        // Half a token has come back and the refusal takes it again.
        assert!(!bucket.admits(now.later(Duration::from_millis(250))));
        assert!(!bucket.admits(now.later(Duration::from_millis(500))));
        assert!(bucket.admits(now.later(Duration::from_millis(1_000))));
    }
}
