//! What a request asks for, as a hash.

use sha2::{Digest, Sha256};

use super::CanonicalWriter;

/// The version of the canonical form, the first byte under the hash.
const VERSION: u8 = 1;

/// A hash over the canonical form of a request: equal for two requests that mean the same to RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of what `write` writes.
    #[must_use]
    pub fn of(write: impl FnOnce(&mut CanonicalWriter)) -> Self {
        let mut canonical = CanonicalWriter::default();
        write(&mut canonical);
        let hash = Sha256::new()
            .chain_update([VERSION])
            .chain_update(canonical.as_bytes())
            .finalize();
        Self(hash.into())
    }

    /// A fingerprint that was recorded.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for a record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_fingerprint_are_pinned() {
        let fingerprint = Fingerprint::of(|out| {
            out.text(1, "team-share");
            out.texts_as_set(2, &["arn:b".to_owned(), "arn:a".to_owned()]);
            out.flag(5, false);
        });

        let hex: String = fingerprint
            .as_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            hex,
            "73561e5ee2b03bf23ccf2be38203cea6679a1f7a7e5303ca714796b19ed5ddd6"
        );
    }
}
