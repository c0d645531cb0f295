//! Bearer tokens from a file, replaced in the running program as an operator does it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use ram_facade::pb::v1::ListResourceTypesRequest;
use sha2::{Digest, Sha256};
use tonic::{Code, Request, Status};

use common::{Client, Process, connect, path, until};

/// Replaces the file at once, by one in which these are the tokens of one caller.
fn write(file: &Path, tokens: &[&str]) {
    let new = file.with_extension("new");
    let line = |token: &&str| {
        let hash: String = Sha256::digest(token).iter().map(|b| format!("{b:02x}")).collect();
        format!("{hash} caller\n")
    };
    fs::write(&new, tokens.iter().map(line).collect::<String>()).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, file).unwrap();
}

async fn list(mut client: Client, token: &str) -> Result<(), Status> {
    let mut request = Request::new(ListResourceTypesRequest::default());
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    client.list_resource_types(request).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_under_load_without_a_failed_call() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    write(&file, &["old"]);
    let program = Process::start(
        &[
            "serve",
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--auth-tokens-file",
            path(&file),
        ],
        &[
            ("RAM_FACADE_LIMITS_PER_SECOND", "0"),
            ("RAM_FACADE_PACE_INITIAL_RATE", "10000"),
            ("RAM_FACADE_PACE_MAX_RATE", "10000"),
        ],
    );
    let client = connect(program.address()).await;
    let token = Arc::new(RwLock::new("old"));
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, token) = (client.clone(), Arc::clone(&token));
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let now = *token.read().unwrap();
                    list(client.clone(), now).await.expect("every call succeeds");
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let turn = async || {
        let from = calls.load(Ordering::SeqCst);
        until("the callers go on", async || {
            assert!(
                callers.iter().all(|caller| !caller.is_finished()),
                "a caller failed"
            );
            calls.load(Ordering::SeqCst) >= from + 40
        })
        .await;
    };

    turn().await;
    write(&file, &["old", "new"]);
    program.signal("-HUP");
    until("the new token is known", async || {
        list(client.clone(), "new").await.is_ok()
    })
    .await;
    *token.write().unwrap() = "new";
    // Every caller has ended its last call with the old one.
    turn().await;
    write(&file, &["new"]);
    program.signal("-HUP");
    until("the old token is unknown", async || {
        list(client.clone(), "old")
            .await
            .is_err_and(|status| status.code() == Code::Unauthenticated)
    })
    .await;
    turn().await;

    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
}
