//! Puts on record what became of a call.
//!
//! # Where it stands
//! Outermost in the call ring, so that every end of a call that policy was asked about is seen, refusals included. What
//! policy said is put on record by `authorize`, before anything happens.
//!
//! # On failure
//! It adds none: a line that cannot be written is lost, counted and logged. Where the log is required, `authorize`
//! refuses.
//!
//! # When the caller goes away
//! The line says so. An execution that has begun goes on, and the answer to the next request for it names its share.
//!
//! # What it leaves behind
//! One line.

use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either};
use tower::{Layer, Service};

use crate::{
    audit::{About, Audit, Event, Line, Outcome},
    call::{Answer, Call},
    clock::wall_now,
    failure::Failure,
    idempotency::Key,
    layers::key_of,
    operation::{Operation, Repeat},
};

/// Makes [`Record`].
#[derive(Clone, Debug, Default)]
pub struct AuditLayer {
    audit: Audit,
}

impl AuditLayer {
    /// Writes to `audit`.
    #[must_use]
    pub fn new(audit: Audit) -> Self {
        Self { audit }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Record {
            inner,
            audit: self.audit.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    audit: Audit,
}

impl<Op, S> Service<Call<Op>> for Record<S>
where
    Op: Operation,
    S: Service<Call<Op>, Response = Answer<Op::Output>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Answer<Op::Output>;
    type Error = Failure;
    /// Without a log a call goes on without a box.
    type Future = Either<S::Future, BoxFuture<'static, Result<Answer<Op::Output>, Failure>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call<Op>) -> Self::Future {
        if !self.audit.is_on() {
            return Either::Left(self.inner.call(call));
        }
        let mut open = Open {
            audit: self.audit.clone(),
            call: Some(call.clone()),
        };
        let answer = self.inner.call(call);
        Either::Right(Box::pin(async move {
            let result = answer.await;
            open.close(match &result {
                Ok(answer) => Outcome::answered(Op::share_arn(&answer.output), answer.replayed.is_some()),
                Err(failure) => Outcome::failed(failure),
            });
            result
        }))
    }
}

/// A call without an end. Dropped like that, its caller went away.
struct Open<Op: Operation> {
    audit: Audit,
    call: Option<Call<Op>>,
}

impl<Op: Operation> Open<Op> {
    fn close(&mut self, outcome: Outcome<'_>) {
        if let Some(call) = self.call.take() {
            let intent = intent(&call);
            self.audit.note(&Line::new(
                wall_now(),
                about(&call, intent.as_ref()),
                Event::Outcome(outcome),
            ));
        }
    }
}

impl<Op: Operation> Drop for Open<Op> {
    fn drop(&mut self) {
        self.close(Outcome::abandoned());
    }
}

/// The idempotency key of a call whose caller named its intent.
pub(super) fn intent<Op: Operation>(call: &Call<Op>) -> Option<Key> {
    if Op::REPEAT != Repeat::WithToken {
        return None;
    }
    Op::client_token(&call.input).map(|token| key_of(call, token))
}

/// What every line about a call says.
pub(super) fn about<'a, Op: Operation>(call: &'a Call<Op>, intent: Option<&'a Key>) -> About<'a> {
    About {
        request_id: call.request_id.as_deref(),
        operation: Op::NAME,
        caller: &call.caller,
        target: &call.target,
        intent,
        validate_only: Op::validate_only(&call.input),
    }
}
