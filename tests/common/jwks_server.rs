//! A server of JWK sets that can do everything wrong: HTTP/1.1 by hyper on a loopback port.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Play {
    /// Answers 200 with this body.
    Body(String),
    /// Answers this status, with a redirect to a place that would have the keys.
    Status(u16),
    /// Answers 200 with this many blanks.
    Huge(usize),
    /// Answers nothing for this long.
    Silence(Duration),
}

#[derive(Clone)]
pub struct JwksServer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
}

struct State {
    play: Mutex<Play>,
    requests: AtomicUsize,
    last: Mutex<HeaderMap>,
}

impl JwksServer {
    /// Serves `play` over plain HTTP.
    pub async fn start(play: Play) -> Self {
        Self::with(play, None).await
    }

    /// Serves over TLS, if there is an acceptor.
    pub async fn with(play: Play, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there is a free port");
        let server = Self {
            address: listener.local_addr().expect("it has an address"),
            scheme: if tls.is_some() { "https" } else { "http" },
            state: Arc::new(State {
                play: Mutex::new(play),
                requests: AtomicUsize::new(0),
                last: Mutex::default(),
            }),
        };
        let state = Arc::clone(&server.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&state), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("{}://{}/keys", self.scheme, self.address)
    }

    pub fn play(&self, play: Play) {
        *self.state.play.lock().expect("nobody panics with it") = play;
    }

    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// The headers of the last request.
    pub fn last(&self) -> HeaderMap {
        self.state.last.lock().expect("nobody panics with it").clone()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, &request).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    *state.last.lock().expect("nobody panics with it") = request.headers().clone();
    let play = state.play.lock().expect("nobody panics with it").clone();
    let body = |text: String| Response::new(Full::new(Bytes::from(text)));
    match play {
        Play::Body(text) => body(text),
        Play::Status(status) => {
            let mut answer = body("<html>not here</html>".to_owned());
            *answer.status_mut() = status.try_into().expect("the test's status is one");
            let place = "http://127.0.0.1:1/keys".try_into().expect("it is a header");
            answer.headers_mut().insert(header::LOCATION, place);
            answer
        }
        Play::Huge(length) => body(" ".repeat(length)),
        Play::Silence(time) => {
            tokio::time::sleep(time).await;
            body(String::new())
        }
    }
}
