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
    sync::{Arc, RwLock},
};

use ram_facade::pb::v1::ListResourceTypesRequest;
use tonic::{Code, Request, Status};

use common::{Client, Process, connect, load::Load, path, secrets::token_line, until};

const OLD: &str = "canary-old-token";
const NEW: &str = "canary-new-token";

/// Replaces the file at once, by one in which these are the tokens of one caller.
fn write(file: &Path, tokens: &[&str]) {
    let new = file.with_extension("new");
    let lines: String = tokens.iter().map(|token| token_line(token, "caller")).collect();
    fs::write(&new, lines).unwrap();
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
    write(&file, &[OLD]);
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
    let token = Arc::new(RwLock::new(OLD));
    let load = Load::start(4, {
        let (client, token) = (client.clone(), Arc::clone(&token));
        move || {
            let (client, token) = (client.clone(), *token.read().unwrap());
            async move { list(client, token).await.expect("every call succeeds") }
        }
    });

    load.go_on_for(40).await;
    write(&file, &[OLD, NEW]);
    program.signal("-HUP");
    until("the new token is known", async || {
        list(client.clone(), NEW).await.is_ok()
    })
    .await;
    *token.write().unwrap() = NEW;
    // Every caller has ended its last call with the old one.
    load.go_on_for(40).await;
    write(&file, &[NEW]);
    program.signal("-HUP");
    until("the old token is unknown", async || {
        list(client.clone(), OLD)
            .await
            .is_err_and(|status| status.code() == Code::Unauthenticated)
    })
    .await;
    load.go_on_for(40).await;

    load.stop().await;
}
