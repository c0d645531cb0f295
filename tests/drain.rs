//! Stopping, health, and the command line, as a supervisor and an operator see them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{
    Process, command, connect, put_faults, refusal, request,
    secrets::{ALPHA, BETA, token_line},
    until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SANDBOX: [&str; 4] = ["serve", "--sandbox", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn sigterm_lets_calls_in_flight_finish_refuses_new_ones_and_exits_with_0() {
    let server = Process::start(&SANDBOX, &[("RAM_FACADE_CONNECTIONS_DRAIN_MS", "4000")]);
    let sandbox = server.sandbox_url();
    let address = server.address();
    put_faults(&sandbox, r#"{"latency_ms": 800}"#).await;
    // What a drain must not wait for: a connection that says nothing, and a request that never ends.
    let _idle = TcpStream::connect(address).await.unwrap();
    let half = common::raw::Raw::connect(address).await;
    tokio::spawn(async move { half.send_unfinished(common::raw::request(), &[0, 0]).await });

    let client = connect(address).await;
    let calls: Vec<_> = (0..20)
        .map(|i| {
            let mut client = client.clone();
            tokio::spawn(async move { client.create(request("demo", &format!("token-{i}"))).await })
        })
        .collect();
    let all = || async { common::stats(&sandbox).await["requests"]["CreateResourceShare"] == 20 };
    until("every call is at RAM", all).await;
    server.signal("-TERM");

    // The same connection: what is sent on it after the signal is refused, not lost.
    let mut late = client.clone();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    let refused = loop {
        match late.create(request("late", "late")).await {
            Ok(_) => continue,
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let status = server.exit(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_drain_ends_by_its_deadline_although_connections_stay_open() {
    let server = Process::start(&SANDBOX, &[("RAM_FACADE_CONNECTIONS_DRAIN_MS", "300")]);
    let address = server.address();
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"PRI * HTTP").await.unwrap();
    let half = common::raw::Raw::connect(address).await;
    tokio::spawn(async move { half.send_unfinished(common::raw::request(), &[0, 0]).await });

    server.signal("-TERM");

    assert_eq!(server.exit(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn health_speaks_for_the_server_and_for_its_service() {
    let server = Process::start(&SANDBOX, &[]);
    let address = server.address();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy();
    let mut health = HealthClient::new(channel);

    for service in ["", "ramfacade.v1.ResourceShareService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health
        .check(HealthCheckRequest {
            service: "no.such.Service".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let asked = common::output(&mut command(
        &["healthcheck", "--address", &address.to_string()],
        &[],
    ));
    assert_eq!(
        (asked.status.code(), asked.stdout.as_slice()),
        (Some(0), b"SERVING\n".as_slice())
    );
}

#[tokio::test]
async fn a_health_watch_sees_the_drain_begin() {
    let server = Process::start(&SANDBOX, &[("RAM_FACADE_CONNECTIONS_DRAIN_MS", "2000")]);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );

    server.signal("-TERM");

    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    drop(watch);
    assert_eq!(server.exit(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn healthcheck_fails_where_nothing_serves() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    let asked = common::output(&mut command(
        &["healthcheck", "--address", &format!("127.0.0.1:{port}")],
        &[],
    ));

    assert_eq!(asked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("no connection"));
}

#[test]
fn wrong_usage_and_wrong_configuration_exit_with_2_and_name_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("facade.toml");
    std::fs::write(
        &file,
        "listen = \"0.0.0.0:1\"\n[retry]\nmax_attempts = 99\n[frob]\nx = 1\n",
    )
    .unwrap();

    for (arguments, said) in [
        (&["serve"][..], &["no authentication", "store"][..]),
        (&["frob"], &["frob"]),
        (&["serve", "--sandbox", "--listen", "0.0.0.0:0"], &["loopback"]),
        (
            &[
                "serve",
                "--insecure-no-auth",
                "--store",
                ":memory:",
                "--listen",
                "0.0.0.0:0",
            ],
            &["loopback"],
        ),
        (&["serve", "--config", "/nonexistent"], &["/nonexistent"]),
        (&["serve", "--sandbox", "--store", "postgres://x"], &["store"]),
        (
            &["check-config", "--sandbox", "--config", common::path(&file)],
            &["RAM_FACADE_RETRY_MAX_ATTEMPTS", "frob.x", "loopback"],
        ),
        (&["sandbox", "--listen", "0.0.0.0:0"], &["loopback"]),
    ] {
        let output = common::output(&mut command(arguments, &[]));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        for part in said {
            assert!(
                errors.contains(part),
                "{arguments:?} does not mention {part}: {errors}"
            );
        }
    }
}

#[test]
fn check_config_accepts_what_serve_would() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "not a token line\n").unwrap();
    let check = |extra: &[&str]| {
        let arguments = [&["check-config", "--store", ":memory:"][..], extra].concat();
        common::output(&mut command(&arguments, &[]))
    };

    assert_eq!(check(&["--insecure-no-auth"]).status.code(), Some(0));
    let open = dir.path().join("open.toml");
    std::fs::write(&open, "policy.allow_all = true").unwrap();
    let with_tokens = [
        "--config",
        common::path(&open),
        "--auth-tokens-file",
        common::path(&tokens),
    ];
    let faulty = check(&with_tokens);
    assert_eq!(faulty.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&faulty.stderr).contains("line 1"),
        "{faulty:?}"
    );
}

#[tokio::test]
async fn tokens_are_reread_on_sighup_and_a_broken_file_keeps_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    let alpha = token_line(ALPHA, "service-a");
    let beta = token_line(BETA, "service-b");
    std::fs::write(&file, alpha).unwrap();
    let server = Process::start(
        &[&SANDBOX[..], &["--auth-tokens-file", common::path(&file)]].concat(),
        &[],
    );
    let client = connect(server.address()).await;
    let accepts = |bearer: &'static str| {
        let mut client = client.clone();
        async move {
            let mut request = tonic::Request::new(request("demo", "token-1"));
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {bearer}").parse().unwrap());
            match client.create(request).await {
                Ok(_) => true,
                Err(status) => {
                    assert_eq!(refusal(&status).reason, "CREDENTIALS_INVALID");
                    false
                }
            }
        }
    };
    assert!(accepts(ALPHA).await && !accepts(BETA).await);

    std::fs::write(&file, "broken").unwrap();
    server.signal("-HUP");
    assert!(accepts(ALPHA).await);

    std::fs::write(&file, beta).unwrap();
    server.signal("-HUP");
    until("the new token is known", || accepts(BETA)).await;
    assert!(
        !accepts(ALPHA).await,
        "a revoked token cannot read what it created"
    );
}
