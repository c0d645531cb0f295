//! Plays one scenario with one contender and one seed, in virtual time, and says what came of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_ram::config::{
    retry::{RetryConfig, RetryPartition},
    timeout::TimeoutConfig,
};
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::{SharedTimeSource, TimeSource},
};
use aws_smithy_types::retry::RetrySpec;
use ram_facade::{
    auth::policy::EveryCaller,
    call::{Call, Caller},
    failure::{Advice, Failure},
    idempotency::memory::MemoryStore,
    layers::{
        attempt,
        idempotency::{self, IdempotencyLayer},
        pace::{self, Pacer},
        retry::{self, RetryLayer},
    },
    operations::create_resource_share::CreateResourceShare,
    pb::v1::CreateResourceShareRequest,
    ram::{self, Ram},
    stack::Stack,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use super::{scenarios::Scenario, upstream::Upstream};

/// How long a caller waits for one try.
const DEADLINE: Duration = Duration::from_secs(10);

/// Who stands between the callers and RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contender {
    /// The SDK without retries.
    NoRetry,
    /// The SDK's standard retries, as they are today.
    Standard,
    /// The SDK's standard retries with the behaviour of 2026 (`AWS_NEW_RETRIES_2026`).
    StandardNew,
    /// The SDK's adaptive retries, as they are today.
    Adaptive,
    /// The SDK's adaptive retries with the behaviour of 2026.
    AdaptiveNew,
    /// This service's own stack.
    Facade,
}

impl Contender {
    /// In the order of the report.
    pub const ALL: [Self; 6] = [
        Self::NoRetry,
        Self::Standard,
        Self::StandardNew,
        Self::Adaptive,
        Self::AdaptiveNew,
        Self::Facade,
    ];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRetry => "SDK, no retry",
            Self::Standard => "SDK standard",
            Self::StandardNew => "SDK standard (2026)",
            Self::Adaptive => "SDK adaptive",
            Self::AdaptiveNew => "SDK adaptive (2026)",
            Self::Facade => "ram-facade",
        }
    }

    fn retries(self) -> RetryConfig {
        match self {
            Self::NoRetry | Self::Facade => RetryConfig::disabled(),
            Self::Standard => RetryConfig::standard(),
            Self::StandardNew => RetryConfig::standard().with_retry_spec(RetrySpec::v2_1()),
            Self::Adaptive => RetryConfig::adaptive(),
            Self::AdaptiveNew => RetryConfig::adaptive().with_retry_spec(RetrySpec::v2_1()),
        }
    }
}

/// What came of one play.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Operations a second that succeeded in time.
    pub goodput: f64,
    /// The same as a share of what was possible.
    pub share: f64,
    /// Throttles by RAM for each success.
    pub throttles: f64,
    /// Time of a try that succeeded, in milliseconds.
    pub success_p50: f64,
    /// The same, of the slowest hundredth.
    pub success_p99: f64,
    /// Time of a try that failed otherwise than by its deadline, in milliseconds, of the slowest hundredth.
    pub refusal_p99: f64,
    /// Share of the operations of all but the first caller that succeeded.
    pub light: f64,
    /// Share of what RAM executed that nobody waited for any more.
    pub late: f64,
    /// Successes in each 10 s.
    pub series: Vec<f64>,
}

/// How a try ended.
enum Try {
    Succeeded,
    /// Failed, and may be tried again after this time.
    Refused(Option<Duration>),
    /// The caller's time was over.
    Late,
}

#[derive(Default)]
struct Notes {
    successes: Vec<f64>,
    refusals: Vec<f64>,
    light: (u64, u64),
    series: Vec<f64>,
}

/// Plays `scenario` with `contender`. The same seed gives the same outcome.
pub fn play(scenario: &Scenario, contender: Contender, seed: u64, pace: pace::Settings) -> Outcome {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(*scenario, contender, pace))
}

async fn run(scenario: Scenario, contender: Contender, pace: pace::Settings) -> Outcome {
    let upstream = Upstream::new(scenario.model);
    let mut replicas = Vec::new();
    for _ in 0..scenario.replicas {
        replicas.push(Replica::start(contender, &upstream, pace).await);
    }
    let replicas = Arc::new(replicas);
    let notes = Arc::new(Mutex::new(Notes {
        series: vec![0.0; (scenario.duration / 10.0) as usize],
        ..Notes::default()
    }));
    let began = Instant::now();
    let tracker = TaskTracker::new();
    let begin = |number: u64| {
        let notes = Arc::clone(&notes);
        tracker.spawn(operation(scenario, Arc::clone(&replicas), began, number, notes));
    };

    let mut number = 0;
    for _ in 0..scenario.herd {
        begin(number);
        number += 1;
    }
    let mut at = 0.0;
    loop {
        at += -(1.0 - fastrand::f64()).ln() / scenario.offered;
        if at >= scenario.duration {
            break;
        }
        sleep_until(began + Duration::from_secs_f64(at)).await;
        begin(number);
        number += 1;
    }
    sleep_until(began + Duration::from_secs_f64(scenario.duration)).await;
    let notes = std::mem::take(&mut *notes.lock().unwrap());
    summary(&scenario, notes, &upstream, number)
}

fn summary(scenario: &Scenario, mut notes: Notes, upstream: &Upstream, begun: u64) -> Outcome {
    let counts = upstream.counts();
    let successes = notes.successes.len() as f64;
    let goodput = successes / scenario.duration;
    Outcome {
        goodput,
        share: goodput / scenario.possible(begun),
        throttles: counts.throttled as f64 / successes.max(1.0),
        success_p50: quantile(&mut notes.successes, 0.5),
        success_p99: quantile(&mut notes.successes, 0.99),
        refusal_p99: quantile(&mut notes.refusals, 0.99),
        light: notes.light.0 as f64 / (notes.light.1 as f64).max(1.0),
        late: (counts.accepted as f64 - successes).max(0.0) / (counts.accepted as f64).max(1.0),
        series: notes.series,
    }
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let index = ((values.len() as f64 - 1.0) * q).round().max(0.0) as usize;
    values.get(index).copied().unwrap_or_default()
}

/// One operation of one caller, with its tries.
async fn operation(
    scenario: Scenario,
    replicas: Arc<Vec<Replica>>,
    began: Instant,
    number: u64,
    notes: Arc<Mutex<Notes>>,
) {
    let caller = if fastrand::f64() < scenario.heavy || scenario.callers == 1 {
        0
    } else {
        fastrand::u32(1..scenario.callers)
    };
    if caller > 0 {
        notes.lock().unwrap().light.1 += 1;
    }
    let mut backoff = Duration::from_secs(1);
    for _ in 0..scenario.tries {
        let replica = &replicas[fastrand::usize(..replicas.len())];
        let asked = Instant::now();
        let result = replica.create(caller, number, asked + DEADLINE).await;
        let took = asked.elapsed().as_secs_f64() * 1e3;
        let pause = {
            let mut notes = notes.lock().unwrap();
            match result {
                Try::Succeeded => {
                    notes.successes.push(took);
                    notes.light.0 += u64::from(caller > 0);
                    let slot = (began.elapsed().as_secs_f64() / 10.0) as usize;
                    if let Some(count) = notes.series.get_mut(slot) {
                        *count += 1.0;
                    }
                    return;
                }
                Try::Refused(pause) => {
                    notes.refusals.push(took);
                    pause
                }
                Try::Late => None,
            }
        };
        sleep(pause.unwrap_or(backoff.mul_f64(0.5 + fastrand::f64()))).await;
        backoff *= 2;
    }
}

/// One process that callers ask.
enum Replica {
    Sdk(Box<aws_sdk_ram::Client>),
    Facade(Box<Stack>),
}

impl Replica {
    async fn start(contender: Contender, upstream: &Upstream, pace: pace::Settings) -> Self {
        // The SDK keeps its budgets in statics by this name; every replica of every play has its own.
        static PARTITIONS: AtomicU64 = AtomicU64::new(0);
        let partition = PARTITIONS.fetch_add(1, Ordering::Relaxed);
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "test",
            )))
            .http_client(upstream.clone())
            .time_source(SharedTimeSource::new(VirtualTime::start()))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .build();
        if contender == Contender::Facade {
            return Self::Facade(Box::new(facade(&sdk, pace).await));
        }
        let config = aws_sdk_ram::config::Builder::from(&sdk)
            .retry_config(contender.retries())
            .retry_partition(RetryPartition::new(format!("play-{partition}")))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_secs(8))
                    .build(),
            )
            .build();
        Self::Sdk(Box::new(aws_sdk_ram::Client::from_conf(config)))
    }

    async fn create(&self, caller: u32, number: u64, deadline: Instant) -> Try {
        match self {
            Self::Sdk(client) => {
                let sending = client
                    .create_resource_share()
                    .name("x")
                    .client_token(number.to_string())
                    .send();
                match timeout_at(deadline, sending).await {
                    Ok(Ok(_)) => Try::Succeeded,
                    Ok(Err(_)) => Try::Refused(None),
                    Err(_) => Try::Late,
                }
            }
            Self::Facade(stack) => {
                let call = Call::<CreateResourceShare> {
                    request_id: None,
                    caller: Caller::new("test", caller.to_string()),
                    target: Arc::clone(&stack.ram().target),
                    deadline,
                    input: Arc::new(CreateResourceShareRequest {
                        name: "x".to_owned(),
                        client_token: number.to_string(),
                        ..CreateResourceShareRequest::default()
                    }),
                };
                match timeout_at(deadline, stack.run(call)).await {
                    Ok(Ok(_)) => Try::Succeeded,
                    Ok(Err(failure)) => Try::Refused(delay(&failure)),
                    Err(_) => Try::Late,
                }
            }
        }
    }
}

/// What a client reads from the status.
fn delay(failure: &Failure) -> Option<Duration> {
    match failure.what_next() {
        Advice::After(delay) => Some(delay.max(Duration::from_millis(100))),
        Advice::Once | Advice::Never => None,
    }
}

async fn facade(sdk: &SdkConfig, pace: pace::Settings) -> Stack {
    let settings = ram::Settings {
        account: Some("111122223333".to_owned()),
        ..ram::Settings::default()
    };
    let ram = Ram::with_sdk_config(sdk, &settings).await.unwrap();
    let clock = VirtualTime::start();
    let wall = Arc::new(move || {
        let now = clock.now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_millis()).unwrap()
    });
    let idempotency = IdempotencyLayer::with_clock(
        Arc::new(MemoryStore::default()),
        idempotency::Settings::default(),
        TaskTracker::new(),
        wall,
    );
    Stack::new(
        Arc::new(EveryCaller),
        idempotency,
        RetryLayer::new(retry::Settings::default()),
        Pacer::new(pace),
        attempt::Settings::default(),
        ram,
    )
}

/// Wall time that passes as tokio's clock does.
#[derive(Clone, Copy, Debug)]
struct VirtualTime {
    began: Instant,
    wall: SystemTime,
}

impl VirtualTime {
    #[allow(clippy::disallowed_methods, reason = "the one look at the real clock")]
    fn start() -> Self {
        Self {
            began: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

impl TimeSource for VirtualTime {
    fn now(&self) -> SystemTime {
        self.wall + self.began.elapsed()
    }
}
