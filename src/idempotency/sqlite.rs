//! Records in a SQLite file: the store of a single replica that forgets nothing when it is started again.
//!
//! One thread owns the connection. It commits whatever is queued as one transaction and answers only then, so that
//! an answer means "on disk" and many callers share one fsync.
//!
//! The file is locked for as long as the store lives. Nobody else writes it, therefore, and whoever wrote a record
//! in an earlier opening is gone: [`Stored::writer_gone`].

#[cfg(feature = "failpoints")]
mod checkpoints;
mod file;

use std::{path::Path, sync::mpsc, thread};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::{
    Key, Store,
    store::{Change, Scan, StoreError, Stored, Swap, Version},
};
use crate::clock::UnixMillis;

pub use file::OpenError;

/// Commands in one transaction, at most: bounds how long the first waits for the last.
const GROUP: usize = 256;

/// See the module. Dropping it ends the thread and releases the file.
pub struct SqliteStore {
    /// `None` only while the store is dropped.
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, or makes it there if there is none.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be opened, is another process's, is damaged, or is no store of this release.
    /// A file that is not in order is never replaced: what it forgot could be executed twice.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let writer = Writer::on(file::open(path)?);
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("idempotency".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            commands: Some(sender),
            thread: Some(thread),
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let sent = self
            .commands
            .as_ref()
            .is_some_and(|thread| thread.send(command(answer)).is_ok());
        Box::pin(async move {
            if !sent {
                return Err(StoreError::new("its thread has ended"));
            }
            answered
                .await
                .map_err(|_| StoreError::new("the transaction failed"))
        })
    }
}

impl Store for SqliteStore {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        self.ask(|answer| Command::Load { key, answer })
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        self.ask(|answer| Command::Swap {
            key,
            expected,
            change,
            answer,
        })
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        self.ask(|answer| Command::Sweep { now, limit, answer })
    }
}

impl Scan for SqliteStore {
    fn scan(&self, behind: Vec<u8>, limit: u32) -> BoxFuture<'_, Result<Vec<Key>, StoreError>> {
        self.ask(|answer| Command::Scan {
            behind,
            limit,
            answer,
        })
    }
}

impl Drop for SqliteStore {
    /// Waits for the thread, which does what is queued and closes the file: whoever opens it next finds it free.
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the idempotency store's thread panicked");
        }
    }
}

enum Command {
    Scan {
        behind: Vec<u8>,
        limit: u32,
        answer: oneshot::Sender<Vec<Key>>,
    },
    Load {
        key: Key,
        answer: oneshot::Sender<Option<Stored>>,
    },
    Swap {
        key: Key,
        expected: Option<Version>,
        change: Change,
        answer: oneshot::Sender<Swap>,
    },
    Sweep {
        now: UnixMillis,
        limit: u32,
        answer: oneshot::Sender<u32>,
    },
}

impl Command {
    fn only_reads(&self) -> bool {
        match self {
            Self::Scan { .. } | Self::Load { .. } => true,
            Self::Swap { .. } | Self::Sweep { .. } => false,
        }
    }
}

/// Gives an answer that was computed in a transaction, once that is committed.
type Reply = Box<dyn FnOnce()>;

/// Owns the connection. Lives on the store's thread.
struct Writer {
    connection: Connection,
    /// How often the file was opened, this time included.
    opening: u64,
    /// How many versions were given in this opening.
    last: u64,
}

impl Writer {
    fn on(opened: file::Opened) -> Self {
        Self {
            connection: opened.connection,
            opening: opened.opening,
            last: 0,
        }
    }

    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut group = vec![first];
            group.extend(commands.try_iter().take(GROUP - 1));
            self.commit(group);
        }
        if let Err(error) = file::close(self.connection) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the idempotency store was not closed cleanly; it is checked when it is opened next"
            );
        }
    }

    /// Does all of `group` in one transaction, or none of it.
    ///
    /// When it fails the answers are dropped, which tells whoever waits for one; the cause is logged here, once.
    fn commit(&mut self, group: Vec<Command>) {
        match self.transaction(group) {
            Ok(replies) => replies.into_iter().for_each(|reply| reply()),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the idempotency store failed"
                );
                if !self.connection.is_autocommit() {
                    // Should this fail as well, the next BEGIN does, and nothing is ever claimed.
                    drop(self.connection.execute_batch("ROLLBACK"));
                }
            }
        }
    }

    fn transaction(&mut self, group: Vec<Command>) -> rusqlite::Result<Vec<Reply>> {
        // What only reads, as each call does before its claim, has nothing to commit.
        let writes = !group.iter().all(Command::only_reads);
        if writes {
            self.connection.prepare_cached("BEGIN")?.execute([])?;
        }
        let replies = group
            .into_iter()
            .map(|command| self.perform(command))
            .collect::<rusqlite::Result<_>>()?;
        if writes {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        #[cfg(feature = "failpoints")]
        checkpoints::run_if_armed(&self.connection);
        Ok(replies)
    }

    fn perform(&mut self, command: Command) -> rusqlite::Result<Reply> {
        // Whoever asked may have gone; then nobody needs the answer, and sending it fails.
        Ok(match command {
            Command::Scan {
                behind,
                limit,
                answer,
            } => {
                let keys = self.scan(&behind, limit)?;
                Box::new(move || _ = answer.send(keys))
            }
            Command::Load { key, answer } => {
                let found = self.load(&key)?;
                Box::new(move || _ = answer.send(found))
            }
            Command::Swap {
                key,
                expected,
                change,
                answer,
            } => {
                let swap = self.swap(&key, expected, &change)?;
                Box::new(move || _ = answer.send(swap))
            }
            Command::Sweep { now, limit, answer } => {
                let removed = self.sweep(now, limit)?;
                Box::new(move || _ = answer.send(removed))
            }
        })
    }

    fn scan(&self, behind: &[u8], limit: u32) -> rusqlite::Result<Vec<Key>> {
        self.connection
            .prepare_cached("SELECT key FROM record WHERE key > ?1 ORDER BY key LIMIT ?2")?
            .query_map(params![behind, limit], |row| row.get(0).map(Key::from_bytes))?
            .collect()
    }

    fn load(&self, key: &Key) -> rusqlite::Result<Option<Stored>> {
        self.connection
            .prepare_cached("SELECT version, bytes FROM record WHERE key = ?1")?
            .query_row(params![key.as_bytes()], |row| self.stored(row))
            .optional()
    }

    /// Reads a row that begins with `version, bytes`.
    fn stored(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
        let version = row.get::<_, i64>(0)?.cast_unsigned();
        Ok(Stored {
            version: Version(version),
            record: Bytes::from(row.get::<_, Vec<u8>>(1)?),
            writer_gone: version >> COUNTER_BITS < self.opening,
        })
    }

    fn swap(&mut self, key: &Key, expected: Option<Version>, change: &Change) -> rusqlite::Result<Swap> {
        let current = self
            .connection
            .prepare_cached("SELECT version FROM record WHERE key = ?1")?
            .query_row(params![key.as_bytes()], |row| row.get::<_, i64>(0))
            .optional()?
            .map(|version| Version(version.cast_unsigned()));
        if current != expected {
            return Ok(Swap::Conflict);
        }
        match change {
            Change::Put { record, expires } => {
                self.last += 1;
                let version = self.opening << COUNTER_BITS | self.last;
                self.connection
                    .prepare_cached(
                        "INSERT INTO record (key, version, expires, bytes) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT (key) DO UPDATE SET version = ?2, expires = ?3, bytes = ?4",
                    )?
                    .execute(params![
                        key.as_bytes(),
                        version.cast_signed(),
                        column(*expires),
                        record.as_ref()
                    ])?;
                crate::failpoint!("swap");
                Ok(Swap::Put(Version(version)))
            }
            Change::Delete => {
                self.connection
                    .prepare_cached("DELETE FROM record WHERE key = ?1")?
                    .execute(params![key.as_bytes()])?;
                Ok(Swap::Deleted)
            }
        }
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> rusqlite::Result<u32> {
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM record WHERE rowid IN (SELECT rowid FROM record WHERE expires <= ?1 LIMIT ?2)",
            )?
            .execute(params![column(now), limit])?;
        crate::failpoint!("sweep");
        Ok(u32::try_from(removed).unwrap_or(u32::MAX))
    }
}

/// A version is the number of the opening above this many bits of a counter: no two are equal, also over restarts,
/// and none needs a write of its own. 2^23 openings with 2^40 versions each fit.
const COUNTER_BITS: u32 = 40;

/// A time as SQLite keeps it, which has no unsigned integers.
fn column(time: UnixMillis) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
