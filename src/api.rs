//! The gRPC edge: from a decoded request to a [`Call`], and from a [`Failure`] to a status.

pub mod codec;

use std::sync::Arc;

use tonic::{
    Extensions, Request, Response, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::{
    call::{Answer, Call, Caller},
    clock::rfc3339,
    failure::{Failure, Reason},
    layers::deadline::Deadline,
    operation::Operation,
    stack::Stack,
};

/// Serves every unary method of the contract.
#[derive(Clone)]
pub struct Api {
    stack: Stack,
}

impl Api {
    /// Serves through `stack`.
    #[must_use]
    pub fn new(stack: Stack) -> Self {
        Self { stack }
    }

    /// Runs one rpc.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with every violation, or whatever the stack answers.
    ///
    /// # Cancellation
    /// As [`Stack::run`].
    pub async fn unary<Op: Operation>(
        &self,
        request: Request<Op::Input>,
    ) -> Result<Response<Op::Output>, Status> {
        let (metadata, extensions, input) = request.into_parts();
        let target = &self.stack.ram().target;
        let answer = self.run::<Op>(&extensions, input, request_id(&metadata)).await;
        answer.map(respond).map_err(|failure| {
            let failure = failure
                .metadata("operation", Op::NAME)
                .metadata("region", &target.region);
            log(&failure);
            failure.to_status(request_id(&metadata))
        })
    }

    async fn run<Op: Operation>(
        &self,
        extensions: &Extensions,
        input: Op::Input,
        request_id: Option<&str>,
    ) -> Result<Answer<Op::Output>, Failure> {
        let mut violations = Op::validate(&input);
        let marker_tag = &self.stack.ram().marker_tag;
        if !marker_tag.is_empty() {
            violations.extend(Op::validate_marker(&input, marker_tag));
        }
        if !violations.is_empty() {
            return Err(Failure::invalid(Reason::InvalidRequest, violations));
        }
        // Both are put there by the HTTP ring. Without them nobody proved who calls: fail closed.
        let caller = extensions.get::<Caller>().ok_or_else(not_composed)?;
        let Deadline(deadline) = extensions.get::<Deadline>().ok_or_else(not_composed)?;
        let call = Call::<Op> {
            caller: caller.clone(),
            target: Arc::clone(&self.stack.ram().target),
            request_id: request_id.map(Into::into),
            deadline: *deadline,
            input: Arc::new(input),
        };
        self.stack.run(call).await
    }
}

fn not_composed() -> Failure {
    Failure::new(Reason::Internal, "internal error")
}

fn request_id(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("x-request-id").and_then(|id| id.to_str().ok())
}

fn respond<Output>(answer: Answer<Output>) -> Response<Output> {
    let mut response = Response::new(answer.output);
    if let Some(recorded_at) = answer.replayed {
        let metadata = response.metadata_mut();
        metadata.insert("idempotency-replayed", MetadataValue::from_static("true"));
        if let Ok(mut time) = MetadataValue::<Ascii>::try_from(rfc3339(recorded_at)) {
            // Seldom the same as that of another answer: not worth a place in HPACK's table.
            time.set_sensitive(true);
            metadata.insert("idempotency-recorded-at", time);
        }
    }
    response
}

/// Says in the log what the caller must not see. The call's own line is written by `layers::trace`.
fn log(failure: &Failure) {
    if let Some(cause) = failure.cause() {
        tracing::debug!(
            reason = failure.why().row().name,
            cause = crate::failure::chain(cause),
            "cause"
        );
    }
}
