//! Health: what probes are told, and a probe of our own.

use std::{net::SocketAddr, time::Duration};

use tonic::transport::Endpoint;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
    server::HealthReporter,
};

use crate::pb::v1::resource_share_service_server::SERVICE_NAME;

/// Tells probes that the service serves, and whether the server as a whole, which the empty name stands for, is ready for
/// every caller.
pub(super) async fn serving(reporter: &HealthReporter, ready: bool) {
    let whole = if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    reporter.set_service_status("", whole).await;
    reporter
        .set_service_status(SERVICE_NAME, ServingStatus::Serving)
        .await;
}

/// Tells probes that neither serves any more.
pub(super) async fn stop(reporter: &HealthReporter) {
    reporter.set_service_status("", ServingStatus::NotServing).await;
    reporter
        .set_service_status(SERVICE_NAME, ServingStatus::NotServing)
        .await;
}

/// Asks the server at `address` whether `service` serves; the empty name asks for the server as a whole.
///
/// # Errors
/// A sentence that says why it does not, or why it cannot be asked.
///
/// # Cancellation
/// Nothing is left behind.
pub async fn ask(address: SocketAddr, service: &str) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| e.to_string())?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .connect()
        .await
        .map_err(|e| format!("no connection to {address}: {}", crate::failure::chain(&e)))?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|e| format!("{address}: {}", e.message()))?;
    match answer.into_inner().status() {
        health_check_response::ServingStatus::Serving => Ok(()),
        other => Err(format!("{address} answers {}", other.as_str_name())),
    }
}
