use futures_util::FutureExt;
use tonic::Code;
use tower::ServiceExt;

use super::*;
use crate::layers::wire::testing::{prompt, read, request, request_to, silent};

fn layer(per_second: u32, burst: u32, in_flight: usize) -> LimitCallerLayer {
    LimitCallerLayer::new(Settings {
        per_second,
        burst: NonZeroU32::new(burst).unwrap(),
        in_flight,
    })
}

fn from(name: &str) -> Request {
    let mut request = request();
    let caller = Caller::new("test", name).proven_by(Proof::StaticToken);
    request.extensions_mut().insert(caller);
    request
}

/// Sends `count` calls at once, and returns how many were let through.
async fn send(service: &(impl Handler + Sync), name: &str, count: usize) -> usize {
    let mut through = 0;
    for _ in 0..count {
        let response = service.clone().oneshot(from(name)).await.unwrap();
        through += usize::from(!response.headers().contains_key("grpc-status"));
    }
    through
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_and_then_the_rate_holds() {
    let (inner, _) = prompt();
    let service = layer(50, 100, 0).layer(inner);

    assert_eq!(send(&service, "alice", 300).await, 100);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(send(&service, "alice", 300).await, 50);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(send(&service, "alice", 300).await, 100);
}

#[tokio::test(start_paused = true)]
async fn the_refusal_says_when_to_come_back_and_that_nothing_was_done() {
    let (inner, seen) = prompt();
    let service = layer(1, 1, 0).layer(inner);
    send(&service, "alice", 1).await;

    let response = service.oneshot(from("alice")).await.unwrap();

    let (code, reason, details) = read(&response);
    assert_eq!(
        (code, reason.as_str()),
        (Code::ResourceExhausted, "CALLER_RATE_LIMITED")
    );
    assert_eq!(details.error_info().unwrap().metadata["outcome"], "not_executed");
    assert_eq!(details.request_info().unwrap().request_id, "req-1");
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(
        (1_000..=1_500).contains(&delay.as_millis()),
        "told to wait {delay:?}"
    );
    assert_eq!(
        response.headers()["grpc-retry-pushback-ms"],
        delay.as_millis().to_string().as_str()
    );
    assert_eq!(seen.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_noisy_caller_leaves_another_its_whole_share() {
    let (inner, _) = prompt();
    let service = layer(50, 100, 0).layer(inner);
    send(&service, "noisy", 10_000).await;

    assert_eq!(send(&service, "quiet", 100).await, 100);
}

#[tokio::test]
async fn the_call_over_the_limit_in_flight_is_refused_and_an_ended_one_makes_room() {
    let (inner, seen) = silent();
    let service = layer(0, 1, 2).layer(inner);
    let mut calls: Vec<_> = (0..2)
        .map(|_| service.clone().oneshot(from("alice")).boxed())
        .collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }

    let refused = service
        .clone()
        .oneshot(from("alice"))
        .now_or_never()
        .expect("it queued");

    let (code, reason, details) = read(&refused.unwrap());
    assert_eq!(
        (code, reason.as_str()),
        (Code::ResourceExhausted, "CALLER_IN_FLIGHT_LIMIT")
    );
    assert!(details.retry_info().is_some());
    assert!(service.clone().oneshot(from("bob")).now_or_never().is_none());
    calls.pop();
    assert!(service.oneshot(from("alice")).now_or_never().is_none());
    assert_eq!(seen.calls(), 4);
}

#[tokio::test]
async fn services_of_one_layer_count_together() {
    let layer = layer(1, 1, 0);
    let (inner, _) = prompt();
    let (one, other) = (layer.layer(inner.clone()), layer.layer(inner));

    assert_eq!(send(&one, "alice", 1).await, 1);
    assert_eq!(send(&other, "alice", 1).await, 0);
}

#[tokio::test]
async fn zero_switches_a_limit_off() {
    let (inner, _) = prompt();
    let service = layer(0, 1, 0).layer(inner);

    assert_eq!(send(&service, "alice", 1_000).await, 1_000);
}

#[tokio::test]
async fn health_checks_and_calls_without_authentication_are_not_counted() {
    let (inner, seen) = prompt();
    let service = layer(1, 1, 1).layer(inner);
    for _ in 0..5 {
        let health = request_to("/grpc.health.v1.Health/Check");
        service.clone().oneshot(health).await.unwrap();
        let mut anonymous = request();
        anonymous
            .extensions_mut()
            .insert(Caller::new("none", "anonymous"));
        service.clone().oneshot(anonymous).await.unwrap();
    }

    assert_eq!(seen.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn callers_are_forgotten_when_they_would_be_as_good_as_new() {
    let (inner, _) = prompt();
    let (busy, _) = silent();
    let layer = layer(50, 100, 64);
    let service = layer.layer(inner);
    let mut in_flight = layer.layer(busy).oneshot(from("busy")).boxed();
    assert!(in_flight.as_mut().now_or_never().is_none());
    let known = || layer.0.callers.lock().unwrap().known.len();
    for n in 0..1_000 {
        send(&service, &n.to_string(), 1).await;
    }
    assert_eq!(known(), 1_001);

    tokio::time::advance(Duration::from_secs(61)).await;
    send(&service, "last", 1).await;

    assert_eq!(known(), 2, "the one in flight, and the last");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_callers_is_forgotten_without_waiting_for_a_minute() {
    let (inner, _) = prompt();
    let layer = layer(50, 100, 64);
    let service = layer.layer(inner);
    for second in 0..20 {
        for n in 0..500 {
            send(&service, &format!("{second}/{n}"), 1).await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    let known = layer.0.callers.lock().unwrap().known.len();
    assert!(known <= 3_000, "{known} callers are known, of whom 1,500 matter");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_gives_nobody_a_new_burst() {
    let (inner, _) = prompt();
    let service = layer(1, 100, 0).layer(inner);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(send(&service, "alice", 200).await, 100);

    tokio::time::advance(Duration::from_secs(2)).await;

    assert_eq!(send(&service, "alice", 200).await, 2);
}
