//! One authenticated request on its way through the call ring.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::operation::Operation;

/// Who calls: the stable name that a verifier proved.
///
/// Stable means that it is the same for every session, credential rotation and address of the same workload, because
/// idempotency keys are private to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    issuer: Arc<str>,
    subject: Arc<str>,
}

impl Caller {
    /// Names a caller: `issuer` is who vouches for the name, `subject` the name itself.
    #[must_use]
    pub fn new(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
        }
    }

    /// Who vouches for the name, for instance `static-token`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The name itself, unique within its issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer, self.subject)
    }
}

/// Where the facade acts: the AWS account and Region of its own credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// AWS partition, for instance `aws`.
    pub partition: String,
    /// Account id, 12 digits.
    pub account: String,
    /// Region, for instance `eu-west-1`.
    pub region: String,
}

/// One authenticated and valid request. Cloning shares the input.
pub struct Call<Op: Operation> {
    /// Who calls.
    pub caller: Caller,
    /// The account and Region that the call acts on.
    pub target: Arc<Target>,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// What the caller sent.
    pub input: Arc<Op::Input>,
}

impl<Op: Operation> Clone for Call<Op> {
    fn clone(&self) -> Self {
        Self {
            caller: self.caller.clone(),
            target: Arc::clone(&self.target),
            deadline: self.deadline,
            input: Arc::clone(&self.input),
        }
    }
}

/// What a call that succeeded gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<Output> {
    /// RAM's answer.
    pub output: Output,
    /// When the answer was recorded, if it was served from a record.
    pub replayed: Option<crate::clock::UnixMillis>,
}

impl<Output> Answer<Output> {
    /// An answer that RAM gave just now.
    #[must_use]
    pub fn fresh(output: Output) -> Self {
        Self {
            output,
            replayed: None,
        }
    }
}
