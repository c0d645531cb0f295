//! What a store of records must do: load, compare and swap, sweep. Every rule is in [`super::record`].

#[cfg(test)]
pub(crate) mod failing;
// It lives with the integration tests, which run it against servers.
#[cfg(test)]
#[path = "../../tests/common/store_suite.rs"]
pub(crate) mod suite;

use std::error::Error;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Key;
use crate::clock::UnixMillis;

/// One state of one key. A version is never used twice, not even after its record was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u64);

/// A record as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which state this is.
    pub version: Version,
    /// The record's bytes, which the store does not read.
    pub record: Bytes,
    /// Whether the process that wrote it is known to have ended. A store that cannot know says false.
    pub writer_gone: bool,
}

/// What to make of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep this record.
    Put {
        /// The record's bytes.
        record: Bytes,
        /// From when on a sweep may remove it.
        expires: UnixMillis,
    },
    /// Keep nothing.
    Delete,
}

/// What came of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The record is kept, durably, as this version.
    Put(Version),
    /// The record is gone, durably.
    Deleted,
    /// The key was not in the expected state. Nothing changed.
    Conflict,
}

/// The store did not do it, or nobody knows whether it did.
#[derive(Debug, thiserror::Error)]
#[error("idempotency store: {message}")]
pub struct StoreError {
    message: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a cause.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Keeps records. Its futures may be dropped at any time: what they began may happen all the same.
pub trait Store: Send + Sync + 'static {
    /// Returns what is kept under `key`. Whether it is void is the reader's to decide.
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>>;

    /// Makes `change` if `key` is in the state `expected`, where `None` means that nothing is kept.
    ///
    /// # Errors
    /// [`StoreError`] if it is not known to be done: it may be.
    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>>;

    /// Removes at most `limit` records whose time is over and returns how many it removed.
    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>>;
}

/// A store that an operator can go through, in the order of its keys.
pub trait Scan: Store {
    /// Returns the keys behind the bytes `behind`, which need not be a whole key and are empty for the beginning: the
    /// first `limit`, or all of them where the store knows no order and would look at all each time.
    fn scan(&self, behind: Vec<u8>, limit: u32) -> BoxFuture<'_, Result<Vec<Key>, StoreError>>;
}
