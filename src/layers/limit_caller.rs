//! Bounds what one caller may ask for, so that a noisy one leaves room for the others.
//!
//! # Where it stands
//! Right inside `authenticate`, since it counts by proven names; outside everything that costs something. Health checks
//! have no caller and pass. So does everybody while authentication is off: there is nobody to tell apart then, and
//! `in_flight` bounds the whole.
//!
//! # On failure
//! `CALLER_RATE_LIMITED` or `CALLER_IN_FLIGHT_LIMIT`, effect none, with the time after which to come back. It never
//! queues, for the reasons that `in_flight` gives.
//!
//! # When the caller goes away
//! The call's place is free again as soon as its future is dropped. What it took of the rate stays taken.
//!
//! # What it leaves behind
//! Nothing. What is known of a caller is dropped some time after its last call, when it would be as good as new.

use std::{
    collections::HashMap,
    future::ready,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    call::{Caller, Proof},
    failure::{Advice, Failure, Reason},
    layers::wire::{self, Answering, Handler, Request, Response},
};

/// How much one caller may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Calls per second in the long run. Range 0 to 100_000, 0 for no limit. Default 50: RAM's own request rates are
    /// below that for a whole account, and replayed answers cost little.
    pub per_second: u32,
    /// Calls that may come at once after a pause. Range 1 to 100_000. Default 100: a deployment that shares its
    /// resources in one go.
    pub burst: NonZeroU32,
    /// Calls in flight, over all of its connections. Range 0 to 100_000, 0 for no limit. Default 64: a sixteenth of what
    /// the server takes.
    pub in_flight: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_second: 50,
            burst: NonZeroU32::MIN.saturating_add(99),
            in_flight: 64,
        }
    }
}

/// Longest time between two looks for callers that can be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Number of callers below which nobody looks earlier than that.
const FEW: usize = 1_024;

/// Least delay that is named, before its jitter: what a `Failure` would round up to.
const MIN_DELAY: Duration = Duration::from_millis(100);

/// Makes [`LimitCaller`]. Services of one layer share what they know of callers.
#[derive(Clone)]
pub struct LimitCallerLayer(Arc<Limits>);

struct Limits {
    settings: Settings,
    clock: TokioClock,
    callers: Mutex<Callers>,
}

struct Callers {
    known: HashMap<Caller, Known>,
    swept: Instant,
    /// The number of callers at which to look again, however early that is.
    sweep_at: usize,
}

struct Known {
    /// Each call in flight has a clone of it.
    places: Arc<()>,
    rate: Option<Rate>,
    last_call: Instant,
}

type Rate = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// Governor's time from tokio's clock, which tests can pause.
#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl LimitCallerLayer {
    /// Limits every caller alike.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self(Arc::new(Limits {
            settings,
            clock: TokioClock(now),
            callers: Mutex::new(Callers {
                known: HashMap::new(),
                swept: now,
                sweep_at: FEW,
            }),
        }))
    }
}

impl<S> Layer<S> for LimitCallerLayer {
    type Service = LimitCaller<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitCaller {
            inner,
            limits: Arc::clone(&self.0),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct LimitCaller<S> {
    inner: S,
    limits: Arc<Limits>,
}

impl<S: Handler> Service<Request> for LimitCaller<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let admitted = match caller.filter(|caller| caller.proof() != Proof::Nothing) {
            None => Ok(None),
            Some(caller) => self.limits.admit(caller).map(Some),
        };
        match admitted {
            Ok(place) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let _place = place;
                    answer.await
                })
            }
            Err(failure) => {
                let request_id = wire::request_id(request.headers());
                Box::pin(ready(Ok(wire::refuse(&failure, request_id.as_ref()))))
            }
        }
    }
}

impl Limits {
    /// Gives one call of `caller` a place, which is free again when it is dropped.
    fn admit(&self, caller: &Caller) -> Result<Arc<()>, Failure> {
        let Settings { in_flight, .. } = self.settings;
        let now = Instant::now();
        // Nothing that is done under the lock can leave it half done.
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        self.sweep(&mut callers, now);
        if !callers.known.contains_key(caller) {
            callers.known.insert(caller.clone(), self.stranger(now));
        }
        let Some(known) = callers.known.get_mut(caller) else {
            return Err(Failure::new(Reason::Internal, "internal error"));
        };
        known.last_call = now;
        if in_flight > 0 && Arc::strong_count(&known.places) > in_flight {
            return Err(too_many_in_flight(in_flight));
        }
        if let Some(Err(refused)) = known.rate.as_ref().map(RateLimiter::check) {
            let wait = refused.wait_time_from(self.clock.now());
            return Err(too_many_per_second(self.settings.per_second, wait));
        }
        Ok(Arc::clone(&known.places))
    }

    fn stranger(&self, now: Instant) -> Known {
        let Settings {
            per_second, burst, ..
        } = self.settings;
        let rate = NonZeroU32::new(per_second).map(|per_second| {
            let quota = Quota::per_second(per_second).allow_burst(burst);
            RateLimiter::direct_with_clock(quota, self.clock.clone())
        });
        Known {
            places: Arc::default(),
            rate,
            last_call: now,
        }
    }

    /// Forgets callers of whom nothing is left to know: now and then, and whenever there are twice as many as last time.
    fn sweep(&self, callers: &mut Callers, now: Instant) {
        if now < callers.swept + SWEEP_INTERVAL && callers.known.len() < callers.sweep_at {
            return;
        }
        let refill = Duration::from_secs(1).saturating_mul(self.settings.burst.get())
            / self.settings.per_second.max(1);
        callers
            .known
            .retain(|_, known| Arc::strong_count(&known.places) > 1 || now < known.last_call + refill);
        callers.known.shrink_to(FEW);
        callers.swept = now;
        callers.sweep_at = FEW.max(callers.known.len() * 2);
    }
}

fn too_many_in_flight(limit: usize) -> Failure {
    let message = format!(
        "you have {limit} calls in flight, which is the limit; wait for some of them, then send the call again"
    );
    // How long they take is not known here.
    Failure::new(Reason::CallerInFlightLimit, message)
        .metadata("limit", limit.to_string())
        .advice(Advice::After(jittered(MIN_DELAY * 2)))
}

fn too_many_per_second(limit: u32, wait: Duration) -> Failure {
    let message = format!(
        "you send more than {limit} calls per second; send the call again after the delay in RetryInfo"
    );
    Failure::new(Reason::CallerRateLimited, message)
        .metadata("limit", limit.to_string())
        .advice(Advice::After(jittered(wait.max(MIN_DELAY))))
}

/// Up to half as long again, so that calls refused together do not come back together.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(1.0 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
