//! Every call is answered by its deadline, whatever the network to RAM does, and the answer says truly what RAM did.
//!
//! A caller, the facade and RAM are hosts of a simulated network in virtual time (turmoil). Between them run HTTP/2, the
//! HTTP ring as far as deadlines are concerned, the whole call ring, the AWS SDK with its signatures and its pool, and
//! HTTP/1.1. Not simulated are TLS, the SDK's own TCP connector and the other stores than the one in memory.
//!
//! The network does not repeat what a partition swallowed, so that a connection through one is dead for good: worse than
//! TCP. `DEADLINE_SEED=N cargo test --test deadlines random` plays the seed that a failure names.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a seed is no configuration, and the output of a test is shown when it fails"
)]

mod common;
#[path = "deadlines/facade.rs"]
mod facade;
#[path = "deadlines/net.rs"]
mod net;
#[path = "deadlines/ram.rs"]
mod ram;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::history::{self, Call, Heard, Intent};
use fastrand::Rng;
use futures_util::future::join_all;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use ram::{Fault, Ram};
use ram_facade::{layers::pace, pb::v1::resource_share_service_client::ResourceShareServiceClient};
use tokio::time::{Instant, sleep, timeout};
use tonic::body::Body;

/// One step of the simulation: what is sent arrives with the next.
const TICK: Duration = Duration::from_millis(10);
/// How much later than its deadline an answer may come: the way there and back, with a handshake.
const MARGIN: Duration = Duration::from_millis(150);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Virtual time since the beginning, in milliseconds.
fn now() -> u64 {
    let now = turmoil::sim_elapsed().expect("only hosts ask");
    u64::try_from(now.as_millis()).expect("it is soon over")
}

/// What happens to the way between the facade and RAM.
#[derive(Clone, Copy, Debug)]
enum Network {
    /// Everything that is sent is lost.
    Parts,
    /// What RAM sends is lost.
    PartsAnswers,
    /// What the facade sends is lost.
    PartsRequests,
    /// Everything that is sent waits.
    Holds,
    /// What waited arrives, and nothing is lost any more.
    Repairs,
}

impl Network {
    fn happen(self) {
        match self {
            Self::Parts => turmoil::partition("facade", "ram"),
            Self::PartsAnswers => turmoil::partition_oneway("ram", "facade"),
            Self::PartsRequests => turmoil::partition_oneway("facade", "ram"),
            Self::Holds => turmoil::hold("facade", "ram"),
            Self::Repairs => {
                turmoil::release("facade", "ram");
                turmoil::repair("facade", "ram");
            }
        }
    }

    fn any(random: &mut Rng) -> Self {
        match random.u8(0..5) {
            0 => Self::Parts,
            1 => Self::PartsAnswers,
            2 => Self::PartsRequests,
            3 => Self::Holds,
            _ => Self::Repairs,
        }
    }
}

/// A call of the caller.
#[derive(Clone, Copy, Debug)]
struct Planned {
    token: u64,
    at: Duration,
    deadline: Duration,
}

#[derive(Clone, Debug)]
struct Script {
    calls: Vec<Planned>,
    /// What becomes of the first requests to RAM.
    faults: Vec<Fault>,
    /// Which share of the others goes wrong.
    faulty: f64,
    network: Vec<(Duration, Network)>,
    /// Longest way of a packet between the facade and RAM.
    latency: Duration,
    /// When everything is well again, and every intent is asked for until it is done.
    heals: Duration,
    pace: pace::Settings,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            calls: vec![Planned {
                token: 0,
                at: ms(100),
                deadline: ms(3_000),
            }],
            faults: Vec::new(),
            faulty: 0.0,
            network: Vec::new(),
            latency: ms(2),
            heals: ms(10_000),
            pace: facade::no_limit(),
        }
    }
}

impl Script {
    fn any(random: &mut Rng) -> Self {
        let mut some = |most| 0..random.usize(1..=most);
        let (calls, network) = (some(8), some(6));
        Self {
            calls: calls
                .map(|_| Planned {
                    token: random.u64(0..4),
                    at: ms(random.u64(0..4_000)),
                    deadline: ms(random.u64(200..9_000)),
                })
                .collect(),
            faults: Vec::new(),
            faulty: random.f64(),
            network: network
                .map(|_| (ms(random.u64(0..10_000)), Network::any(random)))
                .collect(),
            latency: ms(*random.choice(&[2, 100, 1_500]).expect("there are some")),
            heals: ms(12_000),
            pace: if random.bool() {
                facade::no_limit()
            } else {
                pace::Settings::default()
            },
        }
    }

    /// Plays it, looks at every promise, and returns the calls with how long each took.
    fn play(self, seed: u64) -> Vec<(Call, Duration)> {
        // The facade draws pauses between attempts.
        fastrand::seed(seed);
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(ms(1))
            .max_message_latency(self.latency)
            .simulation_duration(Duration::from_secs(600))
            .build();
        let ram = Ram::new(seed, &self.faults, self.faulty);
        let served = ram.clone();
        sim.host("ram", move || served.clone().serve());
        let pace = self.pace;
        sim.host("facade", move || facade::serve(pace));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let caller = Caller {
            seed,
            calls: Arc::clone(&calls),
        };
        let events = self.network.clone();
        sim.client("fate", async move {
            join_all(events.into_iter().map(async |(at, event)| {
                sleep(at).await;
                event.happen();
            }))
            .await;
            Ok(())
        });
        let healing = ram.clone();
        sim.client("caller", async move {
            let calling = join_all(self.calls.iter().map(async |call| {
                sleep(call.at).await;
                caller.create(call.token, call.deadline).await;
            }));
            let healed = async {
                sleep(self.heals).await;
                Network::Repairs.happen();
                healing.heal();
            };
            tokio::join!(calling, healed);
            for call in &self.calls {
                caller.settle(call.token).await;
            }
            Ok(())
        });
        sim.set_link_max_message_latency("caller", "facade", ms(2));
        sim.run().unwrap_or_else(|e| panic!("seed {seed}: {e}"));

        let calls = std::mem::take(&mut *calls.lock().unwrap());
        let heard: Vec<_> = calls.iter().map(|(call, _): &(Call, _)| call.clone()).collect();
        let broken = history::check(&heard, &ram.shares());
        assert!(
            broken.is_empty(),
            "seed {seed}: {broken:?}\n{heard:#?}\n{:#?}",
            ram.shares()
        );
        calls
    }
}

/// Who calls, and notes what it hears.
struct Caller {
    seed: u64,
    calls: Arc<Mutex<Vec<(Call, Duration)>>>,
}

impl Caller {
    async fn create(&self, token: u64, deadline: Duration) -> Heard {
        let intent = Intent {
            caller: "caller".to_owned(),
            token: format!("token-{token}"),
        };
        // Not tonic's channel, which looks at the deadline itself.
        let http = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build::<_, Body>(net::Connector(None));
        let mut client =
            ResourceShareServiceClient::with_origin(http, "http://facade".parse().expect("a URL"));
        let mut request = tonic::Request::new(history::request(&intent, "x"));
        request.set_timeout(deadline);
        let (begun, began) = (now(), Instant::now());
        let answer = timeout(deadline + MARGIN, client.create(request))
            .await
            .unwrap_or_else(|_| panic!("seed {}: no answer to {intent:?} within {deadline:?}", self.seed));
        let took = began.elapsed();
        let heard = match &answer {
            Ok(made) => Heard::Made {
                arn: common::arn(made),
            },
            Err(status) => {
                // An answer of the facade's, and no defect.
                let reason = common::refusal(status).reason;
                let is_ours = !["INTERNAL", "FACADE_MISCONFIGURED"].contains(&reason.as_str());
                assert!(is_ours, "seed {}: {status:?}", self.seed);
                history::refusal(status)
            }
        };
        let call = Call {
            intent,
            payload: "x".to_owned(),
            replica: "facade".to_owned(),
            begun,
            ended: now(),
            heard: heard.clone(),
        };
        self.calls.lock().unwrap().push((call, took));
        heard
    }

    /// Asks until the intent is done, as a caller does that was told to come back.
    async fn settle(&self, token: u64) {
        for _ in 0..60 {
            if let Heard::Made { .. } = self.create(token, ms(10_000)).await {
                return;
            }
            sleep(ms(2_000)).await;
        }
        panic!("seed {}: token {token} is never settled", self.seed);
    }
}

/// Plays one call through `script`, and returns what it heard first and after how many milliseconds.
fn first(script: Script) -> (Heard, u128) {
    let calls = script.play(1);
    let (call, took) = calls.first().expect("there is one");
    (call.heard.clone(), took.as_millis())
}

fn faults(faults: &[Fault]) -> Script {
    Script {
        faults: faults.to_vec(),
        ..Script::default()
    }
}

fn network(events: &[(u64, Network)]) -> Script {
    Script {
        network: events.iter().map(|(at, event)| (ms(*at), *event)).collect(),
        ..Script::default()
    }
}

fn is_made(heard: &Heard) -> bool {
    matches!(heard, Heard::Made { .. })
}

#[test]
fn a_ram_that_executes_and_never_answers_leaves_the_outcome_unknown_at_the_deadline() {
    let (heard, took) = first(faults(&[Fault::NeverAnswers]));
    assert_eq!(heard, Heard::Unknown);
    assert!((2_900..3_100).contains(&took), "{took}");
}

#[test]
fn a_ram_that_reads_and_does_nothing_leaves_the_outcome_unknown_at_the_deadline() {
    let (heard, took) = first(faults(&[Fault::IgnoresRequest]));
    assert_eq!(heard, Heard::Unknown);
    assert!((2_900..3_100).contains(&took), "{took}");
}

#[test]
fn a_ram_that_answers_the_head_alone_leaves_the_outcome_unknown_at_the_deadline() {
    let (heard, took) = first(faults(&[Fault::AnswersHeadOnly]));
    assert_eq!(heard, Heard::Unknown);
    assert!((2_900..3_100).contains(&took), "{took}");
}

#[test]
fn an_attempt_that_hangs_is_given_up_in_time_for_another() {
    let mut script = faults(&[Fault::NeverAnswers]);
    script.calls[0].deadline = ms(20_000);
    script.heals = ms(30_000);
    let (heard, took) = first(script);
    assert!(is_made(&heard), "{heard:?}");
    assert!((8_000..8_500).contains(&took), "{took}");
}

#[test]
fn an_answer_that_is_late_is_waited_for_until_the_deadline() {
    let (heard, took) = first(faults(&[Fault::AnswersLate(ms(5_000))]));
    assert_eq!(heard, Heard::Unknown);
    assert!((2_900..3_100).contains(&took), "{took}");

    let (heard, took) = first(faults(&[Fault::AnswersLate(ms(2_000))]));
    assert!(is_made(&heard), "{heard:?}");
    assert!((2_000..2_300).contains(&took), "{took}");
}

#[test]
fn an_answer_that_drips_is_waited_for_until_the_deadline() {
    let (heard, took) = first(faults(&[Fault::Drips(ms(100))]));
    assert_eq!(heard, Heard::Unknown);
    assert!((2_900..3_100).contains(&took), "{took}");

    let (heard, took) = first(faults(&[Fault::Drips(ms(5))]));
    assert!(is_made(&heard), "{heard:?}");
    assert!((500..2_900).contains(&took), "{took}");
}

#[test]
fn a_request_that_is_reset_half_way_is_sent_again() {
    let (heard, took) = first(faults(&[Fault::ResetsRequest]));
    assert!(is_made(&heard), "{heard:?}");
    assert!(took < 1_000, "{took}");
}

#[test]
fn an_answer_that_is_reset_half_way_is_asked_for_again_under_the_same_token() {
    let (heard, took) = first(faults(&[Fault::ResetsAnswer]));
    assert!(is_made(&heard), "{heard:?}");
    assert!(took < 1_000, "{took}");
}

#[test]
fn connections_that_end_without_an_answer_leave_the_outcome_unknown() {
    for fault in [Fault::ExecutesAndResets, Fault::ExecutesAndCloses] {
        let (heard, took) = first(faults(&[fault; 3]));
        assert_eq!(heard, Heard::Unknown, "{fault:?}");
        assert!(took < 1_000, "{took}");
    }
}

#[test]
fn a_ram_that_cannot_be_reached_has_not_executed() {
    let (heard, took) = first(network(&[(0, Network::Parts)]));
    assert_eq!(heard, Heard::NotExecuted);
    assert!(took < 3_100, "{took}");
}

#[test]
fn an_answer_that_is_lost_leaves_the_outcome_unknown() {
    let script = Script {
        latency: ms(400),
        ..network(&[(110, Network::PartsAnswers)])
    };
    let (heard, took) = first(script);
    assert_ne!(heard, Heard::NotExecuted);
    assert!(took < 3_100, "{took}");
}

#[test]
fn a_request_that_arrives_after_its_caller_was_answered_makes_the_one_share() {
    let script = Script {
        // The first request opens the connection on which the second is held.
        calls: vec![
            Planned {
                token: 0,
                at: ms(100),
                deadline: ms(3_000),
            },
            Planned {
                token: 1,
                at: ms(1_000),
                deadline: ms(3_000),
            },
        ],
        ..network(&[(900, Network::Holds), (6_000, Network::Repairs)])
    };
    let calls = script.play(1);
    let (held, took) = &calls[1];
    assert_eq!(held.heard, Heard::Unknown);
    assert!(took.as_millis() < 3_100, "{took:?}");
}

/// Plays `seeds`, on as many threads as there are.
fn play_all(seeds: impl Iterator<Item = u64> + Send) -> [usize; 3] {
    let seeds = Mutex::new(seeds);
    let heard = Mutex::new([0; 3]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.lock().unwrap().next() else {
                        return;
                    };
                    let calls = Script::any(&mut Rng::with_seed(seed)).play(seed);
                    for (call, _) in calls {
                        let kind = match call.heard {
                            Heard::Made { .. } => 0,
                            Heard::Unknown => 1,
                            Heard::Mismatch | Heard::NotExecuted | Heard::TurnedAway => 2,
                        };
                        heard.lock().unwrap()[kind] += 1;
                    }
                }
            });
        }
    });
    heard.into_inner().unwrap()
}

#[test]
fn random_faults_of_ram_and_of_the_network_break_no_promise() {
    if let Ok(seed) = std::env::var("DEADLINE_SEED") {
        play_all(std::iter::once(seed.parse().expect("DEADLINE_SEED is a number")));
        return;
    }
    let [made, unknown, not_executed] = play_all(0..300);
    println!("{made} calls made a share or saw it, {unknown} left it open, {not_executed} were not executed");
    assert!(
        made.min(unknown).min(not_executed) >= 100,
        "one kind of answer is hardly tested"
    );
}
