//! What every store must do. Each store runs all of it.

use std::future::Future;

use bytes::Bytes;

use super::{Change, Store, Swap, Version};
use crate::{
    call::{Caller, Target},
    clock::UnixMillis,
    idempotency::{Key, Scope},
};

/// Runs the suite, each test against a store that `make` makes empty.
pub(crate) async fn run<S, Made>(make: impl Fn() -> Made)
where
    S: Store,
    Made: Future<Output = S>,
{
    an_absent_key_has_no_record(&make().await).await;
    a_record_that_was_put_is_loaded(&make().await).await;
    a_swap_on_absent_conflicts_with_a_record(&make().await).await;
    a_swap_on_a_version_conflicts_with_any_other(&make().await).await;
    a_deleted_record_is_gone(&make().await).await;
    a_version_is_never_used_twice(&make().await).await;
    of_many_claims_at_once_one_wins(&make().await).await;
    a_sweep_removes_what_is_over_up_to_its_limit(&make().await).await;
}

pub(crate) fn key(name: &str) -> Key {
    Key::of(&Scope {
        caller: &Caller::new("test", "suite"),
        target: &Target {
            partition: "aws".into(),
            account: "111122223333".into(),
            region: "eu-west-1".into(),
        },
        operation: "Test",
        client_token: name,
    })
}

pub(crate) fn record(text: &'static str) -> Change {
    expiring(text, UnixMillis::MAX)
}

fn expiring(text: &'static str, expires: UnixMillis) -> Change {
    Change::Put {
        record: Bytes::from_static(text.as_bytes()),
        expires,
    }
}

pub(crate) async fn put(
    store: &impl Store,
    name: &str,
    expected: Option<Version>,
    change: Change,
) -> Version {
    match store.compare_and_swap(key(name), expected, change).await.unwrap() {
        Swap::Put(version) => version,
        other => panic!("{other:?}"),
    }
}

async fn text(store: &impl Store, name: &str) -> Option<Bytes> {
    store.load(key(name)).await.unwrap().map(|stored| stored.record)
}

async fn an_absent_key_has_no_record(store: &impl Store) {
    assert_eq!(store.load(key("a")).await.unwrap(), None);
}

async fn a_record_that_was_put_is_loaded(store: &impl Store) {
    let version = put(store, "a", None, record("one")).await;

    let stored = store.load(key("a")).await.unwrap().unwrap();
    assert_eq!((stored.version, &stored.record[..]), (version, &b"one"[..]));
    assert!(!stored.writer_gone);
    assert_eq!(text(store, "b").await, None);
}

async fn a_swap_on_absent_conflicts_with_a_record(store: &impl Store) {
    put(store, "a", None, record("one")).await;

    let swap = store
        .compare_and_swap(key("a"), None, record("two"))
        .await
        .unwrap();

    assert_eq!(swap, Swap::Conflict);
    assert_eq!(text(store, "a").await.unwrap(), "one");
}

async fn a_swap_on_a_version_conflicts_with_any_other(store: &impl Store) {
    let first = put(store, "a", None, record("one")).await;
    let second = put(store, "a", Some(first), record("two")).await;

    for change in [record("three"), Change::Delete] {
        let stale = store
            .compare_and_swap(key("a"), Some(first), change.clone())
            .await
            .unwrap();
        let absent = store
            .compare_and_swap(key("b"), Some(first), change)
            .await
            .unwrap();
        assert_eq!((stale, absent), (Swap::Conflict, Swap::Conflict));
    }

    assert_eq!(store.load(key("a")).await.unwrap().unwrap().version, second);
    assert_eq!(text(store, "a").await.unwrap(), "two");
    assert_eq!(text(store, "b").await, None);
}

async fn a_deleted_record_is_gone(store: &impl Store) {
    let version = put(store, "a", None, record("one")).await;

    let swap = store
        .compare_and_swap(key("a"), Some(version), Change::Delete)
        .await
        .unwrap();

    assert_eq!(swap, Swap::Deleted);
    assert_eq!(text(store, "a").await, None);
}

async fn a_version_is_never_used_twice(store: &impl Store) {
    let first = put(store, "a", None, record("one")).await;
    store
        .compare_and_swap(key("a"), Some(first), Change::Delete)
        .await
        .unwrap();
    put(store, "a", None, record("one")).await;

    let swap = store
        .compare_and_swap(key("a"), Some(first), record("two"))
        .await
        .unwrap();

    assert_eq!(swap, Swap::Conflict);
}

async fn of_many_claims_at_once_one_wins(store: &impl Store) {
    let claims = (0..50).map(|_| store.compare_and_swap(key("a"), None, record("one")));

    let swaps = futures_util::future::join_all(claims).await;

    let won = swaps
        .iter()
        .filter(|swap| matches!(swap, Ok(Swap::Put(_))))
        .count();
    let lost = swaps
        .iter()
        .filter(|swap| matches!(swap, Ok(Swap::Conflict)))
        .count();
    assert_eq!((won, lost), (1, 49));
}

async fn a_sweep_removes_what_is_over_up_to_its_limit(store: &impl Store) {
    put(store, "a", None, expiring("one", 1_000)).await;
    put(store, "b", None, expiring("two", 1_000)).await;
    put(store, "c", None, expiring("three", 1_001)).await;
    put(store, "d", None, record("four")).await;

    assert_eq!(store.sweep(999, 10).await.unwrap(), 0);
    assert_eq!(store.sweep(1_000, 1).await.unwrap(), 1);
    assert_eq!(store.sweep(1_000, 10).await.unwrap(), 1);

    assert_eq!(text(store, "a").await, None);
    assert_eq!(text(store, "b").await, None);
    assert_eq!(text(store, "c").await.unwrap(), "three");
    assert_eq!(text(store, "d").await.unwrap(), "four");
}
