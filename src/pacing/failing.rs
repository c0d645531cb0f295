//! How many requests a RAM that fails is spared: client-side throttling as in "Site Reliability Engineering", chapter 21
//! ("Handling Overload"), over two minutes.
//!
//! A request is spared with probability `(requests - 2 accepts) / (requests + 1)`. Unlike a circuit breaker it has no
//! states to flap between, and lets as many through as RAM can serve.

use std::{collections::VecDeque, time::Duration};

use super::Time;

/// How long back is looked, and in steps of what.
const SLOTS: usize = 12;
const SLOT: Duration = Duration::from_secs(10);
/// How many requests may come for one that is accepted before any is spared.
const K: f64 = 2.0;
/// Fewer requests say nothing about RAM: a few failures in a row happen, and one call alone can make three.
const FEWEST: f64 = 20.0;
/// How long nothing may leave before a request is let through whatever is drawn, to see whether RAM is back.
const PROBE: Duration = Duration::from_secs(5);
/// Above this share of spared requests RAM is called failing.
const SPARING: f64 = 0.1;

/// See the module.
#[derive(Debug, Default)]
pub struct Failing {
    slots: VecDeque<Slot>,
    /// When a request was last let through.
    last_probe: Time,
}

#[derive(Debug)]
struct Slot {
    number: u128,
    requests: f64,
    accepts: f64,
}

impl Failing {
    /// Whether a request is spared, and when to come back. `draw` is uniform in [0, 1).
    pub(super) fn spares(&mut self, now: Time, draw: f64) -> Option<Duration> {
        let is_probe_due = now.saturating_sub(self.last_probe) >= PROBE;
        if is_probe_due || draw >= self.share(now) {
            self.last_probe = now;
            return None;
        }
        self.count(now, 0.0);
        Some(PROBE)
    }

    /// A request was answered or given up.
    pub(super) fn ended(&mut self, now: Time, is_accepted: bool) {
        self.count(now, f64::from(u8::from(is_accepted)));
    }

    /// Whether a good part of all requests is spared.
    pub(super) fn is_sparing(&self, now: Time) -> bool {
        self.share(now) >= SPARING
    }

    fn share(&self, now: Time) -> f64 {
        let oldest = number(now).saturating_sub(SLOTS as u128 - 1);
        let (requests, accepts) = self
            .slots
            .iter()
            .filter(|slot| slot.number >= oldest)
            .fold((0.0, 0.0), |(r, a), slot| (r + slot.requests, a + slot.accepts));
        if requests < FEWEST {
            return 0.0;
        }
        ((requests - K * accepts) / (requests + 1.0)).max(0.0)
    }

    fn count(&mut self, now: Time, accepts: f64) {
        let number = number(now);
        if self.slots.back().is_none_or(|slot| slot.number < number) {
            if self.slots.len() >= SLOTS {
                self.slots.pop_front();
            }
            self.slots.push_back(Slot {
                number,
                requests: 0.0,
                accepts: 0.0,
            });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.requests += 1.0;
            slot.accepts += accepts;
        }
    }
}

fn number(now: Time) -> u128 {
    now.as_millis() / SLOT.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_spared_while_half_of_the_requests_are_accepted() {
        let mut failing = Failing::default();
        for second in 0..120 {
            failing.ended(at(second), second % 2 == 0);
        }

        assert_eq!(failing.spares(at(120), 0.0), None);
        assert!(!failing.is_sparing(at(120)));
    }

    #[test]
    fn a_few_failures_say_nothing() {
        let mut failing = Failing::default();
        for second in 0..19 {
            failing.ended(at(second), false);
        }
        assert!(!failing.is_sparing(at(19)));

        failing.ended(at(19), false);
        assert!(failing.is_sparing(at(19)));
    }

    #[test]
    fn a_ram_that_fails_is_spared_most_requests_but_never_a_probe() {
        let mut failing = Failing::default();
        for second in 0..60 {
            failing.ended(at(second), false);
        }
        assert!(failing.is_sparing(at(60)));

        let let_through: Vec<_> = (60..80)
            .filter(|&s| failing.spares(at(s), 0.9).is_none())
            .collect();

        assert_eq!(let_through, [60, 65, 70, 75]);
    }

    #[test]
    fn a_ram_that_is_back_is_spared_nothing_within_seconds() {
        let mut failing = Failing::default();
        for second in 0..60 {
            failing.ended(at(second), false);
        }

        for i in 0..70 {
            failing.ended(at(61 + i / 10), true);
        }

        assert_eq!(failing.spares(at(69), 0.0), None);
    }

    #[test]
    fn what_is_two_minutes_old_is_forgotten() {
        let mut failing = Failing::default();
        for second in 0..60 {
            failing.ended(at(second), false);
        }

        assert!(failing.is_sparing(at(60)));
        assert!(!failing.is_sparing(at(190)));
    }
}
