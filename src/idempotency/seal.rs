//! Seals records before a store gets them, so that a copy of the store tells nothing about anyone's shares.
//!
//! ```text
//! a sealed record:  format (1)  key's name (4)  nonce (12)  AES-256-GCM(record) with its tag (16)
//! ```
//!
//! The whole record is sealed: the fingerprint beside the reply would confirm a guess of the request. The intent's key
//! is authenticated with it, so that nobody can make one intent's answer another's by moving bytes about.
//!
//! What cannot be opened is an error and never taken for absent: an intent whose record was ignored could be executed
//! twice. Records from before there was a key file are read as they are, and are gone when they expire.

mod keys;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::{BoxFuture, ready};

use super::{
    Key, Store,
    store::{Change, StoreError, Stored, Swap, Version},
};
use crate::clock::UnixMillis;

pub use keys::{Keys, KeysError};

/// The first byte of a sealed record. The formats of records that are not sealed count from 1.
pub const FORMAT: u8 = 0xe1;
/// Authenticated before each intent's key, so that these keys mean nothing anywhere else.
const CONTEXT: &[u8] = b"ram-facade/seal/v1";
const NONCE: usize = 12;

/// A store whose records are sealed.
pub struct Sealed {
    inner: Arc<dyn Store>,
    keys: Keys,
}

impl Sealed {
    /// Keeps in `inner` what is sealed under the current one of `keys`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, keys: Keys) -> Self {
        Self { inner, keys }
    }
}

impl Keys {
    /// Seals the record of an intent.
    ///
    /// # Errors
    /// [`StoreError`] if the system has no random bytes.
    pub fn seal(&self, intent: &Key, record: &Bytes) -> Result<Bytes, StoreError> {
        let key = self.current();
        let mut body = record.to_vec();
        let nonce = key
            .aead
            .seal_in_place_append_tag(associated(intent), &mut body)
            .map_err(|error| StoreError::new("a record cannot be sealed").caused_by(error))?;

        let mut sealed = BytesMut::with_capacity(1 + key.name.len() + NONCE + body.len());
        sealed.put_u8(FORMAT);
        sealed.put_slice(&key.name);
        sealed.put_slice(nonce.as_ref());
        sealed.put_slice(&body);
        Ok(sealed.freeze())
    }

    /// Opens what [`Keys::seal`] made; a record that is not sealed comes back as it is.
    ///
    /// # Errors
    /// [`StoreError`] if none of the keys opens it as this intent's. It says which key is missing.
    pub fn open(&self, intent: &Key, bytes: Bytes) -> Result<Bytes, StoreError> {
        let Some(sealed) = bytes.strip_prefix(&[FORMAT]) else {
            return Ok(bytes);
        };
        let file = self.file().display();
        let damaged = || {
            StoreError::new(format!(
                "a sealed record is damaged or another intent's: no key of `{file}` opens it"
            ))
        };
        let (name, rest) = sealed.split_first_chunk().ok_or_else(damaged)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let key = self.named(name).ok_or_else(|| {
            StoreError::new(format!(
                "a record is sealed under the key {}, which is not in `{file}`; add it there, below the current one",
                keys::hex(name)
            ))
        })?;
        let mut body = body.to_vec();
        let length = key
            .aead
            .open_in_place(nonce.into(), associated(intent), &mut body)
            .map_err(|_unspecified| damaged())?
            .len();
        body.truncate(length);
        Ok(body.into())
    }
}

fn associated(intent: &Key) -> aws_lc_rs::aead::Aad<Vec<u8>> {
    aws_lc_rs::aead::Aad::from([CONTEXT, intent.as_bytes()].concat())
}

impl Store for Sealed {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        let loading = self.inner.load(key);
        Box::pin(async move {
            let Some(stored) = loading.await? else {
                return Ok(None);
            };
            let record = self.keys.open(&key, stored.record)?;
            Ok(Some(Stored { record, ..stored }))
        })
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        let change = match change {
            Change::Put { record, expires } => match self.keys.seal(&key, &record) {
                Ok(record) => Change::Put { record, expires },
                Err(error) => return Box::pin(ready(Err(error))),
            },
            Change::Delete => Change::Delete,
        };
        self.inner.compare_and_swap(key, expected, change)
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        self.inner.sweep(now, limit)
    }
}

#[cfg(test)]
mod tests;
