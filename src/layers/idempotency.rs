//! Makes sure that one intent is executed at most once, and that everyone who asks for it gets the same answer.
//!
//! A replay whose answer is in memory takes no task, no waiter's place and no look at the store.
//!
//! # Where it stands
//! Inside `authorize`, so that a denied call leaves no record and an answer is never replayed to someone who is no
//! longer allowed, from memory or not. Outside `retry`: one intent, one claim, whatever the number of attempts.
//!
//! # On failure
//! `IDEMPOTENT_PARAMETER_MISMATCH` for a token that stands for another request, `IN_PROGRESS` for too many waiters,
//! `IDEMPOTENCY_STORE_UNAVAILABLE` when nothing could be claimed and nothing was sent, `OUTCOME_UNKNOWN` when an
//! earlier attempt may have been executed and RAM does not show what it made, `SHUTTING_DOWN` while the server drains, `DEADLINE_EXCEEDED` when the
//! caller's time is over before the execution's. What else the inside answers goes through.
//!
//! # When the caller goes away
//! Only a waiter goes. The execution is a task of its own, and its end is recorded for the next who asks. An execution
//! that a shutdown or a crash cuts off stays claimed: the next request for it repeats it under the same token.
//!
//! # What repeats how
//! [`Repeat::Safe`] passes through. [`Repeat::Never`] runs detached, with no record: RAM could not recognise a second
//! one. [`Repeat::WithToken`] is what the rest is about; a call without a token gets one, and is not recorded, since
//! nobody can ask for it again.

mod leader;
mod live;
mod metrics;
mod refusals;
mod settings;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, Ready, ready};
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt};

use self::{
    leader::{Errands, Leader},
    live::{Live, Part, Reply, Settled},
    metrics::Outcome,
    refusals::Again,
};
use crate::{
    call::Answer,
    failure::Failure,
    idempotency::{
        Fingerprint, Key, Store, UpstreamToken,
        cache::Replays,
        client_token_fault, mint,
        record::{Decision, Terms},
        steady::{SteadyClock, WallClock},
    },
    layers::{
        Admission, Errand, Execution, Window,
        authorize::Permitted,
        key_of,
        pace::{self, Pacer},
    },
    operation::{Operation, Repeat},
    pacing::Asking,
};

pub use metrics::Metrics;
pub use settings::Settings;

/// Makes [`Idempotency`].
#[derive(Clone)]
pub struct IdempotencyLayer {
    shared: Arc<Shared>,
    pacer: Option<Pacer>,
}

/// What all calls share.
struct Shared {
    store: Arc<dyn Store>,
    replays: Replays,
    settings: Settings,
    terms: Terms,
    clock: Arc<SteadyClock>,
    live: Arc<Live>,
    tracker: TaskTracker,
    metrics: Metrics,
}

impl IdempotencyLayer {
    /// Keeps records in `store` and runs executions in `tracker`.
    ///
    /// Closing the tracker begins the drain: nothing new is claimed, executions go on, and the tracker's `wait` returns
    /// when the last has ended.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, settings: Settings, tracker: TaskTracker) -> Self {
        let clock = SteadyClock::new(settings.token_memory);
        Self::assemble(store, settings, tracker, clock)
    }

    /// As [`IdempotencyLayer::new`], with another wall clock.
    #[must_use]
    pub fn with_clock(
        store: Arc<dyn Store>,
        settings: Settings,
        tracker: TaskTracker,
        clock: WallClock,
    ) -> Self {
        let clock = SteadyClock::watching(clock, settings.token_memory);
        Self::assemble(store, settings, tracker, clock)
    }

    /// Asks `pacer` before it claims an intent, so that what may not leave in time is refused without a record. Without one
    /// an execution asks when it is claimed.
    #[must_use]
    pub fn paced_by(self, pacer: Pacer) -> Self {
        Self {
            pacer: Some(pacer),
            ..self
        }
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Key of the tag that new shares have to carry. Empty for none.
    #[must_use]
    pub fn marker_tag(&self) -> Arc<str> {
        Arc::clone(&self.shared.settings.marker_tag)
    }

    /// The clock that it judges by. Who else judges records by a clock uses this one: a jump is seen, and logged, once.
    #[must_use]
    pub fn clock(&self) -> Arc<SteadyClock> {
        Arc::clone(&self.shared.clock)
    }

    fn assemble(store: Arc<dyn Store>, settings: Settings, tracker: TaskTracker, clock: SteadyClock) -> Self {
        let live = Live::new(settings.waiters_per_key.get(), settings.waiters.get());
        let shared = Shared {
            store,
            replays: Replays::new(settings.cache_bytes),
            terms: settings.terms(),
            settings,
            clock: Arc::new(clock),
            live,
            tracker,
            metrics: Metrics::default(),
        };
        Self {
            shared: Arc::new(shared),
            pacer: None,
        }
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Idempotency {
            inner,
            shared: Arc::clone(&self.shared),
            pacer: self.pacer.clone(),
        }
    }
}

/// What a caller gets.
type Answered<Op> = Result<Answer<<Op as Operation>::Output>, Failure>;

/// See the module.
#[derive(Clone)]
pub struct Idempotency<S> {
    inner: S,
    shared: Arc<Shared>,
    pacer: Option<Pacer>,
}

impl<Op, S> Service<Permitted<Op>> for Idempotency<S>
where
    Op: Operation,
    S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer<Op::Output>;
    type Error = Failure;
    type Future = Either<Ready<Answered<Op>>, BoxFuture<'static, Answered<Op>>>;

    /// Always ready: a replay must not wait for the inside, which is waited for where it is called.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, permitted: Permitted<Op>) -> Self::Future {
        let intent = match Op::client_token(&permitted.call().input) {
            Some(token) if Op::REPEAT == Repeat::WithToken => match Intent::of(&permitted, token) {
                Ok(intent) => Some(intent),
                Err(refusal) => return Either::Left(ready(Err(refusal))),
            },
            _ => None,
        };
        // Before anything is cloned or boxed for an execution that a replay does not need.
        if let Some(settled) = intent.as_ref().and_then(|intent| self.shared.recall(intent)) {
            self.shared.metrics.settled(Outcome::of(&settled));
            let answer = settled.and_then(|reply| finish::<Op>(reply, &permitted.call().input));
            return Either::Left(ready(answer));
        }
        let shared = Arc::clone(&self.shared);
        let inner = self.inner.clone();
        Either::Right(match (Op::REPEAT, intent) {
            (Repeat::Safe, _) => Box::pin(pass(inner, permitted)),
            (Repeat::Never, _) => Box::pin(async move { shared.never_again(inner, permitted).await }),
            (Repeat::WithToken, Some(intent)) => {
                let pacer = self.pacer.clone();
                Box::pin(async move { shared.recorded(inner, pacer, permitted, intent).await })
            }
            (Repeat::WithToken, None) => Box::pin(async move { shared.unrecorded(inner, permitted).await }),
        })
    }
}

/// A request under a caller's token: whose it is, and what it asks for.
struct Intent {
    key: Key,
    fingerprint: Fingerprint,
}

impl Intent {
    fn of<Op: Operation>(permitted: &Permitted<Op>, client_token: &str) -> Result<Self, Failure> {
        if let Some(rule) = client_token_fault(client_token) {
            return Err(refusals::token_malformed(rule));
        }
        Ok(Self {
            key: key_of(permitted.call(), client_token),
            fingerprint: Fingerprint::of(|out| Op::canonical(&permitted.call().input, out)),
        })
    }
}

/// Sends what does no harm when it is sent again.
async fn pass<Op, S>(inner: S, permitted: Permitted<Op>) -> Result<Answer<Op::Output>, Failure>
where
    Op: Operation,
    S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure>,
{
    let execution = Execution {
        deadline: permitted.call().deadline,
        permitted,
        errand: Errand::Send,
        token: UpstreamToken::none(),
        window: None,
        admission: Admission::Ask,
    };
    let output = inner.oneshot(execution).await?;
    made(output).map(Answer::fresh)
}

/// What a request made. Only a look may come back with nothing.
fn made<Output>(output: Option<Output>) -> Result<Output, Failure> {
    output.ok_or_else(|| refusals::broke_off(Again::WithToken))
}

impl Shared {
    /// Settles the caller's intent with everyone else who asks for it.
    async fn recorded<Op, S>(
        self: Arc<Self>,
        inner: S,
        pacer: Option<Pacer>,
        permitted: Permitted<Op>,
        Intent { key, fingerprint }: Intent,
    ) -> Result<Answer<Op::Output>, Failure>
    where
        Op: Operation,
        S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let deadline = permitted.call().deadline;
        let input = Arc::clone(&permitted.call().input);
        let mut is_joiner = false;
        let wait = match self.live.join(key, fingerprint)? {
            Part::Late(reply) => {
                self.metrics.settled(Outcome::Replayed);
                return finish::<Op>(reply, &input);
            }
            Part::Joiner(wait) => {
                is_joiner = true;
                wait
            }
            Part::Leader(lead, wait) => {
                let execution_ends = self.execution_deadline(deadline);
                let leader = Leader {
                    shared: Arc::clone(&self),
                    lead: Arc::new(lead),
                    key,
                    fingerprint,
                    terms: self.terms_of::<Op>(),
                    deadline: execution_ends,
                };
                let errands = errands(inner, pacer, permitted, execution_ends);
                // If it panics, its lead is dropped and everyone who waits is told.
                self.tracker.spawn(leader.settle(errands));
                wait
            }
        };
        let settled = wait.until(deadline).await;
        self.metrics.settled(match Outcome::of(&settled) {
            Outcome::Fresh if is_joiner => Outcome::Joined,
            outcome => outcome,
        });
        finish::<Op>(settled?, &input)
    }

    /// The answer to a request, or the refusal of another under its token, if that takes no look at the store.
    fn recall(&self, intent: &Intent) -> Option<Settled> {
        let now = self.clock.read().now;
        let Intent { key, fingerprint } = intent;
        match self.replays.decide(key, *fingerprint, now, &self.terms)? {
            Decision::Replay { reply, recorded_at } => Some(Ok(Reply {
                bytes: reply,
                recorded_at: Some(recorded_at),
            })),
            Decision::Mismatch => Some(Err(refusals::mismatch())),
            Decision::Execute(_) | Decision::Wait | Decision::Reconcile(_) | Decision::Frozen => None,
        }
    }

    /// Executes an intent that its caller gave no name, under a token of our own.
    async fn unrecorded<Op, S>(
        self: Arc<Self>,
        inner: S,
        permitted: Permitted<Op>,
    ) -> Result<Answer<Op::Output>, Failure>
    where
        Op: Operation,
        S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure> + Send + 'static,
        S::Future: Send + 'static,
    {
        if self.settings.require_client_token {
            return Err(refusals::token_missing());
        }
        let client_token = mint();
        let claimed = self.clock.read();
        let span = self.settings.window();
        let window = Window {
            wall: claimed.now.wall.saturating_add(self.terms.window),
            monotonic: claimed.at.checked_add(span).unwrap_or(claimed.at),
        };
        let token = UpstreamToken::derive(&key_of(permitted.call(), &client_token));
        match self.detached(inner, permitted, token, Some(window)).await {
            Ok(mut output) => {
                Op::set_client_token(&mut output, &client_token);
                Ok(Answer::fresh(output))
            }
            Err(failure) => Err(failure.not_resendable().metadata("clientToken", client_token)),
        }
    }

    /// Executes what RAM could not recognise if it came again.
    async fn never_again<Op, S>(
        self: Arc<Self>,
        inner: S,
        permitted: Permitted<Op>,
    ) -> Result<Answer<Op::Output>, Failure>
    where
        Op: Operation,
        S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure> + Send + 'static,
        S::Future: Send + 'static,
    {
        self.detached(inner, permitted, UpstreamToken::none(), None)
            .await
            .map(Answer::fresh)
            .map_err(Failure::not_resendable)
    }

    /// Executes in a task of its own, so that a caller who hangs up does not cut it off half-way.
    async fn detached<Op, S>(
        &self,
        inner: S,
        permitted: Permitted<Op>,
        token: UpstreamToken,
        window: Option<Window>,
    ) -> Result<Op::Output, Failure>
    where
        Op: Operation,
        S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure> + Send + 'static,
        S::Future: Send + 'static,
    {
        if self.tracker.is_closed() {
            return Err(refusals::shutting_down());
        }
        let caller_leaves = permitted.call().deadline;
        let deadline = self.execution_deadline(caller_leaves);
        let execution = Execution {
            permitted,
            errand: Errand::Send,
            token,
            deadline,
            window,
            admission: Admission::Ask,
        };
        let task = self.tracker.spawn(timeout_at(deadline, inner.oneshot(execution)));
        match timeout_at(caller_leaves, task).await {
            Ok(Ok(Ok(result))) => result.and_then(made),
            Ok(Ok(Err(_elapsed))) => Err(refusals::gave_up(Again::AfterALook)),
            Ok(Err(_panicked)) => Err(refusals::broke_off(Again::AfterALook)),
            Err(_elapsed) => Err(refusals::still_running(Again::AfterALook)),
        }
    }

    /// A record says that its requests can be looked for only if they can.
    fn terms_of<Op: Operation>(&self) -> Terms {
        Terms {
            marker: self.terms.marker.filter(|_| Op::MARKED),
            ..self.terms
        }
    }

    fn execution_deadline(&self, caller: Instant) -> Instant {
        caller.checked_add(self.settings.grace).unwrap_or(caller)
    }
}

/// Turns a reply into the answer of the caller who sent `input`.
fn finish<Op: Operation>(reply: Reply, input: &Op::Input) -> Result<Answer<Op::Output>, Failure> {
    let mut output = Op::Output::decode(reply.bytes).map_err(refusals::unreadable)?;
    if let Some(token) = Op::client_token(input) {
        Op::set_client_token(&mut output, token);
    }
    Ok(Answer {
        output,
        replayed: reply.recorded_at,
    })
}

/// Hides the operation from the leader, which moves bytes.
fn errands<Op, S>(inner: S, pacer: Option<Pacer>, permitted: Permitted<Op>, deadline: Instant) -> Errands
where
    Op: Operation,
    S: Service<Execution<Op>, Response = Option<Op::Output>, Error = Failure> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let caller = permitted.call().caller.clone();
    let patience = permitted.call().deadline;
    let admit = move || {
        let (pacer, caller) = (pacer.clone(), caller.clone());
        async move {
            match pacer {
                Some(pacer) => {
                    let permit = pacer.acquire(&caller, patience, Asking::First).await;
                    permit
                        .map(Admission::Granted)
                        .map_err(|refusal| pace::refused(&refusal))
                }
                None => Ok(Admission::Ask),
            }
        }
    };
    let go = move |errand, token, window, admission| {
        let execution = Execution {
            permitted: permitted.clone(),
            errand,
            token,
            deadline,
            window,
            admission,
        };
        let answer = inner.clone().oneshot(execution);
        async move {
            Ok(answer.await?.map(|mut output: Op::Output| {
                // A caller's token is not kept: the record answers whoever shows it.
                Op::set_client_token(&mut output, "");
                Bytes::from(output.encode_to_vec())
            }))
        }
    };
    let execute = go.clone();
    Errands {
        admit: Box::new(move || Box::pin(admit())),
        execute: Box::new(move |token, window, admission| {
            let answer = execute(Errand::Send, token, Some(window), admission);
            Box::pin(async move { made(answer.await?) })
        }),
        find: Box::new(move |token| Box::pin(go(Errand::Find, token, None, Admission::Ask))),
    }
}

#[cfg(test)]
mod tests;
