//! The tag that lets a share be found again when its request can no longer be repeated.

use sha2::{Digest, Sha256};

/// Which tag the sends of an intent carry, as a record keeps it: a hash of the tag's key.
///
/// That RAM lists no share with a tag proves something only if the sends carried that very tag. A release or a
/// configuration that used another leaves records behind for which the list has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Marker([u8; Self::BYTES]);

impl Marker {
    /// How many bytes of the hash are kept: enough for the handful of keys that a deployment ever has.
    pub const BYTES: usize = 8;

    /// The marker with this tag key. `None` for the empty key, which stands for no tag.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let kept = hash.first_chunk().copied();
        kept.filter(|_| !key.is_empty()).map(Self)
    }

    /// A marker that was recorded.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for a record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_is_another_marker_and_no_key_is_none() {
        assert_eq!(Marker::of("ram-facade:request"), Marker::of("ram-facade:request"));
        assert_ne!(Marker::of("ram-facade:request"), Marker::of("other:request"));
        assert_eq!(Marker::of(""), None);
    }
}
