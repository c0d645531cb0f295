//! Bounds the calls that the whole process works on, and refuses new ones while it drains.
//!
//! # Where it stands
//! Outside `deadline`: a call that is shed costs no timer. Health checks pass, since a server that is busy or
//! draining must be able to say so.
//!
//! # On failure
//! `OVERLOADED` or `SHUTTING_DOWN`, effect none, worth repeating shortly. It never queues: a call that waits here
//! would use up its deadline unseen, and a retry may reach a server that has room.
//!
//! # When the caller goes away
//! The call's place is free again as soon as its future is dropped.
//!
//! # What it leaves behind
//! Nothing. The place is given back with the answer's head: messages are small, and a client that reads slowly must
//! not hold places that others need.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::{
    failure::{Advice, Failure, Reason},
    layers::wire::{self, Finish, Finished, Handler, Request, Response, Screened},
};

/// How much the process works on at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Calls in flight, over all connections. Range 1 to 1_000_000. Default 1_024: with messages of at most 256 KiB
    /// that is 256 MiB, and RAM's request rates keep useful work far below it.
    pub max_calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_calls: 1_024 }
    }
}

/// Whether the process drains. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Refuses calls from now on. There is no way back.
    pub fn start(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether calls are refused.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Makes [`InFlight`]. Services of one layer share its places.
#[derive(Clone, Debug)]
pub struct InFlightLayer {
    places: Arc<Semaphore>,
    draining: Draining,
}

impl InFlightLayer {
    /// Admits as many calls as `settings` say, and none once `draining` has started.
    #[must_use]
    pub fn new(settings: &Settings, draining: Draining) -> Self {
        let places = settings.max_calls.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            draining,
        }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight {
            inner,
            places: Arc::clone(&self.places),
            draining: self.draining.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct InFlight<S> {
    inner: S,
    places: Arc<Semaphore>,
    draining: Draining,
}

impl<S: Handler> Service<Request> for InFlight<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Screened<Finished<S::Future, Place>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if wire::is_health_check(request.uri().path()) {
            return Either::Right(Finished::new(self.inner.call(request), Place(None)));
        }
        let admitted = if self.draining.has_started() {
            Err((
                Reason::ShuttingDown,
                "this server is shutting down; send the call again on a new connection",
            ))
        } else {
            Arc::clone(&self.places).try_acquire_owned().map_err(|_full| {
                (
                    Reason::Overloaded,
                    "the server is overloaded; send the call again",
                )
            })
        };
        match admitted {
            Ok(place) => Either::Right(Finished::new(self.inner.call(request), Place(Some(place)))),
            Err((reason, message)) => {
                let failure = Failure::new(reason, message).advice(Advice::After(some_time()));
                let request_id = wire::request_id(request.headers());
                wire::at_once(wire::refuse(&failure, request_id.as_ref()))
            }
        }
    }
}

/// A call's place among those in flight. A health check has none.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Finish for Place {
    fn finish(self, response: Response) -> Response {
        response
    }
}

/// 200 to 500 ms, different for each caller, so that those refused together do not come back together.
fn some_time() -> Duration {
    Duration::from_millis(fastrand::u64(200..=500))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{prompt, read, request, request_to, silent};

    const HEALTH: &str = "/grpc.health.v1.Health/Check";

    fn one_place() -> InFlightLayer {
        InFlightLayer::new(&Settings { max_calls: 1 }, Draining::default())
    }

    #[tokio::test]
    async fn the_call_over_the_limit_is_shed_at_once_with_a_time_to_come_back() {
        let (service, seen) = silent();
        let service = one_place().layer(service);
        let mut first = service.clone().oneshot(request()).boxed();
        assert!(first.as_mut().now_or_never().is_none());

        let response = service
            .oneshot(request())
            .now_or_never()
            .expect("it queued")
            .unwrap();

        let (code, reason, details) = read(&response);
        assert_eq!((code, reason.as_str()), (Code::Unavailable, "OVERLOADED"));
        let delay = details.retry_info().unwrap().retry_delay.unwrap();
        assert!((200..=500).contains(&delay.as_millis()), "told to wait {delay:?}");
        assert_eq!(details.error_info().unwrap().metadata["outcome"], "not_executed");
        assert_eq!(seen.calls(), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_gives_its_place_back() {
        let (service, seen) = silent();
        let service = one_place().layer(service);
        let mut first = service.clone().oneshot(request()).boxed();
        assert!(first.as_mut().now_or_never().is_none());

        drop(first);

        assert!(service.oneshot(request()).now_or_never().is_none());
        assert_eq!(seen.calls(), 2);
    }

    #[tokio::test]
    async fn an_answered_call_gives_its_place_back() {
        let (service, seen) = prompt();
        let service = one_place().layer(service);

        for _ in 0..3 {
            service.clone().oneshot(request()).await.unwrap();
        }

        assert_eq!(seen.calls(), 3);
    }

    #[tokio::test]
    async fn services_of_one_layer_share_its_places() {
        let layer = one_place();
        let (busy, _) = silent();
        let (idle, seen) = prompt();
        let mut first = layer.layer(busy).oneshot(request()).boxed();
        assert!(first.as_mut().now_or_never().is_none());

        let response = layer.layer(idle).oneshot(request()).await.unwrap();

        assert_eq!(read(&response).1, "OVERLOADED");
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test]
    async fn a_draining_server_refuses_calls() {
        let (service, seen) = prompt();
        let draining = Draining::default();
        let service = InFlightLayer::new(&Settings::default(), draining.clone()).layer(service);

        draining.start();
        let response = service.oneshot(request()).await.unwrap();

        let (code, reason, details) = read(&response);
        assert_eq!((code, reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
        assert!(details.retry_info().is_some());
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test]
    async fn health_checks_pass_a_full_and_draining_server() {
        let (service, seen) = prompt();
        let draining = Draining::default();
        draining.start();
        let service = InFlightLayer::new(&Settings { max_calls: 0 }, draining).layer(service);

        service.oneshot(request_to(HEALTH)).await.unwrap();

        assert_eq!(seen.calls(), 1);
    }
}
