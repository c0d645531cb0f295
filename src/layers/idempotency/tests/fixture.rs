//! A scripted RAM, operations of each kind, and the layer between them.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;
use tonic_types::FieldViolation;
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    auth::policy::EveryCaller,
    call::{Answer, Call, Caller, Target},
    clock::UnixMillis,
    failure::Failure,
    idempotency::{
        CanonicalWriter, Fingerprint, Key, Marker, Scope, Store, UpstreamToken,
        record::{Claim, Record},
        steady::{WallClock, millis},
        store::failing::FailingStore,
    },
    layers::{
        Errand, Execution, Window,
        authorize::AuthorizeLayer,
        idempotency::{IdempotencyLayer, Settings},
        testing::Ram,
    },
    operation::{Facts, Operation, Repeat},
};

/// Wall time at the start of every test.
pub(super) const START: UnixMillis = 1_700_000_000_000;
/// How long callers wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Input {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) client_token: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Output {
    #[prost(string, tag = "1")]
    pub(super) arn: String,
    #[prost(string, tag = "2")]
    pub(super) client_token: String,
}

pub(super) fn input(name: &str, client_token: &str) -> Input {
    Input {
        name: name.to_owned(),
        client_token: client_token.to_owned(),
    }
}

/// An operation of each kind.
pub(super) struct Op<const REPEAT: char>;
pub(super) type Create = Op<'t'>;
pub(super) type Read = Op<'s'>;
pub(super) type Accept = Op<'n'>;

impl<const REPEAT: char> Operation for Op<REPEAT> {
    const NAME: &'static str = "Test";
    const ACTION: &'static str = "ram:Test";
    const MARKED: bool = REPEAT == 't';
    const REPEAT: Repeat = match REPEAT {
        't' => Repeat::WithToken,
        's' => Repeat::Safe,
        _ => Repeat::Never,
    };
    type Input = Input;
    type Output = Output;

    fn validate(_: &Input) -> Vec<FieldViolation> {
        Vec::new()
    }

    fn describe(_: &Input) -> Facts<'_> {
        Facts::default()
    }

    fn client_token(input: &Input) -> Option<&str> {
        Some(input.client_token.as_str()).filter(|token| !token.is_empty())
    }

    fn set_client_token(output: &mut Output, token: &str) {
        output.client_token = token.to_owned();
    }

    fn canonical(input: &Input, out: &mut CanonicalWriter) {
        out.text(1, &input.name);
    }

    async fn send(_: &Ram, _: &Input, _: &UpstreamToken) -> Result<Output, Failure> {
        panic!("the scripted RAM stands in its place")
    }
}

/// What becomes of an execution.
pub(super) enum Then {
    Succeed,
    Fail(Failure),
    Panic,
}

/// What an execution was given.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) token: String,
    pub(super) window: Option<Window>,
    pub(super) deadline: Instant,
}

/// What a look shows.
type Shown = Result<Option<Output>, Failure>;

/// Does what its script says, and succeeds at once when that is at its end. One ARN per token, as RAM.
#[derive(Default)]
pub(super) struct Script {
    script: Mutex<VecDeque<(Duration, Then)>>,
    sent: Mutex<Vec<Sent>>,
    finished: AtomicU64,
    /// What looks show, in turn, and how long each takes; nothing when that is at its end.
    shows: Mutex<VecDeque<(Duration, Shown)>>,
    looked_for: Mutex<Vec<String>>,
}

impl Script {
    pub(super) fn next(&self, after: Duration, then: Then) {
        self.script.lock().unwrap().push_back((after, then));
    }

    /// What the next look shows.
    pub(super) fn shows(&self, after: Duration, what: Result<Option<&str>, Failure>) {
        let output = |arn: &str| Output {
            arn: arn.to_owned(),
            client_token: String::new(),
        };
        let what = what.map(|found| found.map(output));
        self.shows.lock().unwrap().push_back((after, what));
    }

    /// The tokens that were looked for.
    pub(super) fn looked_for(&self) -> Vec<String> {
        self.looked_for.lock().unwrap().clone()
    }

    async fn find(&self, token: &str) -> Result<Option<Output>, Failure> {
        self.looked_for.lock().unwrap().push(token.to_owned());
        let step = self.shows.lock().unwrap().pop_front();
        let (after, what) = step.unwrap_or((Duration::ZERO, Ok(None)));
        sleep(after).await;
        what
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// How many executions succeeded.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::SeqCst)
    }

    async fn execute<O: Operation>(&self, execution: Execution<O>) -> Result<Output, Failure> {
        let token = execution.token.as_str().to_owned();
        let arn = {
            let mut sent = self.sent.lock().unwrap();
            sent.push(Sent {
                token: token.clone(),
                window: execution.window,
                deadline: execution.deadline,
            });
            let mut tokens: Vec<_> = sent.iter().map(|sent| &sent.token).collect();
            tokens.dedup();
            tokens.iter().position(|other| **other == token).unwrap() + 1
        };
        let step = self.script.lock().unwrap().pop_front();
        let (after, then) = step.unwrap_or((Duration::ZERO, Then::Succeed));
        sleep(after).await;
        match then {
            Then::Succeed => {
                self.finished.fetch_add(1, Ordering::SeqCst);
                Ok(Output {
                    arn: format!("arn:{arn}"),
                    client_token: token,
                })
            }
            Then::Fail(failure) => Err(failure),
            Then::Panic => panic!("as the script says"),
        }
    }
}

/// One replica.
pub(super) struct Fixture<S = FailingStore> {
    pub(super) store: Arc<S>,
    pub(super) ram: Arc<Script>,
    pub(super) tracker: TaskTracker,
    pub(super) layer: IdempotencyLayer,
    settings: Settings,
    clock: WallClock,
    offset: Arc<AtomicU64>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self::on(Arc::default(), settings)
    }

    /// The only record, if there is one.
    pub(super) fn record(&self) -> Option<Record> {
        let mut records = self.store.records();
        let record = records
            .pop()
            .map(|stored| Record::decode(&stored.record).unwrap());
        assert_eq!(records, [], "there is more than one");
        record
    }

    /// A claim of `ci` for `share` that another process made and did not finish.
    pub(super) fn claimed_elsewhere(&self, token: &str, first_sent: UnixMillis) {
        self.claimed_until(token, first_sent, first_sent + 15_000);
    }

    pub(super) fn claimed_until(&self, token: &str, first_sent: UnixMillis, lease_until: UnixMillis) {
        let record = Record::InFlight {
            fingerprint: Fingerprint::of(|out| Create::canonical(&input("share", token), out)),
            claim: Claim::new([9; 16]),
            lease_until,
            first_sent,
            marker: Marker::of(&self.settings.marker_tag),
        };
        self.store.put(self.key(token), record.encode());
    }

    pub(super) fn key(&self, token: &str) -> Key {
        Key::of(&Scope {
            caller: &Caller::new("test", "ci"),
            target: &target(),
            operation: Create::NAME,
            client_token: token,
        })
    }
}

impl<S: Store> Fixture<S> {
    pub(super) fn on(store: Arc<S>, settings: Settings) -> Self {
        let offset = Arc::new(AtomicU64::new(START));
        let start = Instant::now();
        let clock: WallClock = {
            let offset = Arc::clone(&offset);
            Arc::new(move || offset.load(Ordering::SeqCst) + millis(start.elapsed()))
        };
        Self::assemble(store, Arc::default(), settings, clock, offset)
    }

    /// Another process on the same store and RAM.
    pub(super) fn replica(&self) -> Self {
        self.restarted_on(Arc::clone(&self.store))
    }

    /// Another process on another store and the same RAM.
    pub(super) fn restarted_on(&self, store: Arc<S>) -> Self {
        Self::assemble(
            store,
            Arc::clone(&self.ram),
            self.settings.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.offset),
        )
    }

    fn assemble(
        store: Arc<S>,
        ram: Arc<Script>,
        settings: Settings,
        clock: WallClock,
        offset: Arc<AtomicU64>,
    ) -> Self {
        let tracker = TaskTracker::new();
        let layer = IdempotencyLayer::with_clock(
            Arc::clone(&store) as Arc<dyn Store>,
            settings.clone(),
            tracker.clone(),
            Arc::clone(&clock),
        );
        Self {
            store,
            ram,
            tracker,
            layer,
            settings,
            clock,
            offset,
        }
    }

    /// The same store and RAM, with other settings.
    pub(super) fn configured(&self, settings: Settings) -> Self {
        Self::assemble(
            Arc::clone(&self.store),
            Arc::clone(&self.ram),
            settings,
            Arc::clone(&self.clock),
            Arc::clone(&self.offset),
        )
    }

    /// Sets the wall clock by so many milliseconds.
    pub(super) fn move_clock(&self, by: i64) {
        self.offset.fetch_add(by.cast_unsigned(), Ordering::SeqCst);
    }

    pub(super) fn create(
        &self,
        caller: &str,
        name: &str,
        token: &str,
    ) -> impl Future<Output = Result<Answer<Output>, Failure>> + Send + 'static {
        self.call::<Create>(caller, input(name, token))
    }

    pub(super) fn spawn(
        &self,
        caller: &str,
        name: &str,
        token: &str,
    ) -> JoinHandle<Result<Answer<Output>, Failure>> {
        tokio::spawn(self.create(caller, name, token))
    }

    pub(super) fn call<O>(
        &self,
        caller: &str,
        input: Input,
    ) -> impl Future<Output = Result<Answer<Output>, Failure>> + Send + 'static
    where
        O: Operation<Input = Input, Output = Output>,
    {
        let ram = Arc::clone(&self.ram);
        let inner = service_fn(move |execution: Execution<O>| {
            let ram = Arc::clone(&ram);
            async move {
                match execution.errand {
                    Errand::Send => ram.execute(execution).await.map(Some),
                    Errand::Find => ram.find(execution.token.as_str()).await,
                }
            }
        });
        let service = AuthorizeLayer::new(Arc::new(EveryCaller)).layer(self.layer.layer(inner));
        service.oneshot(Call::<O> {
            caller: Caller::new("test", caller),
            target: Arc::new(target()),
            request_id: None,
            deadline: Instant::now() + PATIENCE,
            input: Arc::new(input),
        })
    }
}

fn target() -> Target {
    Target {
        partition: "aws".into(),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
    }
}
