//! The call ring, composed once.

use std::sync::Arc;

use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::{
    audit::Audit,
    auth::policy::Policy,
    call::{Answer, Call},
    failure::Failure,
    layers::{
        Errand, Execution,
        attempt::{self, AttemptLayer},
        audit::AuditLayer,
        authorize::AuthorizeLayer,
        dry_run::DryRunLayer,
        idempotency::IdempotencyLayer,
        pace::{PaceLayer, Pacer},
        retry::RetryLayer,
    },
    operation::Operation,
    ram::{Ram, guard},
};

/// What every call goes through between the gRPC edge and RAM. Cloning shares all state.
#[derive(Clone)]
pub struct Stack {
    audit: AuditLayer,
    authorize: AuthorizeLayer,
    idempotency: IdempotencyLayer,
    retry: RetryLayer,
    pace: PaceLayer,
    attempt: AttemptLayer,
    ram: Ram,
}

impl Stack {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        policy: Arc<dyn Policy>,
        idempotency: IdempotencyLayer,
        retry: RetryLayer,
        pacer: Pacer,
        attempt: attempt::Settings,
        ram: Ram,
    ) -> Self {
        let marker_tag = idempotency.marker_tag();
        Self {
            audit: AuditLayer::default(),
            authorize: AuthorizeLayer::new(policy),
            // One pacer for both: it is asked before the claim, and knows of the permit when the request leaves.
            idempotency: idempotency.paced_by(pacer.clone()),
            retry,
            pace: PaceLayer::new(pacer),
            attempt: AttemptLayer::new(attempt),
            // Told by the layer that looks for it: records and requests must not speak of different tags.
            ram: ram.marked(marker_tag),
        }
    }

    /// Puts calls on record in `audit`.
    #[must_use]
    pub fn audited(mut self, audit: &Audit) -> Self {
        self.audit = AuditLayer::new(audit.clone());
        self.authorize = self.authorize.audited(audit.clone());
        self
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
            // Boxed here: the SDK's future is large, and each layer would move it along with its own.
            Box::pin(async move {
                let input = &execution.permitted.call().input;
                let exchange = async {
                    match execution.errand {
                        Errand::Send => Op::send(&ram, input, &execution.token).await.map(Some),
                        Errand::Find => Op::find(&ram, &execution.token).await,
                    }
                };
                // The attempt has looked at its window; behind the signature the client looks again.
                guard::within(execution.window, exchange).await
            })
        });
        let mut ring = ServiceBuilder::new()
            // Sees the end of every call, refused ones included.
            .layer(&self.audit)
            // Before anything happens, so that a denied call leaves no record and a replay is only shown to who may see it.
            .layer(&self.authorize)
            // Takes the same decision as a real call, and stops before anything is recorded.
            .layer(DryRunLayer)
            // Outside the retries: one intent has one claim and one upstream token.
            .layer(&self.idempotency)
            // Waits between attempts and holds nothing while it does.
            .layer(&self.retry)
            // Inside the retries, which hold no permit while they wait; an attempt's time begins when it may leave.
            .layer(&self.pace)
            // Inside the retries, so that an attempt can be given up and tried again.
            .layer(&self.attempt)
            .service(send);
        ring.ready().await?.call(call).await
    }
}
