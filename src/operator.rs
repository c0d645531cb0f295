//! What an operator does with the records of a stopped server: lists them, looks at one, settles one by hand.
//!
//! Works on a SQLite file, whose lock keeps it apart from a running server. A store that is shared would need its own
//! listing; what is done with a record stays the same.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;

use crate::{
    call::{Caller, Target},
    clock::{self, UnixMillis},
    idempotency::{
        Key, Scope, UpstreamToken,
        record::{self, Claim, Ending, Finish, Now, Record, Run},
        seal::{Keys, KeysError, Sealed},
        sqlite::{Entry, OpenError, SqliteStore},
        store::{Change, Store, StoreError, Swap, Version},
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
    /// Claimed; its writer is gone, since the server is stopped.
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

/// The records of a stopped server.
pub struct Records {
    /// For the names.
    file: Arc<SqliteStore>,
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
    pub fn open(path: &Path, key_file: Option<&Path>, settings: Settings) -> Result<Self, Refused> {
        if !path.exists() {
            return Err(Refused::Missing(path.display().to_string()));
        }
        let keys = key_file.map(Keys::load).transpose()?;
        let file = Arc::new(SqliteStore::open(path)?);
        let store: Arc<dyn Store> = match keys {
            Some(keys) => Arc::new(Sealed::new(Arc::clone(&file) as Arc<dyn Store>, keys)),
            None => Arc::clone(&file) as Arc<dyn Store>,
        };
        Ok(Self {
            file,
            store,
            settings,
        })
    }

    /// Lists at most `limit` records in the given state, or in any, a line for each.
    ///
    /// # Errors
    /// [`Refused::Store`].
    pub async fn list(&self, state: Option<State>, limit: usize) -> Result<Vec<String>, Refused> {
        let now = clock::wall_now();
        let mut lines = Vec::new();
        let mut behind = Vec::new();
        loop {
            let page = self.file.scan(&behind, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(lines);
            };
            behind = last.key.as_bytes().to_vec();
            for entry in &page {
                // A damaged record is listed too: it is one that an operator has to know of.
                let record = self.read(entry.key).await.map(|(_, record)| record);
                let matches = state.is_none_or(|state| record.as_ref().is_ok_and(|r| State::of(r) == state));
                if matches && lines.len() < limit {
                    lines.push(match record {
                        Ok(record) => line(entry.key, &record, entry.expires, now),
                        Err(error) => format!("{}  {error}", entry.key),
                    });
                }
            }
            if lines.len() >= limit {
                return Ok(lines);
            }
        }
    }

    /// Shows everything about one record that is no secret.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be found or read.
    pub async fn show(&self, name: &Name) -> Result<Vec<String>, Refused> {
        let entry = self.find(name).await?;
        let (_, record) = self.read(entry.key).await?;
        let terms = self.settings.terms();
        let mut lines = vec![
            format!("record     {}", entry.key),
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
                lines.push(format!("claimed    {}", time(*first_sent)));
                lines.push(format!("resend     until {}", time(window_end)));
                let look = match marker {
                    Some(_) => format!(
                        "by tag, counts as never made from {}",
                        time(window_end.saturating_add(terms.settling))
                    ),
                    None => "not by tag: its requests carry none, or different ones".to_owned(),
                };
                lines.push(format!("look       {look}"));
            }
            Record::Succeeded {
                reply, recorded_at, ..
            } => {
                lines.push(format!("recorded   {}", time(*recorded_at)));
                if let Some(arn) = arn_of(reply) {
                    lines.push(format!("share      {arn}"));
                }
            }
        }
        // It stands on the share as a tag, for everybody who may list shares.
        let upstream = UpstreamToken::derive(&entry.key);
        lines.push(format!("tag value  {}", upstream.as_str()));
        lines.push(format!("expires    {}", time(entry.expires)));
        Ok(lines)
    }

    /// Settles a record whose outcome is open, and says what is true now.
    ///
    /// # Errors
    /// [`Refused`]; nothing is changed then.
    pub async fn resolve(&self, name: &Name, verdict: &Verdict) -> Result<String, Refused> {
        let entry = self.find(name).await?;
        let (version, record) = self.read(entry.key).await?;
        let (change, said) = match verdict {
            _ if State::of(&record) == State::Succeeded => return Err(Refused::Settled(entry.key)),
            Verdict::Succeeded { arn } => (
                self.succeeded(&entry, &record, arn)?,
                format!("record {} succeeded with {arn}", entry.key),
            ),
            Verdict::Forget => (
                Change::Delete,
                format!(
                    "record {} is forgotten; the next request under its token executes",
                    entry.key
                ),
            ),
        };
        let swap = self
            .store
            .compare_and_swap(entry.key, Some(version), change)
            .await?;
        match swap {
            Swap::Put(_) | Swap::Deleted => {
                tracing::warn!(key = %entry.key, was = %State::of(&record), ?verdict, "settled by hand");
                Ok(said)
            }
            Swap::Conflict => Err(Refused::Changed(entry.key)),
        }
    }

    /// The end of a run that is known to have made `arn`: the machine decides what it makes of the record.
    fn succeeded(&self, entry: &Entry, record: &Record, arn: &str) -> Result<Change, Refused> {
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
            Finish::Delete | Finish::Stale => Err(Refused::Settled(entry.key)),
        }
    }

    async fn read(&self, key: Key) -> Result<(Version, Record), Refused> {
        let stored = self.store.load(key).await?;
        let stored = stored.ok_or(Refused::Changed(key))?;
        let record = Record::decode(&stored.record).map_err(|error| Refused::Unreadable(key, error))?;
        Ok((stored.version, record))
    }

    async fn find(&self, name: &Name) -> Result<Entry, Refused> {
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
                let [head @ .., _] = key.as_bytes();
                let behind = self.file.scan(head, PAGE).await?;
                behind
                    .into_iter()
                    .find(|entry| entry.key == key)
                    .ok_or_else(|| Refused::Unknown(key.to_string()))
            }
        }
    }

    async fn find_by_digits(&self, digits: &str) -> Result<Entry, Refused> {
        let no_name = || Refused::NoName(digits.to_owned());
        if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(no_name());
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| no_name())?;
        let name = digits.to_ascii_lowercase();
        let mut found = self.file.scan(&number.to_be_bytes(), 2).await?;
        found.retain(|entry| entry.key.to_string() == name);
        match (found.pop(), found.pop()) {
            (Some(entry), None) => Ok(entry),
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
        time(since),
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

fn time(at: UnixMillis) -> String {
    let seconds = i64::try_from(at / 1000).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: 0 }.to_string()
}

fn span(milliseconds: u64) -> String {
    let seconds = Duration::from_millis(milliseconds).as_secs();
    match (seconds / 3600, seconds / 60, seconds) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, _, _) => format!("{hours} h"),
    }
}
