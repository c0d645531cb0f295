//! Tries again what may succeed, within a budget and before the deadline.
//!
//! # Where it stands
//! Inside `idempotency`, so that all attempts of one intent have one claim and one upstream token; outside `attempt`,
//! so that nothing is held while it waits.
//!
//! # On failure
//! The last attempt's failure with `attempts` in its metadata. When an earlier attempt left the outcome open and the
//! last one was refused, the refusal does not close it: `OUTCOME_UNKNOWN`.
//!
//! # When the caller goes away
//! Nothing: `idempotency` runs it detached.
//!
//! # Why not tower's budget
//! `TpsBudget` grants 100 retries free of charge in 10 s and rounds its ratio to 1/n (tower 0.5, retry/budget).

mod budget;

use std::{future::Future, num::NonZeroU32, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower::{Layer, retry::Retry, retry::budget::Budget as _};

use crate::{
    failure::{Advice, Effect, Failure, Reason},
    layers::Execution,
    operation::{Operation, Repeat},
};

pub use budget::{Budget, Settings as BudgetSettings};

/// How often and when to try again.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most attempts, the first included, 1 to 10. Default 3: what three do not reach, a fourth rarely does.
    pub max_attempts: NonZeroU32,
    /// Upper bound of the first wait, 1 ms to 10 s; it doubles with each attempt. Default 50 ms.
    pub backoff: Duration,
    /// Upper bound of every wait, 1 ms to 60 s. Default 2 s.
    pub max_backoff: Duration,
    /// Least time that must be left for the attempt behind the wait, 0 to 30 s. Default 500 ms: a retry that cannot
    /// finish only adds load.
    pub min_attempt: Duration,
    /// The budget that all calls share.
    pub budget: BudgetSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: NonZeroU32::new(3).unwrap_or(NonZeroU32::MIN),
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            min_attempt: Duration::from_millis(500),
            budget: BudgetSettings::default(),
        }
    }
}

/// Makes tower's [`Retry`] with a fresh [`Policy`] for each call.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    settings: Settings,
    budget: Arc<Budget>,
}

impl RetryLayer {
    /// Retries by `settings`. Clones share the budget.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            budget: Arc::new(Budget::new(settings.budget)),
        }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<Policy, S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = Policy {
            settings: self.settings,
            budget: Arc::clone(&self.budget),
            attempts: 0,
            in_doubt: false,
        };
        Retry::new(policy, inner)
    }
}

/// Decides after each attempt of one call.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: Settings,
    budget: Arc<Budget>,
    /// Attempts that have ended.
    attempts: u32,
    /// Whether one of them left open what RAM did.
    in_doubt: bool,
}

impl<Op: Operation> tower::retry::Policy<Execution<Op>, Op::Output, Failure> for Policy {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        execution: &mut Execution<Op>,
        result: &mut Result<Op::Output, Failure>,
    ) -> Option<Self::Future> {
        self.attempts += 1;
        let failure = match result {
            Ok(_) => {
                self.deposit_first();
                return None;
            }
            Err(failure) => failure,
        };
        self.in_doubt |= failure.what_happened() == Effect::Unknown;
        if let Some(wait) = self.wait_before_next(Op::REPEAT, failure, execution.deadline) {
            tracing::debug!(
                attempt = self.attempts,
                reason = failure.why().row().name,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "trying again"
            );
            return Some(Box::pin(tokio::time::sleep(wait)));
        }
        let attempts = self.attempts.to_string();
        let mut last = failure.clone().metadata("attempts", attempts);
        if self.in_doubt {
            last = last.in_doubt();
        }
        *failure = last;
        None
    }

    fn clone_request(&mut self, execution: &Execution<Op>) -> Option<Execution<Op>> {
        Some(execution.clone())
    }
}

impl Policy {
    /// How long to wait before the next attempt; `None` to give up.
    fn wait_before_next(&self, repeat: Repeat, failure: &Failure, deadline: Instant) -> Option<Duration> {
        let is_transient = failure.why() != Reason::Throttling;
        if !is_transient {
            self.deposit_first();
        }
        let asked = match failure.what_next() {
            Advice::Never => return None,
            Advice::Once if self.attempts > 1 => return None,
            Advice::Once => Duration::ZERO,
            Advice::After(pause) => pause,
        };
        if repeat == Repeat::Never && self.in_doubt {
            return None;
        }
        if self.attempts >= self.settings.max_attempts.get() {
            return None;
        }
        let wait = asked.max(self.jittered_backoff());
        let left = deadline.saturating_duration_since(Instant::now());
        if left < wait.saturating_add(self.settings.min_attempt) {
            return None;
        }
        // A throttled call costs RAM next to nothing and is not paid for; last, so that nothing is withdrawn in vain.
        (!is_transient || self.budget.withdraw()).then_some(wait)
    }

    /// Full jitter: uniform between zero and the doubling bound (AWS Architecture Blog, "Exponential Backoff And Jitter").
    fn jittered_backoff(&self) -> Duration {
        let doubled = self
            .settings
            .backoff
            .saturating_mul(1 << self.attempts.saturating_sub(1).min(16));
        doubled.min(self.settings.max_backoff).mul_f64(fastrand::f64())
    }

    fn deposit_first(&self) {
        if self.attempts == 1 {
            self.budget.deposit();
        }
    }
}
