//! Gives tonic's own refusals a reason, and the codes that other gRPC servers use.
//!
//! # Where it stands
//! Innermost of the HTTP ring, directly around tonic: whatever refuses outside of it speaks for itself.
//!
//! # On failure
//! It fails nothing. It rewrites answers of headers only that carry no typed details, which is how tonic refuses: the
//! size check's OUT_OF_RANGE becomes `MESSAGE_TOO_LARGE`, a path without a method `METHOD_UNKNOWN`, a compression
//! that is not on `ENCODING_UNSUPPORTED`, and broken framing `MALFORMED_MESSAGE` with a fixed text, since tonic's
//! repeats input. Other codes stay as they are, such as the health service's NOT_FOUND.
//!
//! # When the caller goes away
//! Nothing: it holds no state.
//!
//! # What it leaves behind
//! `RequestInfo` on refusals that were made without the request at hand, such as the codec's.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service};

use crate::{
    failure::{Failure, Reason},
    layers::wire::{self, Finish, Finished, Handler, Request, Response},
};

/// Makes [`Explain`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ExplainLayer;

impl<S> Layer<S> for ExplainLayer {
    type Service = Explain<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Explain { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Explain<S> {
    inner: S,
}

impl<S: Handler> Service<Request> for Explain<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Finished<S::Future, Explaining>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let request_id = wire::request_id(request.headers());
        Finished::new(self.inner.call(request), Explaining { request_id })
    }
}

/// Explains the answer to the request with this id.
#[derive(Debug)]
pub struct Explaining {
    request_id: Option<HeaderValue>,
}

impl Finish for Explaining {
    fn finish(self, response: Response) -> Response {
        explained(response, self.request_id.as_ref())
    }
}

fn explained(mut response: Response, request_id: Option<&HeaderValue>) -> Response {
    let headers = response.headers();
    let Some(code) = headers.get(Status::GRPC_STATUS) else {
        return response;
    };
    let id = request_id.and_then(|id| id.to_str().ok());
    let status = if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        completed(&response, id)
    } else {
        reason_for(Code::from_bytes(code.as_bytes()), headers).map(|failure| failure.to_status(id))
    };
    if let Some(status) = status
        // Adds to the headers that tonic has set: `grpc-accept-encoding` tells the caller what to send instead.
        && status.add_header(response.headers_mut()).is_ok()
    {
        response.extensions_mut().insert(status);
    }
    response
}

/// The failure behind one of tonic's refusals, if we know it.
fn reason_for(code: Code, headers: &HeaderMap) -> Option<Failure> {
    let (reason, message) = match code {
        // The length in the prefix, and the length after decompression.
        Code::OutOfRange | Code::ResourceExhausted => (
            Reason::MessageTooLarge,
            "the message is larger than the server accepts; send less",
        ),
        Code::Unimplemented if headers.contains_key("grpc-accept-encoding") => (
            Reason::EncodingUnsupported,
            "the message's compression is not supported; use one of `grpc-accept-encoding`",
        ),
        Code::Unimplemented => (
            Reason::MethodUnknown,
            "the server does not have this method; check the path and the server's version",
        ),
        Code::Internal => (
            Reason::MalformedMessage,
            "the request's body is not one well-formed gRPC message; check the client and the proxies on the way",
        ),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => return None,
    };
    Some(Failure::new(reason, message))
}

/// The refusal with the request's id among its details, if it had none.
fn completed(response: &Response, id: Option<&str>) -> Option<Status> {
    // `Status` stands in the extensions of every refusal that was made from one. Reading the headers instead could
    // panic, on details that are not base64.
    let status: &Status = response.extensions().get()?;
    let mut details = status.check_error_details().ok()?;
    if details.request_info().is_some() {
        return None;
    }
    details.set_request_info(id?, "");
    Some(Status::with_error_details_and_metadata(
        status.code(),
        status.message(),
        details,
        status.metadata().clone(),
    ))
}

#[cfg(test)]
mod tests {
    use futures_util::future::ready;
    use tonic::metadata::MetadataValue;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{answer, inner, read, request};

    async fn explain(status: Status) -> Response {
        let (service, _) = inner(move || Box::pin(ready(status.clone().into_http())));
        ExplainLayer.layer(service).oneshot(request()).await.unwrap()
    }

    #[tokio::test]
    async fn refusals_of_tonic_get_a_reason_and_the_customary_code() {
        let cases = [
            (
                Status::out_of_range("too long"),
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
            ),
            (
                Status::resource_exhausted("inflated"),
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
            ),
            (Status::unimplemented(""), Code::Unimplemented, "METHOD_UNKNOWN"),
            (Status::internal("eof"), Code::Internal, "MALFORMED_MESSAGE"),
        ];
        for (status, code, reason) in cases {
            let response = explain(status).await;

            let (seen_code, seen_reason, details) = read(&response);
            assert_eq!((seen_code, seen_reason.as_str()), (code, reason));
            assert_eq!(details.request_info().unwrap().request_id, "req-1");
            assert_eq!(
                response.extensions().get::<Status>().unwrap().code(),
                code,
                "the log would tell another story"
            );
        }
    }

    #[tokio::test]
    async fn the_supported_compressions_stay_in_the_answer() {
        let mut status = Status::unimplemented("Content is compressed with `br`");
        status.metadata_mut().insert(
            "grpc-accept-encoding",
            MetadataValue::from_static("gzip,identity"),
        );

        let response = explain(status).await;

        assert_eq!(read(&response).1, "ENCODING_UNSUPPORTED");
        assert_eq!(response.headers()["grpc-accept-encoding"], "gzip,identity");
    }

    #[tokio::test]
    async fn the_text_of_a_decoding_error_is_not_repeated() {
        let response = explain(Status::internal("invalid string value: canary")).await;

        assert!(!format!("{response:?}").contains("canary"));
    }

    #[tokio::test]
    async fn a_failure_that_explains_itself_stays_and_gets_the_request_id() {
        let failure = Failure::new(Reason::MalformedMessage, "a second message").metadata("field", "x");

        let (code, reason, details) = read(&explain(failure.to_status(None)).await);

        assert_eq!((code, reason.as_str()), (Code::Internal, "MALFORMED_MESSAGE"));
        assert_eq!(details.error_info().unwrap().metadata["field"], "x");
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
    }

    #[tokio::test]
    async fn a_failure_with_its_own_request_info_is_not_touched() {
        let status = Failure::new(Reason::Throttling, "slow down").to_status(Some("own"));

        let (_, _, details) = read(&explain(status).await);

        assert_eq!(details.request_info().unwrap().request_id, "own");
    }

    #[tokio::test]
    async fn the_health_services_not_found_stays() {
        let response = explain(Status::not_found("service not registered")).await;

        let (code, reason, _) = read(&response);
        assert_eq!((code, reason.as_str()), (Code::NotFound, ""));
        assert!(!response.headers().contains_key(Status::GRPC_STATUS_DETAILS));
    }

    #[tokio::test]
    async fn an_answer_is_not_touched() {
        let (service, _) = inner(|| Box::pin(ready(answer())));

        let response = ExplainLayer.layer(service).oneshot(request()).await.unwrap();

        assert!(!response.headers().contains_key(Status::GRPC_STATUS));
    }
}
