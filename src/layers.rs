//! The middleware: one file per layer, and what two of them hand each other.
//!
//! The HTTP ring is composed in `server.rs`, the call ring in `stack.rs`.

pub mod attempt;
pub mod authenticate;
pub mod authorize;
pub mod catch_panic;
pub mod deadline;
pub mod dry_run;
pub mod explain;
pub mod grpc_request;
pub mod idempotency;
pub mod in_flight;
pub mod request_id;
pub mod retry;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
pub mod wire;

use tokio::time::Instant;

use crate::{
    clock::{self, UnixMillis},
    idempotency::UpstreamToken,
    layers::authorize::Permitted,
    operation::Operation,
};

/// A permitted call on its way to RAM, under the token that RAM will see.
pub struct Execution<Op: Operation> {
    /// The call, and the proof that policy ran.
    pub permitted: Permitted<Op>,
    /// The client token for RAM, the same for every attempt.
    pub token: UpstreamToken,
    /// When the execution ends, answered or not. May lie behind the caller's deadline.
    pub deadline: Instant,
    /// Until when a request may leave. `None` when a repetition does no harm.
    pub window: Option<Window>,
}

impl<Op: Operation> Clone for Execution<Op> {
    fn clone(&self) -> Self {
        Self {
            permitted: self.permitted.clone(),
            token: self.token.clone(),
            deadline: self.deadline,
            window: self.window,
        }
    }
}

/// The time in which requests under one token may leave, on both clocks: a machine that was suspended, or whose wall
/// clock was set, is caught by one of them.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its end in wall time.
    pub wall: UnixMillis,
    /// Its end in monotonic time.
    pub monotonic: Instant,
}

impl Window {
    /// Returns whether a request may still leave.
    #[must_use]
    pub fn is_open(&self) -> bool {
        Instant::now() <= self.monotonic && clock::wall_now() <= self.wall
    }
}
