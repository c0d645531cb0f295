//! What an operator does with records: lists them, looks at one, settles one by hand.
//!
//! Works on a SQLite file, whose lock keeps it apart from a running server, and on the server that replicas share, while
//! they run: a record that changes meanwhile is left alone. What a replica has in memory are successes, which are not
//! settled by hand.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;

use crate::{
    call::{Caller, Target},
    clock::{self, UnixMillis, rfc3339},
    idempotency::{
        Key, Scope, UpstreamToken,
        record::{self, Claim, Ending, Finish, Now, Record, Run},
        redis::{OpenError as ServerError, RedisStore, Settings as RedisSettings},
        seal::{Keys, KeysError, Sealed},
        sqlite::{OpenError, SqliteStore},
        store::{Change, Scan, Store, StoreError, Swap, Version},
    },
    layers::idempotency::Settings,
    pb::v1::{CreateResourceShareResponse, ResourceShare},
    rules,
};

/// Records that are read at a time.
const PAGE: u32 = 256;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such file, and none is made.
    #[error("there is no idempotency store `{0}`")]
    Missing(String),
    /// The file cannot be opened.
    #[error("{0}{hint}", hint = if matches!(.0, OpenError::InUse { .. }) { "; stop the server first" } else { "" })]
    Open(#[from] OpenError),
    /// The server cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The file of keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The file cannot be read or written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A record cannot be read.
    #[error("record {0} cannot be read: {1}")]
    Unreadable(Key, record::Unreadable),
    /// No record has this name.
    #[error("there is no record `{0}`")]
    Unknown(String),
    /// Several records have this name.
    #[error("several records have the name `{0}`; say --caller and --token instead")]
    Ambiguous(String),
    /// This is no record's name.
    #[error("`{0}` is no record's name, which has 8 hex digits")]
    NoName(String),
    /// It is known what became of it, and that does not change.
    #[error("record {0} has succeeded already; what is recorded of it does not change before its time")]
    Settled(Key),
    /// This names no share.
    #[error("`{0}` is not the ARN of a resource share")]
    NoShare(String),
    /// The record is another than the one that was read.
    #[error("record {0} changed meanwhile; look again")]
    Changed(Key),
}

/// What a record says, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Claimed; with a file, its writer is gone, since the server is stopped.
    InFlight,
    /// Sent, and nobody knows what became of it.
    Unknown,
    /// Executed.
    Succeeded,
}

impl State {
    fn of(record: &Record) -> Self {
        match record {
            Record::InFlight { .. } => Self::InFlight,
            Record::Unknown { .. } => Self::Unknown,
            Record::Succeeded { .. } => Self::Succeeded,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InFlight => "in-flight",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
        })
    }
}

/// Which record is meant.
#[derive(Clone, Debug)]
pub enum Name {
    /// The 8 hex digits that logs and lists show.
    Digits(String),
    /// What its caller sent.
    Intent {
        /// Who sent it.
        caller: Caller,
        /// To which account and Region.
        target: Target,
        /// AWS's name of the operation.
        operation: String,
        /// The caller's token.
        client_token: String,
    },
}

impl Name {
    /// Names a record by what its caller sent: the caller as (issuer, subject), the target as partition, account and
    /// Region.
    #[must_use]
    pub fn intent(
        (issuer, subject): (&str, &str),
        [partition, account, region]: [String; 3],
        operation: String,
        client_token: String,
    ) -> Self {
        Self::Intent {
            caller: Caller::new(issuer, subject),
            target: Target {
                partition,
                account,
                region,
            },
            operation,
            client_token,
        }
    }
}

/// What an operator found out about a request whose outcome is open.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It made this share. Callers get it as the answer, with its ARN alone.
    Succeeded {
        /// The share.
        arn: String,
    },
    /// It made nothing, or what it made is of no interest: the next request executes it.
    Forget,
}

/// The records of a store.
pub struct Records {
    /// For the names.
    names: Arc<dyn Scan>,
    /// For the records, which may be sealed.
    store: Arc<dyn Store>,
    settings: Settings,
}

impl Records {
    /// Opens the file at `path`, which a server made, with the keys that its records are sealed with. `settings` are
    /// the server's: they say how long its records count.
    ///
    /// # Errors
    /// [`Refused::Missing`], [`Refused::Keys`] or [`Refused::Open`].
    pub fn in_file(path: &Path, key_file: Option<&Path>, settings: Settings) -> Result<Self, Refused> {
        if !path.exists() {
            return Err(Refused::Missing(path.display().to_string()));
        }
        let keys = key_file.map(Keys::load).transpose()?;
        Ok(Self::of(SqliteStore::open(path)?, keys, settings))
    }

    /// The same on the server that replicas share.
    ///
    /// # Errors
    /// [`Refused::Keys`] or [`Refused::Server`].
    ///
    /// # Cancellation
    /// Nothing is left behind but a key that the server removes within a second.
    pub async fn on_server(
        server: &RedisSettings,
        key_file: Option<&Path>,
        settings: Settings,
    ) -> Result<Self, Refused> {
        let keys = key_file.map(Keys::load).transpose()?;
        Ok(Self::of(RedisStore::open(server).await?, keys, settings))
    }

    fn of(names: impl Scan, keys: Option<Keys>, settings: Settings) -> Self {
        let names = Arc::new(names);
        let store: Arc<dyn Store> = match keys {
            Some(keys) => Arc::new(Sealed::new(Arc::clone(&names) as Arc<dyn Store>, keys)),
            None => Arc::clone(&names) as Arc<dyn Store>,
        };
        Self {
            names,
            store,
            settings,
        }
    }

    /// Lists at most `limit` records in the given state, or in any, a line for each.
    ///
    /// # Errors
    /// [`Refused::Store`].
    pub async fn list(&self, state: Option<State>, limit: usize) -> Result<Vec<String>, Refused> {
        let (now, terms) = (clock::wall_now(), self.settings.terms());
        let mut lines = Vec::new();
        let mut behind = Vec::new();
        loop {
            let page = self.names.scan(behind, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(lines);
            };
            behind = last.as_bytes().to_vec();
            for key in page {
                // A damaged record is listed too: it is one that an operator has to know of.
                let record = match self.read(key).await {
                    Ok((_, record)) => Ok(record),
                    // It ended while this went on.
                    Err(Refused::Changed(_)) => continue,
                    Err(error) => Err(error),
                };
                let matches = state.is_none_or(|state| record.as_ref().is_ok_and(|r| State::of(r) == state));
                if matches && lines.len() < limit {
                    lines.push(match record {
                        Ok(record) => line(key, &record, record.expires(&terms), now),
                        Err(error) => format!("{key}  {error}"),
                    });
                }
                if lines.len() >= limit {
                    return Ok(lines);
                }
            }
        }
    }

    /// Shows everything about one record that is no secret.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be found or read.
    pub async fn show(&self, name: &Name) -> Result<Vec<String>, Refused> {
        let key = self.find(name).await?;
        let (_, record) = self.read(key).await?;
        let terms = self.settings.terms();
        let mut lines = vec![
            format!("record     {}", key),
            format!("state      {}", State::of(&record)),
        ];
        match &record {
            Record::InFlight {
                first_sent, marker, ..
            }
            | Record::Unknown {
                first_sent, marker, ..
            } => {
                let window_end = first_sent.saturating_add(terms.window);
                lines.push(format!("claimed    {}", rfc3339(*first_sent)));
                lines.push(format!("resend     until {}", rfc3339(window_end)));
                let look = match marker {
                    Some(_) => format!(
                        "by tag, counts as never made from {}",
                        rfc3339(window_end.saturating_add(terms.settling))
                    ),
                    None => "not by tag: its requests carry none, or different ones".to_owned(),
                };
                lines.push(format!("look       {look}"));
            }
            Record::Succeeded {
                reply, recorded_at, ..
            } => {
                lines.push(format!("recorded   {}", rfc3339(*recorded_at)));
                if let Some(arn) = arn_of(reply) {
                    lines.push(format!("share      {arn}"));
                }
            }
        }
        // It stands on the share as a tag, for everybody who may list shares.
        let upstream = UpstreamToken::derive(&key);
        lines.push(format!("tag value  {}", upstream.as_str()));
        lines.push(format!("expires    {}", rfc3339(record.expires(&terms))));
        Ok(lines)
    }

    /// Settles a record whose outcome is open, and says what is true now.
    ///
    /// # Errors
    /// [`Refused`]; nothing is changed then.
    pub async fn resolve(&self, name: &Name, verdict: &Verdict) -> Result<String, Refused> {
        let key = self.find(name).await?;
        let (version, record) = self.read(key).await?;
        let (change, said) = match verdict {
            _ if State::of(&record) == State::Succeeded => return Err(Refused::Settled(key)),
            Verdict::Succeeded { arn } => (
                self.succeeded(key, &record, arn)?,
                format!("record {} succeeded with {arn}", key),
            ),
            Verdict::Forget => (
                Change::Delete,
                format!(
                    "record {} is forgotten; the next request under its token executes",
                    key
                ),
            ),
        };
        let swap = self.store.compare_and_swap(key, Some(version), change).await?;
        match swap {
            Swap::Put(_) | Swap::Deleted => {
                tracing::warn!(key = %key, was = %State::of(&record), ?verdict, "settled by hand");
                Ok(said)
            }
            Swap::Conflict => Err(Refused::Changed(key)),
        }
    }

    /// The end of a run that is known to have made `arn`: the machine decides what it makes of the record.
    fn succeeded(&self, key: Key, record: &Record, arn: &str) -> Result<Change, Refused> {
        let parsed = rules::Arn::parse(arn)
            .ok()
            .filter(|parsed| parsed.service == "ram" && parsed.resource.starts_with("resource-share/"))
            .ok_or_else(|| Refused::NoShare(arn.to_owned()))?;
        let reply = CreateResourceShareResponse {
            resource_share: Some(ResourceShare {
                resource_share_arn: arn.to_owned(),
                owning_account_id: parsed.account.to_owned(),
                ..ResourceShare::default()
            }),
            ..CreateResourceShareResponse::default()
        };
        let wall = clock::wall_now();
        let run = Run {
            fingerprint: record.fingerprint(),
            claim: Claim::new([0; 16]),
            first_sent: wall,
            in_doubt: true,
            marker: None,
        };
        let ending = Ending::Succeeded {
            reply: Bytes::from(reply.encode_to_vec()),
        };
        let now = Now { wall, steady: true };
        let terms = self.settings.terms();
        match record::on_end(Some(record), &run, &ending, now, &terms) {
            Finish::Put(settled) => Ok(Change::Put {
                record: settled.encode(),
                expires: settled.expires(&terms),
            }),
            Finish::Delete | Finish::Stale => Err(Refused::Settled(key)),
        }
    }

    async fn read(&self, key: Key) -> Result<(Version, Record), Refused> {
        let stored = self.store.load(key).await?;
        let stored = stored.ok_or(Refused::Changed(key))?;
        let record = Record::decode(&stored.record).map_err(|error| Refused::Unreadable(key, error))?;
        Ok((stored.version, record))
    }

    async fn find(&self, name: &Name) -> Result<Key, Refused> {
        match name {
            Name::Digits(digits) => self.find_by_digits(digits).await,
            Name::Intent {
                caller,
                target,
                operation,
                client_token,
            } => {
                let key = Key::of(&Scope {
                    caller,
                    target,
                    operation,
                    client_token,
                });
                let found = self.store.load(key).await?;
                found
                    .map(|_| key)
                    .ok_or_else(|| Refused::Unknown(key.to_string()))
            }
        }
    }

    async fn find_by_digits(&self, digits: &str) -> Result<Key, Refused> {
        let no_name = || Refused::NoName(digits.to_owned());
        if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(no_name());
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| no_name())?;
        let name = digits.to_ascii_lowercase();
        let mut found = self.names.scan(number.to_be_bytes().to_vec(), 2).await?;
        found.retain(|key| key.to_string() == name);
        match (found.pop(), found.pop()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Refused::Ambiguous(name)),
            (None, _) => Err(Refused::Unknown(name)),
        }
    }
}

fn line(key: Key, record: &Record, expires: UnixMillis, now: UnixMillis) -> String {
    let (what, since) = match record {
        Record::InFlight { first_sent, .. } | Record::Unknown { first_sent, .. } => ("claimed", *first_sent),
        Record::Succeeded { recorded_at, .. } => ("recorded", *recorded_at),
    };
    format!(
        "{key}  {:<9}  {what} {} ({} ago)  {}",
        State::of(record),
        rfc3339(since),
        span(now.saturating_sub(since)),
        if expires <= now {
            "void".to_owned()
        } else {
            format!("expires in {}", span(expires - now))
        }
    )
}

/// The share in a recorded answer, if it is one of this operation.
fn arn_of(reply: &Bytes) -> Option<String> {
    let answer = CreateResourceShareResponse::decode(reply.clone()).ok()?;
    Some(answer.resource_share?.resource_share_arn)
}

fn span(milliseconds: u64) -> String {
    let seconds = Duration::from_millis(milliseconds).as_secs();
    match (seconds / 3600, seconds / 60, seconds) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, _, _) => format!("{hours} h"),
    }
}
