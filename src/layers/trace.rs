//! Gives every RPC a span, and writes exactly one log line and counts its time when it is over.
//!
//! # Where it stands
//! Inside `request_id`, whose id names the span, and outside every layer that can refuse.
//!
//! # On failure
//! It refuses nothing. The line is a warning when the server could not do its part (UNAVAILABLE, INTERNAL, UNKNOWN,
//! DATA_LOSS), debug for a health check that went well, else information.
//!
//! # When the caller goes away
//! The line is written all the same, with the code CANCELLED, when the future or the body is dropped.
//!
//! # What it leaves behind
//! The current span `rpc`. `caller` is empty until layer `authenticate` fills it. No header value but the request id
//! is ever recorded. How the RPC ended stands on the line itself: a field that is added to a span costs a look-up of the
//! span, and what is only known at its end helps no line before.

mod metrics;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty, info_span, instrument::Instrumented};

use crate::{
    auth::peer::Peer,
    failure::{Reason, code_name},
    layers::wire::{self, Handler, Request, Response},
};

pub use metrics::Metrics;

/// Longest path that is recorded. A path is the caller's to choose; a known method's is far shorter.
const MAX_METHOD_LENGTH: usize = 128;

/// Makes [`Trace`].
#[derive(Clone, Debug, Default)]
pub struct TraceLayer {
    metrics: Metrics,
}

impl TraceLayer {
    /// Counts what ends in `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    metrics: Metrics,
}

impl<S: Handler> Service<Request> for Trace<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Tracing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let path = request.uri().path();
        let method = path
            .get(..path.floor_char_boundary(MAX_METHOD_LENGTH))
            .unwrap_or_default();
        let request_id = wire::request_id(request.headers());
        let span = info_span!(
            "rpc",
            method,
            peer = request
                .extensions()
                .get()
                .map(|peer: &Peer| display(peer.address)),
            request_id = request_id.as_ref().and_then(|id| id.to_str().ok()),
            caller = Empty,
        );
        let line = Line {
            is_health_check: wire::is_health_check(path),
            method: self.metrics.method(method),
            metrics: self.metrics.clone(),
            span: span.clone(),
            began: Instant::now(),
            end: End::Gone,
        };
        let answer = span.in_scope(|| self.inner.call(request));
        Tracing {
            answer: answer.instrument(span),
            line: Some(line),
        }
    }
}

pin_project! {
    /// The inner service's answer, whose end the line waits for.
    #[derive(Debug)]
    pub struct Tracing<F> {
        #[pin]
        answer: Instrumented<F>,
        line: Option<Line>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Tracing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answer.poll(cx));
        let Some(mut line) = this.line.take() else {
            return Poll::Ready(Ok(response));
        };
        line.end = End::of(&response);
        let is_over = !matches!(line.end, End::Gone);
        Poll::Ready(Ok(if is_over {
            response
        } else {
            response.map(|body| Body::new(Traced { body, line }))
        }))
    }
}

/// How an RPC ended.
#[derive(Debug)]
enum End {
    /// Nobody waited for it: the caller, its connection or the server went away.
    Gone,
    /// With a gRPC status, and the reason if it has one.
    Status(Code, Option<String>),
    /// Not as gRPC.
    Http(StatusCode),
}

impl End {
    /// Reads the head of a response: a refusal has its end there, an answer will have it in the trailers.
    fn of(response: &Response) -> Self {
        if response.status() != StatusCode::OK {
            return Self::Http(response.status());
        }
        let Some(code) = code_in(response.headers()) else {
            return Self::Gone;
        };
        let reason = response
            .extensions()
            .get::<Status>()
            .and_then(|status| status.check_error_details().ok())
            .and_then(|details| Some(details.error_info()?.reason.clone()));
        Self::Status(code, reason)
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    let code = headers.get(Status::GRPC_STATUS)?;
    Some(Code::from_bytes(code.as_bytes()))
}

/// Writes the line when it is dropped, and so exactly once.
#[derive(Debug)]
struct Line {
    method: Arc<str>,
    metrics: Metrics,
    span: Span,
    began: Instant,
    is_health_check: bool,
    end: End,
}

impl Drop for Line {
    fn drop(&mut self) {
        let span = &self.span;
        let latency = self.began.elapsed();
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let code = match &self.end {
            End::Gone => Some(Code::Cancelled),
            End::Status(code, _) => Some(*code),
            End::Http(_) => None,
        };
        if let Some(code) = code {
            self.metrics
                .ended(Arc::clone(&self.method), code_name(code), latency);
        }
        match &self.end {
            End::Gone => {
                let code = code_name(Code::Cancelled);
                tracing::info!(parent: span, code, latency_ms, "rpc ended before its answer: the caller went away");
            }
            End::Http(status) => {
                let code = format!("HTTP {}", status.as_u16());
                tracing::info!(parent: span, code, latency_ms, "rpc ended: not a gRPC request");
            }
            End::Status(status, reason) => {
                let (code, reason) = (code_name(*status), reason.as_deref());
                if is_ours(*status, reason) {
                    tracing::warn!(parent: span, code, reason, latency_ms, "rpc ended");
                } else if self.is_health_check && *status == Code::Ok {
                    tracing::debug!(parent: span, code, reason, latency_ms, "rpc ended");
                } else {
                    tracing::info!(parent: span, code, reason, latency_ms, "rpc ended");
                }
            }
        }
    }
}

/// Returns whether an operator should look at it, rather than the caller.
fn is_ours(code: Code, reason: Option<&str>) -> bool {
    match code {
        // The gRPC protocol asks for INTERNAL here, but the bytes are the caller's.
        Code::Internal => reason != Some(Reason::MalformedMessage.row().name),
        Code::Unavailable | Code::Unknown | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => false,
    }
}

/// A body on its way out, whose trailers say how the RPC ended.
struct Traced {
    body: Body,
    line: Line,
}

impl HttpBody for Traced {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { body, line } = &mut *self;
        let polled = line.span.in_scope(|| Pin::new(body).poll_frame(cx));
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(code) = frame.trailers_ref().and_then(code_in)
        {
            line.end = End::Status(code, None);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fmt,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use futures_util::{FutureExt, future::ready};
    use http_body_util::{BodyExt, Full};
    use tower::ServiceExt;
    use tracing::{
        Event, Id, Level, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Record},
    };
    use tracing_subscriber::{Registry, layer::SubscriberExt, registry::LookupSpan};

    use super::*;
    use crate::{
        failure::Failure,
        layers::wire::testing::{METHOD, inner, request, request_to, silent},
    };

    /// The fields of one span, or of an event with those of its span.
    #[derive(Clone, Default)]
    struct Fields(BTreeMap<String, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0
                .insert(field.name().to_owned(), format!("{value:?}").replace('"', ""));
        }
    }

    /// Keeps every event: its level and the fields of its span.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Line>>>);

    type Line = (Level, BTreeMap<String, String>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Log {
        fn on_new_span(
            &self,
            attributes: &Attributes<'_>,
            id: &Id,
            context: tracing_subscriber::layer::Context<'_, S>,
        ) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            context.span(id).unwrap().extensions_mut().insert(fields);
        }

        fn on_record(
            &self,
            id: &Id,
            record: &Record<'_>,
            context: tracing_subscriber::layer::Context<'_, S>,
        ) {
            let span = context.span(id).unwrap();
            record.record(span.extensions_mut().get_mut::<Fields>().unwrap());
        }

        fn on_event(&self, event: &Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
            let span = context.event_span(event).unwrap();
            let mut fields = span.extensions().get::<Fields>().unwrap().clone();
            event.record(&mut fields);
            self.0.lock().unwrap().push((*event.metadata().level(), fields.0));
        }
    }

    impl Log {
        fn start() -> (Self, tracing::subscriber::DefaultGuard) {
            let log = Self::default();
            let guard = tracing::subscriber::set_default(Registry::default().with(log.clone()));
            (log, guard)
        }

        /// The one line that was written.
        fn line(&self) -> Line {
            let lines = self.0.lock().unwrap();
            assert_eq!(lines.len(), 1, "not exactly one line: {lines:?}");
            lines[0].clone()
        }
    }

    /// An answer whose status comes in the trailers, as tonic sends it.
    fn answer_ending(code: &'static str) -> Response {
        let body = Full::new("message".into()).with_trailers(ready(Some(Ok(HeaderMap::from_iter([(
            Status::GRPC_STATUS,
            code.parse().unwrap(),
        )])))));
        http::Response::new(Body::new(body))
    }

    /// Sends `request` to a service that gives `response`, reads the answer to its end, and returns the log line.
    async fn line_for(request: Request, response: impl Fn() -> Response + Clone + Send + 'static) -> Line {
        let (log, _guard) = Log::start();
        let (service, _) = inner(move || Box::pin(ready(response())));
        let answer = TraceLayer::default()
            .layer(service)
            .oneshot(request)
            .await
            .unwrap();
        let _ = answer.into_body().collect().await;
        log.line()
    }

    #[tokio::test]
    async fn an_answer_is_logged_with_method_id_and_code() {
        let (level, fields) = line_for(request(), || answer_ending("0")).await;

        assert_eq!(level, Level::INFO);
        assert_eq!(fields["method"], METHOD);
        assert_eq!(fields["request_id"], "req-1");
        assert_eq!(fields["code"], "OK");
        assert!(fields.contains_key("latency_ms") && !fields.contains_key("reason"));
    }

    #[tokio::test]
    async fn a_stream_that_fails_is_logged_with_its_last_word() {
        let (level, fields) = line_for(request(), || answer_ending("14")).await;

        assert_eq!((level, fields["code"].as_str()), (Level::WARN, "UNAVAILABLE"));
    }

    #[tokio::test]
    async fn a_refusal_is_logged_with_its_reason_and_warns_if_it_is_ours() {
        let cases = [
            (
                Reason::CredentialsMissing,
                Level::INFO,
                "UNAUTHENTICATED",
                "CREDENTIALS_MISSING",
            ),
            (Reason::Overloaded, Level::WARN, "UNAVAILABLE", "OVERLOADED"),
            (Reason::Internal, Level::WARN, "INTERNAL", "INTERNAL"),
            (
                Reason::MalformedMessage,
                Level::INFO,
                "INTERNAL",
                "MALFORMED_MESSAGE",
            ),
        ];
        for (reason, level, code, name) in cases {
            let refusal = move || wire::refuse(&Failure::new(reason, "no"), None);

            let (seen_level, fields) = line_for(request(), refusal).await;

            assert_eq!(seen_level, level);
            assert_eq!((fields["code"].as_str(), fields["reason"].as_str()), (code, name));
        }
    }

    #[tokio::test]
    async fn a_request_that_is_not_grpc_is_logged_with_its_http_status() {
        let not_grpc = || {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response
        };

        let (level, fields) = line_for(request(), not_grpc).await;

        assert_eq!((level, fields["code"].as_str()), (Level::INFO, "HTTP 415"));
    }

    #[tokio::test]
    async fn a_probe_that_goes_well_is_not_worth_more_than_debug() {
        let probe = "/grpc.health.v1.Health/Check";

        let (well, _) = line_for(request_to(probe), || answer_ending("0")).await;
        let (unknown, _) = line_for(request_to(probe), || answer_ending("5")).await;
        let (badly, _) = line_for(request_to(probe), || answer_ending("13")).await;

        assert_eq!((well, unknown, badly), (Level::DEBUG, Level::INFO, Level::WARN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_before_the_answer_is_logged() {
        let (log, _guard) = Log::start();
        let (service, _) = silent();
        let mut call = TraceLayer::default().layer(service).oneshot(request()).boxed();
        assert!(call.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(3)).await;

        drop(call);

        let (level, fields) = log.line();
        assert_eq!((level, fields["code"].as_str()), (Level::INFO, "CANCELLED"));
        assert_eq!(fields["latency_ms"], "3000");
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_during_the_answer_is_logged() {
        let (log, _guard) = Log::start();
        let (service, _) = inner(|| Box::pin(ready(answer_ending("0"))));
        let answer = TraceLayer::default()
            .layer(service)
            .oneshot(request())
            .await
            .unwrap();

        drop(answer);

        assert_eq!(log.line().1["code"], "CANCELLED");
    }

    #[tokio::test]
    async fn a_long_path_is_cut() {
        let path = format!("/{}", "x".repeat(5_000));

        let (_, fields) = line_for(request_to(&path), || answer_ending("0")).await;

        assert_eq!(fields["method"].len(), MAX_METHOD_LENGTH);
    }

    #[tokio::test]
    async fn header_values_are_not_recorded() {
        let mut request = request();
        request
            .headers_mut()
            .insert("authorization", "Bearer canary".parse().unwrap());

        let (_, fields) = line_for(request, || answer_ending("0")).await;

        assert!(!format!("{fields:?}").contains("canary"));
    }

    #[tokio::test]
    async fn the_inside_runs_in_the_span_and_can_name_the_caller() {
        let (_, fields) = line_for(request(), || {
            Span::current().record("caller", "test/alice");
            answer_ending("0")
        })
        .await;

        assert_eq!(fields["caller"], "test/alice");
    }
}
