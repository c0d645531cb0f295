//! The one place that reads the wall clock.
//!
//! Durations and deadlines use [`tokio::time::Instant`], which tests can pause. Wall time is for what outlives the
//! process: the records of the idempotency store.

use std::time::{SystemTime, UNIX_EPOCH};

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
