//! The wall clock, watched: when it jumps, records must not expire or be taken over on its word.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::record::Now;
use crate::clock::{self, UnixMillis};

/// Reads the wall time.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// How far wall and monotonic time may drift apart between two readings. NTP slews by far less; a step, a resumed
/// machine or an operator's `date` is more.
const MAX_DRIFT: Duration = Duration::from_secs(30);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Wall time and whether it can be trusted.
    pub now: Now,
    /// The same moment in monotonic time.
    pub at: Instant,
}

/// Compares the wall clock with the monotonic one at every reading.
pub struct SteadyClock {
    wall: WallClock,
    /// How long to distrust the wall clock after a jump.
    hold: Duration,
    state: Mutex<State>,
}

struct State {
    wall: UnixMillis,
    at: Instant,
    distrust_until: Option<Instant>,
}

impl SteadyClock {
    /// Watches the system's wall clock. `hold` is how long RAM remembers a token.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self::watching(Arc::new(clock::wall_now), hold)
    }

    /// Watches another wall clock.
    #[must_use]
    pub fn watching(wall: WallClock, hold: Duration) -> Self {
        let state = State {
            wall: wall(),
            at: Instant::now(),
            distrust_until: None,
        };
        Self {
            wall,
            hold,
            state: Mutex::new(state),
        }
    }

    /// Reads both clocks.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = (self.wall)();
        let at = Instant::now();
        let expected = state
            .wall
            .saturating_add(millis(at.saturating_duration_since(state.at)));
        if wall.abs_diff(expected) > millis(MAX_DRIFT) {
            // A clock that was set back would show old records as young again until it has caught up.
            let back = Duration::from_millis(expected.saturating_sub(wall));
            let until = self.hold.checked_add(back).and_then(|hold| at.checked_add(hold));
            state.distrust_until = state.distrust_until.max(until);
            tracing::warn!(
                expected_ms = expected,
                wall_ms = wall,
                "the wall clock jumped; idempotency records neither expire nor are taken over for a while"
            );
        }
        state.wall = wall;
        state.at = at;
        let steady = state.distrust_until.is_none_or(|until| until < at);
        Reading {
            now: Now { wall, steady },
            at,
        }
    }
}

/// Milliseconds of a duration, as records count them.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOLD: Duration = Duration::from_secs(600);
    const HOUR: u64 = 3_600_000;

    fn clock() -> (Arc<AtomicU64>, SteadyClock) {
        let offset = Arc::new(AtomicU64::new(10 * HOUR));
        let start = Instant::now();
        let wall = {
            let offset = Arc::clone(&offset);
            Arc::new(move || offset.load(Ordering::SeqCst) + millis(start.elapsed()))
        };
        (offset, SteadyClock::watching(wall, HOLD))
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_passes_is_no_jump() {
        let (_, clock) = clock();

        tokio::time::advance(Duration::from_secs(86_400)).await;

        assert!(clock.read().now.steady);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_forward_is_distrusted_for_as_long_as_ram_remembers() {
        let (offset, clock) = clock();

        offset.fetch_add(25 * HOUR, Ordering::SeqCst);

        assert!(!clock.read().now.steady);
        tokio::time::advance(HOLD).await;
        assert!(!clock.read().now.steady);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(clock.read().now.steady);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_back_is_distrusted_until_the_clock_has_caught_up_as_well() {
        let (offset, clock) = clock();

        offset.fetch_sub(HOUR, Ordering::SeqCst);

        assert!(!clock.read().now.steady);
        tokio::time::advance(Duration::from_millis(HOUR)).await;
        assert!(!clock.read().now.steady);
        tokio::time::advance(HOLD + Duration::from_millis(1)).await;
        assert!(clock.read().now.steady);
    }
}
