//! Removes records whose time is over, a few at a time.

use std::{future::Future, sync::Arc, time::Duration};

use super::{Store, steady::SteadyClock};

/// Between two rounds. Void records are harmless, they are ignored on reading; this only bounds the file.
const PAUSE: Duration = if cfg!(feature = "failpoints") {
    // A test that stops in a sweep need not wait for it.
    Duration::from_millis(100)
} else {
    Duration::from_secs(60)
};
/// Records in one transaction: few enough that claims do not wait for it.
const BATCH: u32 = 256;

/// Sweeps `store` until `stop` completes.
///
/// # Cancellation
/// May be dropped at any time. A batch that was begun is finished by the store.
pub async fn run(store: Arc<dyn Store>, clock: Arc<SteadyClock>, stop: impl Future<Output = ()>) {
    let sweep = async {
        loop {
            tokio::time::sleep(PAUSE).await;
            sweep_once(store.as_ref(), &clock).await;
        }
    };
    tokio::select! {
        () = stop => {}
        () = sweep => {}
    }
}

async fn sweep_once(store: &dyn Store, clock: &SteadyClock) {
    loop {
        let now = clock.read().now;
        if !now.steady {
            return;
        }
        match store.sweep(now.wall, BATCH).await {
            Ok(removed) if removed == BATCH => tokio::task::yield_now().await,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot sweep");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        call::{Caller, Target},
        clock::UnixMillis,
        idempotency::{
            Key, Scope,
            memory::MemoryStore,
            steady::millis,
            store::{Change, Scan},
        },
    };

    const START: UnixMillis = 1_700_000_000_000;

    async fn put(store: &MemoryStore, name: &str, expires: UnixMillis) {
        let key = Key::of(&Scope {
            caller: &Caller::new("test", "sweeper"),
            target: &Target {
                partition: "aws".into(),
                account: "111122223333".into(),
                region: "eu-west-1".into(),
            },
            operation: "Test",
            client_token: name,
        });
        let record = Bytes::from_static(b"record");
        store
            .compare_and_swap(key, None, Change::Put { record, expires })
            .await
            .unwrap();
    }

    /// Sweeps for two minutes, in which the wall clock jumps by `jump`.
    async fn sweep(store: &Arc<MemoryStore>, jump: u64) {
        let start = Instant::now();
        let wall = move || {
            let jumped = if start.elapsed().is_zero() { 0 } else { jump };
            START + millis(start.elapsed()) + jumped
        };
        let clock = SteadyClock::watching(Arc::new(wall), Duration::from_secs(600));
        let stop = tokio::time::sleep(Duration::from_secs(121));
        run(Arc::clone(store) as Arc<dyn Store>, Arc::new(clock), stop).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_is_over_goes_in_one_round_however_much_it_is() {
        let store = Arc::new(MemoryStore::default());
        for number in 0..2 * BATCH + 1 {
            put(&store, &number.to_string(), START + 1_000).await;
        }
        put(&store, "later", START + 600_000).await;

        sweep(&store, 0).await;

        assert_eq!(store.scan(Vec::new(), u32::MAX).await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_the_word_of_a_clock_that_was_set() {
        let store = Arc::new(MemoryStore::default());
        put(&store, "a", START + 600_000).await;

        sweep(&store, 90_000_000).await;

        assert_eq!(store.scan(Vec::new(), u32::MAX).await.unwrap().len(), 1);
    }
}
