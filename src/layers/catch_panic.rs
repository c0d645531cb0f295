//! Answers INTERNAL for a handler that panics. Without it the stream is reset, which reads as "you cancelled".
//!
//! # Where it stands
//! Inside `trace`, which has to see the answer, and outside everything that can panic.
//!
//! # On failure
//! `INTERNAL` with a fixed text, effect unknown. The panic's text goes to the log and never to the caller.
//!
//! # When the caller goes away
//! The handler is dropped with it.
//!
//! # What it leaves behind
//! Nothing. Panics of a detached execution are not its own to catch, nor are panics while a body is streamed.

use std::{
    any::Any,
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{
    FutureExt,
    future::{CatchUnwind, Either},
};
use http::HeaderValue;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    failure::{Effect, Failure, Reason},
    layers::wire::{self, Handler, Request, Response, Screened},
};

/// Makes [`CatchPanic`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S: Handler> Service<Request> for CatchPanic<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Screened<Caught<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let request_id = wire::request_id(request.headers());
        // Nothing of the handler is used after a panic, so a half-changed state of it cannot be seen.
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(answer) => Either::Right(Caught {
                answer: AssertUnwindSafe(answer).catch_unwind(),
                request_id,
            }),
            Err(panic) => wire::at_once(refusal(panic.as_ref(), request_id.as_ref())),
        }
    }
}

pin_project! {
    /// The inner service's answer, or a refusal if it panics while it makes one.
    #[derive(Debug)]
    pub struct Caught<F> {
        #[pin]
        answer: CatchUnwind<AssertUnwindSafe<F>>,
        request_id: Option<HeaderValue>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Caught<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        Poll::Ready(answer.unwrap_or_else(|panic| Ok(refusal(panic.as_ref(), this.request_id.as_ref()))))
    }
}

fn refusal(panic: &(dyn Any + Send), request_id: Option<&HeaderValue>) -> Response {
    tracing::error!(panic = text_of(panic), "a handler panicked");
    let failure = Failure::new(Reason::Internal, "internal error; report it with the request id")
        .effect(Effect::Unknown);
    wire::refuse(&failure, request_id)
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "not a text",
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{inner, read, request};

    #[tokio::test]
    async fn a_panic_becomes_internal_without_its_text() {
        let (service, _) = inner(|| Box::pin(async { panic!("secret-canary") }));

        let response = CatchPanicLayer.layer(service).oneshot(request()).await.unwrap();

        let (code, reason, details) = read(&response);
        assert_eq!((code, reason.as_str()), (Code::Internal, "INTERNAL"));
        assert_eq!(details.error_info().unwrap().metadata["outcome"], "unknown");
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert!(!format!("{response:?}").contains("secret-canary"));
    }

    #[tokio::test]
    async fn a_panic_before_the_future_exists_is_caught_too() {
        let (service, _) = inner(|| panic!("at once"));

        let response = CatchPanicLayer.layer(service).oneshot(request()).await.unwrap();

        assert_eq!(read(&response).0, Code::Internal);
    }

    #[test]
    fn the_text_of_a_panic_is_found_for_the_log() {
        assert_eq!(text_of(&"literal"), "literal");
        assert_eq!(text_of(&"formatted".to_owned()), "formatted");
        assert_eq!(text_of(&7), "not a text");
    }
}
