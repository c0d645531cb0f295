//! Decides which request may leave for RAM, and when: pure, no I/O, no clock.
//!
//! RAM limits calls per second, for an account and a Region, at a rate that it does not publish and that everybody in
//! the account shares. It refuses in milliseconds, so that neither latency nor concurrency shows where the limit is. So
//! [`rate`] looks for the rate by what RAM accepts, [`lanes`] share it fairly between callers, and who could not be
//! served in time is refused before anything is recorded or sent. [`failing`] keeps most requests from a RAM that fails.
//!
//! Time is a parameter: what has passed since a moment that whoever owns the [`Pacing`] chose.

pub mod failing;
pub mod lanes;
pub mod latency;
pub mod rate;
pub mod settings;

use std::{hash::Hash, time::Duration};

use self::{
    failing::Failing,
    lanes::{Lanes, Place},
    latency::Latency,
    rate::Rate,
};

pub use lanes::Ticket;
pub use settings::Settings;

/// Time since a moment of the owner's choice.
pub type Time = Duration;

/// How long after a throttle the regime is still called throttled: the search for the rate throttles now and then, and
/// an operator need not be told each time.
const THROTTLED_FOR: Duration = Duration::from_secs(60);

/// How a request stands that asks to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// For the first time: nothing is recorded or sent yet, and a refusal costs nothing.
    First,
    /// Once more, after an attempt that failed: it has its place in the world, and waits until its deadline.
    Again,
    /// Once more, because RAM throttled it: it was its turn, so it stands before its caller's others.
    Throttled,
}

/// What becomes of a request that asks to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may leave now.
    Go,
    /// It waits; a [`Verdict`] on the ticket follows.
    Wait(Ticket),
    /// It may not.
    Refuse(Refusal),
}

/// What became of a request that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may leave now.
    Go,
    /// It may not.
    Refuse(Refusal),
}

/// Why a request may not leave, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: Why,
    /// How long until a request of this caller could leave, as far as can be told.
    pub wait: Duration,
}

/// Why a request may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its turn would come too late: behind the longest wait, or behind its deadline.
    TooLate,
    /// Too many wait.
    QueueFull,
    /// RAM fails, and this is no probe.
    UpstreamFailing,
}

/// How an attempt ended, as far as the rate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// RAM did its work, after this time, or refused for a reason of the request's own.
    Accepted(Duration),
    /// RAM refused unseen because of the rate. It may have said how long to pause.
    Throttled(Option<Duration>),
    /// RAM did not answer, or failed.
    Failed,
}

/// What the pacer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Regime {
    /// No throttle was seen yet; the rate grows quickly when somebody waits.
    SlowStart,
    /// The rate is near what RAM accepts, and RAM has not throttled for a minute.
    Steady,
    /// RAM throttled within the last minute.
    Throttled,
    /// RAM said how long to stay away.
    Paused,
    /// RAM fails, and most requests are refused here.
    Failing,
}

impl Regime {
    /// Its name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowStart => "slow start",
            Self::Steady => "steady",
            Self::Throttled => "throttled",
            Self::Paused => "paused",
            Self::Failing => "failing",
        }
    }
}

/// The pacing of one target for callers that `K` names.
#[derive(Debug)]
pub struct Pacing<K> {
    settings: Settings,
    rate: Rate,
    lanes: Lanes<K>,
    failing: Failing,
    latency: Latency,
    tickets: u64,
    /// Verdicts on tickets that lost their place to others.
    shed: Vec<(Ticket, Verdict)>,
}

impl<K: Clone + Eq + Hash> Pacing<K> {
    /// Nobody waits, and nothing is known of RAM.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            rate: Rate::new(settings.rate),
            lanes: Lanes::default(),
            failing: Failing::default(),
            latency: Latency::default(),
            tickets: 0,
            shed: Vec::new(),
            settings,
        }
    }

    /// Asks for a request of `caller`, whose answer is of no use after `deadline`, to leave.
    ///
    /// `draw` is uniform in [0, 1): the share of requests that a failing RAM is spared is drawn by it.
    pub fn ask(&mut self, now: Time, caller: &K, deadline: Time, asking: Asking, draw: f64) -> Answer {
        let is_first = asking == Asking::First;
        if is_first && let Some(wait) = self.failing.spares(now, draw) {
            let why = Why::UpstreamFailing;
            return Answer::Refuse(Refusal { why, wait });
        }
        let queued = self.wait_of(now, caller, asking);
        let refuse = |why| Answer::Refuse(Refusal { why, wait: queued });
        let is_late = now + queued + self.latency.median(now) > deadline;
        if is_late || (is_first && queued > self.settings.max_wait) {
            return refuse(Why::TooLate);
        }
        if self.lanes.is_empty() && self.rate.take(now) {
            return Answer::Go;
        }
        if is_first && self.lanes.len_of(caller) >= self.settings.max_queued_per_caller.get() {
            return refuse(Why::QueueFull);
        }
        if is_first && self.lanes.len() >= self.settings.max_queued.get() {
            match self.lanes.shed_for(caller) {
                Some(victim) => self.shed.push((
                    victim,
                    Verdict::Refuse(Refusal {
                        why: Why::QueueFull,
                        wait: queued,
                    }),
                )),
                None => return refuse(Why::QueueFull),
            }
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let place = Place { ticket, deadline };
        match asking {
            Asking::Throttled => self.lanes.push_front(caller, place),
            Asking::First | Asking::Again => self.lanes.push_back(caller, place),
        }
        Answer::Wait(ticket)
    }

    /// Verdicts on those who wait, as of `now`.
    pub fn verdicts(&mut self, now: Time) -> Vec<(Ticket, Verdict)> {
        let mut verdicts = std::mem::take(&mut self.shed);
        while !self.lanes.is_empty() && self.rate.has(now) {
            let Some(place) = self.lanes.pop() else { break };
            // Looked at once more: the rate may have fallen since it was let in.
            if now + self.latency.median(now) > place.deadline {
                let wait = self.rate.time_for(now, self.lanes.len() + 1);
                let why = Why::TooLate;
                verdicts.push((place.ticket, Verdict::Refuse(Refusal { why, wait })));
            } else if self.rate.take(now) {
                verdicts.push((place.ticket, Verdict::Go));
            }
        }
        verdicts
    }

    /// When to ask for verdicts again if nothing else happens. `None` when nobody waits.
    #[must_use]
    pub fn next(&mut self, now: Time) -> Option<Time> {
        (!self.lanes.is_empty()).then(|| now + self.rate.time_for(now, 1))
    }

    /// Takes out a request that waits if it would be too late even were it the next: the rate may have fallen since it
    /// was let in. Returns the refusal then.
    pub fn give_up(&mut self, now: Time, ticket: Ticket, deadline: Time) -> Option<Refusal> {
        let next = now + self.rate.time_for(now, 1);
        let is_late = next + self.latency.median(now) > deadline;
        (is_late && self.lanes.remove(ticket)).then(|| Refusal {
            why: Why::TooLate,
            wait: self.rate.time_for(now, self.lanes.len() + 1),
        })
    }

    /// Whoever held `ticket` has gone. Returns whether it still waited.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.lanes.remove(ticket)
    }

    /// A request that might have left did not.
    pub fn give_back(&mut self, now: Time) {
        self.rate.give_back(now);
    }

    /// An attempt ended. `waited` says that it had stood in a queue.
    pub fn ended(&mut self, now: Time, end: End, waited: bool) {
        self.failing.ended(now, end != End::Failed);
        match end {
            End::Accepted(latency) => {
                self.latency.add(now, latency);
                // Callers who leave room teach nothing about RAM's limit.
                let is_limited = waited || !self.lanes.is_empty();
                self.rate.accepted(now, is_limited);
            }
            End::Throttled(pause) => self.rate.throttled(now, pause),
            End::Failed => {}
        }
    }

    /// Requests a second, as of now.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.rate.per_second()
    }

    /// How many wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.lanes.len()
    }

    /// How long a request of `caller` would have to wait.
    #[must_use]
    pub fn expected_wait(&mut self, now: Time, caller: &K) -> Duration {
        self.wait_of(now, caller, Asking::First)
    }

    /// What the pacer is about.
    #[must_use]
    pub fn regime(&self, now: Time) -> Regime {
        if self.rate.is_paused(now) {
            Regime::Paused
        } else if self.failing.is_sparing(now) {
            Regime::Failing
        } else {
            match self.rate.last_throttle() {
                None => Regime::SlowStart,
                Some(at) if now.saturating_sub(at) < THROTTLED_FOR => Regime::Throttled,
                Some(_) => Regime::Steady,
            }
        }
    }

    fn wait_of(&mut self, now: Time, caller: &K, asking: Asking) -> Duration {
        let ahead = match asking {
            Asking::Throttled => 0,
            Asking::First | Asking::Again => self.lanes.ahead_of(caller),
        };
        self.rate.time_for(now, ahead + 1)
    }
}

#[cfg(test)]
mod tests;
