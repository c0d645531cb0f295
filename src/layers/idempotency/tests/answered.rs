//! Answers that are given before they are recorded.

use tokio::time::{Instant, sleep};

use super::{
    SECOND,
    fixture::{self, Fixture, Then},
    refused,
};
use crate::{failure::Reason, idempotency::record::Record};

/// Its store takes a second to write.
fn slow() -> Fixture {
    let fixture = Fixture::new();
    fixture.store.slow_down(SECOND);
    fixture
}

fn is_recorded(fixture: &Fixture) -> bool {
    matches!(fixture.record(), Some(Record::Succeeded { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_success_does_not_wait_for_its_record() {
    let fixture = slow();
    let begun = Instant::now();

    let first = fixture.create("ci", "share", "token").await.unwrap();

    assert_eq!(begun.elapsed(), SECOND, "the claim is written, and no more");
    assert!(!is_recorded(&fixture));
    assert_eq!(first.replayed, None);
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert!(is_recorded(&fixture), "a drain waits for it");
}

#[tokio::test(start_paused = true)]
async fn until_it_is_recorded_an_answer_is_replayed_from_here() {
    let fixture = slow();
    let call = |name| fixture.create("ci", name, "token");
    let first = call("share").await.unwrap();

    let again = call("share").await.unwrap();
    let other = call("other").await.unwrap_err();

    assert!(!is_recorded(&fixture));
    assert_eq!(again.output, first.output);
    let answered_at = fixture::START + 1_000;
    assert_eq!(again.replayed, Some(answered_at));
    assert_eq!(other.why(), Reason::TokenMismatch);
    sleep(2 * SECOND).await;
    let from_the_record = call("share").await.unwrap();
    assert!(is_recorded(&fixture));
    assert_eq!(from_the_record.replayed, Some(answered_at));
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_recorded_is_replayed_for_as_long_as_that_is_tried() {
    let fixture = Fixture::new();
    fixture.store.fail(2, u32::MAX);
    let first = fixture.create("ci", "share", "token").await.unwrap();

    sleep(12 * SECOND).await;
    let meanwhile = fixture.create("ci", "share", "token").await.unwrap();
    sleep(SECOND).await;
    let afterwards = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(meanwhile.output, first.output);
    assert!(meanwhile.replayed.is_some());
    assert_eq!(afterwards.why(), Reason::StoreUnavailable);
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_waits_for_its_record() {
    let fixture = slow();
    fixture.ram.next(SECOND, refused());
    let begun = Instant::now();

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::Throttling);
    assert_eq!(begun.elapsed(), 3 * SECOND, "claim, request and end");
    assert_eq!(fixture.record(), None);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_comes_after_the_lease_waits_for_its_record() {
    let fixture = slow();
    fixture.ram.next(16 * SECOND, Then::Succeed);
    let begun = Instant::now();

    fixture.create("ci", "share", "token").await.unwrap();

    assert_eq!(begun.elapsed(), 18 * SECOND);
    assert!(is_recorded(&fixture));
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_next_request_begins_anew_although_the_end_is_still_being_written() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, refused());
    fixture.store.fail(2, 3);
    fixture.create("ci", "share", "token").await.unwrap_err();

    let next = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(next.why(), Reason::StoreUnavailable, "it asked the store");
}
