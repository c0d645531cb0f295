//! Records in a map: a store for one replica that may forget everything when it ends.
//!
//! The map is ordered by key, though nothing but a scan needs an order. A hash table finds a record among a million in
//! half of the microsecond that this takes, but to grow it moves all records while every call waits: 170 ms at a million.
//! Beside it all times at which records are over stand in order, so that a sweep looks at what it removes and no more.
//!
//! What it holds is bounded by how long records live, and by the sweeper.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use super::{
    Key, Store,
    store::{Change, Scan, StoreError, Stored, Swap, Version},
};
use crate::clock::UnixMillis;

/// See the module. Every call is done when it returns: its future is ready, and dropping it takes nothing back.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Key, Kept>,
    /// When each of the records is over: one entry for each, and no other.
    expiries: BTreeSet<(UnixMillis, Key)>,
    /// The last version that was given.
    last: u64,
}

struct Kept {
    version: Version,
    record: Bytes,
    expires: UnixMillis,
}

impl State {
    fn swap(&mut self, key: Key, expected: Option<Version>, change: Change) -> Swap {
        let kept = self.records.get(&key);
        if kept.map(|kept| kept.version) != expected {
            return Swap::Conflict;
        }
        if let Some(kept) = kept {
            self.expiries.remove(&(kept.expires, key));
        }
        match change {
            Change::Put { record, expires } => {
                self.last += 1;
                let version = Version(self.last);
                let kept = Kept {
                    version,
                    record,
                    expires,
                };
                self.records.insert(key, kept);
                self.expiries.insert((expires, key));
                Swap::Put(version)
            }
            Change::Delete => {
                self.records.remove(&key);
                Swap::Deleted
            }
        }
    }

    fn sweep(&mut self, now: UnixMillis, limit: u32) -> u32 {
        let mut removed = 0;
        while removed < limit
            && let Some((expires, key)) = self.expiries.first().copied()
            && expires <= now
        {
            self.expiries.remove(&(expires, key));
            self.records.remove(&key);
            removed += 1;
        }
        removed
    }
}

impl MemoryStore {
    /// A panic in another thread left no record half written: each is replaced as a whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        let found = self.lock().records.get(&key).map(|kept| Stored {
            version: kept.version,
            record: kept.record.clone(),
            // The records end with the process that wrote them.
            writer_gone: false,
        });
        Box::pin(ready(Ok(found)))
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        let swap = self.lock().swap(key, expected, change);
        Box::pin(ready(Ok(swap)))
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        let removed = self.lock().sweep(now, limit);
        Box::pin(ready(Ok(removed)))
    }
}

impl Scan for MemoryStore {
    fn scan(&self, behind: Vec<u8>, limit: u32) -> BoxFuture<'_, Result<Vec<Key>, StoreError>> {
        let behind = (Bound::Excluded(behind.as_slice()), Bound::Unbounded);
        let state = self.lock();
        let keys = state.records.range::<[u8], _>(behind).map(|(key, _)| *key);
        Box::pin(ready(Ok(keys.take(limit as usize).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::store::suite;

    #[tokio::test]
    async fn a_store_in_memory_does_what_a_store_must() {
        suite::run(async || MemoryStore::default()).await;
    }

    #[tokio::test]
    async fn a_scan_finds_every_key_once_and_in_order() {
        suite::a_scan_finds_every_key_once_and_in_order(&MemoryStore::default()).await;
    }

    #[test]
    fn a_store_in_memory_is_a_map() {
        let make = async || MemoryStore::default();
        suite::is_a_map(256, suite::Removes::Sweep, make, async |store| store);
    }
}
