//! Answers a call that only wants to know whether it would be sent.
//!
//! # Where it stands
//! Inside `authorize`, so that the answer includes what policy says. Outside `idempotency`: nothing is claimed, and the
//! client token stays free for the request that is meant.
//!
//! # On failure
//! It adds none.
//!
//! # When the caller goes away
//! Nothing: it holds no state across an await.

use std::{
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use crate::{call::Answer, failure::Failure, layers::authorize::Permitted, operation::Operation};

/// Makes [`DryRun`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DryRunLayer;

impl<S> Layer<S> for DryRunLayer {
    type Service = DryRun<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DryRun { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct DryRun<S> {
    inner: S,
}

impl<Op, S> Service<Permitted<Op>> for DryRun<S>
where
    Op: Operation,
    S: Service<Permitted<Op>, Response = Answer<Op::Output>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Answer<Op::Output>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<Op::Output>, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, permitted: Permitted<Op>) -> Self::Future {
        let input = &permitted.call().input;
        if !Op::validate_only(input) {
            return Box::pin(self.inner.call(permitted));
        }
        let mut output = Op::Output::default();
        if let Some(token) = Op::client_token(input) {
            Op::set_client_token(&mut output, token);
        }
        Box::pin(ready(Ok(Answer::fresh(output))))
    }
}
