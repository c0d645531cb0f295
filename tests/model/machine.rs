//! The product's `record.rs`, called with the model's compact values. Nothing is decided here.

use bytes::Bytes;
use ram_facade::idempotency::{
    Fingerprint, Marker,
    record::{self, Claim, Ending, Look, Now, Record, Terms},
};

use super::state::{End, NOBODY, Owner, Payload, Rec, Run, SETTLING, TICK, Tick, WINDOW, Write};

/// 15 s of lease, as by default; its end comes by chance. Nothing expires within the horizon.
pub(crate) const TERMS: Terms = Terms {
    lease: 15_000,
    window: TICK * WINDOW as u64,
    settling: TICK * SETTLING as u64,
    marker: MARKER,
    ttl: 86_400_000,
    max_reply: 1_000,
};

/// Every request carries it.
const MARKER: Option<Marker> = Some(Marker::from_bytes([1; Marker::BYTES]));
const EPOCH: u64 = 1_700_000_000_000;

fn wall(tick: Tick) -> u64 {
    EPOCH + u64::from(tick) * TICK
}

fn tick(wall: u64) -> Tick {
    let since = wall - EPOCH;
    assert_eq!(since % TICK, 0, "the model's clock knows whole ticks only");
    u8::try_from(since / TICK).expect("it lies within the horizon")
}

fn now(tick: Tick) -> Now {
    Now {
        wall: wall(tick),
        steady: true,
    }
}

pub(crate) fn fingerprint(payload: Payload) -> Fingerprint {
    Fingerprint::from_bytes([payload; 32])
}

fn payload(fingerprint: Fingerprint) -> Payload {
    fingerprint.as_bytes()[0]
}

pub(crate) fn claim(owner: Owner) -> Claim {
    Claim::new([owner; 16])
}

fn reply() -> Bytes {
    Bytes::from_static(b"the share's ARN")
}

/// The record as an executor reads it at `at`, with its lease alive or over.
pub(crate) fn record(rec: Rec, at: Tick, lease_over: bool) -> Option<Record> {
    match rec {
        Rec::Absent => None,
        Rec::InFlight {
            payload,
            owner,
            first_sent,
        } => {
            let mut record = Record::InFlight {
                fingerprint: fingerprint(payload),
                claim: claim(owner),
                lease_until: wall(at) + TERMS.lease,
                first_sent: wall(first_sent),
                marker: MARKER,
            };
            if lease_over {
                record.end_lease();
            }
            Some(record)
        }
        Rec::Succeeded { payload } => Some(Record::Succeeded {
            fingerprint: fingerprint(payload),
            reply: reply(),
            recorded_at: wall(0),
            expires: wall(0) + TERMS.ttl,
        }),
        Rec::Unknown { payload, first_sent } => Some(Record::Unknown {
            fingerprint: fingerprint(payload),
            first_sent: wall(first_sent),
            marker: MARKER,
        }),
    }
}

fn rec(record: &Record) -> Rec {
    match record {
        Record::InFlight {
            fingerprint,
            claim: theirs,
            first_sent,
            ..
        } => Rec::InFlight {
            payload: payload(*fingerprint),
            owner: (0..=NOBODY)
                .find(|&owner| claim(owner) == *theirs)
                .expect("it is the model's"),
            first_sent: tick(*first_sent),
        },
        Record::Succeeded { fingerprint, .. } => Rec::Succeeded {
            payload: payload(*fingerprint),
        },
        Record::Unknown {
            fingerprint,
            first_sent,
            ..
        } => Rec::Unknown {
            payload: payload(*fingerprint),
            first_sent: tick(*first_sent),
        },
    }
}

/// What `record::Decision` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Execute(Run),
    Wait,
    Replay,
    Mismatch,
    Reconcile(Run),
    Frozen,
}

fn compact(run: &record::Run) -> Run {
    Run {
        first_sent: tick(run.first_sent),
        in_doubt: run.in_doubt,
    }
}

fn decision(decision: record::Decision) -> Decision {
    match decision {
        record::Decision::Execute(run) => Decision::Execute(compact(&run)),
        record::Decision::Wait => Decision::Wait,
        record::Decision::Replay { .. } => Decision::Replay,
        record::Decision::Mismatch => Decision::Mismatch,
        record::Decision::Reconcile(run) => Decision::Reconcile(compact(&run)),
        record::Decision::Frozen => Decision::Frozen,
    }
}

/// `record::on_request`.
pub(crate) fn on_request(seen: Rec, lease_over: bool, payload: Payload, owner: Owner, at: Tick) -> Decision {
    decision(record::on_request(
        record(seen, at, lease_over).as_ref(),
        fingerprint(payload),
        claim(owner),
        now(at),
        &TERMS,
    ))
}

fn run_of(run: Run, payload: Payload, owner: Owner) -> record::Run {
    record::Run {
        fingerprint: fingerprint(payload),
        claim: claim(owner),
        first_sent: wall(run.first_sent),
        in_doubt: run.in_doubt,
        marker: MARKER,
    }
}

/// What `record::Seen` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Adopt(Run),
    Execute(Run),
    Open,
}

/// `record::on_look`, for a look that began at `since` and is decided by at `at`.
pub(crate) fn on_look(run: Run, payload: Payload, owner: Owner, found: bool, since: Tick, at: Tick) -> Seen {
    let look = match (found, MARKER) {
        (true, _) => Look::Found,
        (false, Some(marker)) => Look::Absent {
            marker,
            since: wall(since),
        },
        (false, None) => Look::Blind,
    };
    match record::on_look(run_of(run, payload, owner), look, now(at), &TERMS) {
        record::Seen::Adopt(run) => Seen::Adopt(compact(&run)),
        record::Seen::Execute(run) => Seen::Execute(compact(&run)),
        record::Seen::Open => Seen::Open,
    }
}

/// `Run::record`.
pub(crate) fn claimed(run: Run, payload: Payload, owner: Owner, at: Tick) -> Rec {
    rec(&run_of(run, payload, owner).record(now(at), &TERMS))
}

/// `Run::window_end`: whether a request of `run` may leave at `at`.
pub(crate) fn may_leave(run: Run, payload: Payload, owner: Owner, at: Tick) -> bool {
    wall(at) <= run_of(run, payload, owner).window_end(&TERMS)
}

fn ending(end: End) -> Ending {
    match end {
        End::Succeeded => Ending::Succeeded { reply: reply() },
        End::Failed { may_have_executed } => Ending::Failed { may_have_executed },
    }
}

/// `Run::is_open_after`.
pub(crate) fn is_open_after(run: Run, end: End) -> bool {
    run_of(run, 0, 0).is_open_after(&ending(end))
}

/// `record::answers_at_once`.
pub(crate) fn answers_at_once(claimed: Rec, lease_over: bool, end: End, at: Tick) -> bool {
    record(claimed, at, lease_over)
        .is_some_and(|claimed| record::answers_at_once(&claimed, &ending(end), now(at)))
}

/// `record::on_end`; `None` for a write that is not the run's to make.
pub(crate) fn on_end(
    seen: Rec,
    run: Run,
    payload: Payload,
    owner: Owner,
    end: End,
    at: Tick,
) -> Option<Write> {
    let seen = record(seen, at, false);
    let run = run_of(run, payload, owner);
    match record::on_end(seen.as_ref(), &run, &ending(end), now(at), &TERMS) {
        record::Finish::Put(record) => Some(Write::Put(rec(&record))),
        record::Finish::Delete => Some(Write::Delete),
        record::Finish::Stale => None,
    }
}
