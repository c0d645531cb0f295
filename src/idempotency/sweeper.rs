//! Removes records whose time is over, a few at a time.

use std::{future::Future, sync::Arc, time::Duration};

use super::{Store, steady::SteadyClock};

/// Between two rounds. Void records are harmless, they are ignored on reading; this only bounds the file.
const PAUSE: Duration = Duration::from_secs(60);
/// Records in one transaction: few enough that claims do not wait for it.
const BATCH: u32 = 256;

/// Sweeps `store` until `stop` completes.
///
/// # Cancellation
/// May be dropped at any time. A batch that was begun is finished by the store.
pub async fn run(store: Arc<dyn Store>, clock: SteadyClock, stop: impl Future<Output = ()>) {
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
