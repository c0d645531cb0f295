//! The sandbox as a client of RAM meets it: through the real SDK, over a real connection.

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
#[path = "sandbox/validation.rs"]
mod validation;
#[path = "sandbox/wire.rs"]
mod wire;
