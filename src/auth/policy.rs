//! What an authenticated caller may do.

use std::{fmt, sync::Arc};

use crate::{
    call::{Caller, Target},
    operation::Facts,
};

/// What a policy decides on.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// AWS's name of the operation, for instance `CreateResourceShare`.
    pub operation: &'static str,
    /// The account and Region that the call acts on.
    pub target: &'a Target,
    /// What the request asks for.
    pub facts: Facts<'a>,
}

/// The name under which an operator knows a policy.
pub type PolicyId = Arc<str>;

/// A policy's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The call may go on.
    Permit {
        /// The policies that permit it.
        by: Vec<PolicyId>,
    },
    /// The call may not go on.
    Deny(Denial),
}

/// Why a call may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// These policies forbid it.
    Forbidden {
        /// All that do.
        by: Vec<PolicyId>,
    },
    /// No policy permits it.
    Unmentioned,
    /// These policies could not be evaluated. A policy that forbids may be among them, so that nothing is permitted.
    Faulty {
        /// Each with what went wrong, for the log.
        errors: Vec<(PolicyId, String)>,
    },
    /// A value of the request cannot be taken apart, so that no policy can speak of it.
    Unreadable {
        /// The field, with its index.
        field: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

impl Denial {
    /// The policies that it comes from.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyId> {
        match self {
            Self::Forbidden { by } => by.clone(),
            Self::Faulty { errors } => errors.iter().map(|(id, _)| Arc::clone(id)).collect(),
            Self::Unmentioned | Self::Unreadable { .. } => Vec::new(),
        }
    }
}

/// What a denied caller may know: the policies' names, by which the operator finds them, and never their text or what
/// went wrong inside one.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = named(&self.policies());
        match self {
            Self::Forbidden { .. } => write!(f, "forbidden by {names}"),
            Self::Unmentioned => f.write_str("no policy permits it"),
            Self::Faulty { .. } => write!(f, "{names} could not be evaluated"),
            Self::Unreadable { field, rule } => write!(f, "{field} {rule}"),
        }
    }
}

fn named(ids: &[PolicyId]) -> String {
    let names: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
    let noun = if names.len() == 1 { "policy" } else { "policies" };
    format!("{noun} {}", names.join(", "))
}

/// Decides whether a call may go on. Pure: the same question has the same answer until the policies change.
pub trait Policy: Send + Sync + 'static {
    /// Answers `question`.
    fn decide(&self, question: &Question<'_>) -> Decision;
}

/// Lets every authenticated caller do everything.
#[derive(Clone, Copy, Debug)]
pub struct EveryCaller;

impl Policy for EveryCaller {
    fn decide(&self, _question: &Question<'_>) -> Decision {
        Decision::Permit { by: Vec::new() }
    }
}
