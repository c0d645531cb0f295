//! What fetches of issuers' keys came to.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The issuer is one of the file, so that there are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    issuer: String,
    outcome: &'static str,
}

/// The metrics of issuers' keys. Clones share the values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    fetches: Family<Labels, Counter>,
}

/// The fetches of one issuer.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetches {
    pub(super) succeeded: Counter,
    pub(super) failed: Counter,
}

impl Metrics {
    /// Makes them part of `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ram_facade_issuer_key_fetches",
            "Fetches of an issuer's keys, by what they came to",
            self.fetches.clone(),
        );
    }

    /// From zero on, so that the first failure is an increase.
    pub(super) fn of(&self, issuer: &str) -> Fetches {
        let counter = |outcome| {
            let issuer = issuer.to_owned();
            self.fetches.get_or_create(&Labels { issuer, outcome }).clone()
        };
        Fetches {
            succeeded: counter("succeeded"),
            failed: counter("failed"),
        }
    }
}
