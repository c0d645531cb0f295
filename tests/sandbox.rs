//! The sandbox as a client of RAM meets it: through the real SDK, over a real connection.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a helper of tests ends its test when something is not as it must be"
)]

#[path = "sandbox/client.rs"]
mod client;
#[path = "sandbox/faults.rs"]
mod faults;
#[path = "sandbox/idempotency.rs"]
mod idempotency;
#[path = "sandbox/lifecycle.rs"]
mod lifecycle;
#[path = "sandbox/listing.rs"]
mod listing;
#[path = "sandbox/manual.rs"]
mod manual;
#[path = "sandbox/validation.rs"]
mod validation;
#[path = "sandbox/wire.rs"]
mod wire;
