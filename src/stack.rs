//! The call ring, composed once.

use std::sync::Arc;

use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::{
    auth::policy::Policy,
    call::{Answer, Call},
    failure::Failure,
    layers::{
        Execution,
        attempt::{self, AttemptLayer},
        authorize::AuthorizeLayer,
        dry_run::DryRunLayer,
        idempotency::IdempotencyLayer,
        retry::{self, RetryLayer},
    },
    operation::Operation,
    ram::Ram,
};

/// What every call goes through between the gRPC edge and RAM. Cloning shares all state.
#[derive(Clone)]
pub struct Stack {
    authorize: AuthorizeLayer,
    idempotency: IdempotencyLayer,
    retry: RetryLayer,
    attempt: AttemptLayer,
    ram: Ram,
}

impl Stack {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        policy: Arc<dyn Policy>,
        idempotency: IdempotencyLayer,
        retry: retry::Settings,
        attempt: attempt::Settings,
        ram: Ram,
    ) -> Self {
        Self {
            authorize: AuthorizeLayer::new(policy),
            idempotency,
            retry: RetryLayer::new(retry),
            attempt: AttemptLayer::new(attempt),
            ram,
        }
    }

    /// The account and Region that calls act on.
    #[must_use]
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// Runs one call, outermost layer first.
    ///
    /// # Errors
    /// Whatever the layers or RAM answer.
    ///
    /// # Cancellation
    /// A write that was claimed goes on to its end and is recorded.
    pub async fn run<Op: Operation>(&self, call: Call<Op>) -> Result<Answer<Op::Output>, Failure> {
        let ram = self.ram.clone();
        let send = service_fn(move |execution: Execution<Op>| {
            let ram = ram.clone();
            async move { Op::send(&ram, &execution.permitted.call().input, &execution.token).await }
        });
        let mut ring = ServiceBuilder::new()
            // First, so that a denied call leaves no record and a replay is only shown to who may see it.
            .layer(&self.authorize)
            // Takes the same decision as a real call, and stops before anything is recorded.
            .layer(DryRunLayer)
            // Outside the retries: one intent has one claim and one upstream token.
            .layer(&self.idempotency)
            // Waits between attempts and holds nothing while it does.
            .layer(&self.retry)
            // (A pacer for the account's request rate belongs here: an attempt's time begins when it may leave.)
            // Inside the retries, so that an attempt can be given up and tried again.
            .layer(&self.attempt)
            .service(send);
        ring.ready().await?.call(call).await
    }
}
