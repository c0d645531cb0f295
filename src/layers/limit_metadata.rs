//! Refuses metadata over 16 KiB in a way that every client can read.
//!
//! # Where it stands
//! Inside `grpc_request`, outside everything that costs something. HTTP/2 has a limit of its own, which the server sets
//! eight times higher: what exceeds that one is answered by a bare HTTP 431 or by the end of the connection with
//! everybody's calls on it, which clients show as INTERNAL, UNKNOWN or UNAVAILABLE, and some of them send again.
//!
//! # On failure
//! `METADATA_TOO_LARGE`, with the name of the largest header.
//!
//! # When the caller goes away
//! Nothing: it holds no state.
//!
//! # What it leaves behind
//! Nothing.

use std::{
    future::ready,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use crate::{
    failure::{Failure, Reason},
    layers::wire::{self, Answering, Handler, Request, Response},
};

/// Most bytes of metadata that a call may carry, as HTTP/2 counts them: the largest tokens of identity providers take
/// half of it.
pub const MAX_BYTES: usize = 16 * 1_024;

/// What HTTP/2 adds to every header when it counts (RFC 9113, 6.5.2).
const OVERHEAD: usize = 32;

/// Makes [`LimitMetadata`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitMetadataLayer;

impl<S> Layer<S> for LimitMetadataLayer {
    type Service = LimitMetadata<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitMetadata { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct LimitMetadata<S> {
    inner: S,
}

impl<S: Handler> Service<Request> for LimitMetadata<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match refusal(&request) {
            Some(refusal) => Box::pin(ready(Ok(refusal))),
            None => Box::pin(self.inner.call(request)),
        }
    }
}

fn refusal(request: &Request) -> Option<Response> {
    let headers = request.headers();
    let size = |name: &str, value: &[u8]| name.len() + value.len() + OVERHEAD;
    let bytes: usize = headers.iter().map(|(n, v)| size(n.as_str(), v.as_bytes())).sum();
    if bytes <= MAX_BYTES {
        return None;
    }
    // Added up by name, since a header may come many times.
    let largest = headers.keys().max_by_key(|name| {
        let all = headers.get_all(*name).iter();
        all.map(|value| size(name.as_str(), value.as_bytes()))
            .sum::<usize>()
    })?;
    // A name can itself be what is too large.
    let shown: String = largest.as_str().chars().take(64).collect();
    let failure = Failure::new(
        Reason::MetadataTooLarge,
        format!(
            "the call's metadata takes {bytes} bytes and may take {MAX_BYTES}; send less, `{shown}` is the largest"
        ),
    );
    Some(wire::refuse(&failure, wire::request_id(headers).as_ref()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{prompt, read, request};

    async fn send(request: Request) -> (Response, usize) {
        let (service, seen) = prompt();
        let response = LimitMetadataLayer.layer(service).oneshot(request).await.unwrap();
        (response, seen.calls())
    }

    fn bytes_of(request: &Request) -> usize {
        let each = request
            .headers()
            .iter()
            .map(|(n, v)| n.as_str().len() + v.len() + 32);
        each.sum()
    }

    #[tokio::test]
    async fn metadata_up_to_the_limit_passes_and_a_byte_more_does_not() {
        for (more, code) in [(0, None), (1, Some(Code::ResourceExhausted))] {
            let mut request = request();
            let room = MAX_BYTES - bytes_of(&request) - "padding".len() - 32;
            let padding = HeaderValue::from_str(&"x".repeat(room + more)).unwrap();
            request.headers_mut().insert("padding", padding);

            let (response, calls) = send(request).await;

            assert_eq!(calls, usize::from(code.is_none()));
            if let Some(code) = code {
                assert_eq!(read(&response).0, code);
            }
        }
    }

    #[tokio::test]
    async fn the_refusal_names_the_largest_header_and_not_what_it_holds() {
        let mut request = request();
        let secret = HeaderValue::from_str(&"secret".repeat(3_000)).unwrap();
        request.headers_mut().insert("authorization", secret);

        let (response, _) = send(request).await;

        let (code, reason, details) = read(&response);
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert_eq!(
            (code, reason.as_str()),
            (Code::ResourceExhausted, "METADATA_TOO_LARGE")
        );
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert!(details.retry_info().is_none());
        assert!(
            message.contains("authorization") && !message.contains("secret"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn many_small_headers_of_one_name_count_together() {
        let mut request = request();
        request.headers_mut().insert(
            "single",
            HeaderValue::from_static("a-longer-value-than-the-others"),
        );
        for _ in 0..500 {
            request
                .headers_mut()
                .append("many", HeaderValue::from_static("v"));
        }

        let (response, calls) = send(request).await;

        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(
            message.contains("%60many%60") || message.contains("`many`"),
            "{message}"
        );
        assert_eq!(calls, 0);
    }

    #[tokio::test]
    async fn a_name_of_any_length_is_cut() {
        let mut request = request();
        let name = HeaderName::try_from("n".repeat(20_000)).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_static("v"));

        let (response, _) = send(request).await;

        assert!(response.headers()["grpc-message"].len() < 400);
    }
}
