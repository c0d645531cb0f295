//! How long RAM takes to answer, by the latest answers.

use std::{collections::VecDeque, time::Duration};

/// How many answers are looked at: enough that a slow one changes nothing, few enough to follow RAM within seconds.
const ANSWERS: usize = 31;

/// See the module.
#[derive(Debug, Default)]
pub struct Latency {
    latest: VecDeque<Duration>,
    median: Duration,
}

impl Latency {
    /// Half of the latest answers took no longer than this. Zero before the first.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.median
    }

    /// Adds an answer.
    pub fn add(&mut self, latency: Duration) {
        if self.latest.len() >= ANSWERS {
            self.latest.pop_front();
        }
        self.latest.push_back(latency);
        let mut sorted: Vec<_> = self.latest.iter().copied().collect();
        let middle = sorted.len() / 2;
        let (_, median, _) = sorted.select_nth_unstable(middle);
        self.median = *median;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_follows_the_latest_answers() {
        let mut latency = Latency::default();
        assert_eq!(latency.median(), Duration::ZERO);

        for ms in [100, 100, 5_000] {
            latency.add(Duration::from_millis(ms));
        }
        assert_eq!(latency.median(), Duration::from_millis(100));

        for _ in 0..40 {
            latency.add(Duration::from_millis(300));
        }
        assert_eq!(latency.median(), Duration::from_millis(300));
    }
}
