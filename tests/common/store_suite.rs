//! What every store must do. Each store runs all of it: those in a process within the library's own tests, those on a
//! server in tests of their own.

#![allow(dead_code, reason = "each user needs its part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use bytes::Bytes;
use proptest::{collection, prelude::*, test_runner::TestRunner};
use ram_facade::{
    call::{Caller, Target},
    clock::UnixMillis,
    idempotency::{
        Key, Scope,
        store::{Change, Scan, Store, Swap, Version},
    },
};

/// Runs the suite, each test against a store that `make` makes empty, for a store that removes what it is told to sweep.
pub(crate) async fn run<S, Made>(make: impl Fn() -> Made)
where
    S: Store,
    Made: Future<Output = S>,
{
    run_without_sweep(&make).await;
    a_sweep_removes_what_is_over_up_to_its_limit(&make().await).await;
    a_sweep_goes_by_the_last_change_of_a_record(&make().await).await;
}

/// Runs what does not depend on who removes what is over.
pub(crate) async fn run_without_sweep<S, Made>(make: impl Fn() -> Made)
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
    a_record_is_kept_byte_by_byte(&make().await).await;
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

async fn a_record_is_kept_byte_by_byte(store: &impl Store) {
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(128 * 1024).collect();
    for (name, bytes) in [("a", Vec::new()), ("b", every_byte)] {
        let change = Change::Put {
            record: bytes.clone().into(),
            expires: UnixMillis::MAX,
        };
        put(store, name, None, change).await;

        assert!(text(store, name).await.unwrap() == bytes, "{name}");
    }
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

async fn a_sweep_goes_by_the_last_change_of_a_record(store: &impl Store) {
    let first = put(store, "a", None, expiring("one", 1_000)).await;
    put(store, "a", Some(first), expiring("two", 2_000)).await;
    let gone = put(store, "b", None, expiring("three", 1_000)).await;
    store
        .compare_and_swap(key("b"), Some(gone), Change::Delete)
        .await
        .unwrap();

    assert_eq!(store.sweep(1_999, 10).await.unwrap(), 0);
    assert_eq!(text(store, "a").await.unwrap(), "two");
    assert_eq!(store.sweep(2_000, 10).await.unwrap(), 1);

    assert_eq!(text(store, "a").await, None);
}

/// Goes through an empty store's keys as an operator does, in pages and from the first bytes of a name.
pub(crate) async fn a_scan_finds_every_key_once_and_in_order(store: &impl Scan) {
    let mut keys: Vec<Key> = (0..20).map(|number| key(&number.to_string())).collect();
    for number in 0..20 {
        put(store, &number.to_string(), None, record("one")).await;
    }
    keys.sort();

    let mut found: Vec<Key> = Vec::new();
    loop {
        let behind = found.last().map_or(Vec::new(), |last| last.as_bytes().to_vec());
        let page = store.scan(behind, 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
        assert!(found.len() <= keys.len(), "it goes round in circles");
    }

    assert_eq!(found, keys);
    for (number, key) in keys.iter().enumerate() {
        let from_digits = store.scan(key.as_bytes()[..4].to_vec(), 1).await.unwrap();
        assert_eq!(from_digits[0], *key, "{number}");
    }
}

/// What a process may do to a store, and what may happen to the process.
#[derive(Clone, Debug)]
enum Step {
    Load(u8),
    Swap(u8, Expect, Make),
    /// The process ends and another opens the store.
    Reopen,
    /// A sweep at a time that may lie before that of the sweep before.
    Sweep(u64),
}

/// In which state a swap expects the key.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Absent,
    Current,
    /// That of an earlier version, of this key or another, if there was any.
    Earlier(usize),
}

#[derive(Clone, Debug)]
enum Make {
    Record(Vec<u8>, u64),
    Nothing,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys and few times, so that steps meet.
    let key = 0..3_u8;
    let expect = prop_oneof![
        2 => Just(Expect::Absent),
        4 => Just(Expect::Current),
        2 => any::<usize>().prop_map(Expect::Earlier),
    ];
    let make = prop_oneof![
        4 => (collection::vec(any::<u8>(), 0..40), 1_u64..6).prop_map(|(bytes, at)| Make::Record(bytes, at)),
        1 => Just(Make::Nothing),
    ];
    let step = prop_oneof![
        3 => key.clone().prop_map(Step::Load),
        8 => (key, expect, make).prop_map(|(key, expect, make)| Step::Swap(key, expect, make)),
        1 => Just(Step::Reopen),
        1 => (0_u64..6).prop_map(Step::Sweep),
    ];
    collection::vec(step, 1..60)
}

/// Who removes records whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removes {
    /// A sweep does.
    Sweep,
    /// The store itself does, some time later.
    Itself,
}

/// Compares a store with a map over `cases` random histories. Each begins with an empty store from `make`; `reopen` is
/// what a restart of the process does to it.
pub(crate) fn is_a_map<S, Made, Reopened>(
    cases: u32,
    removes: Removes,
    make: impl Fn() -> Made,
    reopen: impl Fn(S) -> Reopened,
) where
    S: Store,
    Made: Future<Output = S>,
    Reopened: Future<Output = S>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            runtime.block_on(history(steps, removes, &make, &reopen));
            Ok(())
        })
        .unwrap();
}

#[derive(Debug)]
struct Kept {
    version: Version,
    bytes: Vec<u8>,
    expires: u64,
    written_in: u32,
}

async fn history<S, Made, Reopened>(
    steps: Vec<Step>,
    removes: Removes,
    make: &impl Fn() -> Made,
    reopen: &impl Fn(S) -> Reopened,
) where
    S: Store,
    Made: Future<Output = S>,
    Reopened: Future<Output = S>,
{
    let mut store = make().await;
    let mut opening = 0;
    let mut model = BTreeMap::<u8, Kept>::new();
    let mut given = Vec::<Version>::new();
    let id = |name: u8| key(&name.to_string());
    for step in steps {
        match step {
            Step::Load(name) => check(&store, id(name), model.get(&name), opening).await,
            Step::Swap(name, expect, make) => {
                let expected = match expect {
                    Expect::Absent => None,
                    Expect::Current => model.get(&name).map(|kept| kept.version),
                    Expect::Earlier(which) if given.is_empty() => Some(Version(which as u64)),
                    Expect::Earlier(which) => Some(given[which % given.len()]),
                };
                let fits = model.get(&name).map(|kept| kept.version) == expected;
                let change = match &make {
                    Make::Record(bytes, expires) => Change::Put {
                        record: bytes.clone().into(),
                        expires: *expires,
                    },
                    Make::Nothing => Change::Delete,
                };
                let swap = store.compare_and_swap(id(name), expected, change).await.unwrap();
                match (swap, make) {
                    (Swap::Put(version), Make::Record(bytes, expires)) if fits => {
                        assert!(!given.contains(&version), "{version:?} was used before");
                        given.push(version);
                        let kept = Kept {
                            version,
                            bytes,
                            expires,
                            written_in: opening,
                        };
                        model.insert(name, kept);
                    }
                    (Swap::Deleted, Make::Nothing) if fits => drop(model.remove(&name)),
                    (Swap::Conflict, _) if !fits => {}
                    (swap, make) => panic!(
                        "{swap:?} for {make:?} on {expected:?} with {:?}",
                        model.get(&name)
                    ),
                }
            }
            Step::Reopen => {
                store = reopen(store).await;
                opening += 1;
            }
            Step::Sweep(now) => {
                let removed = store.sweep(now, u32::MAX).await.unwrap();
                let over: BTreeSet<u8> = model
                    .iter()
                    .filter(|(_, kept)| removes == Removes::Sweep && kept.expires <= now)
                    .map(|(name, _)| *name)
                    .collect();
                model.retain(|name, _| !over.contains(name));
                assert_eq!(removed as usize, over.len());
            }
        }
    }
    for name in 0..3 {
        check(&store, id(name), model.get(&name), opening).await;
    }
}

async fn check(store: &impl Store, key: Key, kept: Option<&Kept>, opening: u32) {
    let found = store.load(key).await.unwrap();
    let (Some(found), Some(kept)) = (&found, kept) else {
        assert!(found.is_none() && kept.is_none(), "{found:?} for {kept:?}");
        return;
    };
    assert_eq!(
        (found.version, &found.record[..]),
        (kept.version, &kept.bytes[..])
    );
    // That a writer is gone may be unknown. That it is there must not be mistaken.
    assert!(!found.writer_gone || kept.written_in < opening);
}
