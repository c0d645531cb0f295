//! An issuer's current keys, and when they are fetched.
//!
//! One task fetches: every ten minutes, on SIGHUP, and when a token names a key that is not there. Whoever sends such tokens must
//! not be able to make it fetch as often as they like, so it does that at most once in 30 seconds, whoever asks, and
//! key ids that were looked for in vain are remembered. Those who wait for a fetch all wait for the same one.
//!
//! A fetch that fails changes nothing, and is repeated after 1 second, then less and less often up to once a minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Refused, Wrong,
    keys::{Found, KeySet},
    metrics::Fetches,
    source::{FetchError, Source},
    token::Token,
};
use crate::failure::chain;

/// Longest one fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// Least time between two fetches that tokens ask for.
const ASK_INTERVAL: Duration = Duration::from_secs(30);

/// How long a key id that was looked for in vain is not looked for again. An issuer may begin to sign before it
/// publishes, so this must end.
const ABSENT_FOR: Duration = Duration::from_secs(60);

/// Most such key ids that are remembered.
const MAX_ABSENT: usize = 1_000;

/// Time until a failed fetch is repeated: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// See the module.
pub(super) struct KeyRing {
    /// The issuer's name, for the log.
    issuer: String,
    source: Box<dyn Source>,
    current: watch::Sender<Option<Arc<KeySet>>>,
    rounds: watch::Sender<Round>,
    asked: Mutex<Asked>,
    wake: Notify,
    fetches: Fetches,
}

/// The last fetch that ended.
#[derive(Clone, Copy, Default)]
struct Round {
    /// It began after this many requests of tokens.
    served: u64,
    /// When it began. `None` before the first has ended.
    began: Option<Instant>,
    succeeded: bool,
}

/// What tokens asked for.
#[derive(Default)]
struct Asked {
    /// How many fetches so far.
    count: u64,
    last: Option<Instant>,
    /// Key ids that a fetch did not bring, and when it ended.
    absent: HashMap<String, Instant>,
}

impl KeyRing {
    /// A ring without keys, or with those that are at hand already. [`run`](Self::run) keeps it current.
    pub(super) fn new(
        issuer: &str,
        source: Box<dyn Source>,
        first: Option<KeySet>,
        fetches: Fetches,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            source,
            current: watch::Sender::new(first.map(Arc::new)),
            rounds: watch::Sender::new(Round::default()),
            asked: Mutex::default(),
            wake: Notify::new(),
            fetches,
        }
    }

    /// Has the keys fetched once more, at once.
    pub(super) fn fetch_now(&self) {
        self.wake.notify_one();
    }

    /// Fetches until `stop` is cancelled.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let refreshed = tokio::select! {
                () = stop.cancelled() => return,
                refreshed = self.refresh() => refreshed,
            };
            let pause = match refreshed {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(issuer = self.issuer, "the issuer's keys can be fetched again");
                    }
                    failures = 0;
                    self.source.interval()
                }
                Err(error) => {
                    // Once, however long it lasts.
                    if failures == 0 {
                        self.log(&error);
                    }
                    failures = failures.saturating_add(1);
                    let (first, longest) = BACKOFF;
                    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
                    doubled.min(longest).min(self.source.interval())
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // So that replicas that started together do not ask together.
                () = sleep(pause.mul_f64(0.9 + 0.2 * fastrand::f64())) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    fn log(&self, error: &FetchError) {
        let (issuer, error) = (&self.issuer, chain(error));
        if self.has_keys() {
            tracing::warn!(
                issuer,
                error,
                "cannot fetch the issuer's keys; those from before stay"
            );
        } else {
            tracing::error!(
                issuer,
                error,
                "cannot fetch the issuer's keys; its tokens are refused until then"
            );
        }
    }

    async fn refresh(&self) -> Result<(), FetchError> {
        let served = self.asked().count;
        let began = Instant::now();
        let fetched = timeout(FETCH_LIMIT, self.source.fetch()).await;
        let read = match fetched {
            Ok(Ok(body)) => KeySet::parse(&body).map_err(FetchError::Set),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(FetchError::TimedOut),
        };
        let succeeded = read.is_ok();
        let fetches = &self.fetches;
        let ended = if succeeded {
            &fetches.succeeded
        } else {
            &fetches.failed
        };
        ended.inc();
        let installed = read.map(|set| self.install(set));
        self.rounds.send_replace(Round {
            served,
            began: Some(began),
            succeeded,
        });
        installed
    }

    fn install(&self, set: KeySet) {
        if self.digest() == Some(set.digest) {
            return;
        }
        tracing::info!(issuer = self.issuer, keys = set.len(), "the issuer has new keys");
        if !set.left_out.is_empty() {
            let left_out = set.left_out.join("; ");
            tracing::warn!(
                issuer = self.issuer,
                left_out,
                "some of the issuer's keys are not used"
            );
        }
        self.current.send_replace(Some(Arc::new(set)));
    }

    /// Waits until there are keys.
    ///
    /// # Cancellation
    /// Nothing is left behind.
    pub(super) async fn ready(&self) {
        // The sender is a part of self, so it does not go away.
        let _ = self.current.subscribe().wait_for(Option::is_some).await;
    }

    fn has_keys(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// What tells the current keys from others.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.current.borrow().as_ref().map(|set| set.digest)
    }

    /// Checks a token's signature by the key that it names, which is fetched if it has to be, and returns the digest of
    /// the set that the key stands in.
    ///
    /// # Cancellation
    /// A fetch goes on: others may wait for it.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<[u8; 32], Refused> {
        let set = self.current().await?;
        if let Found::Key(key) = set.find(token)? {
            key.verify(token)?;
            return Ok(set.digest);
        }
        let kid = token.kid.as_deref().unwrap_or_default();
        let now = Instant::now();
        let round = self.round_for(kid, now).await?;
        let set = self.current().await?;
        match set.find(token)? {
            Found::Key(key) => {
                key.verify(token)?;
                Ok(set.digest)
            }
            // It began before the token came, or failed: nothing says that the issuer lacks this key.
            Found::UnknownKid if !round.succeeded || round.began < Some(now) => {
                Err(Refused::NoKeys(self.until_next_ask()))
            }
            Found::UnknownKid => {
                self.asked().note_absent(kid, Instant::now());
                Err(Wrong("the issuer has no key of its `kid`").into())
            }
        }
    }

    /// The current keys; waits for the very first fetch to end.
    async fn current(&self) -> Result<Arc<KeySet>, Refused> {
        if !self.has_keys() {
            let mut rounds = self.rounds.subscribe();
            let _ = rounds.wait_for(|round| round.began.is_some()).await;
        }
        let current = self.current.borrow().clone();
        current.ok_or(Refused::NoKeys(BACKOFF.0))
    }

    /// Waits for a fetch that may bring the key `kid`, and starts it unless that was done a moment ago.
    async fn round_for(&self, kid: &str, now: Instant) -> Result<Round, Refused> {
        let ticket = {
            let mut asked = self.asked();
            if asked.is_absent(kid, now) {
                return Err(Wrong("the issuer had no key of its `kid` a moment ago").into());
            }
            let is_running = asked.count > self.rounds.borrow().served;
            let allowed = asked.last.is_none_or(|last| now >= last + ASK_INTERVAL);
            if !is_running && !allowed {
                drop(asked);
                return Err(Refused::NoKeys(self.until_next_ask()));
            }
            if !is_running {
                asked.last = Some(now);
                asked.count += 1;
                self.wake.notify_one();
            }
            asked.count
        };
        let mut rounds = self.rounds.subscribe();
        let ended = rounds.wait_for(|round| round.served >= ticket).await;
        ended
            .map(|round| *round)
            .map_err(|_ended| Refused::NoKeys(BACKOFF.0))
    }

    fn until_next_ask(&self) -> Duration {
        let last = self.asked().last;
        last.map_or(Duration::ZERO, |last| {
            (last + ASK_INTERVAL).saturating_duration_since(Instant::now())
        })
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Nothing that is done under the lock can leave it half done.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn is_absent(&self, kid: &str, now: Instant) -> bool {
        self.absent
            .get(kid)
            .is_some_and(|noted| now < *noted + ABSENT_FOR)
    }

    fn note_absent(&mut self, kid: &str, now: Instant) {
        if self.absent.len() >= MAX_ABSENT {
            self.absent.retain(|_, noted| now < *noted + ABSENT_FOR);
        }
        if self.absent.len() < MAX_ABSENT {
            self.absent.insert(kid.to_owned(), now);
        }
    }
}

#[cfg(test)]
mod tests;
