//! Metrics as text over HTTP, for Prometheus and whoever else scrapes.
//!
//! Each module that counts something has its own metrics; here is where they are collected, and shown. Off unless
//! `metrics.listen` is set. The endpoint has no authentication and shows no caller's data: keep it in the cluster.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

/// Where metrics are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Address to listen on. Default: none, and nothing is shown.
    pub listen: Option<SocketAddr>,
}

/// Connections at a time: a few scrapers and a person.
const MAX_CONNECTIONS: usize = 8;
/// Longest that a connection lasts. A scrape takes milliseconds.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(10);
/// What `/metrics` answers with (OpenMetrics 1.0, which Prometheus reads since 2.5).
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shows `registry` on `listener` until `stop`.
///
/// # Cancellation
/// Connections are cut.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Whoever comes when all places are taken is closed: scrapes are repeated.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let registry = Arc::clone(&registry);
        let stop = stop.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let response = answer(&request, &registry);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A connection that breaks is the scraper's to notice.
            let _ = stop
                .run_until_cancelled(timeout(MAX_CONNECTION_TIME, connection))
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "there is only /metrics\n");
    }
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
    }
    let mut page = String::new();
    if text::encode(&mut page, registry).is_err() {
        return plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written\n",
        );
    }
    let mut response = Response::new(Full::from(page));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(CONTENT_TYPE),
    );
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
