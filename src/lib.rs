//! AWS Resource Access Manager as a gRPC service.

pub mod api;
pub mod auth;
pub mod call;
pub mod clock;
pub mod failure;
pub mod idempotency;
pub mod layers;
pub mod operation;
pub mod pb;
pub mod server;
