//! How many requests a second RAM takes: a token bucket whose rate follows what RAM accepts and throttles.
//!
//! The search is that of CUBIC (RFC 9438) on a rate instead of a window: quick growth until the first throttle, then a
//! decrease by a factor, and growth that is slow near the rate that was throttled last and faster away from it.

use std::{collections::VecDeque, time::Duration};

use super::Time;

/// What is left of the accepted rate after a throttle. CUBIC's is 0.7; RAM refuses one request rather than a window of
/// them, and a smaller step loses less.
const DECREASE: f64 = 0.85;
/// Between two decreases: requests that left before the first one must not count again.
const DECREASE_INTERVAL: Duration = Duration::from_secs(1);
/// Over which the accepted rate is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Growth a second at the rate that was last throttled, as a share of it: some 20 s from there to the next throttle.
const GROWTH_NEAR: f64 = 0.009;
/// Further growth a second for each whole of that rate away from it, as a share of it, and at least in requests a second:
/// from 1/s to 5/s takes some 8 s.
const GROWTH_FAR: f64 = 0.09;
const LEAST_GROWTH_FAR: f64 = 0.6;
/// Growth of the rate by one success before the first throttle.
const GROWTH_SLOW_START: f64 = 1.0;
/// Longest pause that RAM's word can make.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// What rounding may take from a token.
const ROUNDING: f64 = 1e-6;

/// Where the search begins and where it stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Rate at the start, in requests a second, within the bounds below. Default 2: less than any limit that was
    /// observed, so that a restart throttles nobody.
    pub initial: f64,
    /// Least rate, in requests a second, 0.05 to 10,000. Default 0.2: one request in 5 s still learns that RAM accepts again.
    pub min: f64,
    /// Greatest rate, in requests a second, `min` to 10,000. Default 50: several times what RAM allows an account.
    pub max: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial: 2.0,
            min: 0.2,
            max: 50.0,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Rate {
    settings: Settings,
    per_second: f64,
    /// Requests that may leave at once. Below zero after a throttle of requests that had left.
    tokens: f64,
    as_of: Time,
    paused_until: Time,
    /// The rate at which RAM last throttled. `None` before the first throttle.
    throttled_at_rate: Option<f64>,
    last_throttle: Option<Time>,
    last_decrease: Option<Time>,
    /// When RAM accepted, within the measured time.
    accepted: VecDeque<Time>,
}

impl Rate {
    /// A full bucket at the initial rate.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let per_second = settings.initial.max(settings.min).min(settings.max);
        Self {
            settings,
            per_second,
            tokens: burst(per_second),
            as_of: Time::ZERO,
            paused_until: Time::ZERO,
            throttled_at_rate: None,
            last_throttle: None,
            last_decrease: None,
            accepted: VecDeque::new(),
        }
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// When RAM last throttled.
    #[must_use]
    pub fn last_throttle(&self) -> Option<Time> {
        self.last_throttle
    }

    /// Whether RAM's word keeps requests away.
    #[must_use]
    pub fn is_paused(&self, now: Time) -> bool {
        now < self.paused_until
    }

    /// Whether a request may leave now.
    pub fn has(&mut self, now: Time) -> bool {
        self.refill(now);
        !self.is_paused(now) && self.tokens >= 1.0 - ROUNDING
    }

    /// Takes the right to send one request now, if there is one.
    pub fn take(&mut self, now: Time) -> bool {
        let has = self.has(now);
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// Returns a right that was not used.
    pub fn give_back(&mut self, now: Time) {
        self.refill(now);
        self.tokens = (self.tokens + 1.0).min(burst(self.per_second));
    }

    /// How long until as many as `requests` may have left.
    #[must_use]
    pub fn time_for(&mut self, now: Time, requests: usize) -> Duration {
        self.refill(now);
        let pause = self.paused_until.saturating_sub(now);
        let missing = requests as f64 - self.tokens - ROUNDING;
        if missing <= 0.0 {
            return pause;
        }
        pause + Duration::from_secs_f64((missing / self.per_second).min(1e6))
    }

    /// RAM accepted a request. `is_limited` says that the rate, and not the callers, kept requests back.
    pub fn accepted(&mut self, now: Time, is_limited: bool) {
        self.refill(now);
        self.accepted.push_back(now);
        self.forget(now);
        if !is_limited {
            return;
        }
        let growth = match self.throttled_at_rate {
            None => GROWTH_SLOW_START,
            Some(peak) => {
                let away = (peak - self.per_second).abs() / peak;
                let far = LEAST_GROWTH_FAR.max(GROWTH_FAR * peak) * away;
                (GROWTH_NEAR * peak + far) / self.per_second
            }
        };
        self.set(self.per_second + growth);
    }

    /// RAM throttled a request, and may have said how long to stay away.
    pub fn throttled(&mut self, now: Time, pause: Option<Duration>) {
        self.refill(now);
        self.tokens = self.tokens.min(0.0);
        self.last_throttle = Some(now);
        if let Some(pause) = pause {
            self.paused_until = self.paused_until.max(now + pause.min(MAX_PAUSE));
        }
        let is_early = self
            .last_decrease
            .is_some_and(|at| now.saturating_sub(at) < DECREASE_INTERVAL);
        if is_early {
            return;
        }
        self.last_decrease = Some(now);
        let before = self.per_second;
        self.throttled_at_rate = Some(before);
        let target = before.min(self.accepted_per_second(now)) * DECREASE;
        self.set(target.max(before / 2.0));
    }

    fn accepted_per_second(&mut self, now: Time) -> f64 {
        self.forget(now);
        // In the first seconds there is less to look back on; one is the least that says something.
        let measured = now.clamp(Duration::from_secs(1), MEASURED);
        self.accepted.len() as f64 / measured.as_secs_f64()
    }

    fn forget(&mut self, now: Time) {
        while self
            .accepted
            .front()
            .is_some_and(|&at| now.saturating_sub(at) > MEASURED)
        {
            self.accepted.pop_front();
        }
    }

    fn set(&mut self, per_second: f64) {
        self.per_second = per_second.max(self.settings.min).min(self.settings.max);
        self.tokens = self.tokens.min(burst(self.per_second));
    }

    fn refill(&mut self, now: Time) {
        let from = self.as_of.max(self.paused_until);
        let earned = now.saturating_sub(from).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(burst(self.per_second));
        self.as_of = self.as_of.max(now);
    }
}

/// Most requests that may leave at once: those of a quarter of a second, which RAM's own bucket absorbs.
fn burst(per_second: f64) -> f64 {
    (per_second / 4.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Time {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn requests_leave_at_the_rate_and_in_no_greater_burst() {
        let mut rate = Rate::new(Settings::default());

        assert!(rate.take(at(10.0)));
        assert!(!rate.take(at(10.0)), "a burst of two at 2/s");
        assert_eq!(rate.time_for(at(10.0), 1).as_millis(), 499);
        assert!(rate.take(at(10.5)));
    }

    #[test]
    fn before_the_first_throttle_a_success_that_others_wait_behind_adds_one_a_second() {
        let mut rate = Rate::new(Settings::default());

        rate.accepted(at(1.0), true);
        rate.accepted(at(1.1), true);
        rate.accepted(at(1.2), false);

        assert!((rate.per_second() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_throttle_takes_the_tokens_and_lowers_the_rate_below_what_ram_accepted() {
        let mut rate = Rate::new(Settings {
            initial: 10.0,
            ..Settings::default()
        });
        for i in 0..40 {
            rate.accepted(at(10.0 + f64::from(i) / 8.0), false);
        }

        rate.throttled(at(15.0), None);

        assert!((rate.per_second() - 8.0 * DECREASE).abs() < 0.2, "{rate:?}");
        assert!(!rate.take(at(15.0)));
    }

    #[test]
    fn throttles_within_a_second_count_once_and_never_halve_more_than_once() {
        let mut rate = Rate::new(Settings {
            initial: 40.0,
            ..Settings::default()
        });

        for i in 0..10 {
            rate.throttled(at(9.0 + f64::from(i) / 10.0), None);
        }

        assert!((rate.per_second() - 20.0).abs() < 1e-9, "{rate:?}");
    }

    #[test]
    fn growth_is_slow_near_the_rate_that_was_throttled_and_fast_away_from_it() {
        let grown = |after_throttle_at: f64| {
            let mut rate = Rate::new(Settings {
                initial: after_throttle_at,
                ..Settings::default()
            });
            rate.throttled(at(10.0), None);
            rate.per_second = 5.0;
            rate.accepted(at(20.0), true);
            rate.per_second() - 5.0
        };

        assert!(grown(5.0) > 0.0);
        assert!(grown(1.0) > 10.0 * grown(5.0), "far above");
        assert!(grown(20.0) > 5.0 * grown(5.0), "far below");
    }

    #[test]
    fn a_pause_that_ram_asks_for_is_kept_and_no_longer_than_half_a_minute() {
        let mut rate = Rate::new(Settings::default());

        rate.throttled(at(10.0), Some(at(3600.0)));

        assert!(rate.is_paused(at(39.9)) && !rate.take(at(39.9)));
        assert!(!rate.is_paused(at(40.0)));
        assert!(!rate.take(at(40.0)), "a pause earns nothing");
        assert!(rate.take(at(41.0)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take,
        GiveBack,
        Accepted(bool),
        Throttled(Option<u64>),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Take),
            1 => Just(Step::GiveBack),
            3 => any::<bool>().prop_map(Step::Accepted),
            1 => prop::option::of(0_u64..100_000).prop_map(Step::Throttled),
            3 => (0_u64..5_000).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn the_rate_stays_within_its_bounds_and_no_instant_sees_more_than_a_burst(
            steps in prop::collection::vec(step(), 1..300),
            min in 0.05_f64..5.0,
            span in 1.0_f64..100.0,
        ) {
            let settings = Settings { initial: 2.0, min, max: min * span };
            let mut rate = Rate::new(settings);
            let mut now = Time::ZERO;
            let mut taken = 0_i32;
            for step in steps {
                let before = burst(rate.per_second());
                match step {
                    Step::Take => taken += i32::from(rate.take(now)),
                    Step::GiveBack if taken > 0 => { rate.give_back(now); taken -= 1; }
                    Step::GiveBack => {}
                    Step::Accepted(limited) => rate.accepted(now, limited),
                    Step::Throttled(pause) => rate.throttled(now, pause.map(Duration::from_millis)),
                    Step::Pass(0) => {}
                    Step::Pass(ms) => { now += Duration::from_millis(ms); taken = 0; }
                }
                prop_assert!((settings.min..=settings.max).contains(&rate.per_second()));
                let most = before.max(burst(rate.per_second())).max(burst(settings.max));
                prop_assert!(f64::from(taken) <= most + 1e-3, "{taken} at once");
                prop_assert!(!rate.has(now) || rate.time_for(now, 1) == Duration::ZERO);
            }
        }
    }
}
