//! Lets a call through only if policy permits its action.
//!
//! # Where it stands
//! Inside `authenticate`, which proves the caller, and outside `idempotency`: a denied call leaves no record, and a
//! stored answer is never shown to someone who is no longer allowed.
//!
//! # On failure
//! `NOT_PERMITTED`, effect none.
//!
//! # When the caller goes away
//! Nothing: it holds no state across an await.
//!
//! # What it leaves behind
//! [`Permitted`], which only this file can build. The layers inside take nothing else, so that a stack without this
//! layer does not compile.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};

use crate::{
    auth::policy::{Decision, Policy, Question},
    call::Call,
    failure::{Failure, Reason},
    operation::Operation,
};

/// Proof that policy permitted the call.
pub struct Permitted<Op: Operation>(Call<Op>);

impl<Op: Operation> Permitted<Op> {
    /// The call that was permitted.
    #[must_use]
    pub fn call(&self) -> &Call<Op> {
        &self.0
    }
}

impl<Op: Operation> Clone for Permitted<Op> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Makes [`Authorize`].
#[derive(Clone)]
pub struct AuthorizeLayer {
    policy: Arc<dyn Policy>,
}

impl AuthorizeLayer {
    /// Asks `policy` about every call.
    #[must_use]
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorize {
            inner,
            policy: Arc::clone(&self.policy),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    policy: Arc<dyn Policy>,
}

impl<Op, S> Service<Call<Op>> for Authorize<S>
where
    Op: Operation,
    S: Service<Permitted<Op>, Error = Failure>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Either<Ready<Result<S::Response, Failure>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call<Op>) -> Self::Future {
        let question = Question {
            caller: call.caller.clone(),
            action: Op::ACTION,
            target: Arc::clone(&call.target),
        };
        match self.policy.decide(&question) {
            Decision::Permit => Either::Right(self.inner.call(Permitted(call))),
            Decision::Deny => {
                let message = format!(
                    "`{}` may not call {}; ask the operator for it",
                    call.caller,
                    Op::ACTION
                );
                Either::Left(ready(Err(Failure::new(Reason::NotPermitted, message))))
            }
        }
    }
}
