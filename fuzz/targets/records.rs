//! What comes back from a store: damaged, truncated, or written by somebody else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ram_facade::idempotency::record::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(bytes) {
        // What can be read can be written, and means the same.
        let again = Record::decode(&record.encode());
        assert!(again.is_ok_and(|again| again == record));
    }
});
