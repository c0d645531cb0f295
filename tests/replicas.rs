//! Several facades, each a process of its own, on one Redis server and before one sandbox: one share per token, whatever
//! happens to them. Not part of a plain `cargo test`: `make test-redis`.

// A target that is no part of a plain `cargo test` is checked as if it were production code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "these are tests"
)]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{
    Client, Process, arn,
    history::{Intent, Recorder, check, shares},
    put_faults,
    redis_server::{REDIS, RedisServer},
    refusal, request, secrets, stats, until,
};
use ram_facade::pb::v1::{CreateResourceShareRequest, CreateResourceShareResponse};
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Response, Status};

/// A claim is taken over after this long: the shortest lease that can be configured.
const LEASE: Duration = Duration::from_secs(1);

struct Setup {
    redis: RedisServer,
    /// Held for its drop.
    _sandbox: Process,
    url: String,
}

struct Replica {
    process: Process,
    client: Client,
}

impl Setup {
    async fn new() -> Self {
        Self::on(RedisServer::start().await)
    }

    fn on(redis: RedisServer) -> Self {
        let sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        Self {
            redis,
            url: sandbox.sandbox_url(),
            _sandbox: sandbox,
        }
    }

    async fn replica(&self) -> Replica {
        self.replica_with(&self.redis.url(), &[]).await
    }

    async fn replica_with(&self, store: &str, variables: &[(&str, &str)]) -> Replica {
        let arguments = common::serve(&self.url, store);
        let mut settings = vec![
            ("RAM_FACADE_IDEMPOTENCY_LEASE_MS", "1000"),
            ("RAM_FACADE_REDIS_RESPONSE_TIMEOUT_MS", "500"),
        ];
        settings.extend(variables);
        let process = Process::start(&arguments, &settings);
        let client = common::connect(process.address()).await;
        Replica { process, client }
    }

    async fn replicas<const N: usize>(&self) -> [Replica; N] {
        let started = futures_util::future::join_all((0..N).map(|_| self.replica())).await;
        started.try_into().unwrap_or_else(|_| panic!("not {N} replicas"))
    }

    async fn count(&self, what: &str) -> u64 {
        stats(&self.url).await[what]["CreateResourceShare"]
            .as_u64()
            .unwrap_or(0)
    }

    async fn fault(&self, fault: &str) {
        let plan =
            format!(r#"{{"rules": [{{"operation": "CreateResourceShare", "times": 1, "fault": {fault}}}]}}"#);
        put_faults(&self.url, &plan).await;
    }

    /// Starts a create on `replica` and waits until RAM has got or executed it, as `reached` says.
    async fn begin(&self, replica: &Replica, reached: &'static str) -> Call {
        let before = self.count(reached).await;
        let mut client = replica.client.clone();
        let call = tokio::spawn(async move { client.create(demo()).await });
        until(reached, || async move { self.count(reached).await > before }).await;
        call
    }

    /// One share, whichever replica is asked, and the token is good for nothing else.
    async fn assert_one_share(&self, replicas: &[&Replica]) -> String {
        let calls = (0..8).flat_map(|_| replicas).map(|replica| {
            let mut client = replica.client.clone();
            async move { client.create(demo()).await }
        });
        let answers = futures_util::future::join_all(calls).await;
        let arn = the_arn(&answers);
        assert_eq!(self.count("executions").await, 1);
        assert_eq!(stats(&self.url).await["live_shares"], Value::from(1));

        for replica in replicas {
            let other = CreateResourceShareRequest {
                name: "other".to_owned(),
                ..demo()
            };
            let refused = replica.client.clone().create(other).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        }
        assert_eq!(self.count("executions").await, 1);
        arn
    }
}

type Answer = Result<Response<CreateResourceShareResponse>, Status>;
type Call = tokio::task::JoinHandle<Answer>;

fn demo() -> CreateResourceShareRequest {
    request("demo", "token-1")
}

/// The one ARN that all of `answers` name.
fn the_arn(answers: &[Answer]) -> String {
    let arns: BTreeSet<_> = answers
        .iter()
        .map(|answer| arn(answer.as_ref().expect("it is made")))
        .collect();
    assert_eq!(arns.len(), 1, "{arns:?}");
    arns.into_iter().next().unwrap()
}

async fn at_once<const N: usize>() {
    let setup = Setup::new().await;
    let replicas = setup.replicas::<N>().await;
    // Long enough for every caller to arrive while the first is executed.
    setup
        .fault(r#"{"kind": "delay", "ms": 300, "after_execution": true}"#)
        .await;

    let calls = (0..64).map(|number| {
        let mut client = replicas[number % N].client.clone();
        async move { client.create(demo()).await }
    });
    let answers = futures_util::future::join_all(calls).await;

    let arn = the_arn(&answers);
    assert_eq!(setup.count("executions").await, 1);
    assert_eq!(setup.count("requests").await, 1, "the other replicas waited");
    let all: Vec<_> = replicas.iter().collect();
    assert_eq!(setup.assert_one_share(&all).await, arn);
}

#[tokio::test]
async fn of_64_callers_at_once_on_two_replicas_one_executes() {
    at_once::<2>().await;
}

#[tokio::test]
async fn of_64_callers_at_once_on_three_replicas_one_executes() {
    at_once::<3>().await;
}

#[tokio::test]
async fn another_replica_takes_over_from_one_that_was_killed_after_its_lease() {
    let setup = Setup::new().await;
    let [owner, other] = setup.replicas().await;
    setup.fault(r#"{"kind": "hold_after_execution"}"#).await;
    let asked = Instant::now();
    let _lost = setup.begin(&owner, "executions").await;

    owner.process.kill();
    let answer = other.client.clone().create(demo()).await.unwrap();

    assert!(asked.elapsed() >= LEASE, "{:?}", asked.elapsed());
    assert_eq!(
        setup.count("requests").await,
        2,
        "RAM was asked under the same token"
    );
    assert_eq!(setup.assert_one_share(&[&other]).await, arn(&answer));
}

#[tokio::test]
async fn another_replica_takes_over_from_one_that_was_killed_before_ram_executed() {
    let setup = Setup::new().await;
    let [owner, other] = setup.replicas().await;
    // Executed long after the owner is gone and the other one has sent the same.
    setup.fault(r#"{"kind": "delay", "ms": 2500}"#).await;
    let _lost = setup.begin(&owner, "requests").await;

    owner.process.kill();
    let answer = other.client.clone().create(demo()).await.unwrap();

    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(setup.assert_one_share(&[&other]).await, arn(&answer));
}

#[tokio::test]
async fn an_owner_that_stood_still_past_its_lease_answers_what_the_other_found() {
    let setup = Setup::new().await;
    let [owner, other] = setup.replicas().await;
    setup.fault(r#"{"kind": "delay", "ms": 200}"#).await;
    let call = setup.begin(&owner, "requests").await;

    owner.process.signal("-STOP");
    let answer = other.client.clone().create(demo()).await.unwrap();
    tokio::time::sleep(LEASE).await;
    owner.process.signal("-CONT");

    let late = call.await.unwrap();
    if let Ok(late) = &late {
        assert_eq!(arn(late), arn(&answer));
    }
    assert_eq!(setup.assert_one_share(&[&owner, &other]).await, arn(&answer));
}

/// The shortest window that can be configured is what `token_memory_s` is above `signature_margin_s`.
const SHORT_WINDOW: &[(&str, &str)] = &[
    ("RAM_FACADE_IDEMPOTENCY_TOKEN_MEMORY_S", "600"),
    ("RAM_FACADE_IDEMPOTENCY_SIGNATURE_MARGIN_S", "598"),
];

#[tokio::test]
async fn an_owner_that_stood_still_past_the_window_sends_nothing_more() {
    let setup = Setup::new().await;
    let redis = setup.redis.url();
    let owner = setup.replica_with(&redis, SHORT_WINDOW).await;
    let other = setup.replica_with(&redis, SHORT_WINDOW).await;
    // The first attempt ends without an answer and without an execution; the owner would try again.
    setup.fault(r#"{"kind": "delay", "ms": 600}"#).await;
    let call = setup.begin(&owner, "requests").await;

    owner.process.signal("-STOP");
    until("RAM executes what it got", || async {
        setup.count("executions").await == 1
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let found = other.client.clone().create(demo()).await.unwrap();
    let sent = setup.count("requests").await;
    owner.process.signal("-CONT");
    let late = call.await.unwrap().unwrap();

    assert_eq!(sent, 1, "the other replica found the share and sent nothing");
    assert_eq!(setup.count("requests").await, 1, "nor did the owner send again");
    assert_eq!(arn(&late), arn(&found));
    assert_eq!(setup.assert_one_share(&[&owner, &other]).await, arn(&found));
}

#[tokio::test]
async fn an_owner_that_wakes_after_the_window_does_not_retry() {
    let setup = Setup::new().await;
    let redis = setup.redis.url();
    let mut variables = SHORT_WINDOW.to_vec();
    variables.extend([
        ("RAM_FACADE_RETRY_BACKOFF_MS", "1500"),
        ("RAM_FACADE_RETRY_MAX_BACKOFF_MS", "1500"),
    ]);
    let owner = setup.replica_with(&redis, &variables).await;
    // Lost after it was executed; the owner's next attempt is due in a moment.
    setup.fault(r#"{"kind": "drop_after_execution"}"#).await;
    let call = setup.begin(&owner, "executions").await;

    owner.process.signal("-STOP");
    let sent = setup.count("requests").await;
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    owner.process.signal("-CONT");
    let late = call.await.unwrap();

    // It may have sent again before it was stopped. Never after.
    assert_eq!(setup.count("requests").await, sent);
    assert_eq!(setup.count("executions").await, 1);
    if sent == 1 {
        let refused = refusal(&late.unwrap_err());
        assert_eq!(refused.reason, "OUTCOME_UNKNOWN", "{refused:?}");
    }
}

#[tokio::test]
async fn a_restart_of_the_server_loses_no_claim_and_no_answer() {
    let mut setup = Setup::new().await;
    let [owner, other] = setup.replicas().await;
    setup
        .fault(r#"{"kind": "delay", "ms": 1500, "after_execution": true}"#)
        .await;
    let call = setup.begin(&owner, "executions").await;

    setup.redis.kill();
    setup.redis.run().await;
    let answer = call.await.unwrap().unwrap();

    assert_eq!(setup.assert_one_share(&[&owner, &other]).await, arn(&answer));
    setup.redis.kill();
    setup.redis.run().await;
    let replayed = other.client.clone().create(demo()).await.unwrap();
    assert_eq!(replayed.metadata().get("idempotency-replayed").unwrap(), "true");
    assert_eq!(arn(&replayed), arn(&answer));
}

/// Every caller asks for every intent, in turn at each replica, until it is settled.
async fn settle_everything(recorder: Recorder, clients: [Client; 3], caller: usize) {
    for token in 0..12 {
        let intent = Intent {
            caller: "none".to_owned(),
            token: format!("token-{token}"),
        };
        // Two requests compete for each token: one of them is refused for ever.
        let payload = ["one", "other"][caller % 2];
        for attempt in caller.. {
            let replica = attempt % clients.len();
            let name = format!("replica-{replica}");
            let heard = recorder.create(&clients[replica], &name, &intent, payload).await;
            if heard.is_settled() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_history_of_replicas_that_die_stand_still_and_lose_their_server_breaks_no_promise() {
    let mut setup = Setup::new().await;
    let [dies, stands_still, lives] = setup.replicas().await;
    put_faults(
        &setup.url,
        r#"{"seed": 7, "latency_ms": 20, "rules": [
            {"operation": "CreateResourceShare", "probability": 0.2, "fault": {"kind": "drop_after_execution"}},
            {"operation": "CreateResourceShare", "probability": 0.2, "fault": {"kind": "drop"}},
            {"operation": "CreateResourceShare", "probability": 0.2,
             "fault": {"kind": "error", "code": "ThrottlingException", "http_status": 429}}]}"#,
    )
    .await;
    let recorder = Recorder::default();
    let clients = [&dies, &stands_still, &lives].map(|replica| replica.client.clone());
    let callers = (0..8).map(|caller| settle_everything(recorder.clone(), clients.clone(), caller));
    let callers = tokio::spawn(futures_util::future::join_all(callers));

    until("RAM is busy", || async { setup.count("requests").await >= 3 }).await;
    stands_still.process.signal("-STOP");
    dies.process.kill();
    setup.redis.kill();
    setup.redis.run().await;
    tokio::time::sleep(2 * LEASE).await;
    stands_still.process.signal("-CONT");
    let settled = tokio::time::timeout(Duration::from_secs(120), callers).await;

    settled.expect("every intent is settled").unwrap();
    let (calls, shares) = (recorder.calls(), shares(&setup.url).await);
    assert_eq!(check(&calls, &shares), []);
    assert_eq!(shares.len(), 12, "of {} calls", calls.len());
}

#[tokio::test]
async fn a_failover_that_loses_the_claim_makes_no_second_share() {
    let primary = RedisServer::start().await;
    let promoted = RedisServer::with(REDIS, &["--replicaof", "127.0.0.1", &primary.port().to_string()]).await;
    until("the replica follows", || async {
        promoted
            .cli(&["INFO", "replication"])
            .contains("master_link_status:up")
    })
    .await;
    let mut setup = Setup::on(primary);
    let owner = setup.replica().await;
    // It hears no more of the primary, as in a partition; the primary goes on to answer.
    promoted.cli(&["REPLICAOF", "NO", "ONE"]);
    setup
        .fault(r#"{"kind": "delay", "ms": 700, "after_execution": true}"#)
        .await;
    let call = setup.begin(&owner, "executions").await;
    assert_eq!(setup.redis.cli(&["DBSIZE"]), "1", "the claim was acknowledged");
    assert_eq!(promoted.cli(&["DBSIZE"]), "0", "and is lost");

    setup.redis.kill();
    let other = setup.replica_with(&promoted.url(), &[]).await;
    let answer = other.client.clone().create(demo()).await.unwrap();
    let first = call.await.unwrap().unwrap();

    assert_eq!(arn(&first), arn(&answer));
    assert_eq!(setup.assert_one_share(&[&other]).await, arn(&answer));
}

#[tokio::test]
async fn another_request_under_a_token_whose_claim_was_lost_is_refused_by_ram() {
    let setup = Setup::new().await;
    let [owner, other] = setup.replicas().await;
    let _ = owner.client.clone().create(demo()).await.unwrap();

    setup.redis.cli(&["FLUSHALL"]);
    let refused = other.client.clone().create(request("other", "token-1")).await;

    let refused = refusal(&refused.unwrap_err());
    assert_eq!(refused.reason, "IDEMPOTENT_PARAMETER_MISMATCH", "{refused:?}");
    assert_eq!(refused.domain, "ram.amazonaws.com");
    assert_eq!(setup.count("executions").await, 1);
}

#[tokio::test]
async fn nothing_is_sent_while_the_server_is_down_and_all_is_well_when_it_is_back() {
    let mut setup = Setup::new().await;
    let [one, other] = setup.replicas().await;
    setup.redis.kill();

    for replica in [&one, &other] {
        let refused = refusal(&replica.client.clone().create(demo()).await.unwrap_err());
        assert_eq!(refused.code, Code::Unavailable);
        assert_eq!(refused.reason, "IDEMPOTENCY_STORE_UNAVAILABLE");
        assert_eq!(refused.metadata["outcome"], "not_executed");
    }
    assert_eq!(setup.count("requests").await, 0);

    setup.redis.run().await;
    setup.assert_one_share(&[&one, &other]).await;
}

#[tokio::test]
async fn a_success_is_answered_although_the_server_went_down_and_is_recorded_when_it_is_back() {
    let mut setup = Setup::new().await;
    let [owner, other] = setup.replicas().await;
    setup
        .fault(r#"{"kind": "delay", "ms": 500, "after_execution": true}"#)
        .await;
    let call = setup.begin(&owner, "executions").await;

    setup.redis.kill();
    let answer = call.await.unwrap().unwrap();
    setup.redis.run().await;

    until("the answer is recorded", || async {
        let answer = other.client.clone().create(demo()).await;
        answer.is_ok_and(|answer| answer.metadata().contains_key("idempotency-replayed"))
    })
    .await;
    assert_eq!(setup.assert_one_share(&[&owner, &other]).await, arn(&answer));
}

#[test]
fn a_server_that_cannot_be_reached_at_start_ends_the_process_with_1_and_its_password_is_not_shown() {
    let port = common::redis_server::free_port();
    let password = "canary-password-of-redis";
    secrets::keep("the password of Redis", password);
    let store = format!("redis://facade:{password}@127.0.0.1:{port}");
    let arguments = ["serve", "--sandbox", "--listen", "127.0.0.1:0", "--store", &store];

    let output = common::output(&mut common::command(
        &arguments,
        &[("RAM_FACADE_LOG_FILTER", "trace")],
    ));

    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("`redis://127.0.0.1:{port}`")), "{said}");
}

#[tokio::test]
async fn what_is_unsafe_in_the_server_is_said_at_start() {
    let server = RedisServer::with(
        REDIS,
        &["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"],
    )
    .await;
    let arguments = [
        "serve",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--store",
        &server.url(),
    ];
    let mut child = common::command(&arguments, &[])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    child.kill().unwrap();

    let output = child.wait_with_output().unwrap();

    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    secrets::assert_hidden("the output", &said);
    assert!(
        said.contains("allkeys-lru") && said.contains("appendonly is off"),
        "{said}"
    );
}

/// Runs an operator's command on the server: its exit code and what it printed.
fn operate(redis: &RedisServer, arguments: &[&str]) -> (i32, String) {
    let url = redis.url();
    let (verb, rest) = arguments.split_first().unwrap();
    let mut all = vec!["idempotency", verb, "--store", &url];
    all.extend(rest);
    let output = common::output(&mut common::command(&all, &[]));
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

#[tokio::test]
async fn an_operator_lists_shows_and_settles_records_while_replicas_run() {
    let setup = Setup::new().await;
    let replica = setup
        .replica_with(&setup.redis.url(), &[("RAM_FACADE_RETRY_MAX_ATTEMPTS", "1")])
        .await;
    let mut client = replica.client.clone();
    let made = arn(&client.create(request("demo", "done")).await.unwrap());
    setup.fault(r#"{"kind": "drop"}"#).await;
    client.create(request("demo", "open")).await.unwrap_err();

    let (_, all) = operate(&setup.redis, &["list"]);
    let (_, open) = operate(&setup.redis, &["list", "--state", "unknown"]);
    let name = open.split_whitespace().next().unwrap();
    let (_, shown) = operate(&setup.redis, &["show", name]);
    let (code, settled) = operate(
        &setup.redis,
        &["resolve", name, "--succeeded-arn", &made, "--yes"],
    );
    let answer = arn(&client.create(request("demo", "open")).await.unwrap());

    assert_eq!(all.lines().count(), 2, "{all}");
    assert_eq!(open.lines().count(), 1, "{open}");
    assert!(shown.contains("state      unknown"), "{shown}");
    assert!(code == 0 && settled.contains("succeeded with"), "{settled}");
    assert_eq!(answer, made, "what the operator said is the answer");
    assert_eq!(setup.count("executions").await, 1);
}
