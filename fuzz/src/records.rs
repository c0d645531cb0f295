//! What comes back from a store: damaged, truncated, or written by somebody else.

use ram_facade::idempotency::record::Record;
use sha2::{Digest, Sha256};

/// Feeds one input.
pub fn feed(bytes: &[u8]) {
    read(bytes);
    // No fuzzer guesses a checksum.
    let checksum = Sha256::digest(bytes);
    read(&[&[1], &checksum[..8], bytes].concat());
}

fn read(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        // What can be read can be written, and means the same.
        let again = Record::decode(&record.encode());
        assert!(again.is_ok_and(|again| again == record));
    }
}
