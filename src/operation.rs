//! What the middleware may know about a RAM operation.
//!
//! An operation is one unit struct in `operations/` that implements [`Operation`]. The layers are generic over it, so
//! that a new operation adds no line to any of them.

mod facts;

use std::future::{Future, ready};

use tonic_types::FieldViolation;

use crate::{
    failure::{Failure, Reason},
    idempotency::{CanonicalWriter, UpstreamToken},
    ram::Ram,
};

pub use facts::Facts;

/// Whether sending an operation again can do its work twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Sending it again changes nothing: reads, and writes that name their end state.
    Safe,
    /// RAM recognises a repetition by its client token.
    WithToken,
    /// RAM cannot recognise a repetition, and a second one does harm.
    Never,
}

/// What policies know of an operation before it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// AWS's name of the operation.
    pub name: &'static str,
    /// Whether it changes nothing at AWS.
    pub reads_only: bool,
}

/// One operation of RAM.
pub trait Operation: Sized + Send + Sync + 'static {
    /// AWS's name of the operation, for instance `CreateResourceShare`.
    const NAME: &'static str;
    /// The IAM action that policies speak of, for instance `ram:CreateResourceShare`.
    const ACTION: &'static str;
    /// Whether it may be sent again.
    const REPEAT: Repeat;
    /// Whether every request carries the marker tag, so that [`Operation::find`] finds what it made.
    const MARKED: bool = false;
    /// Whether it changes nothing at AWS. Policies know such operations as `Read`, all others as `Write`.
    const READS_ONLY: bool = false;
    /// The request message.
    type Input: prost::Message + Default + 'static;
    /// The response message.
    type Output: prost::Message + Default + Clone + 'static;

    /// Returns every rule that `input` breaks, each with its field, the rule and the next step. Empty means valid.
    fn validate(input: &Self::Input) -> Vec<FieldViolation>;

    /// Says what a policy may look at. All that decides who gets access to what has to be in it: a policy cannot forbid
    /// what it does not see, and therefore this has no default.
    fn describe(input: &Self::Input) -> Facts<'_>;

    /// Returns every way in which `input` leaves no room for a tag with the key `marker_tag`.
    fn validate_marker(_input: &Self::Input, _marker_tag: &str) -> Vec<FieldViolation> {
        Vec::new()
    }

    /// Returns the caller's client token, if the request has one.
    fn client_token(_input: &Self::Input) -> Option<&str> {
        None
    }

    /// Writes the token that names this intent into the answer.
    fn set_client_token(_output: &mut Self::Output, _token: &str) {}

    /// Returns the ARN of the share that the answer is about, for the audit log.
    fn share_arn(_output: &Self::Output) -> Option<&str> {
        None
    }

    /// Returns whether the caller wants to know only if the request would be sent.
    fn validate_only(_input: &Self::Input) -> bool {
        false
    }

    /// Writes what the fingerprint covers: two inputs that mean the same to RAM write the same bytes.
    ///
    /// Needed by operations that repeat [`Repeat::WithToken`]; others have no record and no fingerprint.
    fn canonical(_input: &Self::Input, _out: &mut CanonicalWriter) {}

    /// Sends the request to RAM once and converts the answer.
    ///
    /// # Errors
    /// What RAM or the way to it answered, mapped by `ram::error`.
    ///
    /// # Cancellation
    /// Dropping the future aborts the HTTP exchange. RAM may have executed the request all the same.
    fn send(
        ram: &Ram,
        input: &Self::Input,
        token: &UpstreamToken,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// Looks in RAM for what a request under `token` made, by its marker tag. `None` is RAM's word that there is nothing.
    ///
    /// Asked of operations that are [`Operation::MARKED`], and only while the tag is in use.
    ///
    /// # Errors
    /// Whatever keeps it from being sure: an answer that does not fit the question is an error, not a `None`.
    fn find(
        _ram: &Ram,
        _token: &UpstreamToken,
    ) -> impl Future<Output = Result<Option<Self::Output>, Failure>> + Send {
        ready(Err(Failure::new(Reason::Internal, "internal error")))
    }
}
