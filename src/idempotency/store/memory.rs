//! A store in a map, for tests in virtual time: it answers at once, and fails on demand.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use futures_util::future::{BoxFuture, ready};

use super::{Change, Store, StoreError, Stored, Swap, Version};
use crate::{clock::UnixMillis, idempotency::Key};

#[derive(Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<Key, (Stored, UnixMillis)>,
    last: u64,
    /// How many operations were asked of it.
    operations: u64,
    /// How many of the next loads, and of the next swaps, succeed before it goes down; and how many then fail.
    down: Option<Down>,
}

struct Down {
    after: u32,
    failures: u32,
}

impl MemoryStore {
    /// Lets `after` more operations succeed, and the next `failures` fail.
    pub(crate) fn fail(&self, after: u32, failures: u32) {
        self.lock().down = Some(Down { after, failures });
    }

    /// How many loads and swaps were asked of it so far.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Everything that is kept.
    pub(crate) fn records(&self) -> Vec<Stored> {
        self.lock()
            .records
            .values()
            .map(|(stored, _)| stored.clone())
            .collect()
    }

    /// Puts a record as another process would.
    pub(crate) fn put(&self, key: Key, record: bytes::Bytes) {
        let mut state = self.lock();
        state.last += 1;
        let stored = Stored {
            version: Version(state.last),
            record,
            writer_gone: false,
        };
        state.records.insert(key, (stored, UnixMillis::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn check(&mut self) -> Result<(), StoreError> {
        self.operations += 1;
        match &mut self.down {
            Some(down) if down.after > 0 => down.after -= 1,
            Some(down) if down.failures > 0 => {
                down.failures -= 1;
                return Err(StoreError::new("down"));
            }
            _ => {}
        }
        Ok(())
    }

    fn swap(&mut self, key: Key, expected: Option<Version>, change: Change) -> Result<Swap, StoreError> {
        self.check()?;
        if self.records.get(&key).map(|(stored, _)| stored.version) != expected {
            return Ok(Swap::Conflict);
        }
        match change {
            Change::Put { record, expires } => {
                self.last += 1;
                let version = Version(self.last);
                let stored = Stored {
                    version,
                    record,
                    writer_gone: false,
                };
                self.records.insert(key, (stored, expires));
                Ok(Swap::Put(version))
            }
            Change::Delete => {
                self.records.remove(&key);
                Ok(Swap::Deleted)
            }
        }
    }
}

impl Store for MemoryStore {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        let mut state = self.lock();
        let found = state.check();
        let found = found.map(|()| state.records.get(&key).map(|(stored, _)| stored.clone()));
        Box::pin(ready(found))
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        let swap = self.lock().swap(key, expected, change);
        Box::pin(ready(swap))
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        let mut state = self.lock();
        let over: Vec<Key> = state
            .records
            .iter()
            .filter(|(_, (_, expires))| *expires <= now)
            .map(|(key, _)| *key)
            .take(limit as usize)
            .collect();
        for key in &over {
            state.records.remove(key);
        }
        Box::pin(ready(Ok(u32::try_from(over.len()).unwrap())))
    }
}

#[tokio::test]
async fn the_store_of_the_tests_does_what_a_store_must() {
    super::suite::run(|| async { MemoryStore::default() }).await;
}

#[test]
fn the_store_of_the_tests_is_a_map() {
    use super::suite::{Removes, is_a_map};

    is_a_map(
        256,
        Removes::Sweep,
        async || MemoryStore::default(),
        async |store| store,
    );
}
