//! The middleware: one file per layer, and what two of them hand each other.
//!
//! The HTTP ring is composed in `server.rs`, the call ring in `stack.rs`.

pub mod attempt;
pub mod audit;
pub mod authenticate;
pub mod authorize;
pub mod catch_panic;
pub mod deadline;
pub mod dry_run;
pub mod explain;
pub mod grpc_request;
pub mod idempotency;
pub mod in_flight;
pub mod limit_caller;
pub mod limit_metadata;
pub mod pace;
pub mod request_id;
pub mod retry;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
pub mod wire;

use tokio::time::Instant;

use crate::{
    call::Call,
    idempotency::{Key, Scope, UpstreamToken},
    layers::{authorize::Permitted, pace::Permit},
    operation::{Operation, Repeat},
};

pub use crate::clock::Window;

/// The intent behind `call` that its caller names `client_token`.
fn key_of<Op: Operation>(call: &Call<Op>, client_token: &str) -> Key {
    Key::of(&Scope {
        caller: &call.caller,
        target: &call.target,
        operation: Op::NAME,
        client_token,
    })
}

/// What an execution goes to RAM for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// To have the request executed.
    Send,
    /// To find what an earlier execution made. Changes nothing, and its answer may be that there is nothing.
    Find,
}

/// How an execution stands with the pacer.
#[derive(Debug, Default)]
pub enum Admission {
    /// It has not asked yet whether it may leave.
    #[default]
    Ask,
    /// It asked before, and may leave.
    Granted(Permit),
    /// It had left, and wants to leave again if that is before `until`.
    Again {
        /// When its answer is of no more use.
        until: Instant,
    },
}

/// A permitted call on its way to RAM, under the token that RAM will see.
pub struct Execution<Op: Operation> {
    /// The call, and the proof that policy ran.
    pub permitted: Permitted<Op>,
    /// What it goes for.
    pub errand: Errand,
    /// The client token for RAM, the same for every attempt.
    pub token: UpstreamToken,
    /// When the execution ends, answered or not. May lie behind the caller's deadline.
    pub deadline: Instant,
    /// Until when a request may leave. `None` when a repetition does no harm.
    pub window: Option<Window>,
    /// How it stands with the pacer.
    pub admission: Admission,
}

impl<Op: Operation> Execution<Op> {
    /// Whether sending it again can do its work twice.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        match self.errand {
            Errand::Send => Op::REPEAT,
            Errand::Find => Repeat::Safe,
        }
    }

    /// The same for another attempt, which has no permit yet.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            permitted: self.permitted.clone(),
            errand: self.errand,
            token: self.token.clone(),
            deadline: self.deadline,
            window: self.window,
            admission: Admission::Ask,
        }
    }
}
