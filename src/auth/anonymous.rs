//! Lets everybody in under one name. For a sandbox, and for whoever asks for it by name, on loopback only.

use std::future::ready;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::{auth::Authenticator, call::Caller, failure::Failure};

/// Takes every request for the same caller, `none/anonymous`, whatever credential it carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn authenticate<'a>(&'a self, _headers: &'a HeaderMap) -> BoxFuture<'a, Result<Caller, Failure>> {
        Box::pin(ready(Ok(Caller::new("none", "anonymous"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_is_the_same_caller() {
        let caller = Anonymous.authenticate(&HeaderMap::new()).await.unwrap();

        assert_eq!(caller.to_string(), "none/anonymous");
    }
}
