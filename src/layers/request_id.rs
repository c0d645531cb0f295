//! Gives every request an id, and every response the id of its request.
//!
//! # Where it stands
//! Outermost, so that every refusal and every log line has the id.
//!
//! # On failure
//! It refuses nothing. A caller's id that is not 1 to 128 printable ASCII characters, or that comes twice, is replaced.
//!
//! # When the caller goes away
//! Nothing: it holds no state.
//!
//! # What it leaves behind
//! The header `x-request-id` on the request, always exactly one, which is what [`wire::request_id`] reads.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue};
use tower::{Layer, Service};
use uuid::Uuid;

use crate::{
    clock,
    layers::wire::{self, Finish, Finished, Handler, REQUEST_ID, Request, Response},
};

/// Longest id that is taken over from a caller. Ids stand on every log line.
const MAX_LENGTH: usize = 128;

/// Makes [`RequestId`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestIdLayer;

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestId { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RequestId<S> {
    inner: S,
}

impl<S: Handler> Service<Request> for RequestId<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Finished<S::Future, Stamp>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let id = acceptable(request.headers()).unwrap_or_else(mint);
        request.headers_mut().insert(REQUEST_ID, id.clone());
        Finished::new(self.inner.call(request), Stamp(id))
    }
}

/// Puts the request's id on its response.
#[derive(Debug)]
pub struct Stamp(HeaderValue);

impl Finish for Stamp {
    fn finish(mut self, mut response: Response) -> Response {
        // No secret, but never seen again: kept out of HPACK's table, which h2 would otherwise search through dozens of
        // ids in vain for every response (RFC 7541, 6.2.3).
        self.0.set_sensitive(true);
        response.headers_mut().insert(REQUEST_ID, self.0);
        response
    }
}

/// The caller's own id, if it has the form of one.
fn acceptable(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.get_all(REQUEST_ID).iter().count() != 1 {
        return None;
    }
    let id = wire::request_id(headers)?;
    let is_printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let fits = (1..=MAX_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(is_printable);
    fits.then_some(id)
}

/// A new id. Version 7 begins with the milliseconds, so that ids sort nearly in the order of the requests.
///
/// It names a request and protects nothing: random bits of the process do, which take no system call.
fn mint() -> HeaderValue {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let id = uuid::Builder::from_unix_timestamp_millis(clock::wall_now(), &random).into_uuid();
    #[expect(clippy::expect_used, reason = "a UUID is hex digits and dashes")]
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).expect("a UUID is ASCII")
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{prompt, request};

    /// Sends `ids` as the caller's and returns what the inner service saw and what the caller got back.
    async fn exchange(ids: &[&[u8]]) -> (String, String) {
        let (service, seen) = prompt();
        let mut request = request();
        request.headers_mut().remove(REQUEST_ID);
        for id in ids {
            request
                .headers_mut()
                .append(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        }

        let response = RequestIdLayer.layer(service).oneshot(request).await.unwrap();

        let text = |headers: &HeaderMap| headers[REQUEST_ID].to_str().unwrap().to_owned();
        (text(&seen.last().headers), text(response.headers()))
    }

    fn is_minted(id: &str) -> bool {
        Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 7)
    }

    #[tokio::test]
    async fn an_id_of_the_caller_is_kept_inside_and_on_the_response() {
        let longest = "x".repeat(MAX_LENGTH);
        for id in ["a", "order 66/retry-1", &longest] {
            assert_eq!(exchange(&[id.as_bytes()]).await, (id.to_owned(), id.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_missing_or_unfit_id_is_replaced_by_a_new_one() {
        let too_long = "x".repeat(MAX_LENGTH + 1);
        let cases: [&[&[u8]]; 6] = [
            &[],
            &[b""],
            &[too_long.as_bytes()],
            &[b"tab\tinside"],
            &["\u{fc}".as_bytes()],
            &[b"one", b"two"],
        ];
        for ids in cases {
            let (inside, outside) = exchange(ids).await;
            assert!(is_minted(&inside), "{ids:?} gave {inside}");
            assert_eq!(inside, outside);
        }
    }
}
