//! JWT bearer tokens, signed with keys that their issuers publish (RFC 7519, RFC 7515, RFC 7517).
//!
//! A file names the issuers that are believed. A token is read strictly, its key comes from the configured place only,
//! and its algorithm must be one that the issuer uses and that fits the key. What a token came to is remembered by its
//! hash, as long as its issuer's keys stay what they were.
//!
//! `docs/auth.md` says what a token must have. A caller whose token is refused learns no more than that it is; the log
//! says why at `debug`, without a part of the token.

mod claims;
mod file;
mod json;
mod key_ring;
mod keys;
mod metrics;
mod settings;
mod source;
mod token;

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use http::header;
use moka::sync::Cache;
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Authenticator, Evidence, bearer::bearer_token},
    call::Caller,
    clock,
    failure::{Advice, Failure, Reason, chain},
};

use self::{
    key_ring::KeyRing,
    keys::KeySet,
    metrics::Fetches,
    settings::{Issuer, KeySource},
    source::{FromFile, FromUrl, Source},
    token::Token,
};

pub(in crate::auth) use self::token::has_jwt_form;
pub use self::{file::FileError, metrics::Metrics};

/// Most verified tokens that are remembered, at some 500 bytes each. More callers than that only cost signatures.
const MAX_VERIFIED: u64 = 10_000;

/// Why the issuers cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file cannot be used.
    #[error(transparent)]
    File(FileError),
    /// The file of issuers breaks rules; these are all of them.
    #[error("the issuers file `{}` is not valid: {}", path.display(), faults.join("; "))]
    Faults {
        /// The file.
        path: PathBuf,
        /// Every fault, as a sentence.
        faults: Vec<String>,
    },
}

/// Why a token is not accepted, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wrong(&'static str);

/// What becomes of a token that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refused {
    /// It never was good.
    Wrong(Wrong),
    /// It was good, and its time is over.
    Expired,
    /// The issuer's keys are not known, or not known to be current. To be asked again after this time.
    NoKeys(Duration),
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// Knows callers by tokens that configured issuers signed.
pub struct Jwt {
    issuers: HashMap<String, Known>,
    verified: Cache<[u8; 32], Verified>,
    metrics: Metrics,
}

struct Known {
    settings: Issuer,
    keys: Arc<KeyRing>,
}

/// What a token came to.
#[derive(Clone)]
struct Verified {
    caller: Caller,
    /// When it ends, in seconds since the Unix epoch.
    until: f64,
    keys: Arc<KeyRing>,
    /// The keys that it was verified by.
    digest: [u8; 32],
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("issuers", &self.issuers.keys())
            .finish()
    }
}

impl Jwt {
    /// Reads the file of issuers at `path` and the files that it names, and reaches for no network. Blocks; call it at
    /// start.
    ///
    /// # Errors
    /// If one of the files cannot be read, breaks rules, or can be written by everybody.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let at_fault = |faults| LoadError::Faults {
            path: path.to_owned(),
            faults,
        };
        let text = file::read(path, file::MAX_FILE).map_err(LoadError::File)?;
        let text = str::from_utf8(&text).map_err(|_not_text| at_fault(vec!["it is no UTF-8".to_owned()]))?;
        let metrics = Metrics::default();
        let mut known = HashMap::new();
        let mut faults = Vec::new();
        for settings in settings::parse(text).map_err(at_fault)? {
            match prepare(&settings, metrics.of(&settings.issuer)) {
                Ok(keys) => {
                    known.insert(settings.issuer.clone(), Known { settings, keys });
                }
                Err(fault) => faults.push(format!("issuer `{}`: {fault}", settings.issuer)),
            }
        }
        if !faults.is_empty() {
            return Err(at_fault(faults));
        }
        Ok(Self {
            issuers: known,
            verified: Cache::new(MAX_VERIFIED),
            metrics,
        })
    }

    /// Fetches the issuers' keys, and keeps them current until `stop` is cancelled.
    pub fn keep_current(&self, stop: &CancellationToken) {
        for issuer in self.issuers.values() {
            tokio::spawn(Arc::clone(&issuer.keys).run(stop.clone()));
        }
    }

    /// Fetches every issuer's keys at every SIGHUP, until `stop` is cancelled.
    ///
    /// From the call on, before the future is polled, SIGHUP does not end the process.
    ///
    /// # Errors
    /// If the process cannot listen to SIGHUP.
    pub fn fetch_on_hangup(&self, stop: CancellationToken) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut hangups = signal(SignalKind::hangup())?;
        let rings: Vec<_> = self.issuers.values().map(|it| Arc::clone(&it.keys)).collect();
        Ok(async move {
            while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
                rings.iter().for_each(|ring| ring.fetch_now());
            }
        })
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until there were keys of every issuer once.
    ///
    /// # Cancellation
    /// Nothing is left behind.
    pub async fn ready(&self) {
        join_all(self.issuers.values().map(|issuer| issuer.keys.ready())).await;
    }

    async fn check(&self, token: &[u8]) -> Result<Caller, Refused> {
        let now = Duration::from_millis(clock::wall_now()).as_secs_f64();
        let hash = Sha256::digest(token).into();
        if let Some(known) = self.verified.get(&hash) {
            // A key that left the set must not keep its tokens alive.
            if known.keys.digest() != Some(known.digest) {
                self.verified.invalidate(&hash);
            } else if known.until <= now {
                self.verified.invalidate(&hash);
                return Err(Refused::Expired);
            } else {
                return Ok(known.caller);
            }
        }
        let verified = self.verify(&Token::parse(token)?, now).await?;
        self.verified.insert(hash, verified.clone());
        Ok(verified.caller)
    }

    async fn verify(&self, token: &Token<'_>, now: f64) -> Result<Verified, Refused> {
        let issuer = token
            .claims
            .get("iss")
            .and_then(Value::as_str)
            .and_then(|iss| self.issuers.get(iss))
            .ok_or(Wrong("no configured issuer has its `iss`"))?;
        if !issuer.settings.algorithms.contains(&token.algorithm) {
            return Err(Wrong("its `alg` is none that its issuer is configured for").into());
        }
        // Before the signature, which may cost a fetch. Only who has a good signature learns that a token has expired.
        let claimed = match claims::check(&token.claims, &issuer.settings, now) {
            Err(Refused::Wrong(wrong)) => return Err(wrong.into()),
            other => other,
        };
        let digest = issuer.keys.verify(token).await?;
        let claimed = claimed?;
        Ok(Verified {
            caller: claimed.caller,
            until: claimed.until,
            keys: Arc::clone(&issuer.keys),
            digest,
        })
    }
}

fn prepare(issuer: &Issuer, fetches: Fetches) -> Result<Arc<KeyRing>, String> {
    let (source, first): (Box<dyn Source>, _) = match &issuer.keys {
        KeySource::Url {
            url,
            ca_file,
            token_file,
        } => {
            let source = FromUrl::new(url.clone(), ca_file.as_deref(), token_file.clone());
            (Box::new(source.map_err(|e| chain(&e))?), None)
        }
        KeySource::File(path) => {
            let body = file::read(path, source::MAX_SET).map_err(|e| format!("jwks_file: {}", chain(&e)))?;
            let set = KeySet::parse(&body).map_err(|why| format!("jwks_file `{}`: {why}", path.display()))?;
            (Box::new(FromFile(path.clone())), Some(set))
        }
    };
    Ok(Arc::new(KeyRing::new(&issuer.issuer, source, first, fetches)))
}

impl Authenticator for Jwt {
    fn authenticate<'a>(&'a self, evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
        Box::pin(async move {
            let credential = evidence
                .headers
                .get(header::AUTHORIZATION)
                .ok_or_else(super::missing)?;
            let refused = match bearer_token(credential.as_bytes()) {
                None => Refused::Wrong(Wrong("it is no bearer token")),
                Some(token) => match self.check(token).await {
                    Ok(caller) => return Ok(caller),
                    Err(refused) => refused,
                },
            };
            tracing::debug!(?refused, "refused a token");
            Err(refused.into())
        })
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Wrong(Wrong(_)) => super::invalid(),
            Refused::Expired => Self::new(
                Reason::CredentialsExpired,
                "the credential has expired; get a new one and send the call again",
            ),
            Refused::NoKeys(delay) => {
                // Apart, so that those who were refused together do not come back together.
                let delay = delay.mul_f64(1.0 + fastrand::f64() / 5.0);
                Self::new(
                    Reason::FacadeKeysUnavailable,
                    "the keys of the token's issuer cannot be had right now; send the call again",
                )
                .advice(Advice::After(delay))
            }
        }
    }
}

#[cfg(test)]
#[path = "../../tests/common/issuer.rs"]
#[allow(dead_code, unreachable_pub, reason = "the integration tests use the rest")]
mod issuer;
#[cfg(test)]
mod tests;
