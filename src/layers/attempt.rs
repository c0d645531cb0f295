//! Bounds one attempt in time and lets none leave too late.
//!
//! # Where it stands
//! Innermost, inside `retry`: an attempt can be given up and tried again.
//!
//! # On failure
//! `AWS_TIMEOUT`, effect unknown, when RAM does not answer in time; `DEADLINE_EXCEEDED`, effect none, when the time is
//! too short to send at all or the resend window has closed.
//!
//! # When the caller goes away
//! Dropping the future aborts the HTTP exchange. `idempotency` runs it detached, so that this does not happen.

use std::{
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tower::{Layer, Service};

use crate::{
    failure::{Advice, Effect, Failure, Reason},
    layers::Execution,
    operation::{Operation, Repeat},
};

/// How long one attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Longest one attempt may take, 50 ms to 60 s. Default 8 s: several times the slowest healthy answer, and short
    /// enough for two more attempts within the default deadline of 30 s.
    pub limit: Duration,
    /// Time kept back from the deadline to bring the answer home, 0 to 1 s. Default 100 ms.
    pub reserve: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(8),
            reserve: Duration::from_millis(100),
        }
    }
}

/// Makes [`Attempt`].
#[derive(Clone, Copy, Debug)]
pub struct AttemptLayer {
    settings: Settings,
}

impl AttemptLayer {
    /// Bounds attempts by `settings`.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attempt {
            inner,
            settings: self.settings,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Attempt<S> {
    inner: S,
    settings: Settings,
}

impl<Op, S> Service<Execution<Op>> for Attempt<S>
where
    Op: Operation,
    S: Service<Execution<Op>, Error = Failure>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, execution: Execution<Op>) -> Self::Future {
        if execution.window.is_some_and(|window| !window.is_open()) {
            return Box::pin(ready(Err(too_late(
                "the time in which this request may be sent is over",
            ))));
        }
        let left = execution.deadline.saturating_duration_since(Instant::now());
        let limit = self
            .settings
            .limit
            .min(left.saturating_sub(self.settings.reserve));
        if limit.is_zero() {
            return Box::pin(ready(Err(too_late(
                "the deadline leaves no time to send the request",
            ))));
        }
        let repeat = execution.repeat();
        let attempt = self.inner.call(execution);
        Box::pin(async move {
            // `timeout` polls the answer before the clock: an answer that arrives with the last tick counts.
            let result = timeout(limit, attempt)
                .await
                .unwrap_or_else(|_elapsed| Err(no_answer(limit)));
            result.map_err(|failure| match repeat {
                // Whatever became of it, it changed nothing.
                Repeat::Safe => failure.effect(Effect::None),
                Repeat::WithToken | Repeat::Never => failure,
            })
        })
    }
}

fn no_answer(limit: Duration) -> Failure {
    let message = format!(
        "RAM did not answer within {} ms; try again with the same client token",
        limit.as_millis()
    );
    Failure::new(Reason::AwsTimeout, message)
        .effect(Effect::Unknown)
        .advice(Advice::After(Duration::ZERO))
}

fn too_late(message: &str) -> Failure {
    Failure::new(
        Reason::DeadlineExceeded,
        format!("{message}; try again with the same client token and more time"),
    )
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::{
        clock,
        layers::{
            Window,
            testing::{Op, execution},
        },
    };

    /// One attempt against a RAM that answers after `latency`.
    async fn attempt<const REPEAT: char>(
        execution: Execution<Op<REPEAT>>,
        latency: Duration,
    ) -> Result<String, Failure> {
        let ram = service_fn(move |_: Execution<Op<REPEAT>>| async move {
            sleep(latency).await;
            Ok::<_, Failure>("arn".to_owned())
        });
        AttemptLayer::new(Settings::default())
            .layer(ram)
            .oneshot(execution)
            .await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_with_the_last_tick_counts() {
        let limit = Settings::default().limit;

        assert!(attempt::<'t'>(execution(LONG).await, limit).await.is_ok());
        assert!(
            attempt::<'t'>(execution(LONG).await, limit + Duration::from_millis(1))
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_leaves_a_write_open_and_changes_nothing_for_a_read() {
        let write = attempt::<'t'>(execution(LONG).await, LONG).await.unwrap_err();
        let read = attempt::<'s'>(execution(LONG).await, LONG).await.unwrap_err();

        assert_eq!(
            (write.why(), write.what_happened()),
            (Reason::AwsTimeout, Effect::Unknown)
        );
        assert_eq!(
            (read.why(), read.what_happened()),
            (Reason::AwsTimeout, Effect::None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_execution_bounds_the_attempt() {
        let mut short = execution::<'t'>(LONG).await;
        short.deadline = Instant::now() + Duration::from_secs(2);
        let begun = Instant::now();

        let failure = attempt(short, LONG).await.unwrap_err();

        assert_eq!(failure.why(), Reason::AwsTimeout);
        assert_eq!(begun.elapsed(), Duration::from_millis(1_900));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_without_time_or_behind_the_window() {
        let mut late = execution::<'t'>(LONG).await;
        late.deadline = Instant::now();
        let mut monotonic = execution::<'t'>(LONG).await;
        monotonic.window = Some(Window {
            wall: u64::MAX,
            monotonic: Instant::now(),
        });
        tokio::time::advance(Duration::from_millis(1)).await;
        let mut wall = execution::<'t'>(LONG).await;
        wall.window = Some(Window {
            wall: clock::wall_now() - 1,
            monotonic: Instant::now() + LONG,
        });

        for execution in [late, monotonic, wall] {
            let failure = attempt(execution, Duration::ZERO).await.unwrap_err();
            assert_eq!(
                (failure.why(), failure.what_happened()),
                (Reason::DeadlineExceeded, Effect::None)
            );
        }
    }
}
