//! The answers of late, in memory: a replay that finds its answer here asks no store.
//!
//! Holds records of state [`Record::Succeeded`] only. Such a record never changes until it expires, so that what one
//! replica remembers cannot contradict what another has written; every other state can change at any time, and has to
//! be looked up. What a record means for a request is decided by [`record::on_request`], as for a record from a store:
//! the fingerprint is compared and the expiry judged on every hit.

use moka::{policy::EvictionPolicy, sync::Cache};

use super::{
    Fingerprint, Key,
    record::{self, Claim, Decision, Now, Record, Terms},
};

/// What an entry takes beside its reply, in bytes: key, record, and moka's own nodes. Measured by `make bench`.
const OVERHEAD: u32 = 512;

/// See the module. Cloning shares the entries.
#[derive(Clone)]
pub struct Replays {
    /// `None` when it is switched off. Of moka's two forms the synchronous one: no value is made here while others
    /// wait for it, and a hit has nothing to await.
    cache: Option<Cache<Key, Record>>,
}

impl Replays {
    /// Keeps at most `bytes` bytes of answers; 0 keeps none.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let cache = || {
            Cache::builder()
                .weigher(weight)
                .max_capacity(bytes)
                // By age and not by how often it is asked for: a retry comes soon after its first request, mostly once.
                .eviction_policy(EvictionPolicy::lru())
                .build()
        };
        Self {
            cache: (bytes > 0).then(cache),
        }
    }

    /// Remembers `record` if it is an answer. The store must be known to have it: loaded from there, or written.
    pub fn keep(&self, key: Key, record: &Record) {
        if let (Some(cache), Record::Succeeded { .. }) = (&self.cache, record) {
            cache.insert(key, record.clone());
        }
    }

    /// Decides about a request if its answer is at hand: [`Decision::Replay`], [`Decision::Mismatch`], or `None` when
    /// only the store can tell.
    #[must_use]
    pub fn decide(&self, key: &Key, fingerprint: Fingerprint, now: Now, terms: &Terms) -> Option<Decision> {
        // After a jump of the clock nobody here can judge an expiry; another replica may have, and the store knows.
        let cache = self.cache.as_ref().filter(|_| now.steady)?;
        let record = cache.get(key)?;
        // Nothing is claimed here, so nobody's claim is enough.
        match record::on_request(Some(&record), fingerprint, Claim::new([0; 16]), now, terms) {
            decision @ (Decision::Replay { .. } | Decision::Mismatch) => Some(decision),
            // It has expired.
            Decision::Execute(_) | Decision::Wait | Decision::Reconcile(_) | Decision::Frozen => {
                cache.invalidate(key);
                None
            }
        }
    }

    /// Does now what moka puts off.
    #[cfg(test)]
    pub(crate) fn evict(&self) {
        if let Some(cache) = &self.cache {
            cache.run_pending_tasks();
        }
    }
}

fn weight(_: &Key, record: &Record) -> u32 {
    let reply = match record {
        Record::Succeeded { reply, .. } => reply.len(),
        Record::InFlight { .. } | Record::Unknown { .. } => 0,
    };
    u32::try_from(reply).unwrap_or(u32::MAX).saturating_add(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        call::{Caller, Target},
        idempotency::Scope,
    };

    const TERMS: Terms = Terms {
        lease: 15_000,
        window: 240_000,
        ttl: 1_000,
        max_reply: 1_000_000,
        settling: 0,
        marker: None,
    };
    const AT_FIRST: Now = Now {
        wall: 0,
        steady: true,
    };

    fn key(token: &str) -> Key {
        Key::of(&Scope {
            caller: &Caller::new("test", "ci"),
            target: &Target {
                partition: "aws".into(),
                account: "111122223333".into(),
                region: "eu-west-1".into(),
            },
            operation: "Test",
            client_token: token,
        })
    }

    fn asked(what: u8) -> Fingerprint {
        Fingerprint::from_bytes([what; 32])
    }

    fn answered(size: usize) -> Record {
        Record::Succeeded {
            fingerprint: asked(1),
            reply: Bytes::from(vec![7; size]),
            recorded_at: 0,
            expires: TERMS.ttl,
        }
    }

    #[test]
    fn an_answer_is_replayed_until_it_expires() {
        let replays = Replays::new(10_000);
        replays.keep(key("a"), &answered(10));

        let at = |wall| replays.decide(&key("a"), asked(1), Now { wall, steady: true }, &TERMS);

        assert!(matches!(
            at(TERMS.ttl - 1),
            Some(Decision::Replay { recorded_at: 0, .. })
        ));
        assert_eq!(at(TERMS.ttl), None);
        assert_eq!(at(0), None, "what has expired once does not come back");
    }

    #[test]
    fn another_request_under_the_token_is_told_so() {
        let replays = Replays::new(10_000);
        replays.keep(key("a"), &answered(10));

        let decision = replays.decide(&key("a"), asked(2), AT_FIRST, &TERMS);

        assert_eq!(decision, Some(Decision::Mismatch));
        assert!(replays.decide(&key("b"), asked(2), AT_FIRST, &TERMS).is_none());
    }

    #[test]
    fn after_a_jump_of_the_clock_the_store_is_asked() {
        let replays = Replays::new(10_000);
        replays.keep(key("a"), &answered(10));
        let jumped = Now {
            steady: false,
            ..AT_FIRST
        };

        assert_eq!(replays.decide(&key("a"), asked(1), jumped, &TERMS), None);
        assert!(replays.decide(&key("a"), asked(1), AT_FIRST, &TERMS).is_some());
    }

    #[test]
    fn only_answers_are_kept() {
        let replays = Replays::new(10_000);
        let open = Record::Unknown {
            fingerprint: asked(1),
            first_sent: 0,
            marker: None,
        };

        replays.keep(key("a"), &open);

        assert_eq!(replays.decide(&key("a"), asked(2), AT_FIRST, &TERMS), None);
    }

    #[test]
    fn the_oldest_goes_when_the_bytes_are_used_up() {
        let replays = Replays::new(3 * (1_000 + u64::from(OVERHEAD)));
        let at_hand = |token| replays.decide(&key(token), asked(1), AT_FIRST, &TERMS).is_some();

        for token in ["a", "b", "c", "d"] {
            replays.keep(key(token), &answered(1_000));
            replays.evict();
        }
        replays.keep(key("too large"), &answered(10_000));
        replays.evict();

        assert!(!at_hand("a"));
        assert!(at_hand("b") && at_hand("c") && at_hand("d"));
        assert!(!at_hand("too large"));
    }

    #[test]
    fn without_bytes_nothing_is_kept() {
        let replays = Replays::new(0);
        replays.keep(key("a"), &answered(0));

        assert_eq!(replays.decide(&key("a"), asked(1), AT_FIRST, &TERMS), None);
    }
}
