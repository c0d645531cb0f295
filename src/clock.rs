//! The one place that reads the wall clock, and writes its times.
//!
//! Durations and deadlines use [`tokio::time::Instant`], which tests can pause. Wall time is for what outlives the
//! process: the records of the idempotency store.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;
use tokio::time::Instant;

/// Milliseconds since the Unix epoch, as the records store them.
pub type UnixMillis = u64;

/// Returns the wall time in milliseconds since the Unix epoch, 0 for a clock that stands before it.
#[must_use]
pub fn wall_now() -> UnixMillis {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the named place that clippy.toml points to"
    )]
    let now = SystemTime::now();
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a time as RFC 3339 does, in whole seconds of UTC.
#[must_use]
pub fn rfc3339(time: UnixMillis) -> String {
    let seconds = i64::try_from(time / 1_000).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: 0 }.to_string()
}

/// The time in which requests under one token may leave, on both clocks: a machine that was suspended, or whose wall
/// clock was set, is caught by one of them.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its end in wall time.
    pub wall: UnixMillis,
    /// Its end in monotonic time.
    pub monotonic: Instant,
}

impl Window {
    /// Returns whether a request may still leave.
    #[must_use]
    pub fn is_open(&self) -> bool {
        Instant::now() <= self.monotonic && wall_now() <= self.wall
    }
}
