//! Lets only gRPC requests through: POST, a gRPC content type with protobuf inside, no query.
//!
//! # Where it stands
//! Inside `catch_panic`, outside everything that costs something. tonic serves any content type and routes a path
//! with a query, so that a log or a policy by path could be led astray.
//!
//! # On failure
//! HTTP 405 or 415, as the gRPC protocol has it for requests that are not gRPC; `METHOD_UNKNOWN` for a query.
//!
//! # When the caller goes away
//! Nothing: it holds no state.
//!
//! # What it leaves behind
//! Nothing. The header `te` is not asked for: it tests proxies, and some drop it.

use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower::{Layer, Service};

use crate::{
    failure::{Failure, Reason},
    layers::wire::{self, Handler, Request, Response, Screened},
};

/// Makes [`GrpcRequest`].
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcRequestLayer;

impl<S> Layer<S> for GrpcRequestLayer {
    type Service = GrpcRequest<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcRequest { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct GrpcRequest<S> {
    inner: S,
}

impl<S: Handler> Service<Request> for GrpcRequest<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Screened<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match refusal(&request) {
            Some(refusal) => wire::at_once(refusal),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

fn refusal(request: &Request) -> Option<Response> {
    if request.method() != Method::POST {
        let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    if !is_grpc(request.headers()) {
        return Some(bare(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if request.uri().query().is_some() {
        let failure = Failure::new(
            Reason::MethodUnknown,
            "a method's path has no query; send the path alone",
        );
        return Some(wire::refuse(
            &failure,
            wire::request_id(request.headers()).as_ref(),
        ));
    }
    None
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(text) = only.to_str() else {
        return false;
    };
    let essence = text.split_once(';').map_or(text, |(essence, _)| essence).trim();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{METHOD, prompt, read, request, request_to};

    async fn send(request: Request) -> (Response, usize) {
        let (service, seen) = prompt();
        let response = GrpcRequestLayer.layer(service).oneshot(request).await.unwrap();
        (response, seen.calls())
    }

    fn typed(content_type: &[u8]) -> Request {
        let mut request = request();
        let value = HeaderValue::from_bytes(content_type).unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, value);
        request
    }

    #[tokio::test]
    async fn every_method_but_post_is_answered_405() {
        for method in [
            Method::GET,
            Method::PUT,
            Method::HEAD,
            Method::OPTIONS,
            Method::CONNECT,
        ] {
            let mut request = request();
            *request.method_mut() = method;

            let (response, calls) = send(request).await;

            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[header::ALLOW], "POST");
            assert_eq!(calls, 0);
        }
    }

    #[tokio::test]
    async fn grpc_content_types_pass() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC",
            "application/grpc; charset=utf-8",
            "application/grpc+proto;v=1",
        ] {
            let (response, calls) = send(typed(content_type.as_bytes())).await;
            assert_eq!((response.status(), calls), (StatusCode::OK, 1), "{content_type}");
        }
    }

    #[tokio::test]
    async fn other_content_types_are_answered_415() {
        for content_type in [
            "",
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+json",
            "application/grpcx",
            "text/plain; application/grpc",
            "\u{fc}",
        ] {
            let (response, calls) = send(typed(content_type.as_bytes())).await;
            let seen = (response.status(), calls);
            assert_eq!(seen, (StatusCode::UNSUPPORTED_MEDIA_TYPE, 0), "{content_type}");
        }
    }

    #[tokio::test]
    async fn none_or_two_content_types_are_answered_415() {
        let mut none = request();
        none.headers_mut().remove(header::CONTENT_TYPE);
        let mut two = request();
        two.headers_mut()
            .append(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));

        for request in [none, two] {
            let (response, calls) = send(request).await;
            assert_eq!(
                (response.status(), calls),
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, 0)
            );
        }
    }

    #[tokio::test]
    async fn a_path_with_a_query_is_no_method() {
        for query in ["?", "?x=1"] {
            let (response, calls) = send(request_to(&format!("{METHOD}{query}"))).await;

            let (code, reason, _) = read(&response);
            assert_eq!(
                (code, reason.as_str(), calls),
                (Code::Unimplemented, "METHOD_UNKNOWN", 0)
            );
        }
    }
}
