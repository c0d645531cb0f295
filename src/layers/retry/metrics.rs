//! What retries count and measure.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The metrics of retries. Clones share the values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) retries: Counter,
    pub(super) budget: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Makes them part of `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ram_facade_retries",
            "Attempts after a transient failure",
            self.retries.clone(),
        );
        registry.register(
            "ram_facade_retry_budget",
            "Retries that may still be made",
            self.budget.clone(),
        );
    }
}
