//! AWS Resource Access Manager as a gRPC service.
//!
//! # The life of a request
//!
//! ```text
//!  server::connections   accepts, bounds and ages connections; drains
//!  server::tls           shakes hands, rereads its files, watches over client certificates
//!  ── the HTTP ring: headers only, every method; composed in server ──────────────────────────────
//!  layers::request_id    names the request
//!  layers::trace         one span, one line in the log
//!  layers::catch_panic   a defect answers INTERNAL
//!  layers::grpc_request  nothing else is served
//!  layers::limit_metadata refuses too much of it, readably
//!  layers::in_flight     sheds what is too much
//!  layers::deadline      one absolute deadline
//!  layers::authenticate  a credential becomes a call::Caller
//!  layers::limit_caller  a share of the server for each caller
//!  layers::explain       gives tonic's own refusals a reason
//!  ── tonic decodes one message ──────────────────────────────────────────────────────────────────
//!  api                   validates; makes a call::Call of an operation::Operation
//!  ── the call ring: typed, generic over the operation; composed in stack ────────────────────────
//!  layers::audit         puts on record what became of it
//!  layers::authorize     policy; leaves a Permitted behind
//!  layers::dry_run       answers validate_only
//!  layers::idempotency   replays, joins, refuses, or claims and executes once, detached
//!  layers::retry         tries again within a budget
//!  layers::pace          lets it leave at the rate that RAM takes
//!  layers::attempt       bounds one attempt
//!  operations::*         converts, and calls RAM through the AWS SDK
//!  ram::error            turns what came back into a failure::Failure
//! ```
//!
//! On the way back a [`failure::Failure`] becomes a status in one place, [`failure::Failure::to_status`].
//!
//! # Where to begin
//!
//! [`server`] and [`stack`] are the two rings, a line with a reason for each layer. [`layers::authorize`] is the layer to read
//! first. [`operations::list_resource_types`] is a whole operation. [`idempotency::record`] is what the promise of at most
//! one share rests on. [`sandbox`] is another program's side of the wire, and uses nothing of the rest.
//!
//! `tests/architecture.rs` says who may import whom.

// The suite that every store passes names this crate as the integration tests do.
#[cfg(test)]
extern crate self as ram_facade;

pub mod api;
pub mod audit;
pub mod auth;
pub mod bounded;
pub mod call;
pub mod cli;
pub mod clock;
pub mod config;
pub mod failpoint;
pub mod failure;
pub mod idempotency;
pub mod layers;
pub mod operation;
pub mod operations;
pub mod operator;
pub mod pacing;
pub mod pb;
#[cfg(feature = "cedar")]
pub mod policy_tool;
pub mod ram;
pub mod rules;
pub mod sandbox;
pub mod server;
pub mod stack;
pub mod telemetry;
pub mod watch;
