//! Gives every call one absolute deadline, the caller's or ours, whichever is earlier.
//!
//! # Where it stands
//! Outside everything that waits. The clock starts when the headers are there, so that reading a dripping body
//! counts. Inside `in_flight`, which sheds without a timer.
//!
//! # On failure
//! `INVALID_TIMEOUT` for a header that breaks the protocol, effect none. `DEADLINE_EXCEEDED` when time is up: effect
//! none if there never was any, unknown if the call was being handled. tonic's own timeout would answer CANCELLED,
//! which says that the caller gave up.
//!
//! # When the caller goes away
//! The handler is dropped. An execution that idempotency has detached goes on.
//!
//! # What it leaves behind
//! [`Deadline`] in the request's extensions.
//!
//! # Streams
//! The deadline covers the time until the response begins, for every method alike. For a unary method that is the
//! whole call. A stream that has begun (health Watch, reflection) is not cut: without a `grpc-timeout` nobody asked
//! for an end, and with one the client resets the stream itself. What ends an abandoned stream is the connection's
//! keepalive and age.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Timeout, timeout_at};
use tonic_types::FieldViolation;
use tower::{Layer, Service};

use crate::{
    failure::{Effect, Failure, Reason},
    layers::wire::{self, Handler, Request, Response, Screened},
};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// How long calls may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The deadline of a call that names none, in milliseconds. Range 100 to `max`. Default 30_000: as long as a
    /// careful client would wait, since most that send no deadline forgot to.
    pub default: Duration,
    /// The longest deadline that a caller can ask for, in milliseconds; longer ones are cut to it. Range 100 to
    /// 600_000. Default 60_000: a call that takes longer holds a place without hope.
    pub max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default: Duration::from_secs(30),
            max: Duration::from_secs(60),
        }
    }
}

/// When the caller stops waiting. Stands in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// Makes [`EnforceDeadline`].
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    settings: Settings,
}

impl DeadlineLayer {
    /// Bounds calls as `settings` say.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = EnforceDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EnforceDeadline {
            inner,
            settings: self.settings.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct EnforceDeadline<S> {
    inner: S,
    settings: Settings,
}

impl<S: Handler> Service<Request> for EnforceDeadline<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Screened<Timed<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let request_id = wire::request_id(request.headers());
        let time = match requested(request.headers()) {
            Ok(Some(asked)) => asked.min(self.settings.max),
            Ok(None) => self.settings.default.min(self.settings.max),
            Err(failure) => return wire::at_once(wire::refuse(&failure, request_id.as_ref())),
        };
        if time.is_zero() {
            let failure = Failure::new(
                Reason::DeadlineExceeded,
                "the deadline had passed on arrival; allow more time",
            );
            return wire::at_once(wire::refuse(&failure, request_id.as_ref()));
        }

        let deadline = Instant::now() + time;
        request.extensions_mut().insert(Deadline(deadline));
        Either::Right(Timed {
            answer: timeout_at(deadline, self.inner.call(request)),
            request_id,
        })
    }
}

pin_project! {
    /// The inner service's answer, or a refusal when the deadline passes first.
    #[derive(Debug)]
    pub struct Timed<F> {
        #[pin]
        answer: Timeout<F>,
        request_id: Option<HeaderValue>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Timed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // A `Timeout` polls the answer before the clock: an answer that is there when time is up is kept.
        Poll::Ready(ready!(this.answer.poll(cx)).unwrap_or_else(|_elapsed| {
            let failure = Failure::new(
                Reason::DeadlineExceeded,
                "the deadline passed before the answer; repeat the call with the same client token to learn its \
                 outcome",
            )
            .effect(Effect::Unknown);
            Ok(wire::refuse(&failure, this.request_id.as_ref()))
        }))
    }
}

/// How long the caller wants to wait, if it says so.
fn requested(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => parse(only.as_bytes()).map(Some).ok_or_else(|| {
            malformed("must be 1 to 8 digits and a unit of H, M, S, m, u or n, for example `500m`")
        }),
        (Some(_), Some(_)) => Err(malformed("must be sent once")),
    }
}

fn malformed(description: &str) -> Failure {
    Failure::invalid(
        Reason::InvalidTimeout,
        vec![FieldViolation::new(GRPC_TIMEOUT, description)],
    )
}

/// Reads a `grpc-timeout` (gRPC over HTTP/2, "Requests": TimeoutValue and TimeoutUnit).
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Eight digits of hours are 11,415 years: no unit can overflow.
    let count = digits
        .iter()
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3_600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{Seen, answer, inner, prompt, read, request, silent};

    fn asking(timeouts: &[&str]) -> Request {
        let mut request = request();
        for timeout in timeouts {
            request
                .headers_mut()
                .append(GRPC_TIMEOUT, HeaderValue::from_str(timeout).unwrap());
        }
        request
    }

    fn time_left(seen: &Seen) -> Duration {
        seen.last().extensions.get::<Deadline>().unwrap().0 - Instant::now()
    }

    fn layer() -> DeadlineLayer {
        DeadlineLayer::new(Settings::default())
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let cases = [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("30S", Duration::from_secs(30)),
            ("500m", Duration::from_millis(500)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
            ("00000001S", Duration::from_secs(1)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
        ];
        for (text, duration) in cases {
            assert_eq!(parse(text.as_bytes()), Some(duration), "{text}");
        }
    }

    #[tokio::test]
    async fn a_malformed_timeout_is_refused_and_named() {
        for text in [
            "",
            "S",
            "1",
            "-1S",
            "+1S",
            "1.5S",
            "1x",
            "1s",
            "123456789m",
            " 1S",
            "1S1S",
            "1 S",
        ] {
            let (service, seen) = prompt();

            let response = layer().layer(service).oneshot(asking(&[text])).await.unwrap();

            let (code, reason, details) = read(&response);
            assert_eq!(
                (code, reason.as_str()),
                (Code::InvalidArgument, "INVALID_TIMEOUT"),
                "{text}"
            );
            assert_eq!(
                details.bad_request().unwrap().field_violations[0].field,
                "grpc-timeout"
            );
            assert_eq!(seen.calls(), 0);
        }
    }

    #[tokio::test]
    async fn two_timeouts_are_refused() {
        let (service, seen) = prompt();

        let response = layer()
            .layer(service)
            .oneshot(asking(&["1S", "1S"]))
            .await
            .unwrap();

        assert_eq!(read(&response).1, "INVALID_TIMEOUT");
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_the_callers_cut_to_the_maximum_or_else_the_default() {
        let cases: [(&[&str], u64); 4] = [
            (&[], 30_000),
            (&["1500m"], 1_500),
            (&["61S"], 60_000),
            (&["99999999H"], 60_000),
        ];
        for (timeouts, milliseconds) in cases {
            let (service, seen) = prompt();

            layer().layer(service).oneshot(asking(timeouts)).await.unwrap();

            assert_eq!(time_left(&seen), Duration::from_millis(milliseconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_ends_at_its_deadline_with_the_effect_unknown() {
        let (service, _) = silent();
        let began = Instant::now();

        let response = layer().layer(service).oneshot(asking(&["2S"])).await.unwrap();

        let (code, reason, details) = read(&response);
        assert_eq!(
            (code, reason.as_str()),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        );
        assert_eq!(details.error_info().unwrap().metadata["outcome"], "unknown");
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert_eq!(began.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_of_zero_is_answered_without_work() {
        let (service, seen) = prompt();

        let response = layer().layer(service).oneshot(asking(&["0n"])).await.unwrap();

        let (code, _, details) = read(&response);
        assert_eq!(code, Code::DeadlineExceeded);
        assert_eq!(details.error_info().unwrap().metadata["outcome"], "not_executed");
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_when_time_is_up_is_kept() {
        let (service, _) = inner(|| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                answer()
            })
        });

        let response = layer().layer(service).oneshot(asking(&["2S"])).await.unwrap();

        assert!(response.headers().get("grpc-status").is_none());
    }
}
