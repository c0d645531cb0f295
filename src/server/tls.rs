//! TLS on the connections: who we are, whose certificates are believed, and both again when their files change.
//!
//! # Where it stands
//! Between the accept loop and HTTP/2. A handshake runs in its connection's own task, within [`Settings::handshake_timeout`],
//! and ends when the server begins to drain.
//!
//! # On failure
//! A handshake that fails closes the connection, with the alert that TLS has for it, and a line in the log that says why.
//! Files that cannot be used stop the server at start; later they change nothing, and a warning says why.
//!
//! # When the caller goes away
//! The handshake is dropped.
//!
//! # What it leaves behind
//! For every connection with a client certificate a [`Client`], which knows at each request whether that certificate is
//! still good.
//!
//! Nothing is resumed: a resumed session brings its client certificate along without a look at what became of it, and a
//! gRPC client connects too seldom to gain by it. docs/adr/0011 has the reasoning.

mod client;
mod files;
pub mod probe;
mod refusals;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::UnixTime,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::{
    net::TcpStream,
    sync::watch::{self, Receiver},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub(super) use self::client::Client;
pub use self::files::LoadError;
use self::{files::Material, refusals::Refusals};
use crate::{
    clock::wall_now,
    failure::chain,
    watch::{Reading, files},
};

/// The protocol that is spoken behind TLS (RFC 9113, 3.2).
const ALPN: &[u8] = b"h2";

/// Where certificates come from, and how long a handshake may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's certificate and those of the authorities between it and a root, PEM, its own first.
    pub certificate_file: PathBuf,
    /// The private key of that certificate, PEM, closed to others than its owner and, for reading, its group.
    pub key_file: PathBuf,
    /// Whose certificates clients may show. `None`: none is asked for.
    pub clients: Option<Clients>,
    /// Longest time for a handshake, in milliseconds. Range 10 to 60_000. Default 10_000: it is two round trips, and slow
    /// networks lose one packet of them.
    pub handshake_timeout: Duration,
    /// Time between two looks at the files, in milliseconds. Range 10 to 3_600_000. Default 5_000, as for the file of
    /// tokens: a look is a `stat` of four files, and whoever revokes a certificate waits for it.
    pub poll_interval: Duration,
}

impl Settings {
    /// Longest time for a handshake, unless told otherwise.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// Time between two looks at the files, unless told otherwise.
    pub const POLL_INTERVAL: Duration = Duration::from_secs(5);

    fn files(&self) -> Vec<PathBuf> {
        let clients = self
            .clients
            .iter()
            .flat_map(|c| [Some(&c.ca_file), c.crl_file.as_ref()]);
        [&self.certificate_file, &self.key_file]
            .into_iter()
            .chain(clients.flatten())
            .cloned()
            .collect()
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The authorities, PEM.
    pub ca_file: PathBuf,
    /// Their lists of revoked certificates, PEM. Every authority needs one, and one that is past its `nextUpdate` revokes
    /// everything: what it says is not known to be true any more (RFC 5280, 6.3.3).
    pub crl_file: Option<PathBuf>,
    /// Whether a client must have a certificate.
    pub presence: Presence,
}

/// Whether a client must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Without one there is no connection.
    Required,
    /// It may come without, and prove who it is in another way.
    Optional,
}

/// What one reading of the files made.
struct Loaded {
    /// What the files held, to see that they changed.
    digest: [u8; 32],
    config: Arc<ServerConfig>,
    /// The verifier in `config`, if it has one, for certificates that were verified by an earlier one.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Loaded {
    fn read(settings: &Settings) -> Result<Self, LoadError> {
        let Material {
            digest,
            chain,
            key,
            clients,
        } = Material::read(settings)?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(wall_now()));
        if let Some(complaint) = files::complaint(&chain, now) {
            let file = settings.certificate_file.display();
            tracing::warn!(%file, "no client will believe the server's certificate: {complaint}");
        }
        let clients = clients.map(|clients| clients.verifier()).transpose()?;
        let verifier = clients
            .clone()
            .unwrap_or_else(WebPkiClientVerifier::no_client_auth);
        let mut config = ServerConfig::builder_with_provider(files::provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(chain, key)
            })
            .map_err(|error| LoadError::pair(settings, error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            digest,
            config: Arc::new(config),
            clients,
        })
    }
}

/// TLS as the files have it now.
pub struct Tls {
    settings: Settings,
    current: ArcSwap<Loaded>,
    /// Tells connections that `current` is another.
    changes: watch::Sender<()>,
    /// The last fault of a file that could not be read, which is tried again and again.
    unreadable: Mutex<Option<String>>,
    refusals: Refusals,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Blocks; call it at start.
    ///
    /// # Errors
    /// [`LoadError`], which names the key, the file and the rule that it breaks.
    pub fn load(settings: Settings) -> Result<Self, LoadError> {
        let loaded = Loaded::read(&settings)?;
        Ok(Self {
            settings,
            current: ArcSwap::from_pointee(loaded),
            changes: watch::Sender::new(()),
            unreadable: Mutex::default(),
            refusals: Refusals::default(),
        })
    }

    /// Reads the files again, and logs how that went. Blocks. Handshakes from now on use what they hold; connections
    /// stay, except those whose client certificate is not believed any more.
    ///
    /// # Errors
    /// As [`load`](Self::load); everything then stays as it was.
    pub fn reload(&self) -> Result<(), LoadError> {
        let read = Loaded::read(&self.settings);
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        let text = read.as_ref().err().map(|error| chain(error));
        match read {
            Ok(loaded) if loaded.digest == self.current.load().digest => {}
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                self.changes.send_replace(());
                tracing::info!(
                    certificate = %self.settings.certificate_file.display(),
                    "read the TLS files again: new handshakes use them"
                );
            }
            Err(error) => {
                if !error.may_pass() || *unreadable != text {
                    tracing::warn!(error = text, "kept the old TLS configuration");
                }
                *unreadable = text;
                return Err(error);
            }
        }
        *unreadable = None;
        Ok(())
    }

    /// Reads the files again whenever one of them changes, and on SIGHUP, until `shutdown` is cancelled.
    ///
    /// # Errors
    /// If the process cannot listen to SIGHUP.
    ///
    /// # Cancellation
    /// A reading that has begun goes on to its end.
    pub fn watch(self: Arc<Self>, shutdown: CancellationToken) -> io::Result<impl Future<Output = ()>> {
        let (paths, interval) = (self.settings.files(), self.settings.poll_interval);
        files(paths, interval, shutdown, move || match self.reload() {
            Err(error) if error.may_pass() => Reading::Unfinished,
            // A file whose text is wrong stays so until it changes; one line in the log is enough.
            Ok(()) | Err(_) => Reading::Final,
        })
    }

    /// Shakes hands with the client at `address`. `None` if that failed, took too long, or the server is to stop: there is
    /// no connection then.
    pub(super) async fn accept(
        self: &Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        shutdown: &CancellationToken,
    ) -> Option<(TlsStream<TcpStream>, Option<Client>)> {
        let loaded = self.current.load_full();
        let shaking = async {
            let acceptor = TlsAcceptor::from(Arc::clone(&loaded.config));
            let mut stream = acceptor.accept(stream).await.map_err(|e| refusals::why(&e))?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                // rustls refuses a client that offers others; one that offers nothing gets this far.
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
                return Err(refusals::no_http2());
            }
            Ok(stream)
        };
        let within = timeout(self.settings.handshake_timeout, shaking);
        let ended = Box::pin(shutdown.run_until_cancelled(within)).await?;
        match ended.unwrap_or_else(|_elapsed| Err(refusals::too_slow())) {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates();
                let client = chain.and_then(|chain| Client::new(Arc::clone(self), loaded, chain));
                Some((stream, client))
            }
            Err(refusal) => {
                self.refusals.log(address, &refusal);
                None
            }
        }
    }

    /// Tells when another reading of the files is in force.
    fn changes(&self) -> Receiver<()> {
        self.changes.subscribe()
    }
}
