//! How long RAM takes to answer, by the latest answers.

use std::{collections::VecDeque, time::Duration};

use super::Time;

/// How many answers are looked at: enough that a slow one changes nothing, few enough to follow RAM within seconds.
const ANSWERS: usize = 31;

/// How many answers must be there before they say anything: one slow answer is no reason to refuse whoever comes next.
const LEAST: usize = 8;

/// How old they may be. Where everybody is refused because RAM was slow, nothing new is learned; so what was learned must
/// be forgotten, or they would be refused for ever.
const MEMORY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Latency {
    latest: VecDeque<(Time, Duration)>,
    median: Duration,
}

impl Latency {
    /// Half of the latest answers took no longer than this. Zero while there are fewer than 8 of the last 10 seconds.
    #[must_use]
    pub fn median(&self, now: Time) -> Duration {
        let eighth_last = self.latest.iter().rev().nth(LEAST - 1);
        let is_known = eighth_last.is_some_and(|(at, _)| now.saturating_sub(*at) <= MEMORY);
        if is_known { self.median } else { Duration::ZERO }
    }

    /// Adds an answer that came at `now`.
    pub fn add(&mut self, now: Time, latency: Duration) {
        if self.latest.len() >= ANSWERS {
            self.latest.pop_front();
        }
        self.latest.push_back((now, latency));
        let mut sorted: Vec<_> = self.latest.iter().map(|(_, latency)| *latency).collect();
        let middle = sorted.len() / 2;
        let (_, median, _) = sorted.select_nth_unstable(middle);
        self.median = *median;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Time = Time::ZERO;

    #[test]
    fn the_median_follows_the_latest_answers() {
        let mut latency = Latency::default();
        let now = START;
        assert_eq!(latency.median(now), Duration::ZERO);

        for ms in [100, 100, 100, 100, 100, 5_000, 5_000, 5_000] {
            latency.add(now, MS * ms);
        }
        assert_eq!(latency.median(now), MS * 100);

        for _ in 0..40 {
            latency.add(now, MS * 300);
        }
        assert_eq!(latency.median(now), MS * 300);
    }

    #[test]
    fn a_few_slow_answers_say_nothing() {
        let mut latency = Latency::default();
        for _ in 0..7 {
            latency.add(START, MS * 5_000);
        }

        assert_eq!(latency.median(START), Duration::ZERO);
    }

    #[test]
    fn a_ram_that_was_slow_is_forgotten_when_nothing_new_is_learned() {
        let mut latency = Latency::default();
        for _ in 0..31 {
            latency.add(START, MS * 5_000);
        }

        assert_eq!(latency.median(START + MEMORY), MS * 5_000);
        assert_eq!(latency.median(START + MEMORY + MS), Duration::ZERO);
    }
}
