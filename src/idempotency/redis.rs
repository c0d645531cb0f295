//! Records in Redis or Valkey: the store that replicas share.
//!
//! A record is one string, its version before its bytes, under one key, so that it has one slot and one owner. Every
//! write is one script, which the server runs alone: `swap.lua`. Versions are random, so that no counter has to survive.
//!
//! The server removes what is over, later than readers take it for void. What an asynchronous replica had not yet heard
//! of is lost when it is promoted; what then still protects an intent is the token that RAM sees (`docs/redis.md`).

mod advice;
mod connection;
mod settings;

use std::{collections::BTreeSet, fmt::Write as _};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use redis::{RedisError, Script};
use uuid::Uuid;

use self::connection::Connection;
use super::{
    Key, Store,
    store::{Change, Scan, StoreError, Stored, Swap, Version},
};
use crate::clock::{self, UnixMillis};

pub use self::{
    connection::OpenError,
    settings::{Address, Settings, WrongAddress},
};

/// Before every key. The number is that of the layout: another one has other keys.
const PREFIX: &str = "ram-facade:idem:v1:";
/// How long the server keeps a record after it is void, in milliseconds: an hour, more than clocks may differ and a
/// reader's distrust of its own clock lasts by default.
const KEPT_LONGER: u64 = 3_600_000;
/// The longest that the server is asked to keep one: 30 days, several times the longest that can be configured.
const KEPT_AT_MOST: u64 = 30 * 86_400_000;

/// See the module.
pub struct RedisStore {
    connection: Connection,
    swap: Script,
}

impl RedisStore {
    /// Connects, writes and removes a key, and logs what is unsafe in the server's settings.
    ///
    /// # Errors
    /// [`OpenError`] if the server cannot be reached or used. Later it may go and come back.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let store = Self {
            connection: Connection::new(settings)?,
            swap: Script::new(include_str!("redis/swap.lua")),
        };
        store.try_out().await.map_err(|source| OpenError::Unusable {
            address: settings.address.clone(),
            source,
        })?;
        store.warn(&settings.address).await;
        Ok(store)
    }

    /// Reads what the settings name, without connecting.
    ///
    /// # Errors
    /// [`OpenError`] if [`RedisStore::open`] would fail before it reached the server.
    pub fn check(settings: &Settings) -> Result<(), OpenError> {
        connection::client(settings).map(drop)
    }

    /// Does what a claim and its end do, under a key of its own: a replica, a foreign shard or a missing permission
    /// shows now, not at the first call.
    async fn try_out(&self) -> Result<(), RedisError> {
        let key = format!("{PREFIX}try-{}", Uuid::new_v4().simple());
        let version = new_version();
        self.run(&key, None, Some((version, b"", 1_000))).await?;
        self.run(&key, Some(version), None).await?;
        self.get(&key).await.map(drop)
    }

    async fn warn(&self, address: &Address) {
        let advice = match self.connection.query::<String>(&redis::cmd("INFO")).await {
            Ok(info) => advice::on(&info),
            Err(error) => vec![format!(
                "its settings could not be checked ({error}); see that maxmemory-policy is `noeviction` and appendonly is \
                 `yes`"
            )],
        };
        for sentence in advice {
            tracing::warn!(store = %address, "the idempotency store may lose records: {sentence}");
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        self.connection.query(redis::cmd("GET").arg(key)).await
    }

    /// Returns whether the key was in the state expected; then it is in the new one.
    async fn run(
        &self,
        key: &str,
        expected: Option<Version>,
        new: Option<(Version, &[u8], u64)>,
    ) -> Result<bool, RedisError> {
        let expected = expected.map(|version| version.0.to_be_bytes());
        let expected = expected.as_ref().map_or(&b""[..], |bytes| bytes);
        let version = new.map(|(version, ..)| version.0.to_be_bytes());
        let version = version.as_ref().map_or(&b""[..], |bytes| bytes);
        let (record, keep) = new.map_or((&b""[..], 0), |(_, record, keep)| (record, keep));
        let keep = keep.to_string();
        let arguments = [expected, version, record, keep.as_bytes()];
        self.connection.invoke(&self.swap, key, &arguments).await
    }
}

impl Store for RedisStore {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        Box::pin(async move {
            let Some(value) = self.get(&name(&key)).await.map_err(failed)? else {
                return Ok(None);
            };
            let value = Bytes::from(value);
            let Some((version, _)) = value.split_first_chunk::<8>() else {
                return Err(StoreError::new("a value is too short to be a record"));
            };
            Ok(Some(Stored {
                version: Version(u64::from_be_bytes(*version)),
                record: value.slice(version.len()..),
                // Another replica may be alive, and nothing here says whether it is.
                writer_gone: false,
            }))
        })
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        Box::pin(async move {
            let name = name(&key);
            match change {
                Change::Put { record, expires } => {
                    let version = new_version();
                    let new = Some((version, &record[..], keep(expires)));
                    let done = self.run(&name, expected, new).await.map_err(failed)?;
                    Ok(if done { Swap::Put(version) } else { Swap::Conflict })
                }
                Change::Delete => {
                    let done = self.run(&name, expected, None).await.map_err(failed)?;
                    Ok(if done { Swap::Deleted } else { Swap::Conflict })
                }
            }
        })
    }

    /// Removes nothing: the server does.
    fn sweep(&self, _: UnixMillis, _: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        Box::pin(ready(Ok(0)))
    }
}

/// A server has no order of its own, so that every look goes through all of its keys.
impl Scan for RedisStore {
    fn scan(&self, behind: Vec<u8>, _: u32) -> BoxFuture<'_, Result<Vec<Key>, StoreError>> {
        Box::pin(async move {
            let mut keys = BTreeSet::new();
            let mut cursor = 0_u64;
            loop {
                let mut command = redis::cmd("SCAN");
                command
                    .arg(cursor)
                    .arg("MATCH")
                    .arg(format!("{PREFIX}*"))
                    .arg("COUNT")
                    .arg(1_000);
                let (next, names): (u64, Vec<String>) =
                    self.connection.query(&command).await.map_err(failed)?;
                // The same key may come twice (Redis documentation, SCAN).
                keys.extend(names.iter().filter_map(|name| key_of(name)));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            Ok(keys
                .into_iter()
                .filter(|key| key[..] > behind[..])
                .map(Key::from_bytes)
                .collect())
        })
    }
}

/// The key whose record has this name.
fn key_of(name: &str) -> Option<[u8; 32]> {
    let digits = name.strip_prefix(PREFIX)?.as_bytes();
    let mut key = [0; 32];
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

/// The key under which the server has a record.
fn name(key: &Key) -> String {
    let mut name = String::from(PREFIX);
    for byte in key.as_bytes() {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// 64 random bits. The fixed bits of the two halves of a UUID lie in different places, so that none stays fixed.
fn new_version() -> Version {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    Version(high ^ low)
}

/// For how long the server is to keep a record, in milliseconds. A time from now, since the server's clock is another.
fn keep(expires: UnixMillis) -> u64 {
    let left = expires.saturating_sub(clock::wall_now());
    left.saturating_add(KEPT_LONGER).min(KEPT_AT_MOST)
}

fn failed(error: RedisError) -> StoreError {
    StoreError::new("the server did not do it").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::store::suite::key;

    #[test]
    fn a_name_is_the_prefix_and_the_whole_key() {
        let name = name(&key("a"));

        assert_eq!(name.len(), PREFIX.len() + 64);
        assert!(name.starts_with("ram-facade:idem:v1:"), "{name}");
    }

    #[test]
    fn a_record_is_kept_for_an_hour_after_it_is_void_also_when_the_clock_says_it_is_long_void() {
        assert_eq!(keep(0), KEPT_LONGER);
        assert_eq!(keep(UnixMillis::MAX), KEPT_AT_MOST);
        let in_a_day = keep(clock::wall_now() + 86_400_000);
        assert!((89_999_000..=90_000_000).contains(&in_a_day), "{in_a_day}");
    }

    #[test]
    fn versions_differ_in_every_bit() {
        let versions: Vec<_> = (0..256).map(|_| new_version().0).collect();

        assert_eq!(versions.iter().fold(0, |all, version| all | version), u64::MAX);
        assert_eq!(versions.iter().fold(u64::MAX, |all, version| all & version), 0);
    }
}
