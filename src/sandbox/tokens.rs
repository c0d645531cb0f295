//! Remembers which client token did what, so that a repeated request is not executed again.
//!
//! A token is known per operation, for a limited time from its execution. Only executions are remembered: a refused
//! request leaves its token free, as nothing was done with it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{clock::Moment, error::Refusal};

/// The longest token that is taken, in bytes.
const LONGEST: usize = 64;

type Key = (&'static str, String);

/// A digest of the parameters a request came with.
pub(super) type Fingerprint = [u8; 32];

/// What is known of a token.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    /// Nothing: execute.
    Never,
    /// The same request was executed and answered this.
    Same(Value),
    /// It was used with other parameters.
    Other,
}

/// The tokens of the recent past.
#[derive(Debug)]
pub(super) struct Tokens {
    memory: Duration,
    known: HashMap<Key, (Fingerprint, Value)>,
    // In the order of execution, which is the order of expiry because every token is kept equally long.
    oldest_first: VecDeque<(Moment, Key)>,
}

impl Tokens {
    /// Remembers each token for `memory`.
    pub(super) fn new(memory: Duration) -> Self {
        Self {
            memory,
            known: HashMap::new(),
            oldest_first: VecDeque::new(),
        }
    }

    /// What is known of `token` in this operation.
    pub(super) fn look(
        &mut self,
        operation: &'static str,
        token: &str,
        fingerprint: &Fingerprint,
        now: Moment,
    ) -> Seen {
        self.forget(now);
        match self.known.get(&(operation, token.to_owned())) {
            None => Seen::Never,
            Some((known, answer)) if known == fingerprint => Seen::Same(answer.clone()),
            Some(_) => Seen::Other,
        }
    }

    /// Keeps the answer of an execution.
    pub(super) fn remember(
        &mut self,
        operation: &'static str,
        token: &str,
        fingerprint: Fingerprint,
        answer: Value,
        now: Moment,
    ) {
        let key = (operation, token.to_owned());
        self.known.insert(key.clone(), (fingerprint, answer));
        self.oldest_first.push_back((now, key));
    }

    fn forget(&mut self, now: Moment) {
        while let Some((_, key)) = self
            .oldest_first
            .pop_front_if(|(then, _)| now.since(*then) >= self.memory)
        {
            self.known.remove(&key);
        }
    }
}

/// Refuses a token that is empty, too long or not printable ASCII.
pub(super) fn check(token: &str) -> Result<(), Refusal> {
    if token.is_empty() || token.len() > LONGEST || !token.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(Refusal::invalid_client_token(format!(
            "The client token must have 1 to {LONGEST} printable ASCII characters."
        )));
    }
    Ok(())
}

/// Digests all parameters but the token itself. The order of members does not matter, the order in lists does, and a
/// null counts as left out.
pub(super) fn fingerprint(parameters: &Map<String, Value>) -> Fingerprint {
    let mut digest = Sha256::new();
    feed_members(&mut digest, parameters, Some("clientToken"));
    digest.finalize().into()
}

fn feed(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Object(members) => feed_members(digest, members, None),
        Value::Array(items) => {
            digest.update(b"[");
            for item in items {
                feed(digest, item);
                digest.update(b",");
            }
            digest.update(b"]");
        }
        // JSON text of a scalar: quotes and escapes keep a string apart from what surrounds it.
        scalar => digest.update(scalar.to_string()),
    }
}

fn feed_members(digest: &mut Sha256, members: &Map<String, Value>, except: Option<&str>) {
    let mut members: Vec<_> = members
        .iter()
        .filter(|(name, value)| Some(name.as_str()) != except && !value.is_null())
        .collect();
    members.sort_unstable_by_key(|(name, _)| name.as_str());
    digest.update(b"{");
    for (name, value) in members {
        digest.update(Value::from(name.as_str()).to_string());
        digest.update(b":");
        feed(digest, value);
        digest.update(b",");
    }
    digest.update(b"}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MEMORY: Duration = Duration::from_secs(60);

    fn print_of(value: Value) -> Fingerprint {
        fingerprint(value.as_object().unwrap())
    }

    #[test]
    fn a_token_is_known_until_its_time_is_over() {
        let mut tokens = Tokens::new(MEMORY);
        let now = Moment::now();
        tokens.remember("Create", "t", [1; 32], json!(1), now);

        let almost = now.later(MEMORY - Duration::from_nanos(1));
        assert_eq!(tokens.look("Create", "t", &[1; 32], almost), Seen::Same(json!(1)));
        assert_eq!(tokens.look("Create", "t", &[2; 32], almost), Seen::Other);
        assert_eq!(
            tokens.look("Create", "t", &[1; 32], now.later(MEMORY)),
            Seen::Never
        );
        assert!(tokens.known.is_empty(), "what is forgotten takes no memory");
    }

    #[test]
    fn a_token_of_another_operation_is_another_token() {
        let mut tokens = Tokens::new(MEMORY);
        let now = Moment::now();
        tokens.remember("Create", "t", [1; 32], json!(1), now);
        assert_eq!(tokens.look("Delete", "t", &[1; 32], now), Seen::Never);
    }

    #[test]
    fn only_short_printable_tokens_are_taken() {
        assert!(check(&"x".repeat(64)).is_ok());
        for bad in [String::new(), "x".repeat(65), "tab\t".to_owned(), "é".to_owned()] {
            assert_eq!(
                check(&bad).unwrap_err().code,
                "InvalidClientTokenException",
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_fingerprint_ignores_the_token_nulls_and_the_order_of_members() {
        let one = print_of(json!({"name": "n", "tags": [{"key": "a", "value": "b"}], "clientToken": "1"}));
        let two = print_of(
            json!({"clientToken": "2", "tags": [{"value": "b", "key": "a"}], "name": "n", "sources": null}),
        );
        assert_eq!(one, two);
    }

    #[test]
    fn the_fingerprint_sees_values_list_order_and_where_a_list_ends() {
        let base = print_of(json!({"principals": ["a", "b"]}));
        assert_ne!(base, print_of(json!({"principals": ["b", "a"]})));
        assert_ne!(base, print_of(json!({"principals": ["a,b"]})));
        assert_ne!(base, print_of(json!({"principals": ["a", "b"], "name": ""})));
        assert_ne!(print_of(json!({"a": [1, 2]})), print_of(json!({"a": [12]})));
        assert_ne!(print_of(json!({"a": [[1], 2]})), print_of(json!({"a": [[1, 2]]})));
    }
}
