//! How intents were settled.

use super::live::Settled;
use crate::failure::Reason;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// What a caller got.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// The end of an execution that its request began.
    Fresh,
    /// A recorded answer.
    Replayed,
    /// The end of an execution that another's request began.
    Joined,
    /// A refusal of the token.
    Mismatch,
}

impl Outcome {
    /// What a settled intent is for the caller whose request settled it.
    pub(super) fn of(settled: &Settled) -> Self {
        match settled {
            Ok(reply) if reply.recorded_at.is_some() => Self::Replayed,
            Err(failure) if failure.why() == Reason::TokenMismatch => Self::Mismatch,
            Ok(_) | Err(_) => Self::Fresh,
        }
    }
}

/// The metrics of intents. Clones share the values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    outcomes: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// Makes them part of `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ram_facade_idempotency_outcomes",
            "Requests with a client token, by how they were settled",
            self.outcomes.clone(),
        );
    }

    pub(super) fn settled(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Fresh => "fresh",
            Outcome::Replayed => "replayed",
            Outcome::Joined => "joined",
            Outcome::Mismatch => "refused",
        };
        self.outcomes.get_or_create(&[("outcome", outcome)]).inc();
    }
}
