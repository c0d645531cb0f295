//! Answers that are given before they are recorded.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::{
    super::Settings,
    SECOND,
    fixture::{self, Create, Fixture, Then, input},
    refused,
};
use crate::{
    clock::UnixMillis,
    failure::Reason,
    idempotency::{
        Key,
        record::Record,
        store::{Change, Store, StoreError, Stored, Swap, Version, failing::FailingStore},
    },
};

/// A store whose writes take a second.
#[derive(Default)]
struct Slow(FailingStore);

impl Store for Slow {
    fn load(&self, key: Key) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        self.0.load(key)
    }

    fn compare_and_swap(
        &self,
        key: Key,
        expected: Option<Version>,
        change: Change,
    ) -> BoxFuture<'_, Result<Swap, StoreError>> {
        Box::pin(async move {
            sleep(SECOND).await;
            self.0.compare_and_swap(key, expected, change).await
        })
    }

    fn sweep(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        self.0.sweep(now, limit)
    }
}

impl Fixture<Slow> {
    fn slow() -> Self {
        Self::on(Arc::default(), Settings::default())
    }

    fn is_recorded(&self) -> bool {
        let records = self.store.0.records();
        let record = records
            .first()
            .map(|stored| Record::decode(&stored.record).unwrap());
        matches!(record, Some(Record::Succeeded { .. }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_does_not_wait_for_its_record() {
    let fixture = Fixture::slow();
    let begun = Instant::now();

    let first = fixture
        .call::<Create>("ci", input("share", "token"))
        .await
        .unwrap();

    assert_eq!(begun.elapsed(), SECOND, "the claim is written, and no more");
    assert!(!fixture.is_recorded());
    assert_eq!(first.replayed, None);
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert!(fixture.is_recorded(), "a drain waits for it");
}

#[tokio::test(start_paused = true)]
async fn until_it_is_recorded_an_answer_is_replayed_from_here() {
    let fixture = Fixture::slow();
    let call = |name| fixture.call::<Create>("ci", input(name, "token"));
    let first = call("share").await.unwrap();

    let again = call("share").await.unwrap();
    let other = call("other").await.unwrap_err();

    assert!(!fixture.is_recorded());
    assert_eq!(again.output, first.output);
    let answered_at = fixture::START + 1_000;
    assert_eq!(again.replayed, Some(answered_at));
    assert_eq!(other.why(), Reason::TokenMismatch);
    sleep(2 * SECOND).await;
    let from_the_record = call("share").await.unwrap();
    assert!(fixture.is_recorded());
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
    let fixture = Fixture::slow();
    fixture.ram.next(SECOND, refused());
    let begun = Instant::now();

    let failure = fixture
        .call::<Create>("ci", input("share", "token"))
        .await
        .unwrap_err();

    assert_eq!(failure.why(), Reason::Throttling);
    assert_eq!(begun.elapsed(), 3 * SECOND, "claim, request and end");
    assert!(fixture.store.0.records().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_success_that_comes_after_the_lease_waits_for_its_record() {
    let fixture = Fixture::slow();
    fixture.ram.next(16 * SECOND, Then::Succeed);
    let begun = Instant::now();

    fixture
        .call::<Create>("ci", input("share", "token"))
        .await
        .unwrap();

    assert_eq!(begun.elapsed(), 18 * SECOND);
    assert!(fixture.is_recorded());
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
