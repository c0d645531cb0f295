//! One reading of both clocks: the steady one that measures, and the wall clock that is shown to callers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A point in time. Everything that happens in one request happens at the same moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    tick: Instant,
    wall: Duration,
}

impl Moment {
    /// Reads both clocks.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of the sandbox that reads the wall clock"
    )]
    pub(crate) fn now() -> Self {
        Self {
            tick: Instant::now(),
            // Before 1970 there is no RAM; zero is as good as any other wrong date.
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        self.tick.saturating_duration_since(earlier.tick)
    }

    /// The timestamp `offset` later as RAM writes it: seconds since 1970 with milliseconds as the fraction.
    pub(crate) fn epoch_seconds(self, offset: Duration) -> f64 {
        let whole = self.wall.saturating_add(offset);
        let thousandths = whole.as_millis() as f64;
        thousandths / 1_000.0
    }

    /// The same clock some time later, so that a test need not wait.
    #[cfg(test)]
    pub(crate) fn later(self, by: Duration) -> Self {
        Self {
            tick: self.tick + by,
            wall: self.wall + by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_milliseconds_as_its_fraction() {
        let moment = Moment {
            tick: Instant::now(),
            wall: Duration::from_micros(1_700_000_000_123_456),
        };
        assert_eq!(moment.epoch_seconds(Duration::ZERO), 1_700_000_000.123);
        assert_eq!(moment.epoch_seconds(Duration::from_secs(2)), 1_700_000_002.123);
    }

    #[test]
    fn time_that_lies_ahead_counts_as_no_time() {
        let now = Moment::now();
        let later = now.later(Duration::from_secs(5));
        assert_eq!(later.since(now), Duration::from_secs(5));
        assert_eq!(now.since(later), Duration::ZERO);
    }
}
