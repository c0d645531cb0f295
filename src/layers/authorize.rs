//! Lets a call through only if policy permits its action.
//!
//! # Where it stands
//! Inside `authenticate`, which proves the caller, and outside `idempotency`: a denied call leaves no record, and a
//! stored answer is never shown to someone who is no longer allowed.
//!
//! # On failure
//! `NOT_PERMITTED`, effect none. `AUDIT_UNAVAILABLE`, effect none, for a call that changes something where its decision
//! has to be in the audit log and cannot be.
//!
//! # When the caller goes away
//! Nothing: it holds no state across an await. A decision that was made is on record.
//!
//! # What it leaves behind
//! [`Permitted`], which only this file can build. The layers inside take nothing else, so that a stack without this
//! layer does not compile.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service};

use crate::{
    audit::{Audit, Decided, Event, Line, NotWritten},
    auth::policy::{Decision, Denial, Policy, Question},
    call::Call,
    clock::wall_now,
    failure::{Advice, Failure, Reason},
    layers::audit,
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
    audit: Audit,
}

/// How long a caller should wait for a disk.
const AUDIT_RETRY_DELAY: Duration = Duration::from_secs(1);

impl AuthorizeLayer {
    /// Asks `policy` about every call.
    #[must_use]
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self {
            policy,
            audit: Audit::default(),
        }
    }

    /// Puts every decision on record in `audit`.
    #[must_use]
    pub fn audited(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorize {
            inner,
            policy: Arc::clone(&self.policy),
            audit: self.audit.clone(),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    policy: Arc<dyn Policy>,
    audit: Audit,
}

impl<Op, S> Service<Call<Op>> for Authorize<S>
where
    Op: Operation,
    S: Service<Permitted<Op>, Error = Failure> + Clone + Send + 'static,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call<Op>) -> Self::Future {
        let question = Question {
            caller: &call.caller,
            operation: Op::NAME,
            target: &call.target,
            facts: Op::describe(&call.input),
        };
        let decision = self.policy.decide(&question);
        // A read, and a refusal, wait for no line.
        if self.audit.is_required() && !Op::READS_ONLY && matches!(decision, Decision::Permit { .. }) {
            let next = self.inner.clone();
            let mut ready = std::mem::replace(&mut self.inner, next);
            let audit = self.audit.clone();
            return Box::pin(async move {
                put_on_record(&audit, &call, &decision).await?;
                ready.call(Permitted(call)).await
            });
        }
        if self.audit.is_on() {
            let intent = audit::intent(&call);
            let event = Event::Decision(Decided::new(&decision, &question.facts));
            self.audit.note(&Line::new(
                wall_now(),
                audit::about(&call, intent.as_ref()),
                event,
            ));
        }
        match decision {
            Decision::Permit { .. } => Box::pin(self.inner.call(Permitted(call))),
            Decision::Deny(denial) => {
                log(&denial);
                Box::pin(ready(Err(refusal::<Op>(&call, &denial))))
            }
        }
    }
}

/// Waits until the decision stands in the audit log.
async fn put_on_record<Op: Operation>(
    audit: &Audit,
    call: &Call<Op>,
    decision: &Decision,
) -> Result<(), Failure> {
    let intent = audit::intent(call);
    let event = Event::Decision(Decided::new(decision, &Op::describe(&call.input)));
    let line = Line::new(wall_now(), audit::about(call, intent.as_ref()), event);
    audit.note_for_certain(&line).await.map_err(|NotWritten| {
        let message = "the audit log cannot be written, and nothing is changed without it; try again later";
        Failure::new(Reason::AuditUnavailable, message).advice(Advice::After(AUDIT_RETRY_DELAY))
    })
}

/// Says in the log what the caller must not see.
fn log(denial: &Denial) {
    if let Denial::Faulty { errors } = denial {
        for (policy, error) in errors {
            tracing::error!(%policy, error, "a policy could not be evaluated, and the call was denied");
        }
    }
}

fn refusal<Op: Operation>(call: &Call<Op>, denial: &Denial) -> Failure {
    let message = format!(
        "`{}` may not call {}: {denial}; ask the operator for it",
        call.caller,
        Op::ACTION
    );
    let failure = Failure::new(Reason::NotPermitted, message);
    match denial.policies().as_slice() {
        [] => failure,
        ids => failure.metadata("policyIds", ids.join(",")),
    }
}
