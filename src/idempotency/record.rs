//! The state machine of one intent: it decides everything, and does no I/O, reads no clock and awaits nothing.
//!
//! ```text
//!            request                     success, by any run of this request
//!  absent ------------> InFlight ------------------------------------------> Succeeded
//!    ^                   |  ^  |                                                 ^
//!    |  failed for sure, |  |  | failed, may have been executed                  |
//!    +-------------------+  |  v                                                 |
//!                           Unknown ---------------------------------------------+
//!           request in time
//! ```
//!
//! A run *may have been executed* as soon as one of its attempts has no answer, and from its start if it takes over
//! from a run that ended nobody knows how. No later refusal ends that doubt: RAM refuses a repetition for its own
//! reasons, and says nothing about the first.
//!
//! Requests under one token leave only until `first_sent + window`. RAM remembers a token for longer than that, so it
//! sees all of them as one. A takeover keeps `first_sent`, therefore, and after the window nothing is sent.
//!
//! After the window RAM's list of shares is asked for the intent's marker tag. A share that is found is the intent's. One
//! that is missing was never made, if every send carried the tag and the look began so late that no send can still
//! arrive; then the intent is claimed anew, as if it had not been seen before.

mod codec;

use std::fmt;

use bytes::Bytes;

use super::{Fingerprint, Marker};
use crate::clock::UnixMillis;

pub use codec::Unreadable;

/// The times and sizes that the rules use.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a claim keeps others from sending needlessly, in milliseconds.
    pub lease: u64,
    /// How long after `first_sent` requests may leave, in milliseconds.
    pub window: u64,
    /// How long after the window a share that RAM does not list was never made, in milliseconds: until the last request
    /// that left has arrived or was refused, and RAM's list has caught up.
    pub settling: u64,
    /// The tag that requests carry, if they carry one.
    pub marker: Option<Marker>,
    /// How long a record is kept, in milliseconds.
    pub ttl: u64,
    /// Largest reply that is kept, in bytes.
    pub max_reply: usize,
}

/// Who made a claim: random, so that a run that lost its claim cannot take another's for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim([u8; 16]);

impl Claim {
    /// A claim of 16 random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

/// What is known of one intent. Nothing known is no record.
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// Somebody executes it, or did and is gone.
    InFlight {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// Whose execution it is.
        claim: Claim,
        /// Until when nobody else should execute it.
        lease_until: UnixMillis,
        /// When the first claim was made: from then on a request may have left.
        first_sent: UnixMillis,
        /// The tag that all of its requests carry, if they carry the same.
        marker: Option<Marker>,
    },
    /// RAM executed it.
    Succeeded {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// RAM's answer, encoded.
        reply: Bytes,
        /// When it was recorded.
        recorded_at: UnixMillis,
        /// When the record is void.
        expires: UnixMillis,
    },
    /// It was sent, and no answer says what became of it.
    Unknown {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// When the first claim was made.
        first_sent: UnixMillis,
        /// The tag that all of its requests carry, if they carry the same.
        marker: Option<Marker>,
    },
}

impl Record {
    /// What was asked for.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::InFlight { fingerprint, .. }
            | Self::Succeeded { fingerprint, .. }
            | Self::Unknown { fingerprint, .. } => *fingerprint,
        }
    }

    /// When the record is void.
    #[must_use]
    pub fn expires(&self, terms: &Terms) -> UnixMillis {
        match self {
            Self::Succeeded { expires, .. } => *expires,
            Self::InFlight { first_sent, .. } | Self::Unknown { first_sent, .. } => {
                first_sent.saturating_add(terms.ttl)
            }
        }
    }

    /// Ends the lease of an owner that is known to be gone.
    pub fn end_lease(&mut self) {
        match self {
            Self::InFlight { lease_until, .. } => *lease_until = 0,
            Self::Succeeded { .. } | Self::Unknown { .. } => {}
        }
    }
}

/// Leaves the reply out: it is the customer's data.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight {
                lease_until,
                first_sent,
                ..
            } => write!(f, "InFlight(since {first_sent}, lease until {lease_until})"),
            Self::Succeeded {
                recorded_at, expires, ..
            } => write!(f, "Succeeded(at {recorded_at}, expires {expires})"),
            Self::Unknown { first_sent, .. } => write!(f, "Unknown(since {first_sent})"),
        }
    }
}

/// The wall time, and whether it can be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall time.
    pub wall: UnixMillis,
    /// False after the clock was set: nothing expires and nothing is taken over on its word.
    pub steady: bool,
}

/// One execution of an intent, under its own claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What it executes.
    pub fingerprint: Fingerprint,
    /// Its claim.
    pub claim: Claim,
    /// When the first claim of the intent was made, by this run or one before.
    pub first_sent: UnixMillis,
    /// Whether an earlier run may have been executed.
    pub in_doubt: bool,
    /// The tag that all requests of the intent carry, those of runs before included.
    pub marker: Option<Marker>,
}

impl Run {
    /// The first run of an intent, or the first after its past is known to have left nothing.
    fn first(fingerprint: Fingerprint, claim: Claim, now: Now, terms: &Terms) -> Self {
        Self {
            fingerprint,
            claim,
            first_sent: now.wall,
            in_doubt: false,
            marker: terms.marker,
        }
    }

    /// The record that claims the intent for this run.
    #[must_use]
    pub fn record(&self, now: Now, terms: &Terms) -> Record {
        Record::InFlight {
            fingerprint: self.fingerprint,
            claim: self.claim,
            lease_until: now.wall.saturating_add(terms.lease),
            first_sent: self.first_sent,
            marker: self.marker,
        }
    }

    /// Returns whether nobody knows, after this end, if the intent was executed. A refusal of the last attempt ends no
    /// doubt about the ones before.
    #[must_use]
    pub fn is_open_after(&self, ending: &Ending) -> bool {
        match ending {
            Ending::Succeeded { .. } => false,
            Ending::Failed { may_have_executed } => self.in_doubt || *may_have_executed,
        }
    }

    /// Until when its requests may leave.
    #[must_use]
    pub fn window_end(&self, terms: &Terms) -> UnixMillis {
        self.first_sent.saturating_add(terms.window)
    }

    /// From when on a share that RAM does not list was never made.
    #[must_use]
    pub fn absence_counts_from(&self, terms: &Terms) -> UnixMillis {
        self.window_end(terms).saturating_add(terms.settling)
    }
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Swap the run's record in, and only then execute.
    Execute(Run),
    /// Somebody executes it: look again later.
    Wait,
    /// Answer what is recorded.
    Replay {
        /// RAM's answer, encoded.
        reply: Bytes,
        /// When it was recorded.
        recorded_at: UnixMillis,
    },
    /// The token stands for another request.
    Mismatch,
    /// It may have been executed, and RAM may have forgotten its token: nothing may be sent. Look at RAM's list of
    /// shares, and let [`on_look`] decide by what is there.
    Reconcile(Run),
    /// It may have been executed, and the clock cannot say how long ago.
    Frozen,
}

/// Decides what to do with a request for `fingerprint`, given what is known; `claim` is what a run of it would claim.
#[must_use]
pub fn on_request(
    current: Option<&Record>,
    fingerprint: Fingerprint,
    claim: Claim,
    now: Now,
    terms: &Terms,
) -> Decision {
    let void = |record: &&Record| now.steady && record.expires(terms) <= now.wall;
    let Some(record) = current.filter(|record| !void(record)) else {
        return Decision::Execute(Run::first(fingerprint, claim, now, terms));
    };
    if record.fingerprint() != fingerprint {
        return Decision::Mismatch;
    }
    match record {
        Record::Succeeded {
            reply, recorded_at, ..
        } => Decision::Replay {
            reply: reply.clone(),
            recorded_at: *recorded_at,
        },
        Record::InFlight { lease_until, .. } if now.wall < *lease_until => Decision::Wait,
        Record::InFlight {
            first_sent, marker, ..
        }
        | Record::Unknown {
            first_sent, marker, ..
        } => {
            let run = Run {
                fingerprint,
                claim,
                first_sent: *first_sent,
                in_doubt: true,
                // Requests with different tags cannot be found by either.
                marker: marker.filter(|marker| Some(*marker) == terms.marker),
            };
            take_over(run, now, terms)
        }
    }
}

fn take_over(run: Run, now: Now, terms: &Terms) -> Decision {
    // A record of the future was written by a clock that ran ahead: its age is unknown.
    let of_the_future = run.first_sent > now.wall.saturating_add(MAX_SKEW);
    if !now.steady || of_the_future {
        Decision::Frozen
    } else if now.wall <= run.window_end(terms) {
        Decision::Execute(run)
    } else {
        Decision::Reconcile(run)
    }
}

/// What a look at RAM's list of shares showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A share with the intent's marker tag, in whatever state: it was executed.
    Found,
    /// RAM lists no share with this tag for the intent.
    Absent {
        /// The tag that was looked for.
        marker: Marker,
        /// When the look began.
        since: UnixMillis,
    },
    /// Nobody could look, or the look failed.
    Blind,
}

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// RAM has the share: end this run with its success, and answer it.
    Adopt(Run),
    /// It was never executed. Swap the run's record in, and only then execute.
    Execute(Run),
    /// It may have been executed, and the list does not tell, or not yet.
    Open,
}

/// Decides by a look at RAM's list what to do with `run`, which may not send any more: see [`Decision::Reconcile`].
///
/// Whatever is decided is carried out by a swap of the record that was decided by before.
#[must_use]
pub fn on_look(run: Run, look: Look, now: Now, terms: &Terms) -> Seen {
    match look {
        // No clock is needed to see what is there.
        Look::Found => Seen::Adopt(run),
        Look::Absent { marker, since }
            if now.steady && run.marker == Some(marker) && since >= run.absence_counts_from(terms) =>
        {
            Seen::Execute(Run::first(run.fingerprint, run.claim, now, terms))
        }
        Look::Absent { .. } | Look::Blind => Seen::Open,
    }
}

/// How far the clocks of two replicas may lie apart, in milliseconds.
const MAX_SKEW: u64 = 30_000;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// RAM answered that it is done.
    Succeeded {
        /// RAM's answer, encoded.
        reply: Bytes,
    },
    /// It failed.
    Failed {
        /// Whether one of the run's own attempts has no answer.
        may_have_executed: bool,
    },
}

/// What the end of a run does to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Swap this record in. A failure is open then: the caller hears that the outcome is unknown.
    Put(Record),
    /// Remove the record: nothing was executed.
    Delete,
    /// The record is not this run's to write: answer from the record.
    Stale,
}

/// Decides what the end of `run` does to the record.
///
/// A success is a fact under this token, whoever's claim it was. Everything else is for the run that holds the claim.
#[must_use]
pub fn on_end(current: Option<&Record>, run: &Run, ending: &Ending, now: Now, terms: &Terms) -> Finish {
    let unknown = Record::Unknown {
        fingerprint: run.fingerprint,
        first_sent: run.first_sent,
        marker: run.marker,
    };
    match (ending, current) {
        (_, Some(record)) if record.fingerprint() != run.fingerprint => Finish::Stale,
        (Ending::Succeeded { .. }, Some(Record::Succeeded { .. })) => Finish::Stale,
        // Too large to keep: the next request asks RAM again, under the same token.
        (Ending::Succeeded { reply }, _) if reply.len() > terms.max_reply => Finish::Put(unknown),
        (Ending::Succeeded { reply }, Some(Record::InFlight { .. } | Record::Unknown { .. }) | None) => {
            Finish::Put(Record::Succeeded {
                fingerprint: run.fingerprint,
                reply: reply.clone(),
                recorded_at: now.wall,
                expires: now.wall.saturating_add(terms.ttl),
            })
        }
        (Ending::Failed { .. }, Some(Record::InFlight { claim, .. })) if *claim == run.claim => {
            if run.is_open_after(ending) {
                Finish::Put(unknown)
            } else {
                Finish::Delete
            }
        }
        (Ending::Failed { .. }, Some(_) | None) => Finish::Stale,
    }
}

/// Decides whether a run answers its end before that is written over `claimed`, the record of its claim.
///
/// A success need not wait: whoever finds the claim after a crash takes it over, and RAM knows the token. Once the lease
/// is over another run may have recorded a success of its own, which is then the answer of both. A failure waits: what
/// it says of the future only the record makes true.
#[must_use]
pub fn answers_at_once(claimed: &Record, ending: &Ending, now: Now) -> bool {
    match (ending, claimed) {
        (Ending::Succeeded { .. }, Record::InFlight { lease_until, .. }) => {
            now.steady && now.wall < *lease_until
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
