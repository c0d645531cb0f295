//! At most one resource share per intent: keys, fingerprints, records and the stores that keep them.
//!
//! What the promise rests on is the [`UpstreamToken`]: any replica derives the same one from the same intent, after
//! any crash, and RAM makes one share per token for as long as it remembers the token. The rules that keep every send
//! inside that time are in [`record`]; a [`Store`] only compares and swaps what `record` decides.
//!
//! `layers::idempotency` drives all this for one call.

pub mod cache;
mod canonical;
mod fingerprint;
mod key;
mod marker;
pub mod memory;
pub mod record;
pub mod redis;
pub mod seal;
pub mod sqlite;
pub mod steady;
pub mod store;
pub mod sweeper;

pub use canonical::CanonicalWriter;
pub use fingerprint::Fingerprint;
pub use key::{Key, Scope, UpstreamToken, client_token_fault, mint};
pub use marker::Marker;
pub use store::Store;

/// Appends `bytes` behind their length, so that what stands next to each other cannot be read in two ways.
fn lp(out: &mut Vec<u8>, bytes: &[u8]) {
    // No message is as long as 4 GiB: the server bounds it to far less before it is decoded.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
