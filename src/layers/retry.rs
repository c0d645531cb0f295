//! Tries again what may succeed, within a budget and before the deadline.
//!
//! # Where it stands
//! Inside `idempotency`, so that all attempts of one intent have one claim and one upstream token; outside `attempt`,
//! so that nothing is held while it waits.
//!
//! # On failure
//! The last attempt's failure with `attempts` in its metadata. When an earlier attempt left the outcome open and the
//! last one was refused, the refusal does not close it: `OUTCOME_UNKNOWN`. What RAM throttles, and what may not leave
//! because of the rate, is final here: `pace`, inside, has done all that there is to do about it.
//!
//! # When the caller goes away
//! Nothing: `idempotency` runs it detached.
//!
//! # Why not tower's budget
//! `TpsBudget` grants 100 retries free of charge in 10 s and rounds its ratio to 1/n (tower 0.5, retry/budget).

mod budget;
mod metrics;

use std::{future::Future, num::NonZeroU32, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower::{Layer, retry::Retry, retry::budget::Budget as _};

use crate::{
    failure::{Advice, Effect, Failure, Reason},
    layers::{Admission, Execution},
    operation::{Operation, Repeat},
};

pub use budget::{Budget, Settings as BudgetSettings};
pub use metrics::Metrics;

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
    metrics: Metrics,
}

impl RetryLayer {
    /// Retries by `settings`. Clones share the budget.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let metrics = Metrics::default();
        Self {
            settings,
            budget: Arc::new(Budget::new(settings.budget, metrics.budget.clone())),
            metrics,
        }
    }

    /// What it counts and measures.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<Policy, S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = Policy {
            settings: self.settings,
            budget: Arc::clone(&self.budget),
            metrics: self.metrics.clone(),
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
    metrics: Metrics,
    /// Attempts that have ended.
    attempts: u32,
    /// Whether one of them left open what RAM did.
    in_doubt: bool,
}

impl<Op: Operation, Response> tower::retry::Policy<Execution<Op>, Response, Failure> for Policy {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        execution: &mut Execution<Op>,
        result: &mut Result<Response, Failure>,
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
        // Nobody waits behind the caller's deadline, but an open outcome is worth settling for the next who asks.
        let deadline = if self.in_doubt {
            execution.deadline
        } else {
            execution.permitted.call().deadline
        };
        if let Some(wait) = self.wait_before_next(execution.repeat(), failure, deadline) {
            tracing::debug!(
                attempt = self.attempts,
                reason = failure.why().row().name,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "trying again"
            );
            self.metrics.retries.inc();
            execution.admission = Admission::Again { until: deadline };
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
        Some(execution.again())
    }
}

impl Policy {
    /// How long to wait before the next attempt; `None` to give up.
    fn wait_before_next(&self, repeat: Repeat, failure: &Failure, deadline: Instant) -> Option<Duration> {
        if is_settled_by_pace(failure.why()) {
            return None;
        }
        let asked = match failure.what_next() {
            Advice::Never => {
                self.deposit_first();
                return None;
            }
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
        // Last, so that nothing is withdrawn in vain.
        self.budget.withdraw().then_some(wait)
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

/// Whether it is about the rate, which is the pacer's to judge.
fn is_settled_by_pace(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Throttling | Reason::RateLimitExceeded | Reason::UpstreamUnhealthy
    )
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicU32, Ordering},
    };

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::layers::testing::{Op, execution};

    fn unavailable() -> Failure {
        Failure::new(Reason::ServiceUnavailable, "down")
            .effect(Effect::Unknown)
            .advice(Advice::After(Duration::ZERO))
    }

    fn refused() -> Failure {
        Failure::new(Reason::InvalidParameter, "no")
    }

    fn unreachable() -> Failure {
        Failure::new(Reason::AwsUnreachable, "no connection").advice(Advice::After(Duration::ZERO))
    }

    fn throttled() -> Failure {
        Failure::new(Reason::Throttling, "slow down").advice(Advice::After(Duration::from_secs(1)))
    }

    /// Runs a call whose attempts end as `script` says, and returns its end and how many there were.
    async fn run<const REPEAT: char>(
        layer: &RetryLayer,
        patience: Duration,
        script: impl Fn(u32) -> Result<String, Failure> + Clone + Send + 'static,
    ) -> (Result<String, Failure>, u32) {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        let inner = service_fn(move |_: Execution<Op<REPEAT>>| {
            ready(script(counted.fetch_add(1, Ordering::SeqCst) + 1))
        });
        let result = layer.layer(inner).oneshot(execution(patience).await).await;
        (result, attempts.load(Ordering::SeqCst))
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_transient_failure_is_tried_again_and_the_count_is_told() {
        let layer = RetryLayer::new(Settings::default());

        let (ok, attempts) = run::<'t'>(&layer, LONG, |n| {
            if n < 3 {
                Err(unavailable())
            } else {
                Ok("arn".to_owned())
            }
        })
        .await;
        let (failed, all) = run::<'t'>(&layer, LONG, |_| Err(unavailable())).await;

        assert_eq!((ok.unwrap().as_str(), attempts), ("arn", 3));
        assert_eq!(
            (failed.unwrap_err().get_metadata("attempts"), all),
            (Some("3"), 3)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final() {
        let (result, attempts) =
            run::<'t'>(&RetryLayer::new(Settings::default()), LONG, |_| Err(refused())).await;

        assert_eq!(
            (result.unwrap_err().why(), attempts),
            (Reason::InvalidParameter, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_or_a_throttle_after_an_open_attempt_does_not_end_the_doubt() {
        for last in [refused(), throttled()] {
            let script = move |n| Err(if n == 1 { unavailable() } else { last.clone() });
            let (result, _) = run::<'t'>(&RetryLayer::new(Settings::default()), LONG, script).await;

            let failure = result.unwrap_err();
            assert_eq!(
                (failure.why(), failure.what_happened()),
                (Reason::OutcomeUnknown, Effect::Unknown)
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ram_cannot_recognise_is_not_repeated_while_its_outcome_is_open() {
        let layer = RetryLayer::new(Settings::default());

        let (_, open) = run::<'n'>(&layer, LONG, |_| Err(unavailable())).await;
        let (_, certain) = run::<'n'>(&layer, LONG, |_| Err(unreachable())).await;

        assert_eq!((open, certain), (1, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn no_retry_starts_that_the_caller_would_not_wait_for() {
        let (_, attempts) = run::<'t'>(
            &RetryLayer::new(Settings::default()),
            Duration::from_millis(1_400),
            |_| Err(unreachable().advice(Advice::After(Duration::from_secs(1)))),
        )
        .await;

        assert_eq!(
            attempts, 1,
            "a pause of 1 s and 500 ms for the attempt do not fit"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_outcome_is_settled_also_behind_the_callers_deadline() {
        let script = |n| {
            if n == 1 {
                Err(unavailable())
            } else {
                Ok("arn".to_owned())
            }
        };

        let (result, _) = run::<'t'>(&RetryLayer::new(Settings::default()), Duration::ZERO, script).await;

        assert!(result.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_budget_ends_retries_for_everybody() {
        let layer = RetryLayer::new(Settings::default());
        for _ in 0..5 {
            assert_eq!(run::<'t'>(&layer, LONG, |_| Err(unavailable())).await.1, 3);
        }

        assert_eq!(run::<'t'>(&layer, LONG, |_| Err(unavailable())).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_about_the_rate_is_left_to_the_pacer() {
        let rate_limited = Failure::new(Reason::RateLimitExceeded, "later").advice(Advice::After(LONG));
        for failure in [throttled(), rate_limited] {
            let (result, attempts) = {
                let failure = failure.clone();
                run::<'t'>(&RetryLayer::new(Settings::default()), LONG, move |_| {
                    Err(failure.clone())
                })
                .await
            };

            assert_eq!((result.unwrap_err().why(), attempts), (failure.why(), 1));
        }
    }
}
