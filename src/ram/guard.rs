//! The last look at the clocks before a request leaves, behind the signature.
//!
//! The attempt looks before it calls. Between that and the first byte on the wire lie credentials and a signature, and
//! a machine may be suspended there for hours: it would wake up and sign, with a fresh date, a request that RAM no longer
//! recognises. So the client looks once more when everything is ready. What delays the request behind that is bounded by
//! the signature itself, which RAM refuses after about 5 minutes.

use std::future::Future;

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

use crate::clock::Window;

tokio::task_local! {
    /// Until when the request of this task may leave; `None` for one that may leave at any time.
    static WINDOW: Option<Window>;
}

/// Runs `exchange`, whose requests leave only within `window`. `None` is for what does no harm at any time.
///
/// The client sends nothing outside of this function: whoever calls RAM has to say until when.
pub async fn within<F: Future>(window: Option<Window>, exchange: F) -> F::Output {
    WINDOW.scope(window, exchange).await
}

/// The request was ready and did not leave.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the time in which the request may be sent is over")]
pub(super) struct Closed;

/// Stops a request that is signed but late.
#[derive(Debug)]
pub(super) struct Guard;

#[dyn_dispatch_hint]
impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "Guard"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Nobody said: fail closed.
        let open = WINDOW.try_with(|window| window.is_none_or(|window| window.is_open()));
        if open.unwrap_or(false) {
            Ok(())
        } else {
            Err(Closed.into())
        }
    }
}
