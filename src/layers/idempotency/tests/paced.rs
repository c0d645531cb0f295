//! What the layer asks the pacer for, and what never asks.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    SECOND,
    fixture::{Fixture, PATIENCE, START, Then},
};
use crate::{
    call::Caller,
    failure::{Advice, Effect, Reason},
    layers::pace::{self, Pacer, Permit},
    pacing::Asking,
};

/// A pacer of one rate, and the one permit that it had.
async fn used_up(per_second: f64) -> (Pacer, Permit) {
    let pacer = Pacer::new(pace::Settings {
        rate: pace::rate::Settings {
            initial: per_second,
            min: per_second,
            max: per_second,
        },
        ..pace::Settings::default()
    });
    let other = Caller::new("test", "other");
    let permit = pacer
        .acquire(&other, Instant::now() + PATIENCE, Asking::First)
        .await
        .unwrap();
    (pacer, permit)
}

fn paced(mut fixture: Fixture, pacer: Pacer) -> Fixture {
    fixture.layer = fixture.layer.clone().paced_by(pacer);
    fixture
}

#[tokio::test(start_paused = true)]
async fn what_may_not_leave_in_time_is_refused_before_it_is_claimed() {
    let (pacer, _permit) = used_up(0.2).await;
    let fixture = paced(Fixture::new(), pacer);
    let begun = Instant::now();

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(
        (failure.why(), failure.what_happened()),
        (Reason::RateLimitExceeded, Effect::None)
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(fixture.record().is_none() && fixture.ram.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn replays_joins_and_refusals_of_a_token_never_ask() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();
    let (pacer, permit) = used_up(0.2).await;
    let fixture = paced(fixture, pacer);

    let replay = fixture.create("ci", "share", "token").await.unwrap();
    assert!(replay.replayed.is_some());
    let mismatch = fixture.create("ci", "other", "token").await.unwrap_err();
    assert_eq!(mismatch.why(), Reason::TokenMismatch);

    drop(permit);
    fixture.ram.next(SECOND, Then::Succeed);
    let leader = fixture.spawn("ci", "share", "another");
    sleep(SECOND / 2).await;
    let joiner = fixture.create("ci", "share", "another").await.unwrap();
    assert_eq!(joiner.output.arn, leader.await.unwrap().unwrap().output.arn);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_what_may_have_been_executed_before_leaves_the_outcome_open() {
    let (pacer, _permit) = used_up(0.1).await;
    let fixture = paced(Fixture::new(), pacer);
    fixture.claimed_elsewhere("token", START - 20_000);

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(
        (failure.why(), failure.what_happened()),
        (Reason::OutcomeUnknown, Effect::Unknown)
    );
    assert_eq!(failure.get_metadata("cause"), Some("RATE_LIMIT_EXCEEDED"));
    assert!(
        matches!(failure.what_next(), Advice::After(delay) if delay > SECOND),
        "{failure:?}"
    );
    assert!(fixture.ram.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_elsewhere_during_the_wait_is_not_sent_and_its_turn_goes_on() {
    let (pacer, _permit) = used_up(1.0).await;
    let slow = Fixture::new();
    let elsewhere = slow.replica();
    let slow = paced(slow, pacer.clone());
    let waiting = slow.spawn("ci", "share", "token");
    sleep(SECOND / 2).await;

    elsewhere.create("ci", "share", "token").await.unwrap();
    let answer = waiting.await.unwrap().unwrap();

    assert!(answer.replayed.is_some());
    assert_eq!(slow.ram.sent().len(), 1);
    let begun = Instant::now();
    let caller = Caller::new("test", "x");
    let next = pacer.acquire(&caller, begun + PATIENCE, Asking::First);
    drop(next.await.unwrap());
    assert_eq!(begun.elapsed(), Duration::ZERO, "the permit came back");
}
