//! What an authenticated caller may do.

use std::sync::Arc;

use crate::call::{Caller, Target};

/// What a policy decides on.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who asks.
    pub caller: Caller,
    /// The IAM action, for instance `ram:CreateResourceShare`.
    pub action: &'static str,
    /// The account and Region that the call acts on.
    pub target: Arc<Target>,
}

/// A policy's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The call may go on.
    Permit,
    /// The call may not go on.
    Deny,
}

/// Decides whether a call may go on. Pure: the same question has the same answer.
pub trait Policy: Send + Sync + 'static {
    /// Answers `question`.
    fn decide(&self, question: &Question) -> Decision;
}

/// Lets every authenticated caller do everything. It is the only policy so far.
#[derive(Clone, Copy, Debug)]
pub struct EveryCaller;

impl Policy for EveryCaller {
    fn decide(&self, _question: &Question) -> Decision {
        Decision::Permit
    }
}
