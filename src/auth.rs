//! Who calls, and what they may do: the traits that the layers use, and their implementations.

pub mod anonymous;
mod bearer;
#[cfg(feature = "cedar")]
pub mod cedar;
pub mod certificate;
pub mod jwt;
pub mod one_of;
pub mod peer;
pub mod policy;
pub mod static_tokens;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::{
    auth::peer::Peer,
    call::Caller,
    failure::{Failure, Reason},
};

/// What a request comes with that may prove who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The other end of its connection. `None` only where there is no connection, in tests.
    pub peer: Option<&'a Peer>,
}

/// Finds out who sent a request, from its headers and its connection.
pub trait Authenticator: Send + Sync + 'static {
    /// Returns who sent the request that comes with this `evidence`.
    ///
    /// # Errors
    /// `CREDENTIALS_MISSING` if there is no credential, `CREDENTIALS_INVALID` or `CREDENTIALS_EXPIRED` if it proves
    /// nothing, `FACADE_KEYS_UNAVAILABLE` if that cannot be told right now. The message must not tell which part of a
    /// credential was wrong.
    ///
    /// # Cancellation
    /// The future is dropped when the caller goes away or its deadline passes.
    fn authenticate<'a>(&'a self, evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>>;
}

/// What a request without a bearer token is told.
fn missing() -> Failure {
    Failure::new(
        Reason::CredentialsMissing,
        "the call carries no credential; send `authorization: Bearer <token>`",
    )
}

/// What a request with a bearer token that proves nothing is told. One text for all: which part was wrong is nothing to
/// tell a stranger.
fn invalid() -> Failure {
    Failure::new(
        Reason::CredentialsInvalid,
        "the credential is not valid; check the bearer token",
    )
}
