//! The settings of the layer.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::idempotency::{
    Marker,
    record::{Record, Terms},
    steady::millis,
};

/// How long a new share may be missing from RAM's list. RAM's reads are eventually consistent and no bound is published;
/// a share mostly shows within seconds and may take up to a minute. Twice that, so that with the default
/// `signature_margin` an absence counts 8 minutes after the window.
const LIST_LAG: Duration = Duration::from_secs(2 * 60);

/// How intents are kept apart, remembered and sent again.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a claim keeps other replicas from executing the same intent, in milliseconds. Range 1_000 to 60_000.
    /// Default 15_000: longer than a healthy execution with its retries; a claim that outlives it costs one needless
    /// send of the same token, which RAM recognises.
    pub lease: Duration,
    /// How long RAM is taken to remember a client token, in milliseconds. Range 600_000 (10 minutes) to 86_400_000.
    /// Default 600_000: RAM publishes no time; ten minutes is the shortest that other AWS services promise.
    pub token_memory: Duration,
    /// How long a request that was given up can still arrive, in milliseconds. Range 300_000 to less than
    /// `token_memory`. Default 360_000: a signature is refused about 5 minutes after it was made (Signature Version 4),
    /// and a minute for clocks that differ.
    pub signature_margin: Duration,
    /// How long an outcome is kept, in milliseconds. Range 3_600_000 (an hour) to 604_800_000 (a week). Default
    /// 86_400_000: a day covers the retries of queues and of people.
    pub ttl: Duration,
    /// Callers that wait for another's execution of the same intent, per intent. Range 1 to 4_096. Default 64: more is
    /// a caller's loop gone wrong.
    pub waiters_per_key: NonZeroUsize,
    /// Callers that wait for another's execution, in all. Range 1 to 65_536. Default 4_096: some megabytes of memory.
    pub waiters: NonZeroUsize,
    /// How long an execution may go on after the caller stopped waiting, in milliseconds. Range 0 to 30_000. Default
    /// 30_000: time to learn an outcome that is recorded for the caller's next try.
    pub grace: Duration,
    /// Whether a request that RAM could not recognise again is refused without a client token. Default false: the
    /// layer makes a token and returns it.
    pub require_client_token: bool,
    /// Key of the tag that every new share carries with the token that RAM sees as its value, so that the share can be
    /// found when its request can no longer be repeated. 1 to 128 characters that RAM accepts, or empty for no tag.
    /// Default `ram-facade:request`. It takes one of the 50 tags that a share may have.
    pub marker_tag: Arc<str>,
    /// Memory for answers that can be replayed without the store, in bytes. Range 0 to 1_073_741_824 (1 GiB), 0 for
    /// none. Default 33_554_432 (32 MiB): some 30,000 answers, the retries of minutes, in a small container.
    pub cache_bytes: u64,
    /// Largest record, in bytes. Range 4_096 to 131_072. Default 131_072: several times RAM's largest answer. A larger
    /// answer is passed on and asked for again from RAM, not replayed.
    pub max_record: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            token_memory: Duration::from_secs(10 * 60),
            signature_margin: Duration::from_secs(6 * 60),
            ttl: Duration::from_secs(24 * 60 * 60),
            waiters_per_key: const { NonZeroUsize::new(64).unwrap() },
            waiters: const { NonZeroUsize::new(4_096).unwrap() },
            grace: Duration::from_secs(30),
            require_client_token: false,
            marker_tag: "ram-facade:request".into(),
            cache_bytes: 32 << 20,
            max_record: 128 * 1024,
        }
    }
}

impl Settings {
    /// How long after the first claim requests of an intent may leave: what then still arrives, RAM remembers.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.token_memory.saturating_sub(self.signature_margin)
    }

    /// Returns every setting that is out of its range, with the range.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let times = [
            ("lease", self.lease, 1_000, 60_000),
            ("token_memory", self.token_memory, 600_000, 86_400_000),
            (
                "signature_margin",
                self.signature_margin,
                300_000,
                millis(self.token_memory).saturating_sub(1),
            ),
            ("ttl", self.ttl, 3_600_000, 604_800_000),
            ("grace", self.grace, 0, 30_000),
        ]
        .map(|(name, time, from, to)| (name, millis(time), from, to));
        let counts = [
            ("waiters_per_key", self.waiters_per_key.get() as u64, 1, 4_096),
            ("waiters", self.waiters.get() as u64, 1, 65_536),
            ("cache_bytes", self.cache_bytes, 0, 1 << 30),
            ("max_record", self.max_record as u64, 4_096, 131_072),
        ];

        let mut faults: Vec<_> = times
            .into_iter()
            .chain(counts)
            .filter(|(_, value, from, to)| value < from || value > to)
            .map(|(name, value, from, to)| (name, format!("is {value}, must be {from} to {to}")))
            .collect();
        // Nothing may be forgotten while a request of it can still arrive.
        if self.ttl <= self.token_memory {
            faults.push(("ttl", "must be longer than token_memory".to_owned()));
        }
        faults
    }

    /// The times and sizes that the records' rules use.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            lease: millis(self.lease),
            window: millis(self.window()),
            settling: millis(self.signature_margin.saturating_add(LIST_LAG)),
            marker: Marker::of(&self.marker_tag),
            ttl: millis(self.ttl),
            max_reply: self.max_record.saturating_sub(Record::OVERHEAD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_their_ranges() {
        assert_eq!(Settings::default().faults(), []);
        assert_eq!(Settings::default().window(), Duration::from_secs(240));
    }

    #[test]
    fn every_setting_out_of_range_is_reported_at_once() {
        let settings = Settings {
            lease: Duration::ZERO,
            signature_margin: Duration::from_secs(600),
            grace: Duration::from_secs(31),
            cache_bytes: u64::MAX,
            max_record: 1,
            ..Settings::default()
        };

        let names: Vec<_> = settings.faults().into_iter().map(|(name, _)| name).collect();

        assert_eq!(
            names,
            ["lease", "signature_margin", "grace", "cache_bytes", "max_record"]
        );
    }
}
