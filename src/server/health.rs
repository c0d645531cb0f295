//! Health: what probes are told, and a probe of our own.

use std::{error::Error as _, io, net::SocketAddr, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Error};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
    server::HealthReporter,
};

use super::tls::probe;
use crate::{failure::chain, pb::v1::resource_share_service_server::SERVICE_NAME};

/// Tells probes that the service serves, and whether the server as a whole, which the empty name stands for, is ready for
/// every caller.
pub(super) async fn serving(reporter: &HealthReporter, ready: bool) {
    set(reporter, "", ready).await;
    set(reporter, SERVICE_NAME, true).await;
}

/// Tells probes that ask for `service` whether it is ready.
pub(super) async fn set(reporter: &HealthReporter, service: &str, serving: bool) {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    reporter.set_service_status(service, status).await;
}

/// Tells probes that neither serves any more.
pub(super) async fn stop(reporter: &HealthReporter) {
    set(reporter, "", false).await;
    set(reporter, SERVICE_NAME, false).await;
}

/// Asks the server at `address`, over TLS if there is `tls`, whether `service` serves; the empty name asks for the server
/// as a whole.
///
/// # Errors
/// A sentence that says why it does not, or why it cannot be asked.
///
/// # Cancellation
/// Nothing is left behind.
pub async fn ask(address: SocketAddr, tls: Option<&probe::Settings>, service: &str) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| e.to_string())?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE);
    let connected = match tls {
        Some(tls) => {
            let (config, name) = tls.client(address).map_err(|e| chain(&e))?;
            let connector = TlsConnector::from(config);
            let connect = tower::service_fn(move |_: http::Uri| {
                let shaking = connector.clone();
                let name = name.clone();
                async move {
                    let stream = TcpStream::connect(address).await?;
                    let stream = Box::pin(shaking.connect(name, stream)).await?;
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            });
            endpoint.connect_with_connector(connect).await
        }
        None => endpoint.connect().await,
    };
    let hint = match tls {
        // TLS 1.3 tells a client without a certificate only when it believes to be connected.
        Some(tls) if tls.identity.is_none() => {
            "; if the server requires a certificate, say --certificate-file"
        }
        None => "; if the server speaks TLS, say --ca-file",
        Some(_) => "",
    };
    check(connected, service, hint)
        .await
        .map_err(|why| format!("{address}: {why}"))
}

async fn check(connected: Result<Channel, Error>, service: &str, hint: &str) -> Result<(), String> {
    let channel = connected.map_err(|e| format!("no connection: {}", chain(&e)))?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| match status.source() {
            Some(_lost) => format!("{}{hint}", status.message()),
            None => status.message().to_owned(),
        })?;
    match answer.into_inner().status() {
        health_check_response::ServingStatus::Serving => Ok(()),
        other => Err(format!("answers {}", other.as_str_name())),
    }
}
