//! Bearer tokens from a file that holds only their hashes.
//!
//! Each line is the SHA-256 of a token in 64 hex digits, a space, and the caller's name; `#` begins a comment. A name
//! may have several tokens, so that one can be replaced without a gap: add the new one, move the client, remove the old
//! one. The file is read again when it changes and on SIGHUP; one that does not parse changes nothing.
//!
//! Tokens must be long random strings: a hash without salt keeps a guessable one no secret. One way to make a line
//! (the token goes to the client, the hash to the file):
//!
//! ```text
//! token=$(openssl rand -base64 32); printf %s "$token" | sha256sum | sed 's/ .*/ network-team/'
//! ```

pub(in crate::auth) mod file;
mod table;

use std::{fmt, future::ready, path::PathBuf, time::Duration};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::header;
use sha2::{Digest, Sha256};

use crate::{
    auth::{Authenticator, Evidence, bearer::bearer_token},
    call::Caller,
    failure::Failure,
};

pub use self::{
    file::LoadError,
    table::{Fault, Table},
};

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Time between two looks at the file, in milliseconds. Range 100 to 3_600_000. Default 5_000: a look is one
    /// `stat`, and whoever revokes a token waits for it.
    pub poll_interval: Duration,
}

impl Settings {
    /// Reads `path` and looks at it again every 5 seconds.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            poll_interval: Duration::from_secs(5),
        }
    }
}

/// Knows callers by the tokens of a file.
pub struct StaticTokens {
    path: PathBuf,
    table: ArcSwap<Table>,
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticTokens")
            .field("path", &self.path)
            .field("table", &self.table.load())
            .finish()
    }
}

impl StaticTokens {
    /// Reads the tokens of the file at `path`. Blocks; call it at start.
    ///
    /// # Errors
    /// If the file cannot be read, does not parse, names nobody, or can be written by everybody.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, LoadError> {
        let path = path.into();
        let table = file::read(&path)?;
        Ok(Self {
            path,
            table: ArcSwap::from_pointee(table),
        })
    }
}

impl Authenticator for StaticTokens {
    fn authenticate<'a>(&'a self, evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
        let answer = match evidence.headers.get(header::AUTHORIZATION) {
            None => Err(super::missing()),
            Some(credential) => self.check(credential.as_bytes()).ok_or_else(super::invalid),
        };
        Box::pin(ready(answer))
    }
}

impl StaticTokens {
    fn check(&self, credential: &[u8]) -> Option<Caller> {
        let token = bearer_token(credential)?;
        let hash = Sha256::digest(token).into();
        self.table.load().find(&hash).cloned()
    }
}

#[cfg(test)]
mod tests;
