//! Callers that go on while something is changed under them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::task::JoinHandle;

use super::until;

/// Callers, each in a task of its own, that do the same over and over.
pub struct Load {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts so many callers, each of which repeats `turn`. One that panics fails the test.
    pub fn start<F>(callers: usize, turn: impl Fn() -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (stop, turns) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let caller = |_| {
            let (stop, turns, turn) = (Arc::clone(&stop), Arc::clone(&turns), turn.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    turn().await;
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let callers = (0..callers).map(caller).collect();
        Self { stop, turns, callers }
    }

    /// Waits until so many turns have ended from now on.
    pub async fn go_on_for(&self, turns: u64) {
        let from = self.turns.load(Ordering::SeqCst);
        until("the callers go on", async || {
            let all_go_on = self.callers.iter().all(|caller| !caller.is_finished());
            assert!(all_go_on, "a caller failed");
            self.turns.load(Ordering::SeqCst) >= from + turns
        })
        .await;
    }

    /// Ends it, and says how many turns there were.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.expect("no turn failed");
        }
        self.turns.load(Ordering::SeqCst)
    }
}
