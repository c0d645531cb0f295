//! Settles one intent: load, decide, claim, execute, finish.
//!
//! Every decision is made in `idempotency::record`; here is what it takes to carry them out.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::{
    Shared,
    live::{Lead, Reply, Settled},
    refusals::{self, Again},
};
use crate::{
    failure::{Effect, Failure},
    idempotency::{
        Fingerprint, Key, UpstreamToken,
        record::{self, Claim, Decision, Ending, Finish, Look, Now, Record, Run, Seen, Terms},
        steady::Reading,
        store::{Change, StoreError, Swap, Version},
    },
    layers::{Admission, Window},
};

/// The ways to RAM. Answers are encoded.
pub(super) struct Errands {
    /// Asks whether a request of the intent may leave. May wait.
    pub(super) admit: Admit,
    /// Executes the intent. Takes what the intent's claim decided.
    pub(super) execute: Execute,
    /// Looks for what an execution of the intent made.
    pub(super) find: Find,
}

type Admit = Box<dyn FnMut() -> BoxFuture<'static, Result<Admission, Failure>> + Send>;
type Execute =
    Box<dyn FnOnce(UpstreamToken, Window, Admission) -> BoxFuture<'static, Result<Bytes, Failure>> + Send>;
/// The same for an execution that was admitted.
type Claimed = Box<dyn FnOnce(UpstreamToken, Window) -> BoxFuture<'static, Result<Bytes, Failure>> + Send>;
type Find = Box<dyn FnMut(UpstreamToken) -> BoxFuture<'static, Result<Option<Bytes>, Failure>> + Send>;

/// One intent that has to be settled.
pub(super) struct Leader {
    pub(super) shared: Arc<Shared>,
    /// Held until the end is recorded.
    pub(super) lead: Arc<Lead>,
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
    pub(super) terms: Terms,
    /// When the execution ends, answered or not.
    pub(super) deadline: Instant,
}

/// What became of an attempt to write the end of a run.
enum Finished {
    /// The record says what happened.
    Written,
    /// The record is another's, and this is what it says.
    Stale(Option<Record>),
}

/// What a look at RAM's list came to.
enum Looked {
    /// RAM has it.
    Found(Run, Bytes),
    /// It was never executed: to be claimed on the word of this reading.
    Claimable(Run, Reading),
}

/// How long an answer that waits for its record does so. A store that takes longer is written to behind the answer.
const FINISH_PATIENCE: Duration = Duration::from_secs(2);
/// How often a finish is tried behind the answer, and the first pause between tries, which doubles: 200 ms to 6.4 s,
/// 12.6 s in all. Later the lease is over, and whoever asks next repeats the request under the same token.
const FINISH_TRIES: u32 = 6;
const FINISH_PAUSE: Duration = Duration::from_millis(200);
/// How often a swap is decided anew after a conflict. Each conflict is another's progress.
const MAX_CONFLICTS: u32 = 16;

impl Leader {
    /// Settles the intent: answers everyone who waits for it, and records its end.
    ///
    /// # Cancellation
    /// Must not be dropped: run it in a task of its own. If it is, the record stays claimed until its lease is over.
    pub(super) async fn settle(self, errands: Errands) {
        let shared = Arc::clone(&self.shared);
        let lead = Arc::clone(&self.lead);
        let settled = self.work(errands).await;
        lead.settle(settled, shared.clock.read().now.wall);
    }

    async fn work(self, mut errands: Errands) -> Settled {
        let mut pause = Pause::default();
        let mut admitted = None;
        loop {
            let mut is_looked_for = false;
            let reading = self.shared.clock.read();
            let (version, current) = match timeout_at(self.deadline, self.load()).await {
                Ok(Ok(loaded)) => loaded,
                Ok(Err(error)) => return Err(self.store_down(error)),
                Err(_) => return Err(refusals::store_unavailable()),
            };
            let claim = Claim::new(Uuid::new_v4().into_bytes());
            let terms = self.terms;
            let (run, reading) =
                match record::on_request(current.as_ref(), self.fingerprint, claim, reading.now, &terms) {
                    Decision::Execute(run) => (run, reading),
                    Decision::Wait => {
                        if !pause.wait(self.deadline).await {
                            return Err(refusals::in_progress_elsewhere());
                        }
                        continue;
                    }
                    Decision::Replay { reply, recorded_at } => {
                        return Ok(Reply {
                            bytes: reply,
                            recorded_at: Some(recorded_at),
                        });
                    }
                    Decision::Mismatch => return Err(refusals::mismatch()),
                    Decision::Reconcile(run) => match self.look(run, reading, &mut errands.find).await? {
                        Looked::Found(run, reply) => return self.adopt(run, reply).await,
                        Looked::Claimable(run, reading) => {
                            is_looked_for = true;
                            (run, reading)
                        }
                    },
                    Decision::Frozen => return Err(refusals::clock_jumped()),
                };
            if self.shared.tracker.is_closed() {
                return Err(refusals::shutting_down());
            }
            // Before the claim: what may not leave in time leaves no record.
            if admitted.is_none() {
                let admission = (errands.admit)()
                    .await
                    .map_err(|refusal| not_now(&run, refusal))?;
                let has_waited = matches!(&admission, Admission::Granted(permit) if permit.has_waited());
                admitted = Some(admission);
                // What was read before the wait is old. A look at RAM's list is not repeated for that: if the record has
                // changed since, the claim is a conflict.
                if has_waited && !is_looked_for {
                    continue;
                }
            }
            let claimed = run.record(reading.now, &terms);
            crate::failpoint!("before-claim");
            match timeout_at(self.deadline, self.put(version, &claimed)).await {
                Ok(Ok(Swap::Put(version))) => {
                    crate::failpoint!("claimed");
                    let admission = admitted.unwrap_or_default();
                    let execute = Box::new(move |token, window| (errands.execute)(token, window, admission));
                    return self.execute(run, version, reading, execute).await;
                }
                Ok(Ok(Swap::Conflict | Swap::Deleted)) => {}
                Ok(Err(error)) => return Err(self.store_down(error)),
                Err(_) => return Err(refusals::store_unavailable()),
            }
        }
    }

    /// Executes a claimed run and records its end.
    async fn execute(self, run: Run, version: Version, claimed: Reading, execute: Claimed) -> Settled {
        let wall = run.window_end(&self.terms);
        let left = Duration::from_millis(wall.saturating_sub(claimed.now.wall));
        let window = Window {
            wall,
            monotonic: claimed.at.checked_add(left).unwrap_or(claimed.at),
        };
        let execution = execute(UpstreamToken::derive(&self.key), window);
        // The answer is polled before the clock. Inside, the attempts end by the same deadline; this one is a backstop.
        let result = timeout_at(self.deadline, execution)
            .await
            .unwrap_or_else(|_| Err(refusals::gave_up(Again::WithToken)));

        crate::failpoint!("answered");
        let known = (version, run.record(claimed.now, &self.terms));
        self.conclude(run, Some(known), result).await
    }

    /// Looks at RAM's list for what an earlier run made, since nothing may be sent any more.
    async fn look(&self, run: Run, reading: Reading, find: &mut Find) -> Result<Looked, Failure> {
        // Records of other tags, or of none, are looked for as well: what is found is a fact.
        let Some(marker) = self.terms.marker else {
            return Err(refusals::too_old_to_repeat());
        };
        let looking = timeout_at(self.deadline, find(UpstreamToken::derive(&self.key)));
        let found = looking
            .await
            .unwrap_or_else(|_| Err(refusals::gave_up(Again::WithToken)));
        let look = match &found {
            Ok(Some(_)) => Look::Found,
            Ok(None) => Look::Absent {
                marker,
                since: reading.now.wall,
            },
            Err(_) => Look::Blind,
        };
        let reading = self.shared.clock.read();
        match (record::on_look(run, look, reading.now, &self.terms), found) {
            (Seen::Adopt(run), Ok(Some(reply))) => Ok(Looked::Found(run, reply)),
            (Seen::Execute(run), _) => Ok(Looked::Claimable(run, reading)),
            (_, Err(failure)) => {
                tracing::warn!(
                    key = %self.key,
                    reason = failure.why().row().name,
                    error = &failure as &dyn Error,
                    "cannot look in RAM for what an earlier attempt made"
                );
                Err(refusals::cannot_look(&failure))
            }
            (Seen::Open | Seen::Adopt(_), Ok(_)) => Err(refusals::not_found_yet()),
        }
    }

    /// Records and answers what RAM showed.
    async fn adopt(self, run: Run, reply: Bytes) -> Settled {
        tracing::info!(key = %self.key, "found in RAM what an earlier attempt made");
        let now = self.shared.clock.read().now.wall;
        let reply = self.conclude(run, None, Ok(reply)).await?;
        Ok(Reply {
            recorded_at: reply.recorded_at.or(Some(now)),
            ..reply
        })
    }

    /// Records the end of `run` and answers it, in the order that `record` decides.
    async fn conclude(
        self,
        run: Run,
        known: Option<(Version, Record)>,
        result: Result<Bytes, Failure>,
    ) -> Settled {
        let ending = match &result {
            Ok(reply) => Ending::Succeeded { reply: reply.clone() },
            Err(failure) => Ending::Failed {
                may_have_executed: failure.what_happened() == Effect::Unknown,
            },
        };
        let in_doubt = run.is_open_after(&ending);
        let now = self.shared.clock.read().now;
        if let (Ok(reply), Some((_, claimed))) = (&result, &known)
            && record::answers_at_once(claimed, &ending, now)
        {
            self.lead.settle(Ok(Reply::fresh(reply.clone())), now.wall);
        }
        let first_try = timeout(FINISH_PATIENCE, self.finish(known, &run, &ending, now))
            .await
            .unwrap_or_else(|_| Err(StoreError::new("it takes too long")));

        crate::failpoint!("recorded");
        match (first_try, result) {
            (Ok(Finished::Stale(other)), result) => self.answer_from(other, result).await,
            (Ok(Finished::Written), result) => answer(result, in_doubt),
            (Err(error), result) => {
                tracing::error!(
                    key = %self.key,
                    error = &error as &dyn Error,
                    "the end of an execution is not recorded yet"
                );
                let shared = Arc::clone(&self.shared);
                shared.tracker.spawn(self.finish_behind(run, ending));
                // The claim may be another's by now, and theirs may have been executed: only the store could tell.
                answer(result, true)
            }
        }
    }

    /// Answers a run that lost its claim: another run's success is also its own.
    async fn answer_from(&self, mut current: Option<Record>, result: Result<Bytes, Failure>) -> Settled {
        let mut pause = Pause::default();
        loop {
            match (current, &result) {
                (
                    Some(Record::Succeeded {
                        fingerprint,
                        reply,
                        recorded_at,
                        ..
                    }),
                    _,
                ) if fingerprint == self.fingerprint => {
                    return Ok(Reply {
                        bytes: reply,
                        recorded_at: Some(recorded_at),
                    });
                }
                (Some(Record::InFlight { fingerprint, .. }), Err(_))
                    if fingerprint == self.fingerprint && pause.wait(self.deadline).await => {}
                // The other run may yet be executed, or was: this run's refusal does not settle it.
                _ => return answer(result, true),
            }
            current = match self.load().await {
                Ok((_, current)) => current,
                Err(_) => return answer(result, true),
            };
        }
    }

    /// Writes the end of `run` after it was answered.
    async fn finish_behind(self, run: Run, ending: Ending) {
        let mut pause = FINISH_PAUSE;
        for _ in 0..FINISH_TRIES {
            sleep(pause).await;
            pause *= 2;
            let now = self.shared.clock.read().now;
            match self.finish(None, &run, &ending, now).await {
                Ok(_) => return,
                Err(error) => tracing::warn!(
                    key = %self.key,
                    error = &error as &dyn Error,
                    "the end of an execution is still not recorded"
                ),
            }
        }
        tracing::error!(key = %self.key, "the end of an execution was not recorded; its record stays claimed");
    }

    /// Writes the end that `run` came to `now`, given what the record is believed to be, or after a look at it.
    async fn finish(
        &self,
        known: Option<(Version, Record)>,
        run: &Run,
        ending: &Ending,
        now: Now,
    ) -> Result<Finished, StoreError> {
        let mut known = known.map(|(version, record)| (Some(version), Some(record)));
        for _ in 0..MAX_CONFLICTS {
            let (version, current) = match known.take() {
                Some(known) => known,
                None => self.load().await?,
            };
            let swap = match record::on_end(current.as_ref(), run, ending, now, &self.terms) {
                Finish::Put(record) => self.put(version, &record).await?,
                Finish::Delete => {
                    self.shared
                        .store
                        .compare_and_swap(self.key, version, Change::Delete)
                        .await?
                }
                Finish::Stale => return Ok(Finished::Stale(current)),
            };
            match swap {
                Swap::Put(_) | Swap::Deleted => return Ok(Finished::Written),
                Swap::Conflict => {}
            }
        }
        Err(StoreError::new("the record does not come to rest"))
    }

    async fn load(&self) -> Result<(Option<Version>, Option<Record>), StoreError> {
        let Some(stored) = self.shared.store.load(self.key).await? else {
            return Ok((None, None));
        };
        let mut record = Record::decode(&stored.record)
            .map_err(|error| StoreError::new("a record cannot be read").caused_by(error))?;
        if stored.writer_gone {
            record.end_lease();
        }
        self.shared.replays.keep(self.key, &record);
        Ok((Some(stored.version), Some(record)))
    }

    async fn put(&self, expected: Option<Version>, record: &Record) -> Result<Swap, StoreError> {
        let change = Change::Put {
            record: record.encode(),
            expires: record.expires(&self.terms),
        };
        let swap = self
            .shared
            .store
            .compare_and_swap(self.key, expected, change)
            .await?;
        if let Swap::Put(_) = swap {
            self.shared.replays.keep(self.key, record);
        }
        Ok(swap)
    }

    fn store_down(&self, error: StoreError) -> Failure {
        tracing::error!(
            key = %self.key,
            error = &error as &dyn Error,
            "the idempotency store failed, so nothing is sent"
        );
        refusals::store_unavailable().source(Arc::new(error) as Arc<dyn Error + Send + Sync>)
    }
}

/// The refusal of a request that may not leave now: final, unless an earlier run of the intent may have been executed.
fn not_now(run: &Run, refusal: Failure) -> Failure {
    let is_open = run.is_open_after(&Ending::Failed {
        may_have_executed: false,
    });
    if !is_open {
        return refusal;
    }
    let advice = refusal.what_next();
    refusals::open(refusal).advice(advice)
}

fn answer(result: Result<Bytes, Failure>, in_doubt: bool) -> Settled {
    match result {
        Ok(bytes) => Ok(Reply::fresh(bytes)),
        Err(failure) if in_doubt => Err(refusals::open(failure)),
        Err(failure) => Err(failure),
    }
}

/// The pauses between looks at a record that another replica works on: 50 ms, growing by half to 500 ms, each with
/// up to a fifth more or less, so that replicas do not look in step.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Pause {
    /// Waits for one pause. Returns false at once if that would end after `deadline`.
    async fn wait(&mut self, deadline: Instant) -> bool {
        let jittered = self.0.mul_f64(0.8 + 0.4 * fastrand::f64());
        self.0 = self.0.mul_f32(1.5).min(Duration::from_millis(500));
        let end = Instant::now() + jittered;
        if end > deadline {
            return false;
        }
        tokio::time::sleep_until(end).await;
        true
    }
}
