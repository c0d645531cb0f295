//! The client certificate of one connection, and whether it is still good.
//!
//! It was good at the handshake. Later it may be revoked, its authority may be dropped, or its time may be over, while
//! the connection lives on. So it is verified again when the files were read again, and every [`LOOK`]; in between the
//! answer is kept. A verification is two signatures, some 100 microseconds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    CertificateError, Error,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use tokio::time::sleep;

use super::{Loaded, Tls};
use crate::clock::{UnixMillis, wall_now};

/// How long an answer is kept when nothing is known to change it. It is about the time of revocation lists and of
/// authorities; that of the client's own certificate is looked at for every request.
const LOOK: Duration = Duration::from_secs(10);

/// A client that showed a certificate.
pub(in crate::server) struct Client {
    tls: Arc<Tls>,
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    /// When its certificate ends.
    not_after: UnixMillis,
    verdict: Mutex<Verdict>,
}

/// What the last look said.
struct Verdict {
    by: Arc<Loaded>,
    is_good: bool,
    until: UnixMillis,
}

impl Client {
    /// A client whose `chain`, its own certificate first, was verified by what was `loaded`.
    pub(super) fn new(tls: Arc<Tls>, loaded: Arc<Loaded>, chain: &[CertificateDer<'static>]) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        let not_after = not_after(loaded.clients.as_deref()?, leaf, intermediates);
        Some(Self {
            tls,
            leaf: leaf.clone(),
            intermediates: intermediates.to_vec(),
            not_after,
            verdict: Mutex::new(Verdict {
                by: loaded,
                is_good: true,
                until: later(wall_now()),
            }),
        })
    }

    /// The certificate, DER.
    pub(in crate::server) fn certificate(&self) -> Arc<[u8]> {
        self.leaf.as_ref().into()
    }

    /// Returns whether a client that came with this certificate now would be let in.
    pub(in crate::server) fn is_good(&self) -> bool {
        let now = wall_now();
        if now > self.not_after {
            return false;
        }
        let current = self.tls.current.load();
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= verdict.until || !Arc::ptr_eq(&verdict.by, &current) {
            *verdict = Verdict {
                is_good: self.verify(&current, now),
                until: later(now),
                by: Arc::clone(&current),
            };
        }
        verdict.is_good
    }

    fn verify(&self, loaded: &Loaded, now: UnixMillis) -> bool {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
        let verified = loaded
            .clients
            .as_ref()
            .map(|clients| clients.verify_client_cert(&self.leaf, &self.intermediates, now));
        match verified {
            Some(Ok(_)) => true,
            Some(Err(error)) => {
                tracing::debug!(%error, "the certificate of an open connection is not good any more");
                false
            }
            None => false,
        }
    }

    /// How long the connection should live for the certificate's sake: nine tenths of what is left of it, so that a client
    /// that has a new one comes back with it before calls are refused, and one that has none does not come back in a
    /// tight loop.
    pub(in crate::server) fn welcome(&self) -> Duration {
        Duration::from_millis(self.not_after.saturating_sub(wall_now())).mul_f64(0.9)
    }

    /// Waits until the certificate is not good any more.
    ///
    /// # Cancellation
    /// Nothing is left behind.
    pub(in crate::server) async fn withdrawn(&self) {
        let mut changes = self.tls.changes();
        while self.is_good() {
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}

/// When an answer of this moment is to be looked at again.
fn later(now: UnixMillis) -> UnixMillis {
    now.saturating_add(u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX))
}

/// When the certificate ends. rustls has no accessor for it, but says it when it is asked about a time that is too late;
/// it looks at that first.
fn not_after(
    clients: &dyn ClientCertVerifier,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> UnixMillis {
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match clients.verify_client_cert(leaf, intermediates, never) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            not_after.as_secs().saturating_mul(1_000).saturating_add(999)
        }
        // Then only the looks say when.
        Ok(_) | Err(_) => UnixMillis::MAX,
    }
}
