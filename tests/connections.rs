//! Connections end to end: a real server on loopback, and a client that writes frames by hand, because no well-behaved
//! one does what these tests need.
//!
//! Time is real here, since the sockets are. Each test waits for what must happen, never for a fixed time; `within`
//! only bounds how long a failing test takes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests ends its test when something is not as it must be"
)]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use ram_facade::{
    layers::{
        catch_panic::CatchPanicLayer,
        request_id::RequestIdLayer,
        trace::TraceLayer,
        wire::{Handler, Request, Response},
    },
    server::connections::{Drained, Settings, serve},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

/// A deadline of the server that a test lets pass.
const SHORT: Duration = Duration::from_millis(200);
/// One that it must not reach.
const LONG: Duration = Duration::from_secs(30);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let Ok(done) = timeout(Duration::from_secs(10), waiting).await else {
        panic!("waited in vain: {what}");
    };
    done
}

// === The server ===

/// What the handler tells the test and is told by it.
#[derive(Clone)]
struct Stage {
    /// One permit for each handler that began.
    began: Arc<Semaphore>,
    /// One permit for each handler that was dropped, finished or not.
    dropped: Arc<Semaphore>,
    /// One permit for each handler of `/slow` that may answer.
    curtain: Arc<Semaphore>,
}

/// Answers at once, on `/slow` when the curtain rises, on `/panic` not at all.
fn handler(stage: Stage) -> impl Handler {
    struct Exit(Arc<Semaphore>);
    impl Drop for Exit {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }

    let service = tower::service_fn(move |request: Request| {
        let stage = stage.clone();
        async move {
            let _exit = Exit(Arc::clone(&stage.dropped));
            stage.began.add_permits(1);
            let (head, body) = request.into_parts();
            match head.uri.path() {
                "/panic" => panic!("on purpose"),
                "/slow" => stage.curtain.acquire().await.unwrap().forget(),
                "/read" => drop(body.collect().await),
                _ => {}
            }
            let mut response = Response::default();
            response
                .headers_mut()
                .insert("grpc-status", HeaderValue::from_static("0"));
            Ok::<_, Infallible>(response)
        }
    });
    ServiceBuilder::new()
        .layer(RequestIdLayer)
        .layer(TraceLayer::default())
        .layer(CatchPanicLayer)
        .service(service)
}

struct Server {
    address: SocketAddr,
    stage: Stage,
    shutdown: CancellationToken,
    running: JoinHandle<Drained>,
}

impl Server {
    async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let none = || Arc::new(Semaphore::new(0));
        let stage = Stage {
            began: none(),
            dropped: none(),
            curtain: none(),
        };
        let running = tokio::spawn(serve(
            listener,
            None,
            handler(stage.clone()),
            settings,
            shutdown.clone(),
        ));
        Self {
            address,
            stage,
            shutdown,
            running,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn client(&self) -> Client {
        let mut client = Client {
            stream: self.connect().await,
            answers_pings: true,
        };
        client.send(PREFACE).await;
        client.frame(SETTINGS, 0, 0, &[]).await;
        client
    }

    /// A connection that the server surely counts: it has answered on it.
    async fn settled_client(&self) -> Client {
        let mut client = self.client().await;
        client.next_of(SETTINGS).await;
        client
    }

    async fn handlers_began(&self, count: u32) {
        let began = self.stage.began.acquire_many(count);
        within("the handlers to begin", began).await.unwrap().forget();
    }

    async fn handler_dropped(&self) {
        let dropped = self.stage.dropped.acquire();
        within("the handler to be dropped", dropped)
            .await
            .unwrap()
            .forget();
    }

    fn let_one_answer(&self) {
        self.stage.curtain.add_permits(1);
    }

    async fn drained(self) -> Drained {
        within("the drain to end", self.running).await.unwrap()
    }
}

// === The client ===

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

struct Client {
    stream: TcpStream,
    answers_pings: bool,
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        // The server may have closed already; what it sent before is still there to read.
        let _ = self.stream.write_all(bytes).await;
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.send(&bytes).await;
    }

    /// Sends the head of a request: POST http, `path` as a literal of the static table's `:path`.
    async fn request(&mut self, stream: u32, path: &str, flags: u8) {
        let mut block = vec![0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend(path.as_bytes());
        self.frame(HEADERS, END_HEADERS | flags, stream, &block).await;
    }

    /// The next frame, `None` when the server has closed.
    async fn next(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
                payload,
            })
        };
        let frame = within("a frame", reading).await?;
        if frame.kind == PING && frame.flags & ACK == 0 && self.answers_pings {
            self.frame(PING, ACK, 0, &frame.payload).await;
        }
        Some(frame)
    }

    async fn next_of(&mut self, kind: u8) -> Frame {
        while let Some(frame) = self.next().await {
            if frame.kind == kind && !(kind == SETTINGS && frame.flags & ACK != 0) {
                return frame;
            }
        }
        panic!("the server closed before a frame of kind {kind}");
    }

    async fn is_closed(&mut self) -> bool {
        while self.next().await.is_some() {}
        true
    }
}

async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    // Closed with a reset is closed too.
    let _ = within("the server to close", stream.read_to_end(&mut rest)).await;
    true
}

// === What one connection may take ===

#[tokio::test]
async fn the_limits_are_advertised() {
    let server = Server::start(Settings::default()).await;

    let settings = server.client().await.next_of(SETTINGS).await;

    let value = |id: u16| {
        settings.payload.chunks(6).find_map(|entry| {
            (u16::from_be_bytes([entry[0], entry[1]]) == id)
                .then(|| u32::from_be_bytes(entry[2..].try_into().unwrap()))
        })
    };
    assert_eq!(value(3), Some(100), "MAX_CONCURRENT_STREAMS");
    // Absent is the protocol's own value, which is ours.
    assert_eq!(value(4).unwrap_or(65_535), 65_536, "INITIAL_WINDOW_SIZE");
    assert_eq!(value(5).unwrap_or(16_384), 16_384, "MAX_FRAME_SIZE");
    assert_eq!(value(6), Some(131_072), "MAX_HEADER_LIST_SIZE");
}

#[tokio::test]
async fn a_stream_over_the_limit_is_refused_and_reaches_no_handler() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.settled_client().await;

    for index in 0..101 {
        client.request(2 * index + 1, "/slow", END_STREAM).await;
    }

    let refused = client.next_of(RST_STREAM).await;
    const REFUSED_STREAM: u32 = 7;
    assert_eq!((refused.stream, refused.code()), (201, REFUSED_STREAM));
    server.handlers_began(100).await;
    assert_eq!(server.stage.began.available_permits(), 0);
}

#[tokio::test]
async fn a_flood_of_faulty_streams_closes_the_connection() {
    let server = Server::start(Settings {
        max_local_error_reset_streams: 16,
        ..Settings::default()
    })
    .await;
    let mut client = server.settled_client().await;

    for index in 0..100 {
        let stream = 2 * index + 1;
        client.request(stream, "/slow", 0).await;
        // More window than the protocol knows: the server has to reset the stream.
        client
            .frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())
            .await;
    }

    const ENHANCE_YOUR_CALM: u32 = 11;
    assert_eq!(client.next_of(GOAWAY).await.code(), ENHANCE_YOUR_CALM);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_closed() {
    let server = Server::start(Settings {
        keepalive_interval: SHORT,
        keepalive_timeout: SHORT,
        ..Settings::default()
    })
    .await;
    let mut client = server.settled_client().await;
    client.answers_pings = false;

    client.next_of(PING).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_panic_is_answered_internal_and_the_connection_lives_on() {
    let server = Server::start(Settings::default()).await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);

    let mut call = async |path: &str| -> HeaderMap {
        let uri = format!("http://localhost{path}");
        let request = http::Request::post(uri).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        within("an answer", answer).await.unwrap().headers().clone()
    };
    let panicked = call("/panic").await;
    let after = call("/").await;

    assert_eq!(panicked["grpc-status"], "13");
    assert!(panicked.contains_key("x-request-id"));
    assert_eq!(after["grpc-status"], "0");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_call_along() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.client().await;
    client.request(1, "/slow", END_STREAM).await;
    server.handlers_began(1).await;

    drop(client);

    server.handler_dropped().await;
}

// === Who may connect ===

#[tokio::test]
async fn a_client_that_does_not_say_what_it_speaks_is_closed() {
    let server = Server::start(Settings {
        preface_timeout: SHORT,
        ..Settings::default()
    })
    .await;
    let silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(&PREFACE[..12]).await.unwrap();
    let mut almost = server.connect().await;
    almost.write_all(&PREFACE[..23]).await.unwrap();

    let began = Instant::now();
    assert!(is_closed(silent).await && is_closed(half).await && is_closed(almost).await);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_drips_its_preface_gets_no_more_time() {
    let server = Server::start(Settings {
        preface_timeout: SHORT,
        ..Settings::default()
    })
    .await;
    let (mut read, mut write) = server.connect().await.into_split();

    let dripping = tokio::spawn(async move {
        for byte in PREFACE.iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });

    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = within("the server to close", read.read_to_end(&mut rest)).await;
    dripping.abort();
    // 24 bytes would take 1.2 seconds.
    assert!(
        began.elapsed() < Duration::from_millis(1_000),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_has_greeted_may_stay() {
    let server = Server::start(Settings {
        preface_timeout: SHORT,
        ..Settings::default()
    })
    .await;
    let mut client = server.settled_client().await;

    tokio::time::sleep(2 * SHORT).await;

    client.request(1, "/", END_STREAM).await;
    assert_eq!(client.next_of(HEADERS).await.stream, 1);
}

#[tokio::test]
async fn other_protocols_are_closed() {
    let server = Server::start(Settings::default()).await;
    for greeting in [
        &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        &[
            0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
        ],
        &[0; 64],
    ] {
        let mut stream = server.connect().await;
        stream.write_all(greeting).await.unwrap();
        assert!(is_closed(stream).await);
    }
    assert_eq!(server.stage.began.available_permits(), 0);
}

#[tokio::test]
async fn a_connection_over_the_cap_is_closed_until_another_one_ends() {
    let server = Server::start(Settings {
        max_connections: 2,
        ..Settings::default()
    })
    .await;
    let first = server.settled_client().await;
    let mut second = server.settled_client().await;

    assert!(is_closed(server.connect().await).await);

    second.request(1, "/", END_STREAM).await;
    assert_eq!(second.next_of(HEADERS).await.stream, 1, "the others live on");
    drop(first);
    within("a place", async {
        loop {
            let mut again = server.client().await;
            if again.next().await.is_some() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_over_the_cap_of_its_address_is_closed() {
    let server = Server::start(Settings {
        max_connections_per_ip: 1,
        ..Settings::default()
    })
    .await;
    let _first = server.settled_client().await;

    assert!(is_closed(server.connect().await).await);

    // Any address of 127/8 is loopback.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut elsewhere = Client {
        stream: socket.connect(server.address).await.unwrap(),
        answers_pings: true,
    };
    elsewhere.send(PREFACE).await;
    elsewhere.frame(SETTINGS, 0, 0, &[]).await;
    elsewhere.next_of(SETTINGS).await;
}

// === How connections end ===

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_finishes_its_call() {
    let server = Server::start(Settings {
        max_age: SHORT,
        max_age_grace: LONG,
        ..Settings::default()
    })
    .await;
    let mut client = server.client().await;
    client.request(1, "/slow", END_STREAM).await;

    const NO_ERROR: u32 = 0;
    assert_eq!(client.next_of(GOAWAY).await.code(), NO_ERROR);
    server.let_one_answer();

    assert_eq!(client.next_of(HEADERS).await.stream, 1);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_call_that_outlasts_the_grace_is_cut_and_dropped() {
    let server = Server::start(Settings {
        max_age: SHORT,
        max_age_grace: SHORT,
        ..Settings::default()
    })
    .await;
    let mut client = server.client().await;
    client.request(1, "/slow", END_STREAM).await;

    client.next_of(GOAWAY).await;

    assert!(client.is_closed().await);
    server.handler_dropped().await;
}

#[tokio::test]
async fn a_drain_lets_a_call_finish() {
    let server = Server::start(Settings {
        drain: LONG,
        ..Settings::default()
    })
    .await;
    let mut client = server.client().await;
    client.request(1, "/slow", END_STREAM).await;
    server.handlers_began(1).await;

    server.shutdown.cancel();
    client.next_of(GOAWAY).await;
    server.let_one_answer();

    assert_eq!(client.next_of(HEADERS).await.stream, 1);
    assert!(client.is_closed().await);
    assert_eq!(server.drained().await, Drained::Cleanly);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_idle_or_silent_connections() {
    let server = Server::start(Settings {
        drain: LONG,
        ..Settings::default()
    })
    .await;
    let silent = server.connect().await;
    // Accepted after the silent one, so that the server surely knows both.
    let mut idle = server.settled_client().await;

    server.shutdown.cancel();

    assert!(is_closed(silent).await && idle.is_closed().await);
    assert_eq!(server.drained().await, Drained::Cleanly);
}

#[tokio::test]
async fn a_drain_ends_in_time_for_whoever_does_not_finish() {
    let server = Server::start(Settings {
        drain: SHORT,
        ..Settings::default()
    })
    .await;
    let mut half_sent = server.client().await;
    half_sent.request(1, "/read", 0).await;
    // Says five bytes and sends three.
    half_sent.frame(DATA, 0, 1, &[0, 0, 0]).await;
    let mut hanging = server.client().await;
    hanging.request(1, "/slow", END_STREAM).await;
    server.handlers_began(2).await;

    server.shutdown.cancel();

    assert!(half_sent.is_closed().await && hanging.is_closed().await);
    server.handler_dropped().await;
    server.handler_dropped().await;
    assert_eq!(server.drained().await, Drained::Cut(2));
}

#[tokio::test]
async fn a_draining_server_accepts_nobody() {
    let server = Server::start(Settings {
        drain: LONG,
        ..Settings::default()
    })
    .await;
    let mut client = server.client().await;
    client.request(1, "/slow", END_STREAM).await;
    server.handlers_began(1).await;

    server.shutdown.cancel();
    client.next_of(GOAWAY).await;

    assert!(TcpStream::connect(server.address).await.is_err());
}
