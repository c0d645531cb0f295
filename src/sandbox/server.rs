//! The accept loop: every connection is a task that ends with its client or with the endpoint.

use std::{sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::{Shared, http};

/// How long to leave the listener alone when it fails, for want of file descriptors in most cases.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until the endpoint ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let end = shared.end.clone();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = connection(stream, shared.clone());
                    let end = shared.end.clone();
                    shared
                        .tasks
                        .spawn(async move { end.run_until_cancelled(connection).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    end.run_until_cancelled(accept).await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // An answer is a few small writes; without this each would wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| http::handle(shared.clone(), request));
    // A client that goes away ends the connection: what it began goes on in its own task.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the sandbox ended early");
    }
}
