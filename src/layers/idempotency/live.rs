//! The executions of this process, and who waits for them.
//!
//! Whoever asks for what is being executed here waits for that execution, whatever the lease of its record says.
//! A success may be answered before it is recorded: until it is, whoever comes gets it from here, as a replay.
//! Entries are told apart by key **and** fingerprint: whether a token fits a request is the record's to say, not that
//! of whoever came first, for they may be the one who is wrong.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::refusals::{self, Again};
use crate::{
    clock::UnixMillis,
    failure::Failure,
    idempotency::{Fingerprint, Key},
};

/// What became of an intent, in a form that does not depend on the operation.
pub(super) type Settled = Result<Reply, Failure>;

/// RAM's answer, encoded.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) bytes: Bytes,
    /// When it was recorded, if it comes from a record.
    pub(super) recorded_at: Option<UnixMillis>,
}

impl Reply {
    /// What RAM has just answered.
    pub(super) fn fresh(bytes: Bytes) -> Self {
        Self {
            bytes,
            recorded_at: None,
        }
    }
}

type Id = (Key, Fingerprint);

/// How an intent was settled, and when.
type Ended = (Settled, UnixMillis);

/// See the module.
pub(super) struct Live {
    waiters_per_key: usize,
    waiters: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: HashMap<Id, Running>,
    /// Those who wait for another's execution, in all.
    waiters: usize,
}

struct Running {
    ended: watch::Receiver<Option<Ended>>,
    waiters: usize,
}

impl Running {
    /// The answer for somebody who comes after it was given.
    fn answer(&self) -> Option<Reply> {
        match &*self.ended.borrow() {
            Some((Ok(reply), at)) => Some(Reply {
                bytes: reply.bytes.clone(),
                recorded_at: reply.recorded_at.or(Some(*at)),
            }),
            _ => None,
        }
    }
}

/// What a caller is.
pub(super) enum Part {
    /// The first: has to run the execution, and waits for it like the others.
    Leader(Lead, Wait),
    /// One more.
    Joiner(Wait),
    /// One who finds the answer, which is not recorded yet.
    Late(Reply),
}

impl Live {
    pub(super) fn new(waiters_per_key: usize, waiters: usize) -> Arc<Self> {
        Arc::new(Self {
            waiters_per_key,
            waiters,
            state: Mutex::default(),
        })
    }

    /// Joins the execution of an intent, or begins one.
    ///
    /// # Errors
    /// `IN_PROGRESS` if there are as many waiters as there may be.
    pub(super) fn join(self: &Arc<Self>, key: Key, fingerprint: Fingerprint) -> Result<Part, Failure> {
        let id = (key, fingerprint);
        let mut state = self.lock();
        let in_all = state.waiters;
        match state.running.entry(id) {
            Entry::Vacant(vacant) => {
                let (publish, ended) = watch::channel(None);
                vacant.insert(Running {
                    ended: ended.clone(),
                    waiters: 0,
                });
                let lead = Lead {
                    publish,
                    live: Arc::clone(self),
                    id,
                };
                Ok(Part::Leader(lead, Wait { ended, seat: None }))
            }
            Entry::Occupied(mut occupied) => {
                let running = occupied.get_mut();
                if let Some(reply) = running.answer() {
                    return Ok(Part::Late(reply));
                }
                if running.waiters >= self.waiters_per_key || in_all >= self.waiters {
                    return Err(refusals::too_many_waiters());
                }
                running.waiters += 1;
                let ended = running.ended.clone();
                state.waiters += 1;
                let seat = Seat {
                    live: Arc::clone(self),
                    id,
                    of: ended.clone(),
                };
                Ok(Part::Joiner(Wait {
                    ended,
                    seat: Some(seat),
                }))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to settle an intent. Dropped without, it tells who waits that the execution broke off.
pub(super) struct Lead {
    publish: watch::Sender<Option<Ended>>,
    live: Arc<Live>,
    id: Id,
}

impl Lead {
    /// Answers everyone who waits, and with a success everyone who comes before this is dropped. Who comes after a failure
    /// begins anew. Only the first answer counts.
    pub(super) fn settle(&self, settled: Settled, at: UnixMillis) {
        let failed = settled.is_err();
        self.publish.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert((settled, at));
            is_first
        });
        if failed {
            self.leave();
        }
    }

    fn leave(&self) {
        let mut state = self.live.lock();
        if let Entry::Occupied(running) = state.running.entry(self.id)
            && self.publish.subscribe().same_channel(&running.get().ended)
        {
            running.remove();
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A caller's place among those who wait for an intent.
pub(super) struct Wait {
    ended: watch::Receiver<Option<Ended>>,
    /// Held for its drop; the leader's own caller takes nobody's place.
    #[expect(dead_code, reason = "held for its drop")]
    seat: Option<Seat>,
}

impl Wait {
    /// Waits until the intent is settled.
    ///
    /// # Errors
    /// The execution's failure, or `DEADLINE_EXCEEDED` when the caller's time is over first, or `INTERNAL` when the
    /// execution broke off.
    ///
    /// # Cancellation
    /// Dropping it leaves the execution alone.
    pub(super) async fn until(mut self, deadline: Instant) -> Settled {
        let ended = self.ended.wait_for(Option::is_some);
        match tokio::time::timeout_at(deadline, ended).await {
            Ok(Ok(ended)) => match &*ended {
                Some((settled, _)) => settled.clone(),
                None => Err(refusals::broke_off(Again::WithToken)),
            },
            Ok(Err(_)) => Err(refusals::broke_off(Again::WithToken)),
            Err(_) => Err(refusals::still_running(Again::WithToken)),
        }
    }
}

struct Seat {
    live: Arc<Live>,
    id: Id,
    of: watch::Receiver<Option<Ended>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        state.waiters = state.waiters.saturating_sub(1);
        // The intent may have a new execution by now, in which this seat has no part.
        if let Some(running) = state.running.get_mut(&self.id)
            && running.ended.same_channel(&self.of)
        {
            running.waiters = running.waiters.saturating_sub(1);
        }
    }
}
