//! The facade is killed with SIGKILL at every named point of a call, and 200 times at random: one share per token, every OK
//! names it, and another request under the token is refused.
//!
//! What survives is on disk or in the sandbox, a process of its own. `src/failpoint.rs` says how a point is reached.
//! `KILL_SEED=N cargo test --features failpoints --test kill_matrix random` plays the same callers, faults and moments again;
//! what the operating system makes of them differs each time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it prints its seed, and takes one from the environment"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    Client, Process,
    history::{self, Heard, Intent, Recorder},
    put_faults, stats, until,
};
use rusqlite::{Connection, params};
use serde_json::json;
use tokio::task::block_in_place;

/// One store file, one sandbox, and everything that was said.
struct World {
    sandbox: Process,
    url: String,
    dir: tempfile::TempDir,
    recorder: Recorder,
}

impl World {
    fn new() -> Self {
        let sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        let url = sandbox.sandbox_url();
        Self {
            sandbox,
            url,
            dir: tempfile::tempdir().unwrap(),
            recorder: Recorder::default(),
        }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("idempotency.sqlite")
    }

    /// Starts a facade that stops at `failpoint`, unless that is empty.
    async fn facade(&self, failpoint: &str) -> (Process, Client) {
        let store = self.store();
        let arguments = common::serve(&self.url, common::path(&store));
        let variables = [
            ("FAILPOINT", failpoint),
            ("RAM_FACADE_RETRY_BACKOFF_MS", "1"),
            ("RAM_FACADE_LOG_FILTER", "error"),
        ];
        let process = Process::start(&arguments, &variables);
        let address = block_in_place(|| process.address());
        (process, common::connect(address).await)
    }

    async fn count(&self, what: &str) -> u64 {
        stats(&self.url).await[what]["CreateResourceShare"]
            .as_u64()
            .unwrap_or(0)
    }

    async fn faults(&self, fault: serde_json::Value) {
        let rule = json!({ "operation": "CreateResourceShare", "fault": fault });
        put_faults(&self.url, &json!({ "rules": [rule] }).to_string()).await;
    }

    /// Starts a call that will not live to see its answer.
    fn doomed(&self, client: &Client) -> tokio::task::JoinHandle<Heard> {
        let (recorder, client) = (self.recorder.clone(), client.clone());
        tokio::spawn(async move { recorder.create(&client, "killed", &intent(), "asked").await })
    }

    /// After the kill: the file is whole, eight callers at once get one share, and another request is refused.
    async fn assert_one_share(&self) {
        put_faults(&self.url, "{}").await;
        assert_whole(&self.store());
        let (facade, client) = self.facade("").await;
        let calls = (0..8).map(|_| {
            let (recorder, client) = (self.recorder.clone(), client.clone());
            async move { recorder.create(&client, "restarted", &intent(), "asked").await }
        });
        for heard in futures_util::future::join_all(calls).await {
            assert!(matches!(heard, Heard::Made { .. }), "{heard:?}");
        }
        let other = self
            .recorder
            .create(&client, "restarted", &intent(), "other")
            .await;
        assert_eq!(other, Heard::Mismatch);
        assert_eq!(self.count("executions").await, 1);
        self.assert_history().await;
        facade.kill();
        assert_whole(&self.store());
    }

    async fn assert_history(&self) -> (usize, usize) {
        let (calls, shares) = (self.recorder.calls(), history::shares(&self.url).await);
        let broken = history::check(&calls, &shares);
        assert!(broken.is_empty(), "{broken:?}\n{calls:#?}\n{shares:#?}");
        (calls.len(), shares.len())
    }
}

fn intent() -> Intent {
    Intent {
        caller: "anonymous".to_owned(),
        token: "token-1".to_owned(),
    }
}

/// Checks a copy, log included: to open the file itself would already repair it.
fn assert_whole(store: &Path) {
    let dir = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{}{suffix}", common::path(store));
        if Path::new(&name).exists() {
            std::fs::copy(&name, dir.path().join(format!("copy{suffix}"))).unwrap();
        }
    }
    let copy = Connection::open(dir.path().join("copy")).unwrap();
    let said: String = copy
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
}

fn reached(facade: &Process, failpoint: &str) {
    block_in_place(|| facade.line(&format!("failpoint {failpoint}")));
}

/// Kills where the call reaches a point, then looks how many requests RAM got of it.
async fn killed_at(failpoint: &str, name: &str, requests: u64) {
    let world = World::new();
    let (facade, client) = world.facade(failpoint).await;
    let call = world.doomed(&client);
    reached(&facade, name);
    assert_eq!(world.count("requests").await, requests);

    facade.kill();

    assert_eq!(call.await.unwrap(), Heard::Unknown);
    world.assert_one_share().await;
}

/// Kills where the end of a call is written that has its answer already.
async fn killed_behind_the_answer(failpoint: &str, name: &str) {
    let world = World::new();
    let (facade, client) = world.facade(failpoint).await;
    let call = world.doomed(&client);
    reached(&facade, name);
    assert_eq!(world.count("requests").await, 1);
    let heard = call.await.unwrap();
    assert!(matches!(heard, Heard::Made { .. }), "{heard:?}");

    facade.kill();

    // The history holds what was heard against what is heard now.
    world.assert_one_share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_claim() {
    killed_at("before-claim", "before-claim", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_claim_is_committed() {
    killed_at("swap", "swap", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_claim_was_committed() {
    killed_at("claimed", "claimed", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_ram_has_answered_and_nothing_is_recorded() {
    killed_at("answered", "answered", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_answer_that_was_heard_is_committed() {
    killed_behind_the_answer("swap=2", "swap").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_answer_was_heard_and_is_recorded() {
    killed_behind_the_answer("recorded", "recorded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_it_was_sent_and_not_executed() {
    let world = World::new();
    let (facade, client) = world.facade("").await;
    let delay = Duration::from_millis(700);
    world.faults(json!({ "kind": "delay", "ms": 700 })).await;
    let call = world.doomed(&client);
    until("RAM gets it", || async { world.count("requests").await == 1 }).await;

    facade.kill();

    assert_eq!(call.await.unwrap(), Heard::Unknown);
    world.assert_one_share().await;
    // RAM comes to the late request only now, and has to see it as the same.
    tokio::time::sleep(delay).await;
    world.assert_one_share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_it_was_executed_and_not_answered() {
    let world = World::new();
    let (facade, client) = world.facade("").await;
    world.faults(json!({ "kind": "hold_after_execution" })).await;
    let call = world.doomed(&client);
    until("RAM executes it", || async {
        world.count("executions").await == 1
    })
    .await;

    facade.kill();

    assert_eq!(call.await.unwrap(), Heard::Unknown);
    world.assert_one_share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_sweep() {
    let world = World::new();
    let (facade, client) = world.facade("").await;
    assert!(matches!(world.doomed(&client).await.unwrap(), Heard::Made { .. }));
    facade.kill();
    fill(&world.store(), 600, 1);

    let (facade, _) = world.facade("sweep").await;
    reached(&facade, "sweep");
    facade.kill();

    assert_eq!(
        records(&world.store()),
        601,
        "what was not committed did not happen"
    );
    world.assert_one_share().await;
    let (facade, _client) = world.facade("").await;
    until("the sweep is made up for", || async {
        records_of_copy(&world.store()) == 1
    })
    .await;
    facade.kill();
    world.assert_one_share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_checkpoint() {
    let world = World::new();
    let (facade, client) = world.facade("").await;
    assert!(matches!(world.doomed(&client).await.unwrap(), Heard::Made { .. }));
    facade.kill();
    fill(&world.store(), 500, i64::MAX);

    // It writes all records and checkpoints them, over and over, and dies somewhere in it.
    for round in 0..8_u64 {
        let (facade, client) = world.facade("checkpoint").await;
        let call = world.doomed(&client);
        reached(&facade, "checkpoint");
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        facade.kill();
        drop(call);
        assert_whole(&world.store());
    }

    assert_eq!(records(&world.store()), 501);
    world.assert_one_share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_shutdown_that_waits_for_an_execution() {
    let world = World::new();
    let (facade, client) = world.facade("shutdown").await;
    world.faults(json!({ "kind": "hold_after_execution" })).await;
    let call = world.doomed(&client);
    until("RAM executes it", || async {
        world.count("executions").await == 1
    })
    .await;
    call.abort();
    assert!(call.await.is_err(), "its caller hung up");
    drop(client);

    facade.signal("-TERM");
    reached(&facade, "shutdown");
    facade.kill();

    world.assert_one_share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_store_is_closed() {
    let world = World::new();
    let (facade, client) = world.facade("close").await;
    assert!(matches!(world.doomed(&client).await.unwrap(), Heard::Made { .. }));
    drop(client);

    facade.signal("-TERM");
    reached(&facade, "close");
    facade.kill();

    world.assert_one_share().await;
    assert_eq!(world.count("requests").await, 1, "it was recorded");
}

/// Puts records of other intents into the store.
fn fill(store: &Path, count: u32, expires: i64) {
    let mut connection = Connection::open(store).unwrap();
    let transaction = connection.transaction().unwrap();
    for n in 0..count {
        let key = Vec::from_iter(n.to_le_bytes().into_iter().cycle().take(32));
        transaction
            .execute(
                "INSERT INTO record (key, version, expires, bytes) VALUES (?1, 1, ?2, ?3)",
                params![key, expires, vec![0_u8; 2_000]],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}

fn records(store: &Path) -> i64 {
    let connection = Connection::open(store).unwrap();
    connection
        .query_row("SELECT count(*) FROM record", [], |row| row.get(0))
        .unwrap()
}

/// The same of a store that a facade has locked. What it just wrote may be cut off in the copy: then it counts as none.
fn records_of_copy(store: &Path) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", common::path(store));
        let _ = std::fs::copy(from, dir.path().join(format!("copy{suffix}")));
    }
    let connection = Connection::open(dir.path().join("copy")).unwrap();
    connection
        .query_row("SELECT count(*) FROM record", [], |row| row.get(0))
        .unwrap_or(-1)
}

/// SIGKILLs at random moments.
const KILLS: u32 = 200;
/// Callers at work all the time.
const CALLERS: u64 = 8;
/// Calls of all callers for which a token is the newest: each is asked for by several at once.
const CALLS_A_TOKEN: u64 = 6;

/// Which server is asked, if one is up.
type Current = Arc<Mutex<Option<(u32, Client)>>>;

struct Load {
    recorder: Recorder,
    current: Current,
    stop: AtomicBool,
    settled: AtomicU64,
}

impl Load {
    /// Asks for one intent until that is settled, whichever server is up.
    async fn insist(&self, intent: &Intent, payload: &str) {
        loop {
            let server = self.current.lock().unwrap().clone();
            let Some((life, client)) = server else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let heard = self
                .recorder
                .create(&client, &life.to_string(), intent, payload)
                .await;
            if heard.is_settled() {
                self.settled.fetch_add(1, Ordering::SeqCst);
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn caller(self: Arc<Self>, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.stop.load(Ordering::SeqCst) {
            let newest = self.settled.load(Ordering::SeqCst) / CALLS_A_TOKEN;
            let number = newest.saturating_sub(random.u64(0..3));
            let payload = if random.u8(0..10) == 0 { "other" } else { "asked" };
            self.insist(&numbered(number), payload).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..20))).await;
        }
    }
}

fn numbered(number: u64) -> Intent {
    Intent {
        caller: "anonymous".to_owned(),
        token: format!("token-{number}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_two_hundred_times_under_load() {
    let seed = std::env::var("KILL_SEED").ok().map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("KILL_SEED is a number"),
    );
    println!("KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new();
    let rule = |probability: f64, fault: serde_json::Value| json!({ "operation": "CreateResourceShare", "probability": probability, "fault": fault });
    let rules = json!([
        rule(0.08, json!({ "kind": "drop" })),
        rule(0.1, json!({ "kind": "drop_after_execution" })),
        rule(
            0.1,
            json!({ "kind": "error_after_execution", "code": "ServerInternalException", "http_status": 500 })
        ),
        rule(
            0.05,
            json!({ "kind": "error", "code": "ThrottlingException", "http_status": 429 })
        ),
        rule(0.2, json!({ "kind": "delay", "ms": 60 })),
        rule(0.3, json!({ "kind": "delay", "ms": 60, "after_execution": true })),
    ]);
    put_faults(
        &world.url,
        &json!({ "seed": seed, "latency_ms": 2, "rules": rules }).to_string(),
    )
    .await;

    let load = Arc::new(Load {
        recorder: world.recorder.clone(),
        current: Current::default(),
        stop: AtomicBool::new(false),
        settled: AtomicU64::new(0),
    });
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| tokio::spawn(Arc::clone(&load).caller(seed.wrapping_add(n))))
        .collect();
    let begun = Instant::now();
    for life in 0..KILLS {
        let (facade, client) = world.facade("").await;
        *load.current.lock().unwrap() = Some((life, client));
        tokio::time::sleep(Duration::from_millis(random.u64(5..200))).await;
        block_in_place(|| facade.kill());
        *load.current.lock().unwrap() = None;
    }

    load.stop.store(true, Ordering::SeqCst);
    put_faults(&world.url, "{}").await;
    let (facade, client) = world.facade("").await;
    *load.current.lock().unwrap() = Some((KILLS, client));
    for caller in callers {
        caller.await.unwrap();
    }
    let (calls, shares) = world.assert_history().await;
    facade.kill();
    assert_whole(&world.store());

    let all = world.recorder.calls();
    let of = |wanted: fn(&Heard) -> bool| all.iter().filter(|call| wanted(&call.heard)).count();
    let (ok, unknown) = (
        of(|h| matches!(h, Heard::Made { .. })),
        of(|h| *h == Heard::Unknown),
    );
    println!(
        "{KILLS} kills in {:.0} s: {calls} calls, {ok} OK, {unknown} unknown, {} refused as another request, {shares} shares, \
         {} requests to RAM",
        begun.elapsed().as_secs_f32(),
        of(|h| *h == Heard::Mismatch),
        world.count("requests").await
    );
    assert!(
        shares > 50 && unknown > 50 && ok > shares,
        "the run proves little"
    );
    drop(world.sandbox);
}
