//! The policies of this server: loaded, watched, and probes told whether they are those of the files.

use std::{path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use super::StartError;
use crate::{
    auth::policy::{EveryCaller, Policy},
    config::{Config, Policies},
};

#[cfg(feature = "cedar")]
use crate::{
    auth::cedar::{Cedar, LoadError},
    failure::chain,
    operations,
};

/// The name under which the health service says whether the policies in force are those of the files. The server as a
/// whole goes on serving by the old ones, so that a typing error takes no replica out of service.
#[cfg(feature = "cedar")]
const HEALTH: &str = "ram-facade.policy";

/// Time between two looks at the files: as long as for tokens, and whoever takes a right away waits for it.
#[cfg(feature = "cedar")]
const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// What decides about calls, kept current until `stop` is cancelled.
pub(super) async fn start(
    config: &Config,
    health: &HealthReporter,
    stop: &CancellationToken,
) -> Result<Arc<dyn Policy>, StartError> {
    match &config.policies {
        Policies::Cedar(path) => start_cedar(path, health, stop).await,
        Policies::AllowAll => {
            if !config.authentication.is_off() {
                tracing::warn!(
                    "no policy: every authenticated caller may do everything that the credentials may"
                );
            }
            Ok(Arc::new(EveryCaller))
        }
    }
}

/// Says what is wrong with the policies.
pub(super) fn check(policies: &Policies) -> Result<(), String> {
    match policies {
        Policies::Cedar(path) => check_cedar(path),
        Policies::AllowAll => Ok(()),
    }
}

/// Loads the policies at `path` and keeps them current until `stop` is cancelled.
#[cfg(feature = "cedar")]
async fn start_cedar(
    path: &Path,
    health: &HealthReporter,
    stop: &CancellationToken,
) -> Result<Arc<dyn Policy>, StartError> {
    let cedar = Arc::new(load(path).map_err(|e| StartError::Policy(chain(&e)))?);
    tracing::info!(path = %path.display(), policies = cedar.len(), "policies decide who may share what");
    super::health::set(health, HEALTH, true).await;

    let watching = Arc::clone(&cedar).watch(POLL_INTERVAL, stop.clone());
    super::watch(watching, "the policies are not watched: changes need a restart");
    let (health, mut current, stop) = (health.clone(), cedar.is_current(), stop.clone());
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        while current.changed().await.is_ok() {
            let serving = *current.borrow_and_update();
            super::health::set(&health, HEALTH, serving).await;
        }
    }));
    Ok(cedar)
}

#[cfg(feature = "cedar")]
fn check_cedar(path: &Path) -> Result<(), String> {
    load(path).map(drop).map_err(|e| chain(&e))
}

#[cfg(feature = "cedar")]
fn load(path: &Path) -> Result<Cedar, LoadError> {
    Cedar::load(path, operations::ALL)
}

#[cfg(not(feature = "cedar"))]
const NOT_BUILT: &str = "this build has no policies (feature `cedar`)";

/// The configuration refuses policies in a build without them; so does this.
#[cfg(not(feature = "cedar"))]
#[expect(clippy::unused_async, reason = "the form of the other build")]
async fn start_cedar(
    _: &Path,
    _: &HealthReporter,
    _: &CancellationToken,
) -> Result<Arc<dyn Policy>, StartError> {
    Err(StartError::Policy(NOT_BUILT.to_owned()))
}

#[cfg(not(feature = "cedar"))]
fn check_cedar(_: &Path) -> Result<(), String> {
    Err(NOT_BUILT.to_owned())
}
