//! AWS Resource Access Manager as a gRPC service.

pub mod api;
pub mod auth;
pub mod call;
pub mod cli;
pub mod clock;
pub mod config;
pub mod failure;
pub mod idempotency;
pub mod layers;
pub mod operation;
pub mod operations;
pub mod pb;
pub mod ram;
pub mod rules;
pub mod sandbox;
pub mod server;
pub mod stack;
pub mod telemetry;
