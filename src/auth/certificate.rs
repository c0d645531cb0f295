//! Knows callers by the client certificate of their connection.
//!
//! The accept loop has verified its chain, its time and that it is not revoked, and does so again while the connection
//! lives. What is left is the name. A certificate with a URI is known by that alone, which must be the SPIFFE id of an
//! allowed trust domain; one without is known by the one of its DNS names that the configuration lists. The common name
//! means nothing, as everywhere (RFC 9525, 2).
//!
//! A name that could be read in two ways names nobody: who calls decides whose client tokens are replayed.

mod spiffe;

use std::{collections::BTreeSet, future::ready, sync::Arc};

use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use webpki::EndEntityCert;

use self::spiffe::SpiffeId;
use crate::{
    auth::{Authenticator, Evidence},
    call::{Attribute, Caller, Proof},
    failure::{Failure, Reason},
};

/// Who vouches for a caller that is known by a DNS name.
const DNS_ISSUER: &str = "dns-san";

/// Which certificates name a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    trust_domains: BTreeSet<String>,
    dns_names: BTreeSet<String>,
}

/// An item of the settings that can never match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No trust domain.
    #[error(
        "trust_domains has `{0}`, which is no trust domain: lower-case letters, digits, `.`, `-` and `_`, without spiffe://"
    )]
    TrustDomain(String),
    /// No DNS name.
    #[error(
        "dns_names has `{0}`, which is no whole DNS name like client.example.com; wildcards match nothing"
    )]
    DnsName(String),
}

impl Settings {
    /// Callers with a SPIFFE id of one of `trust_domains`, or without one and with one of `dns_names`, in any letter case.
    ///
    /// # Errors
    /// The first item that is none.
    pub fn new(
        trust_domains: impl IntoIterator<Item = String>,
        dns_names: impl IntoIterator<Item = String>,
    ) -> Result<Self, Fault> {
        let domain = |name: String| match spiffe::is_trust_domain(&name) {
            true => Ok(name),
            false => Err(Fault::TrustDomain(name)),
        };
        let dns_name = |name: String| match is_dns_name(&name) {
            true => Ok(name.to_ascii_lowercase()),
            false => Err(Fault::DnsName(name)),
        };
        Ok(Self {
            trust_domains: trust_domains.into_iter().map(domain).collect::<Result<_, _>>()?,
            dns_names: dns_names.into_iter().map(dns_name).collect::<Result<_, _>>()?,
        })
    }
}

fn is_dns_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() <= 253
        && text
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(fits))
}

/// Knows callers by their certificates.
#[derive(Clone, Debug)]
pub struct Certificate {
    settings: Settings,
}

impl Certificate {
    /// Knows the callers that `settings` allow.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Authenticator for Certificate {
    fn authenticate<'a>(&'a self, evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
        let certificate = evidence.peer.and_then(|peer| peer.certificate.as_deref());
        let answer = match certificate {
            None => Err(Failure::new(
                Reason::CredentialsMissing,
                "the connection carries no client certificate; connect with one",
            )),
            Some(der) => self.settings.name(der).map_err(|unnamed| {
                tracing::info!(%unnamed, "a client certificate names no caller");
                // One text for all: which part was wrong is nothing to tell a stranger.
                Failure::new(
                    Reason::CredentialsInvalid,
                    "the client certificate names no caller of this service; ask its administrator",
                )
                .source(Arc::new(unnamed) as Arc<dyn std::error::Error + Send + Sync>)
            }),
        };
        Box::pin(ready(answer))
    }
}

/// Why a good certificate names nobody.
#[derive(Debug, Error)]
enum Unnamed {
    #[error("it is no certificate: {0}")]
    Unreadable(webpki::Error),
    #[error("it has {0} URIs; a SPIFFE certificate has one")]
    Uris(usize),
    #[error("its URI `{0}` is no SPIFFE id")]
    Form(String),
    #[error("its trust domain `{0}` is not in auth.certificate.trust_domains")]
    Foreign(String),
    #[error("it has no URI, and no DNS name of auth.certificate.dns_names")]
    NoName,
    #[error("several of its DNS names are in auth.certificate.dns_names, among them `{0}` and `{1}`")]
    Names(String, String),
}

impl Settings {
    /// Who shows the certificate `der`.
    fn name(&self, der: &[u8]) -> Result<Caller, Unnamed> {
        let der = CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der).map_err(Unnamed::Unreadable)?;
        let uris: Vec<_> = certificate.valid_uri_names().collect();
        let caller = match uris.as_slice() {
            [] => self.by_dns_name(certificate.valid_dns_names())?,
            [uri] => self.by_uri(uri)?,
            several => return Err(Unnamed::Uris(several.len())),
        };
        Ok(caller.proven_by(Proof::Certificate))
    }

    fn by_uri(&self, uri: &str) -> Result<Caller, Unnamed> {
        let id = SpiffeId::parse(uri).ok_or_else(|| Unnamed::Form(uri.to_owned()))?;
        if !self.trust_domains.contains(id.trust_domain) {
            return Err(Unnamed::Foreign(id.trust_domain.to_owned()));
        }
        let text = |text: &str| Attribute::Text(text.to_owned());
        // As a whole it prints as the SPIFFE id.
        let caller = Caller::new(format!("spiffe://{}", id.trust_domain), id.path)
            .with("trust_domain", text(id.trust_domain));
        Ok(match id.kubernetes() {
            Some((namespace, account)) => caller
                .with("namespace", text(namespace))
                .with("service_account", text(account)),
            None => caller,
        })
    }

    fn by_dns_name<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Caller, Unnamed> {
        let allowed: BTreeSet<_> = names
            .map(str::to_ascii_lowercase)
            .filter(|name| self.dns_names.contains(name))
            .collect();
        let mut allowed = allowed.into_iter();
        match (allowed.next(), allowed.next()) {
            (Some(name), None) => Ok(Caller::new(DNS_ISSUER, name)),
            (Some(one), Some(other)) => Err(Unnamed::Names(one, other)),
            (None, _) => Err(Unnamed::NoName),
        }
    }
}

#[cfg(test)]
mod tests;
