//! The store in memory, for tests: it counts what it is asked, and is slow or fails on demand.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};

use tokio::time::sleep;

use super::{Change, Scan, Store, StoreError, Stored, Swap, Version};
use crate::{
    clock::UnixMillis,
    idempotency::{Key, memory::MemoryStore},
};

#[derive(Default)]
pub(crate) struct FailingStore {
    inner: MemoryStore,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// How many loads and swaps were asked of it.
    operations: u64,
    /// How many of the next ones succeed before it goes down.
    after: u32,
    /// How many then fail.
    failures: u32,
    /// How long a swap takes.
    delay: Duration,
}

impl FailingStore {
    /// Lets `after` more operations succeed, and the next `failures` fail.
    pub(crate) fn fail(&self, after: u32, failures: u32) {
        let mut script = self.script();
        (script.after, script.failures) = (after, failures);
    }

    /// Lets swaps take so long.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.script().delay = delay;
    }

    /// How many loads and swaps were asked of it so far.
    pub(crate) fn operations(&self) -> u64 {
        self.script().operations
    }

    /// Everything that is kept.
    pub(crate) fn records(&self) -> Vec<Stored> {
        let keys = now(self.inner.scan(Vec::new(), u32::MAX));
        keys.into_iter()
            .filter_map(|key| now(self.inner.load(key)))
            .collect()
    }

    /// Puts a record as another process would.
    pub(crate) fn put(&self, key: Key, record: bytes::Bytes) {
        let expected = now(self.inner.load(key)).map(|stored| stored.version);
        let expires = UnixMillis::MAX;
        let swap = self
            .inner
            .compare_and_swap(key, expected, Change::Put { record, expires });
        assert!(matches!(now(swap), Swap::Put(_)));
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Counts an operation, and says whether it fails.
    fn check(&self) -> Result<(), StoreError> {
        let mut script = self.script();
        script.operations += 1;
        if script.after > 0 {
            script.after -= 1;
        } else if script.failures > 0 {
            script.failures -= 1;
            return Err(StoreError::new("down"));
        }
        Ok(())
    }
}

/// What the store in memory answers, which it does at once.
fn now<T>(answer: BoxFuture<'_, Result<T, StoreError>>) -> T {
    answer.now_or_never().unwrap().unwrap()
}

impl Store for FailingStore {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        match self.check() {
            Ok(()) => self.inner.load(key),
            Err(down) => Box::pin(ready(Err(down))),
        }
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        if let Err(down) = self.check() {
            return Box::pin(ready(Err(down)));
        }
        let delay = self.script().delay;
        Box::pin(async move {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            self.inner.compare_and_swap(key, expected, change).await
        })
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        self.inner.sweep(now, limit)
    }
}
