//! One target's pacing, shared by everybody who calls it: `pacing` with a lock, a clock and somebody to wake.
//!
//! Nobody is in charge. Everyone who waits sleeps until the next request may leave, and whoever wakes first says whose turn
//! it is. So no task has to be kept running, and one that is dropped leaves nothing undone. The lock is never held
//! across an await.

use std::{collections::HashMap, fmt, time::Duration};

use tokio::select;

use super::{
    Metrics,
    sync::{Arc, Instant, Mutex, MutexGuard, Notify, PoisonError, oneshot, sleep_until},
};
use crate::{
    call::Caller,
    pacing::{Answer, Asking, End, Pacing, Refusal, Regime, Settings, Ticket, Time, Verdict},
};

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct Pacer {
    shared: Arc<Shared>,
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
    /// Told when the time of the next request has changed.
    changed: Notify,
    metrics: Metrics,
}

struct State {
    pacing: Pacing<Caller>,
    waiting: HashMap<Ticket, oneshot::Sender<Verdict>>,
    regime: Regime,
}

/// The right to send one request now. Dropped without use, it goes to the next who waits.
#[must_use]
pub struct Permit {
    pacer: Pacer,
    has_waited: bool,
    is_used: bool,
}

/// A request that is under way. Dropped without an end, it teaches nothing.
#[must_use]
pub(super) struct UnderWay {
    pacer: Pacer,
    has_waited: bool,
    left: Instant,
}

impl Pacer {
    /// Paces by `settings`, from now on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let state = State {
            pacing: Pacing::new(settings),
            waiting: HashMap::new(),
            regime: Regime::SlowStart,
        };
        let metrics = Metrics::default();
        metrics.rate.set(state.pacing.per_second());
        Self {
            shared: Arc::new(Shared {
                began: Instant::now(),
                state: Mutex::new(state),
                changed: Notify::new(),
                metrics,
            }),
        }
    }

    /// What it counts and measures.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Waits until a request of `caller` may leave whose answer is of use until `deadline`.
    ///
    /// # Errors
    /// A refusal: at once if the wait would be too long, later if others came to need the place or the rate fell, and
    /// never behind `deadline`.
    ///
    /// # Cancellation
    /// Dropping it gives up the place, or the permit, to the next.
    pub async fn acquire(
        &self,
        caller: &Caller,
        deadline: Instant,
        asking: Asking,
    ) -> Result<Permit, Refusal> {
        let answer = self.update(|state, now| {
            let deadline = now + deadline.saturating_duration_since(Instant::now());
            match state.pacing.ask(now, caller, deadline, asking, fastrand::f64()) {
                Answer::Go => Ok(None),
                Answer::Refuse(refusal) => Err(refusal),
                Answer::Wait(ticket) => {
                    let (tell, told) = oneshot::channel();
                    state.waiting.insert(ticket, tell);
                    Ok(Some((ticket, deadline, told)))
                }
            }
        });
        let granted = match answer {
            Ok(None) => Ok(self.permit(false)),
            Ok(Some((ticket, deadline, told))) => {
                let waiting = Waiting {
                    pacer: self,
                    ticket,
                    deadline,
                    told,
                };
                waiting.for_turn().await
            }
            Err(refusal) => Err(refusal),
        };
        granted.inspect_err(|refusal| self.shared.metrics.refused(refusal.why))
    }

    fn permit(&self, has_waited: bool) -> Permit {
        Permit {
            pacer: self.clone(),
            has_waited,
            is_used: false,
        }
    }

    /// The refusal of who waits and cannot have its turn in time any more.
    fn give_up(&self, ticket: Ticket, deadline: Time) -> Option<Refusal> {
        let now = self.now();
        let mut state = self.lock();
        let refusal = state.pacing.give_up(now, ticket, deadline)?;
        state.waiting.remove(&ticket);
        Some(refusal)
    }

    /// When to look again whose turn it is.
    pub(super) fn next(&self) -> Instant {
        let now = self.now();
        let next = self.lock().pacing.next(now);
        // Somebody who waits is in the queue or has been told, so there is a next one; else a look does no harm.
        let wait = next.map_or(Duration::from_secs(1), |next| next.saturating_sub(now));
        Instant::now() + wait
    }

    /// Changes the state, tells everyone whose turn it is, and keeps log and metrics current.
    fn update<T>(&self, change: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let result = change(&mut state, now);
        for (ticket, verdict) in state.pacing.verdicts(now) {
            let undelivered = match state.waiting.remove(&ticket) {
                Some(tell) => tell.send(verdict).is_err(),
                None => true,
            };
            if undelivered && verdict == Verdict::Go {
                state.pacing.give_back(now);
            }
        }
        self.shared.metrics.rate.set(state.pacing.per_second());
        self.shared
            .metrics
            .queued
            .set(i64::try_from(state.pacing.queued()).unwrap_or(i64::MAX));
        let regime = state.pacing.regime(now);
        if regime != state.regime {
            tracing::info!(
                from = state.regime.name(),
                to = regime.name(),
                requests_per_second = state.pacing.per_second(),
                queued = state.pacing.queued(),
                "the pace of requests to RAM has a new regime"
            );
            state.regime = regime;
        }
        result
    }

    fn ended(&self, end: End, has_waited: bool) {
        if matches!(end, End::Throttled(_)) {
            self.shared.metrics.throttles.inc();
        }
        self.update(|state, now| state.pacing.ended(now, end, has_waited));
        self.shared.changed.notify_waiters();
    }

    fn give_back(&self) {
        self.update(|state, now| state.pacing.give_back(now));
        // While RAM wants a pause it is nobody's yet, but the first behind the pause leaves sooner than all believe.
        self.shared.changed.notify_waiters();
    }

    fn now(&self) -> Time {
        self.shared.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacer").finish_non_exhaustive()
    }
}

/// A place in the queue.
struct Waiting<'a> {
    pacer: &'a Pacer,
    ticket: Ticket,
    deadline: Time,
    told: oneshot::Receiver<Verdict>,
}

impl Waiting<'_> {
    async fn for_turn(mut self) -> Result<Permit, Refusal> {
        loop {
            // Made before the time is read, so that no change in between goes unseen.
            let changed = self.pacer.shared.changed.notified();
            if let Some(refusal) = self.pacer.give_up(self.ticket, self.deadline) {
                return Err(refusal);
            }
            let next = self.pacer.next();
            select! {
                biased;
                told = &mut self.told => return match told {
                    Ok(Verdict::Refuse(refusal)) => Err(refusal),
                    // The sender is dropped only after it told.
                    Ok(Verdict::Go) | Err(_) => Ok(self.pacer.permit(true)),
                },
                () = sleep_until(next) => self.pacer.update(|_, _| ()),
                () = changed => {}
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let ticket = self.ticket;
        let waited = self.pacer.update(|state, _| {
            state.waiting.remove(&ticket);
            state.pacing.leave(ticket)
        });
        // It had its turn and left before it heard of it. Empty when it did hear.
        if !waited && matches!(self.told.try_recv(), Ok(Verdict::Go)) {
            self.pacer.give_back();
        }
    }
}

impl Permit {
    /// Whether its request stood in the queue.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// The request leaves.
    pub(super) fn leave(mut self) -> UnderWay {
        self.is_used = true;
        UnderWay {
            pacer: self.pacer.clone(),
            has_waited: self.has_waited,
            left: Instant::now(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_used {
            self.pacer.give_back();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl UnderWay {
    /// How long it has been under way.
    pub(super) fn elapsed(&self) -> Duration {
        self.left.elapsed()
    }

    /// It ended, and `end` is what it teaches.
    pub(super) fn ended(self, end: End) {
        self.pacer.ended(end, self.has_waited);
    }

    /// It never left the process.
    pub(super) fn was_not_sent(self) {
        self.pacer.give_back();
    }
}
