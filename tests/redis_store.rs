//! The store that replicas share, against real servers. Not part of a plain `cargo test`: `make test-redis`.

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
#[path = "common/store_suite.rs"]
mod suite;

use std::{
    cell::Cell,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use common::redis_server::{REDIS, RedisServer, VALKEY};
use ram_facade::idempotency::{
    redis::{OpenError, RedisStore, Settings},
    store::{Change, Store, Swap},
};
use suite::{Removes, key, put, record};
use tokio::time::Instant;

fn settings(server: &RedisServer) -> Settings {
    Settings::new(server.url().parse().unwrap())
}

async fn open(server: &RedisServer) -> RedisStore {
    RedisStore::open(&settings(server)).await.unwrap()
}

/// Every test has a database of its own.
async fn conforms(program: &str) {
    let server = RedisServer::with(program, &["--databases", "64"]).await;
    let database = AtomicU32::new(0);
    suite::run_without_sweep(async || {
        let number = database.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}/{number}", server.url());
        RedisStore::open(&Settings::new(url.parse().unwrap()))
            .await
            .unwrap()
    })
    .await;
    server.cli(&["FLUSHALL"]);
    suite::a_scan_finds_every_key_once_and_in_order(&open(&server).await).await;
}

fn is_a_map(program: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(RedisServer::with(program, &["--appendfsync", "no"]));
    let reopened = Cell::new(0);
    let make = async || {
        server.cli(&["FLUSHALL"]);
        open(&server).await
    };
    let reopen = async |store| {
        drop(store);
        reopened.set(reopened.get() + 1);
        open(&server).await
    };
    suite::is_a_map(48, Removes::Itself, make, reopen);
    assert!(reopened.get() > 0);
}

#[tokio::test]
async fn redis_does_what_a_store_must() {
    conforms(REDIS).await;
}

#[test]
fn redis_is_a_map_that_survives_being_left_and_joined() {
    is_a_map(REDIS);
}

fn has_valkey() -> bool {
    let found = Command::new(VALKEY).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no {VALKEY} on PATH");
    }
    found
}

#[tokio::test]
async fn valkey_does_what_a_store_must_where_it_is_installed() {
    if has_valkey() {
        conforms(VALKEY).await;
    }
}

#[test]
fn valkey_is_a_map_where_it_is_installed() {
    if has_valkey() {
        is_a_map(VALKEY);
    }
}

#[tokio::test]
async fn a_restart_from_the_log_keeps_every_answered_write() {
    let mut server = RedisServer::start().await;
    let store = open(&server).await;
    let mut versions = Vec::new();
    for name in 0..50 {
        versions.push(put(&store, &name.to_string(), None, record("one")).await);
    }

    server.kill();
    server.run().await;

    // Over the connection that broke, and without its script, which the log does not hold.
    for (name, version) in versions.into_iter().enumerate() {
        let name = name.to_string();
        let stored = store.load(key(&name)).await.unwrap().unwrap();
        assert_eq!((stored.version, &stored.record[..]), (version, &b"one"[..]));
        put(&store, &name, Some(version), record("two")).await;
    }
}

#[tokio::test]
async fn a_flushed_script_is_loaded_again() {
    let server = RedisServer::start().await;
    let store = open(&server).await;
    server.cli(&["SCRIPT", "FLUSH"]);

    put(&store, "a", None, record("one")).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error_soon_and_one_that_is_back_is_used_at_once() {
    let mut server = RedisServer::start().await;
    let store = open(&server).await;
    let version = put(&store, "a", None, record("one")).await;
    server.kill();

    for _ in 0..3 {
        let asked = Instant::now();
        assert!(store.load(key("a")).await.is_err());
        assert!(
            store
                .compare_and_swap(key("b"), None, record("one"))
                .await
                .is_err()
        );
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    server.run().await;

    assert_eq!(store.load(key("a")).await.unwrap().unwrap().version, version);
    assert_eq!(store.load(key("b")).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_stands_still_is_an_error_within_the_time_for_an_answer() {
    let server = RedisServer::start().await;
    let settings = Settings {
        response_timeout: Duration::from_millis(200),
        ..settings(&server)
    };
    let store = RedisStore::open(&settings).await.unwrap();
    server.signal("-STOP");

    let asked = Instant::now();
    let loaded = store.load(key("a")).await;
    let waited = asked.elapsed();
    server.signal("-CONT");

    assert!(loaded.is_err());
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    put(&store, "a", None, record("one")).await;
}

#[tokio::test]
async fn the_server_removes_a_record_an_hour_after_it_is_void_and_never_sooner_than_was_promised() {
    let server = RedisServer::start().await;
    let store = open(&server).await;
    let expiring = |expires| Change::Put {
        record: "one".into(),
        expires,
    };
    let left = || -> u64 {
        let name = server.cli(&["--raw", "KEYS", "ram-facade:idem:v1:*"]);
        server.cli(&["PTTL", &name]).parse().unwrap()
    };
    let day = 86_400_000;

    let first = put(&store, "a", None, expiring(ram_facade::clock::wall_now() + day)).await;
    let after_the_first = left();
    // What a replica writes whose clock stands a day ahead.
    let second = put(&store, "a", Some(first), expiring(0)).await;
    let after_the_second = left();
    store
        .compare_and_swap(key("a"), Some(second), Change::Delete)
        .await
        .unwrap();
    put(&store, "a", None, expiring(0)).await;

    let hour = 3_600_000;
    assert!(
        (day + hour - 10_000..=day + hour).contains(&after_the_first),
        "{after_the_first}"
    );
    assert!(
        (day + hour - 10_000..=day + hour).contains(&after_the_second),
        "{after_the_second}"
    );
    assert!((hour - 10_000..=hour).contains(&left()), "{}", left());
}

#[tokio::test]
async fn a_swap_that_is_sent_twice_is_done_once_and_answered_as_done_twice() {
    let server = RedisServer::start().await;
    let script = include_str!("../src/idempotency/redis/swap.lua");
    let swap =
        |expected: &str, new: &str| server.cli(&["EVAL", script, "1", "k", expected, new, "record", "60000"]);

    assert_eq!(swap("", "version1"), "1");
    assert_eq!(swap("", "version1"), "1");
    assert_eq!(swap("", "version2"), "0");
    assert_eq!(swap("version1", "version2"), "1");
    assert_eq!(swap("", "version1"), "0");
    assert_eq!(server.cli(&["GET", "k"]), "version2record");
}

#[tokio::test]
async fn a_demoted_server_is_left_for_the_one_behind_the_same_address() {
    let old = RedisServer::start().await;
    let new = RedisServer::start().await;
    let address = Address::before(&old).await;
    let store = RedisStore::open(&Settings::new(address.url().parse().unwrap()))
        .await
        .unwrap();
    put(&store, "a", None, record("one")).await;

    old.cli(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    address.leads_to(&new);

    put(&store, "b", None, record("one")).await;
    assert_eq!(new.cli(&["DBSIZE"]), "1");
}

/// An address that leads new connections somewhere else, as a name does after a failover. Old ones stay.
struct Address {
    port: u16,
    to: std::sync::Arc<std::sync::atomic::AtomicU16>,
}

impl Address {
    async fn before(server: &RedisServer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = std::sync::Arc::new(std::sync::atomic::AtomicU16::new(server.port()));
        let target = std::sync::Arc::clone(&to);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let port = target.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Self { port, to }
    }

    fn leads_to(&self, server: &RedisServer) {
        self.to.store(server.port(), Ordering::SeqCst);
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

async fn refused(settings: &Settings) -> String {
    let error = RedisStore::open(settings).await.err().expect("it cannot be used");
    ram_facade::failure::chain(&error)
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_refused_at_once_with_its_reason() {
    let primary = RedisServer::start().await;
    let replica = RedisServer::with(REDIS, &["--replicaof", "127.0.0.1", &primary.port().to_string()]).await;
    let said = refused(&settings(&replica)).await;
    assert!(said.contains("read only replica"), "{said}");

    let locked = RedisServer::with(REDIS, &["--requirepass", "hunter2"]).await;
    assert!(refused(&settings(&locked)).await.contains("NOAUTH"));

    let mut gone = RedisServer::start().await;
    gone.kill();
    assert!(refused(&settings(&gone)).await.contains("refused"));

    let missing = Settings {
        password_file: Some("/nonexistent/password".into()),
        ..settings(&primary)
    };
    let error = RedisStore::open(&missing).await.err().unwrap();
    assert!(
        matches!(error, OpenError::File { .. }) && error.is_in_the_settings(),
        "{error}"
    );
    assert!(RedisStore::check(&missing).is_err());
    assert!(RedisStore::check(&settings(&gone)).is_ok());
}

#[tokio::test]
async fn a_user_with_the_documented_rights_and_its_password_in_a_file_is_enough() {
    let guide = include_str!("../docs/redis.md");
    let rights = guide
        .lines()
        .find_map(|line| line.trim().strip_prefix("ACL SETUSER ram-facade "))
        .unwrap();
    let server = RedisServer::start().await;
    let mut command = vec!["ACL", "SETUSER", "ram-facade"];
    command.extend(
        rights
            .split(' ')
            .map(|right| if right.starts_with('>') { ">hunter2" } else { right }),
    );
    assert_eq!(server.cli(&command), "OK");
    server.cli(&["ACL", "SETUSER", "default", "off"]);
    let settings = Settings {
        user: Some("ram-facade".to_owned()),
        password_file: Some(server.file("password", "hunter2\n")),
        ..settings(&server)
    };

    let store = RedisStore::open(&settings).await.unwrap();

    let version = put(&store, "a", None, record("one")).await;
    assert!(store.load(key("a")).await.unwrap().is_some());
    let swap = store
        .compare_and_swap(key("a"), Some(version), Change::Delete)
        .await
        .unwrap();
    assert_eq!(swap, Swap::Deleted);
}

#[tokio::test]
async fn tls_is_spoken_to_a_server_that_the_authority_vouches_for_and_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key_file) = (at("cert.pem"), at("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key_file,
            "-out",
            &cert,
        ])
        .output()
        .expect("openssl is on PATH (`scripts/tools.sh redis` installs it)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = common::redis_server::free_port();
    let _server = RedisServer::with(
        REDIS,
        &[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key_file,
            "--tls-auth-clients",
            "no",
        ],
    )
    .await;
    let settings = Settings::new(format!("rediss://127.0.0.1:{port}").parse().unwrap());

    let stranger = refused(&settings).await;
    let known = Settings {
        ca_file: Some(cert.into()),
        ..settings
    };
    let store = RedisStore::open(&known).await.unwrap();

    assert!(
        stranger.contains("UnknownIssuer") || stranger.contains("certificate"),
        "{stranger}"
    );
    put(&store, "a", None, record("one")).await;
}
