//! Key, fingerprint and upstream token.

/// Writes the canonical form of a request, which its fingerprint covers.
#[derive(Debug, Default)]
pub struct CanonicalWriter {
    _bytes: Vec<u8>,
}

/// The client token that RAM sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamToken(String);
