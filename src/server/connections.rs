//! Accepts connections, bounds what one of them and all of them may take, and lets them go.
//!
//! # Where it stands
//! Outermost: it hands requests to the HTTP ring. It runs hyper itself because tonic's server advertises no stream
//! limit, switches off the limit on local resets, cuts calls at the maximum age, and waits for silent connections for
//! ever.
//!
//! # On failure
//! A connection that may not be is closed without a word: HTTP/2 has none before the preface. That covers connections
//! over a cap, other protocols, and clients that do not say in time what they speak. A header list over the limit is
//! answered by hyper with a bare HTTP 431, and one of four times the limit by the end of the connection. What TLS refuses
//! stands in [`super::tls`].
//!
//! # When the caller goes away
//! hyper drops the calls of the connection, and with them their futures.
//!
//! # What it leaves behind
//! Nothing; [`serve`] returns when the last connection is closed.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{self, AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::ServiceExt;

use super::tls::{Client, Tls};
use crate::{
    auth::peer::{Peer, Withdrawn},
    layers::wire::Handler,
};

/// What connections may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Connections at a time; one more is closed at once. Range 1 to 100_000, below the limit on open files. Default
    /// 1_000: a thousand clients with one connection each, in some 15 MB.
    pub max_connections: usize,
    /// Connections at a time from one address, loopback too; an IPv6 address counts by its /64, which is what one
    /// host has. Range 1 to `max_connections`. Default 64: one host must not take all, a NAT gateway has many behind
    /// it.
    pub max_connections_per_ip: usize,
    /// How long a client may take for the 24 bytes that open HTTP/2, in milliseconds. Range 100 to 60_000. Default
    /// 10_000: slow networks need one or two seconds.
    pub preface_timeout: Duration,
    /// Calls at a time on one connection. Range 1 to 10_000. Default 100, the least that RFC 9113 (6.5.2) recommends
    /// and the value of Envoy's edge guide; the default of tonic is none.
    pub max_concurrent_streams: u32,
    /// Streams that the server had to reset for a fault of the client's before the connection is closed. Range 1 to
    /// 100_000. Default 1_024, hyper's own: an honest client that cancels much stays below it (RUSTSEC-2024-0003).
    pub max_local_error_reset_streams: usize,
    /// Size of all headers of a request up to which it is read at all, in bytes, as HTTP/2 counts them; clients are
    /// told. Range 4_096 to 262_144. Default 131_072, eight times what `limit_metadata` lets through, so that callers
    /// read from that layer why they are refused.
    pub max_header_list_bytes: u32,
    /// Size of a frame, in bytes. Range 16_384 to 16_777_215, fixed by RFC 9113; others are cut to it. Default
    /// 16_384: messages are small.
    pub max_frame_bytes: u32,
    /// Bytes that a client may send ahead on one stream. Range 16_384 to 16_777_215. Default 65_536, the protocol's.
    pub stream_window_bytes: u32,
    /// Bytes that a client may send ahead on one connection. Range 65_536 to 16_777_215. Default 1_048_576: what
    /// all connections together may park in memory is a thousand times that.
    pub connection_window_bytes: u32,
    /// Silence after which a client is pinged, in milliseconds. Range 1_000 to 7_200_000. Default 60_000: shorter
    /// than the 350 s after which an AWS network load balancer forgets a connection.
    pub keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection is closed, in milliseconds. Range 1_000 to 600_000.
    /// Default 20_000, as in gRPC's own servers.
    pub keepalive_timeout: Duration,
    /// Age at which a connection is asked to go, in milliseconds, give or take a tenth so that clients do not come
    /// back together (gRFC A9). Range 1_000 to 86_400_000. Default 900_000: a new replica gets its share within 15
    /// minutes.
    pub max_age: Duration,
    /// How long calls may go on on a connection that was asked to go, in milliseconds. Range 0 to 3_600_000. Default
    /// 30_000, the default deadline of a call.
    pub max_age_grace: Duration,
    /// How long calls may go on when the server shuts down, in milliseconds. Range 0 to 600_000. Default 25_000: five
    /// seconds less than Kubernetes waits before it kills.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 1_000,
            max_connections_per_ip: 64,
            preface_timeout: Duration::from_secs(10),
            max_concurrent_streams: 100,
            max_local_error_reset_streams: 1_024,
            max_header_list_bytes: 128 * 1_024,
            max_frame_bytes: 16 * 1_024,
            stream_window_bytes: 64 * 1_024,
            connection_window_bytes: 1_024 * 1_024,
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            max_age: Duration::from_secs(15 * 60),
            max_age_grace: Duration::from_secs(30),
            drain: Duration::from_secs(25),
        }
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every connection ended by itself.
    Cleanly,
    /// This many connections were cut when the time for it was over.
    Cut(usize),
}

/// Pause after a failed accept. Without it a process that has no more file descriptors would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `service` to everybody who connects to `listener`, over TLS if there is `tls`, until `shutdown` is cancelled and the connections have
/// ended or been cut.
///
/// # Cancellation
/// Dropping the future drops every connection with its calls.
pub async fn serve<S: Handler>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    service: S,
    settings: Settings,
    shutdown: CancellationToken,
) -> Drained {
    let settings = Arc::new(settings);
    let places = Places::default();
    let mut connections = JoinSet::new();

    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                shutdown.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.ip(), &settings) else {
            tracing::debug!(%peer, "closed a connection over the limit");
            continue;
        };
        let (service, settings, shutdown) = (service.clone(), Arc::clone(&settings), shutdown.clone());
        let tls = tls.clone();
        connections.spawn(async move {
            let _place = place;
            serve_tcp(stream, peer, tls, service, &settings, shutdown).await;
        });
    }

    drop(listener);
    let ended = timeout(settings.drain, async {
        while connections.join_next().await.is_some() {}
    });
    match ended.await {
        Ok(()) => Drained::Cleanly,
        Err(_elapsed) => {
            let cut = connections.len();
            connections.shutdown().await;
            Drained::Cut(cut)
        }
    }
}

/// Makes a TCP connection ready and serves it.
async fn serve_tcp<S: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    service: S,
    settings: &Settings,
    shutdown: CancellationToken,
) {
    // Answers are small and waited for; an error only means that the peer is gone already.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve_connection(stream, address, None, service, settings, shutdown).await;
    };
    if let Some((stream, client)) = tls.accept(stream, address, &shutdown).await {
        serve_connection(stream, address, client, service, settings, shutdown).await;
    }
}

/// Serves HTTP/2 on `io` until the client closes it, it is too old, its certificate is not good any more, or `shutdown`
/// is cancelled and its calls are done.
async fn serve_connection<IO, S>(
    io: IO,
    address: SocketAddr,
    client: Option<Client>,
    service: S,
    settings: &Settings,
    shutdown: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Handler,
{
    let io = Greeted::new(io, settings.preface_timeout);
    let has_greeted = Arc::clone(&io.is_complete);
    let client = client.map(Arc::new);
    let age = client
        .as_ref()
        .map_or(settings.max_age, |client| settings.max_age.min(client.welcome()));
    let peer = Peer {
        address,
        certificate: client.as_ref().map(|client| client.certificate()),
    };
    let shown = client.clone();
    let service = service.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        if shown.as_ref().is_some_and(|client| !client.is_good()) {
            request.extensions_mut().insert(Withdrawn);
        }
        request.map(Body::new)
    });
    let connection = http2(settings).serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let withdrawn = async {
        match &client {
            Some(client) => client.withdrawn().await,
            None => std::future::pending().await,
        }
    };

    let grace = tokio::select! {
        biased;
        ended = connection.as_mut() => return log_end(ended),
        () = shutdown.cancelled() => None,
        () = sleep(give_or_take_a_tenth(age)) => Some(settings.max_age_grace),
        // Its calls are refused from now on; it is asked to go so that a client with a new certificate comes back.
        () = withdrawn => Some(settings.max_age_grace),
    };
    if !has_greeted.load(Ordering::Relaxed) {
        return;
    }
    connection.as_mut().graceful_shutdown();
    match grace {
        // `serve` cuts it when the drain is over.
        None => log_end(connection.await),
        Some(grace) => match timeout(grace, connection).await {
            Ok(ended) => log_end(ended),
            Err(_elapsed) => tracing::debug!("cut a connection at the end of its grace"),
        },
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

fn http2(settings: &Settings) -> http2::Builder<TokioExecutor> {
    // h2 asserts the protocol's ranges, so that a setting out of range would panic on every connection.
    const LEAST_FRAME: u32 = 16_384;
    const MOST: u32 = 16_777_215;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_local_error_reset_streams(settings.max_local_error_reset_streams)
        .max_header_list_size(settings.max_header_list_bytes)
        .max_frame_size(settings.max_frame_bytes.clamp(LEAST_FRAME, MOST))
        .initial_stream_window_size(settings.stream_window_bytes.min(MOST))
        .initial_connection_window_size(settings.connection_window_bytes.min(MOST))
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout);
    builder
}

fn give_or_take_a_tenth(time: Duration) -> Duration {
    time.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// The places that connections hold, in all and for each address.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    /// Takes a place for a connection from `address`, if there is one.
    fn take(&self, address: IpAddr, settings: &Settings) -> Option<Place> {
        let address = counted_as(address);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.total >= settings.max_connections || here >= settings.max_connections_per_ip {
            return None;
        }
        taken.total += 1;
        taken.by_address.insert(address, here + 1);
        Some(Place {
            places: self.clone(),
            address,
        })
    }
}

/// A place that a connection holds until it is dropped.
struct Place {
    places: Places,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// The address under which a connection counts: IPv4 as it is, also inside IPv6, and IPv6 by its /64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
    }
}

/// Length of the HTTP/2 preface (RFC 9113, 3.4).
const PREFACE_LENGTH: usize = 24;

/// An IO whose first bytes must come in time.
struct Greeted<IO> {
    io: IO,
    received: usize,
    deadline: Pin<Box<Sleep>>,
    is_complete: Arc<AtomicBool>,
}

impl<IO> Greeted<IO> {
    fn new(io: IO, within: Duration) -> Self {
        Self {
            io,
            received: 0,
            deadline: Box::pin(sleep(within)),
            is_complete: Arc::default(),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Greeted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if self.received >= PREFACE_LENGTH {
            return polled;
        }
        self.received += buffer.filled().len() - before;
        if self.received >= PREFACE_LENGTH {
            self.is_complete.store(true, Ordering::Relaxed);
        } else if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Greeted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_count_as_one() {
        let same = [
            ("10.0.0.1", "::ffff:10.0.0.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ];
        for (one, other) in same {
            assert_eq!(
                counted_as(one.parse().unwrap()),
                counted_as(other.parse().unwrap())
            );
        }
        assert_ne!(
            counted_as("2001:db8:1:2::1".parse().unwrap()),
            counted_as("2001:db8:1:3::1".parse().unwrap())
        );
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let settings = Settings {
            max_connections: 2,
            max_connections_per_ip: 1,
            ..Settings::default()
        };
        let (here, there, elsewhere) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        let places = Places::default();

        let first = places.take(here, &settings).unwrap();
        assert!(places.take(here, &settings).is_none(), "over the address's limit");
        let _second = places.take(there, &settings).unwrap();
        assert!(places.take(elsewhere, &settings).is_none(), "over the limit");
        drop(first);

        assert!(places.take(elsewhere, &settings).is_some());
        assert_eq!(
            places.0.lock().unwrap().by_address.len(),
            1,
            "an address without connections is forgotten"
        );
    }

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        for _ in 0..1_000 {
            let age = give_or_take_a_tenth(Duration::from_secs(100));
            assert!((90.0..=110.0).contains(&age.as_secs_f64()), "{age:?}");
        }
    }
}
