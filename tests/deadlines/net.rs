//! The simulated network under hyper, for both sides, and under the AWS SDK.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::time::timeout;
use turmoil::net::TcpStream;

/// A connection of the simulation.
pub(crate) struct Io(TokioIo<TcpStream>);

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self(TokioIo::new(stream))
    }
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Connects within a time, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connector(pub(crate) Option<Duration>);

impl tower::Service<Uri> for Connector {
    type Response = Io;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Io>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let patience = self.0;
        Box::pin(async move {
            let authority = uri.authority().expect("the tests' URLs name a host");
            let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
            let connecting = TcpStream::connect((host, port));
            let stream = match patience {
                Some(patience) => timeout(patience, connecting).await??,
                None => connecting.await?,
            };
            Ok(Io::from(stream))
        })
    }
}

/// The HTTP client of the AWS SDK: hyper with a pool, as the SDK's own is, over the simulated network.
#[derive(Clone, Debug, Default)]
pub(crate) struct SdkHttp(OnceLock<Client<Connector, SdkBody>>);

impl HttpClient for SdkHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let client = self.0.get_or_init(|| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(Connector(settings.connect_timeout()))
        });
        SharedHttpConnector::new(Pooled(client.clone()))
    }
}

impl From<SdkHttp> for SharedHttpClient {
    fn from(http: SdkHttp) -> Self {
        Self::new(http)
    }
}

#[derive(Debug)]
struct Pooled(Client<Connector, SdkBody>);

impl HttpConnector for Pooled {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|e| ConnectorError::user(e.into()))?;
            let response = client.request(request).await.map_err(classify)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

/// As the SDK's own client classifies what hyper says (aws-smithy-http-client 1.5, `downcast_error`).
fn classify(error: hyper_util::client::legacy::Error) -> ConnectorError {
    let causes = || std::iter::successors(error.source(), |&e| e.source());
    let by_hyper = causes().find_map(|e| e.downcast_ref::<hyper::Error>());
    let has_io = causes().any(|e| e.is::<io::Error>());
    match by_hyper {
        Some(hyper) if hyper.is_user() => ConnectorError::user(error.into()),
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() || has_io => ConnectorError::io(error.into()),
        Some(hyper) if hyper.is_incomplete_message() => ConnectorError::other(
            error.into(),
            Some(aws_smithy_types::retry::ErrorKind::TransientError),
        ),
        None if error.is_connect() || has_io => ConnectorError::io(error.into()),
        _ => ConnectorError::other(error.into(), None),
    }
}
