//! Who calls, and what they may do: the traits that the layers use, and their implementations.

pub mod anonymous;
pub mod policy;
pub mod static_tokens;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::{call::Caller, failure::Failure};

/// Finds out who sent a request, from its headers alone.
pub trait Authenticator: Send + Sync + 'static {
    /// Returns who sent the request with these `headers`.
    ///
    /// # Errors
    /// `CREDENTIALS_MISSING` if there is no credential, `CREDENTIALS_INVALID` if it proves nothing. The message must
    /// not tell which part of a credential was wrong.
    ///
    /// # Cancellation
    /// The future is dropped when the caller goes away or its deadline passes.
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Caller, Failure>>;
}
