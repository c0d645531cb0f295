//! What the layers of the HTTP ring have in common: request and response, how one refuses, which paths are special.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::future::{self, BoxFuture, Either, Ready};
use http::{HeaderMap, HeaderName, HeaderValue};
use pin_project_lite::pin_project;
use tower::Service;

use crate::failure::Failure;

/// A request before its message is decoded.
pub type Request = http::Request<tonic::body::Body>;

/// A response on its way to the wire.
pub type Response = http::Response<tonic::body::Body>;

/// The future of a layer that has to wait for something besides the inner service.
pub type Answering = BoxFuture<'static, Result<Response, Infallible>>;

/// The future of a layer that answers at once or leaves the answer to `F`.
///
/// Such futures have names, and no boxes of their own: the ring is one future, whose place hyper allocates once.
pub type Screened<F> = Either<Ready<Result<Response, Infallible>>, F>;

/// The answer of a layer that does not ask the inner service.
pub fn at_once<F>(response: Response) -> Screened<F> {
    Either::Left(future::ready(Ok(response)))
}

/// What a layer does when the inner service has answered.
pub trait Finish {
    /// Makes the layer's answer of the inner service's. Dropped without, the caller went away.
    fn finish(self, response: Response) -> Response;
}

pin_project! {
    /// The future of a layer that waits for the inner service, and then finishes its answer.
    #[derive(Debug)]
    pub struct Finished<F, T> {
        #[pin]
        answer: F,
        finish: Option<T>,
    }
}

impl<F, T> Finished<F, T> {
    /// Waits for `answer`, and then lets `finish` make the layer's answer of it.
    pub fn new(answer: F, finish: T) -> Self {
        let finish = Some(finish);
        Self { answer, finish }
    }
}

impl<F, T> Future for Finished<F, T>
where
    F: Future<Output = Result<Response, Infallible>>,
    T: Finish,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answer.poll(cx));
        Poll::Ready(Ok(match this.finish.take() {
            Some(finish) => finish.finish(response),
            None => response,
        }))
    }
}

/// A service of the HTTP ring. It answers refusals as responses, so it has no error.
pub trait Handler:
    Service<Request, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<S> Handler for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// The header that carries the facade's own id of a request, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns the request's id, which layer `request_id` has put there.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(REQUEST_ID).cloned()
}

/// Turns a failure into a response of headers only.
#[must_use]
pub fn refuse(failure: &Failure, request_id: Option<&HeaderValue>) -> Response {
    let id = request_id.and_then(|id| id.to_str().ok());
    failure.to_status(id).into_http()
}

/// Returns whether `path` belongs to `grpc.health.v1`. Probes carry no credential and must get through an overload.
#[must_use]
pub fn is_health_check(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/")
}

#[cfg(test)]
pub(crate) mod testing {
    //! A scripted inner service and a reader of refusals.

    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::{BoxFuture, ready};
    use tonic::{Code, Status, body::Body};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::{Answering, Handler, REQUEST_ID, Request, Response};

    /// The path of a method that exists.
    pub(crate) const METHOD: &str = "/ramfacade.v1.ResourceShareService/Create";

    /// A well-formed request with the id `req-1`.
    pub(crate) fn request() -> Request {
        http::Request::post(METHOD)
            .header("content-type", "application/grpc")
            .header(REQUEST_ID, "req-1")
            .body(Body::empty())
            .unwrap()
    }

    /// A well-formed request for `path`.
    pub(crate) fn request_to(path: &str) -> Request {
        let mut request = request();
        *request.uri_mut() = path.parse().unwrap();
        request
    }

    /// An answer with `name: value` among its headers.
    pub(crate) fn answer() -> Response {
        let mut response = Response::default();
        response
            .headers_mut()
            .insert("content-type", "application/grpc".parse().unwrap());
        response
    }

    /// What an inner service saw, and how often it was called.
    #[derive(Clone, Default)]
    pub(crate) struct Seen {
        calls: Arc<AtomicUsize>,
        last: Arc<Mutex<Option<http::request::Parts>>>,
    }

    impl Seen {
        pub(crate) fn calls(&self) -> usize {
            self.calls.load(Ordering::SeqCst)
        }

        /// The last request's head.
        pub(crate) fn last(&self) -> http::request::Parts {
            self.last.lock().unwrap().clone().unwrap()
        }
    }

    /// An inner service that answers with what `script` makes, and the record of what it saw.
    pub(crate) fn inner<F>(script: F) -> (impl Handler, Seen)
    where
        F: Fn() -> BoxFuture<'static, Response> + Clone + Send + 'static,
    {
        let seen = Seen::default();
        let record = seen.clone();
        let service = tower::service_fn(move |request: Request| {
            record.calls.fetch_add(1, Ordering::SeqCst);
            *record.last.lock().unwrap() = Some(request.into_parts().0);
            let answer = script();
            Box::pin(async move { Ok(answer.await) }) as Answering
        });
        (service, seen)
    }

    /// An inner service that answers at once.
    pub(crate) fn prompt() -> (impl Handler, Seen) {
        inner(|| Box::pin(ready(answer())))
    }

    /// An inner service that never answers.
    pub(crate) fn silent() -> (impl Handler, Seen) {
        inner(|| Box::pin(std::future::pending()))
    }

    /// A refusal, read as a client reads it.
    pub(crate) fn read(response: &Response) -> (Code, String, ErrorDetails) {
        let status = Status::from_header_map(response.headers()).expect("not a refusal");
        let details = status.get_error_details();
        let reason = details
            .error_info()
            .map(|info| info.reason.clone())
            .unwrap_or_default();
        (status.code(), reason, details)
    }
}
