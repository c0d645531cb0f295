//! Answers from memory, in front of the store.

use futures_util::FutureExt;
use tokio::time::sleep;

use super::{
    super::Settings,
    SECOND,
    fixture::{self, Fixture},
};
use crate::failure::{Effect, Reason};

#[tokio::test(start_paused = true)]
async fn a_replay_from_memory_awaits_nothing_and_asks_no_store() {
    let fixture = Fixture::new();
    let first = fixture.create("ci", "share", "token").await.unwrap();
    let before = fixture.store.operations();

    let second = fixture.create("ci", "share", "token").now_or_never();

    let second = second.expect("there was something to wait for").unwrap();
    assert_eq!(second.output, first.output);
    assert_eq!(second.replayed, Some(fixture::START));
    assert_eq!(fixture.store.operations(), before);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_loaded_is_in_memory_from_then_on() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();
    let other = fixture.replica();
    other.create("ci", "share", "token").await.unwrap();
    let before = fixture.store.operations();

    other.create("ci", "share", "token").await.unwrap();

    assert_eq!(fixture.store.operations(), before);
}

#[tokio::test(start_paused = true)]
async fn another_request_under_the_token_is_refused_from_memory() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();
    let before = fixture.store.operations();

    let failure = fixture.create("ci", "other", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::TokenMismatch);
    assert_eq!(failure.what_happened(), Effect::None);
    assert_eq!(fixture.store.operations(), before);
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_caller_with_the_token_is_not_answered_from_memory() {
    let fixture = Fixture::new();
    let one = fixture.create("one", "share", "token").await.unwrap();

    let two = fixture.create("two", "share", "token").await.unwrap();

    assert_ne!(one.output.arn, two.output.arn);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_answers_in_memory_are_replayed() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();
    fixture.store.fail(0, u32::MAX);

    let known = fixture.create("ci", "share", "token").await.unwrap();
    let new = fixture.create("ci", "share", "another").await.unwrap_err();

    assert_eq!(known.output.arn, "arn:1");
    assert_eq!(new.why(), Reason::StoreUnavailable);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_had_to_go_from_memory_comes_from_the_store() {
    let fixture = Fixture::with(Settings {
        cache_bytes: 600,
        ..Settings::default()
    });
    fixture.create("ci", "share", "old").await.unwrap();
    fixture.create("ci", "share", "new").await.unwrap();
    fixture.layer.shared.replays.evict();
    let before = fixture.store.operations();

    let answer = fixture.create("ci", "share", "old").await.unwrap();

    assert!(answer.replayed.is_some());
    assert_eq!(fixture.store.operations(), before + 1);
    assert_eq!(fixture.ram.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_memory_expires_with_its_record() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();
    let ttl = Settings::default().ttl;

    sleep(ttl - SECOND).await;
    let in_time = fixture.create("ci", "share", "token").await.unwrap();
    sleep(SECOND).await;
    let too_late = fixture.create("ci", "share", "token").await.unwrap();

    assert!(in_time.replayed.is_some());
    assert_eq!(too_late.replayed, None);
    assert_eq!(fixture.ram.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_the_clock_was_set_the_store_is_asked() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();
    fixture.move_clock(60_000);
    let before = fixture.store.operations();

    let answer = fixture.create("ci", "share", "token").await.unwrap();

    assert!(answer.replayed.is_some());
    assert_eq!(fixture.store.operations(), before + 1);
}
