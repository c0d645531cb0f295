//! What the pacer counts and measures.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::pacing::Why;

/// The pacer's metrics. Clones share the values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) rate: Gauge<f64, AtomicU64>,
    pub(super) queued: Gauge,
    pub(super) throttles: Counter,
    refusals: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// Makes them part of `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ram_facade_pace_rate",
            "Requests a second that may leave for RAM",
            self.rate.clone(),
        );
        registry.register(
            "ram_facade_pace_queued",
            "Requests that wait to leave for RAM",
            self.queued.clone(),
        );
        registry.register(
            "ram_facade_pace_throttles",
            "Requests that RAM refused because of the account's request rate",
            self.throttles.clone(),
        );
        // From zero on, so that the first refusal is an increase.
        for why in [Why::TooLate, Why::QueueFull, Why::UpstreamFailing] {
            let _ = self.refusals.get_or_create(&[("why", name(why))]);
        }
        registry.register(
            "ram_facade_pace_refusals",
            "Requests that were refused before they left, by why",
            self.refusals.clone(),
        );
    }

    pub(super) fn refused(&self, why: Why) {
        self.refusals.get_or_create(&[("why", name(why))]).inc();
    }
}

fn name(why: Why) -> &'static str {
    match why {
        Why::TooLate => "too_late",
        Why::QueueFull => "queue_full",
        Why::UpstreamFailing => "upstream_failing",
    }
}
