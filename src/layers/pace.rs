//! Lets a request leave when RAM's rate for the account allows it, fairly between callers, and refuses what could not leave
//! in time.
//!
//! # Where it stands
//! Inside `retry`, so that no permit is held while a retry waits; outside `attempt`, whose time begins when the request may
//! leave. What `idempotency` has to claim first asks for its [`Permit`] before the claim, so that a refusal leaves no
//! record; everything else asks here. Replays and joins never come here.
//!
//! A request that RAM throttles goes back to the front of its caller's queue, with no other pause: the pacer knows
//! better than a backoff when RAM takes the next. So throttles are settled here, and `retry` does not see them.
//!
//! # On failure
//! `RATE_LIMIT_EXCEEDED` when its turn would come too late, `UPSTREAM_UNHEALTHY` when RAM fails and is spared, both with no
//! effect and the time to come back; RAM's own `THROTTLING` when the turns ran out. What else the inside answers goes
//! through.
//!
//! # When the caller goes away
//! A request that waits gives up its place, one that may leave its permit. One under way is dropped with its future.
//!
//! # What it leaves behind
//! What RAM accepts and throttles makes the rate for the next.

#[cfg(test)]
mod interleavings;
mod metrics;
mod pacer;
mod sync;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service, ServiceExt};

use crate::{
    failure::{Advice, Effect, Failure, Reason},
    layers::{Admission, Execution},
    operation::Operation,
    pacing::{Asking, End, Refusal, Why},
};

pub use crate::pacing::{Settings, rate};
pub use metrics::Metrics;
pub use pacer::{Pacer, Permit};

use pacer::UnderWay;

/// How often a request that RAM throttles asks again. With the default rates that is several seconds, and a rate that
/// nobody else uses up is found within three.
const MAX_THROTTLES: u32 = 8;

/// Makes [`Pace`].
#[derive(Clone, Debug)]
pub struct PaceLayer {
    pacer: Pacer,
}

impl PaceLayer {
    /// Lets requests leave by `pacer`.
    #[must_use]
    pub fn new(pacer: Pacer) -> Self {
        Self { pacer }
    }
}

impl<S> Layer<S> for PaceLayer {
    type Service = Pace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Pace {
            inner,
            pacer: self.pacer.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Pace<S> {
    inner: S,
    pacer: Pacer,
}

impl<Op, S> Service<Execution<Op>> for Pace<S>
where
    Op: Operation,
    S: Service<Execution<Op>, Error = Failure> + Clone + Send + 'static,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    /// Always ready: the inside is waited for when the request may leave.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, execution: Execution<Op>) -> Self::Future {
        let inner = self.inner.clone();
        let pacer = self.pacer.clone();
        Box::pin(run(pacer, inner, execution))
    }
}

async fn run<Op, S>(pacer: Pacer, inner: S, mut execution: Execution<Op>) -> Result<S::Response, Failure>
where
    Op: Operation,
    S: Service<Execution<Op>, Error = Failure> + Clone,
{
    let call = execution.permitted.call();
    let caller = call.caller.clone();
    let (mut patience, admission) = (call.deadline, std::mem::take(&mut execution.admission));
    let mut permit = match admission {
        Admission::Granted(permit) => permit,
        Admission::Ask => {
            let asked = pacer.acquire(&caller, patience, Asking::First).await;
            asked.map_err(|refusal| refused(&refusal))?
        }
        Admission::Again { until } => {
            patience = until;
            let asked = pacer.acquire(&caller, patience, Asking::Again).await;
            asked.map_err(|refusal| refused(&refusal))?
        }
    };
    let mut throttles = 0;
    loop {
        let under_way = permit.leave();
        let result = inner.clone().oneshot(execution.again()).await;
        let throttled = match result {
            Err(failure) if failure.why() == Reason::Throttling => failure,
            result => {
                tell(under_way, &result);
                return result;
            }
        };
        let pause = pause(&throttled);
        under_way.ended(End::Throttled(pause));
        // RAM's own word is the least that the caller is told.
        let told = |wait: Duration| wait.mul_f64(jitter()).max(pause.unwrap_or_default());
        throttles += 1;
        if throttles > MAX_THROTTLES {
            return Err(throttled
                .advice(Advice::After(told(Duration::from_secs(1))))
                .metadata("throttles", throttles.to_string()));
        }
        permit = match pacer.acquire(&caller, patience, Asking::Throttled).await {
            Ok(permit) => permit,
            Err(refusal) => {
                return Err(throttled
                    .advice(Advice::After(told(refusal.wait)))
                    .metadata("throttles", throttles.to_string()));
            }
        };
    }
}

/// Tells the pacer what an answer that is no throttle says about RAM.
fn tell<T>(under_way: UnderWay, result: &Result<T, Failure>) {
    let took = under_way.elapsed();
    match result {
        // It was too late to send it.
        Err(failure) if failure.why() == Reason::DeadlineExceeded => under_way.was_not_sent(),
        Err(failure)
            if failure.what_happened() == Effect::Unknown || failure.what_next() != Advice::Never =>
        {
            under_way.ended(End::Failed);
        }
        // A refusal of the request itself is RAM at work.
        Ok(_) | Err(_) => under_way.ended(End::Accepted(took)),
    }
}

/// The pause that RAM asked for, if it did.
fn pause(throttled: &Failure) -> Option<Duration> {
    match throttled.what_next() {
        Advice::After(pause) if !pause.is_zero() => Some(pause),
        Advice::After(_) | Advice::Once | Advice::Never => None,
    }
}

/// What the caller is told. Different waits for each, so that those refused together do not come back together.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    let (reason, message) = match refusal.why {
        Why::TooLate | Why::QueueFull => (
            Reason::RateLimitExceeded,
            "more requests wait than RAM's rate for this account lets through in time, so nothing was sent; try again \
             after the given delay",
        ),
        Why::UpstreamFailing => (
            Reason::UpstreamUnhealthy,
            "RAM fails most requests at present, so nothing was sent; try again after the given delay",
        ),
    };
    Failure::new(reason, message).advice(Advice::After(refusal.wait.mul_f64(jitter())))
}

/// Uniform from 0.5 to 1.5.
fn jitter() -> f64 {
    0.5 + fastrand::f64()
}

#[cfg(test)]
mod tests;
