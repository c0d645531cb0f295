//! Lets everybody in under one name. For a sandbox, and for whoever asks for it by name, on loopback only.

use std::future::ready;

use futures_util::future::BoxFuture;

use crate::{
    auth::{Authenticator, Evidence},
    call::Caller,
    failure::Failure,
};

/// Takes every request for the same caller, `none/anonymous`, whatever credential it carries.
#[derive(Clone, Debug)]
pub struct Anonymous(Caller);

impl Default for Anonymous {
    fn default() -> Self {
        Self(Caller::new("none", "anonymous"))
    }
}

impl Authenticator for Anonymous {
    fn authenticate<'a>(&'a self, _evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
        Box::pin(ready(Ok(self.0.clone())))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[tokio::test]
    async fn everybody_is_the_same_caller() {
        let anonymous = Anonymous::default();

        let caller = anonymous
            .authenticate(Evidence {
                headers: &HeaderMap::new(),
                peer: None,
            })
            .await
            .unwrap();

        assert_eq!(caller.to_string(), "none/anonymous");
    }
}
