//! Whose token it is, and the token that RAM sees in its place.

use std::{borrow::Borrow, fmt};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::lp;
use crate::call::{Caller, Target};

/// Everything within which a client token means one intent.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Who sent the token.
    pub caller: &'a Caller,
    /// The account and Region it acts on.
    pub target: &'a Target,
    /// AWS's name of the operation.
    pub operation: &'a str,
    /// The caller's token.
    pub client_token: &'a str,
}

/// Room for the scope of most intents, in bytes: a longer one takes another allocation.
const USUAL_SCOPE: usize = 256;

/// Names an intent: a hash over its scope, so that a store never sees a caller's token, and no caller meets another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of an intent.
    #[must_use]
    pub fn of(scope: &Scope<'_>) -> Self {
        let mut caller = Vec::with_capacity(USUAL_SCOPE);
        lp(&mut caller, scope.caller.issuer().as_bytes());
        lp(&mut caller, scope.caller.subject().as_bytes());

        let mut bytes = Vec::with_capacity(USUAL_SCOPE);
        lp(&mut bytes, b"ram-facade/idem/v1");
        lp(&mut bytes, &caller);
        lp(&mut bytes, scope.target.partition.as_bytes());
        lp(&mut bytes, scope.target.account.as_bytes());
        lp(&mut bytes, scope.target.region.as_bytes());
        lp(&mut bytes, scope.operation.as_bytes());
        lp(&mut bytes, scope.client_token.as_bytes());
        Self(Sha256::digest(bytes).into())
    }

    /// A key that a store kept.
    #[must_use]
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for a store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// It is ordered as its bytes are, so that a map by keys is looked through from any bytes on.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// The first 8 hex digits: enough to find a record in a log, too little to be a key.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// The client token that RAM sees, derived from the intent's key.
///
/// The fingerprint is no part of it: a token that comes again with other parameters after its record was lost must be
/// refused by RAM, not become a second share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamToken(String);

impl UpstreamToken {
    /// The token of an intent, laid out as a UUID of version 8 (RFC 9562, section 5.8).
    #[must_use]
    pub fn derive(key: &Key) -> Self {
        let mut bytes = Vec::new();
        lp(&mut bytes, b"ram-facade/upstream/v1");
        bytes.extend_from_slice(key.as_bytes());
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let mut head = [0; 16];
        head.copy_from_slice(hash.split_at(16).0);
        Self(
            uuid::Builder::from_custom_bytes(head)
                .into_uuid()
                .hyphenated()
                .to_string(),
        )
    }

    /// The empty token of an operation that RAM takes none for.
    #[must_use]
    pub fn none() -> Self {
        Self(String::new())
    }

    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes a client token for a caller who sent none.
#[must_use]
pub fn mint() -> String {
    Uuid::new_v4().hyphenated().to_string()
}

/// Returns what is wrong with a caller's token, if anything: the rule, and what to do. An empty one is none, and a fault.
#[must_use]
pub fn client_token_fault(token: &str) -> Option<&'static str> {
    if token.is_empty() || token.len() > 64 {
        return Some("may have at most 64 characters; a UUID is a good choice");
    }
    let printable = token.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (!printable).then_some("may have printable ASCII characters only; a UUID is a good choice")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(issuer: &str, subject: &str, region: &str, operation: &str, client_token: &str) -> Key {
        Key::of(&Scope {
            caller: &Caller::new(issuer, subject),
            target: &Target {
                partition: "aws".into(),
                account: "111122223333".into(),
                region: region.into(),
            },
            operation,
            client_token,
        })
    }

    fn golden() -> Key {
        key(
            "static-token",
            "ci",
            "eu-west-1",
            "CreateResourceShare",
            "order-4711",
        )
    }

    #[test]
    fn the_bytes_of_a_key_are_pinned() {
        let hex: String = golden().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "960d573f09d9929e1eaa8c75791b94643411d6db03d5b685c979c7a19a98ef4d"
        );
    }

    #[test]
    fn the_upstream_token_is_pinned_and_has_the_layout_of_a_version_8_uuid() {
        let token = UpstreamToken::derive(&golden());

        let uuid = Uuid::parse_str(token.as_str()).unwrap();
        assert_eq!(token.as_str(), "f4870a6f-d2c8-8527-aaaf-a2ed41eff2ac");
        assert_eq!(uuid.get_version_num(), 8);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn every_part_of_the_scope_makes_another_key() {
        let others = [
            key("spiffe", "ci", "eu-west-1", "CreateResourceShare", "order-4711"),
            key(
                "static-token",
                "cd",
                "eu-west-1",
                "CreateResourceShare",
                "order-4711",
            ),
            key(
                "static-token",
                "ci",
                "eu-west-2",
                "CreateResourceShare",
                "order-4711",
            ),
            key(
                "static-token",
                "ci",
                "eu-west-1",
                "CreatePermission",
                "order-4711",
            ),
            key(
                "static-token",
                "ci",
                "eu-west-1",
                "CreateResourceShare",
                "ORDER-4711",
            ),
            key(
                "static-toke",
                "nci",
                "eu-west-1",
                "CreateResourceShare",
                "order-4711",
            ),
        ];

        for other in others {
            assert_ne!(other, golden());
        }
    }

    #[test]
    fn a_key_shows_8_digits_of_itself_and_no_more() {
        let shown = format!("{} {:?}", golden(), golden());
        assert_eq!(shown, "960d573f Key(960d573f)");
    }

    #[test]
    fn a_client_token_is_1_to_64_printable_ascii_characters() {
        for good in ["a", "A b~", &"x".repeat(64)] {
            assert_eq!(client_token_fault(good), None, "{good}");
        }
        for bad in ["", "a\n", "\u{7f}", "ä", &"x".repeat(65)] {
            assert!(client_token_fault(bad).is_some(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_more_than_a_fault(text in ".*") {
            let _ = client_token_fault(&text);
        }
    }
}
