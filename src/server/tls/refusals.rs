//! Why a handshake failed, in words for the operator, and not more of them than a log can take.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::{Error, InvalidMessage};
use tokio::time::Instant;

/// At most one line is written in this time: anybody can fail at a handshake as often as they connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    why: String,
    /// Whether an operator may want to know. Load balancers that connect and hang up are nothing to tell.
    is_news: bool,
}

fn news(why: impl Into<String>) -> Refusal {
    Refusal {
        why: why.into(),
        is_news: true,
    }
}

pub(super) fn too_slow() -> Refusal {
    news("it took longer than tls.handshake_timeout_ms")
}

pub(super) fn no_http2() -> Refusal {
    news("the client does not offer HTTP/2 (`h2`) by ALPN, as gRPC clients do")
}

/// Says what an error of the handshake means.
pub(super) fn why(error: &io::Error) -> Refusal {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            news("the client does not speak TLS; is it set up for plaintext?")
        }
        Some(Error::NoApplicationProtocol) => no_http2(),
        Some(Error::NoCertificatesPresented) => {
            news("the client sent no certificate, and tls.client_certificates is `required`")
        }
        Some(Error::InvalidCertificate(fault)) => {
            news(format!("the client's certificate is not good: {fault}"))
        }
        Some(Error::AlertReceived(alert)) => news(format!(
            "the client refused with the alert {alert:?}; does it know the authority and the name of our certificate?"
        )),
        Some(other) => news(other.to_string()),
        None => Refusal {
            why: error.to_string(),
            is_news: false,
        },
    }
}

/// Writes refusals to the log, and counts those that it leaves out.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// Writes a line, unless one was written just now.
    pub(super) fn log(&self, peer: SocketAddr, refusal: &Refusal) {
        let why = &refusal.why;
        if !refusal.is_news {
            tracing::debug!(%peer, why, "a TLS handshake failed");
        } else if let Some(others) = self.turn() {
            tracing::info!(%peer, why, others, "refused a TLS handshake");
        }
    }

    /// How many lines were left out since the last one, if it is time for another.
    fn turn(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| last.elapsed() < PAUSE) {
            said.unsaid += 1;
            return None;
        }
        said.last = Some(Instant::now());
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_did_wrong_is_said_in_words() {
        let said = |error: Error| why(&io::Error::new(io::ErrorKind::InvalidData, error)).why;

        assert!(said(InvalidMessage::InvalidContentType.into()).contains("plaintext"));
        assert!(said(Error::NoApplicationProtocol).contains("ALPN"));
        assert!(said(Error::NoCertificatesPresented).contains("tls.client_certificates"));
        assert!(said(rustls::CertificateError::Revoked.into()).contains("Revoked"));
    }

    #[test]
    fn a_connection_that_is_closed_at_once_is_no_news() {
        assert!(!why(&io::ErrorKind::UnexpectedEof.into()).is_news);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_is_a_line_a_second_that_counts_the_others() {
        let refusals = Refusals::default();

        assert_eq!(refusals.turn(), Some(0));
        assert_eq!((refusals.turn(), refusals.turn()), (None, None));
        tokio::time::advance(PAUSE).await;

        assert_eq!(refusals.turn(), Some(2));
        assert_eq!(refusals.turn(), None);
    }
}
