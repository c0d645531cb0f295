//! The settings of the pacer.

use std::{num::NonZeroUsize, time::Duration};

use super::rate;

/// How fast requests may leave, and who may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The search for the rate.
    pub rate: rate::Settings,
    /// Longest expected wait with which a new request is let in, 0 to 60 s. Default 2 s: a caller learns early that it
    /// should come back later, and most deadlines are longer.
    pub max_wait: Duration,
    /// Requests of one caller that may wait, 1 to 10,000. Default 32: at a few requests a second more could not be
    /// served in time.
    pub max_queued_per_caller: NonZeroUsize,
    /// Requests that may wait in all, 1 to 100,000. Default 256: room for many callers, some kilobytes of memory.
    pub max_queued: NonZeroUsize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate: rate::Settings::default(),
            max_wait: Duration::from_secs(2),
            max_queued_per_caller: const { NonZeroUsize::new(32).unwrap() },
            max_queued: const { NonZeroUsize::new(256).unwrap() },
        }
    }
}
