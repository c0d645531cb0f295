//! What the pacer shares, tells and waits with, named in one place, so that `interleavings` can run the same file with
//! primitives that stop a thread at each of their operations.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
