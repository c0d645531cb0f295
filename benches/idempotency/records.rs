//! What a record takes, and what a lookup costs among few records and among many.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use prost::Message;
use ram_facade::{
    call::{Caller, Target},
    idempotency::{
        Fingerprint, Key, Scope, Store,
        cache::Replays,
        memory::MemoryStore,
        record::{Now, Record, Terms},
        sqlite::SqliteStore,
        store::{Change, Swap},
    },
    pb::v1::{CreateResourceShareResponse, ResourceShare, Tag},
};

use crate::{
    Sizes,
    common::{
        process::{self, Process},
        report::{Page, Spread},
    },
};

/// Swaps and loads that are queued at once: what the store commits as one group.
const GROUP: u32 = 256;
const FEW: u32 = 1_000;
/// Lookups of one measurement.
const LOOKUPS: u32 = 20_000;
const TERMS: Terms = Terms {
    lease: 15_000,
    window: 240_000,
    ttl: 86_400_000,
    max_reply: 131_072,
    settling: 0,
    marker: None,
};
const NOW: Now = Now {
    wall: 1,
    steady: true,
};

fn key(number: u32) -> Key {
    Key::of(&Scope {
        caller: &Caller::new("bench", "bench"),
        target: &Target {
            partition: "aws".into(),
            account: "111122223333".into(),
            region: "us-east-1".into(),
        },
        operation: "CreateResourceShare",
        client_token: &number.to_string(),
    })
}

/// A reply of ordinary size.
fn reply() -> Vec<u8> {
    let tag = |key: &str, value: &str| Tag {
        key: key.into(),
        value: value.into(),
    };
    let time = Some(prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 123_456_789,
    });
    CreateResourceShareResponse {
        resource_share: Some(ResourceShare {
            resource_share_arn:
                "arn:aws:ram:us-east-1:111122223333:resource-share/23e76dc0-3bd1-4b21-bf90-80f8d14c5d59"
                    .into(),
            name: "network-of-the-data-platform".into(),
            owning_account_id: "111122223333".into(),
            allow_external_principals: Some(true),
            tags: vec![tag("team", "network"), tag("stage", "production")],
            creation_time: time,
            last_updated_time: time,
            ..ResourceShare::default()
        }),
        client_token: String::new(),
    }
    .encode_to_vec()
}

fn record(number: u32) -> Record {
    Record::Succeeded {
        fingerprint: fingerprint(number),
        reply: reply().into(),
        recorded_at: 1,
        expires: u64::MAX,
    }
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::of(|out| out.text(1, &number.to_string()))
}

/// What is measured: a store, the memory in front of it, or what memory alone costs.
enum Kept {
    Store(Arc<dyn Store>),
    Replays(Replays),
    /// The least that a lookup can be: it grows by what the processor's caches do not hold.
    Map(HashMap<Key, Record>),
}

impl Kept {
    async fn fill(&mut self, from: u32, to: u32) {
        match self {
            Self::Store(store) => {
                for group in (from..to).step_by(GROUP as usize) {
                    let puts = (group..to.min(group + GROUP)).map(|number| {
                        let change = Change::Put {
                            record: record(number).encode(),
                            expires: u64::from(u32::MAX),
                        };
                        store.compare_and_swap(key(number), None, change)
                    });
                    for put in join_all(puts).await {
                        assert!(matches!(put.unwrap(), Swap::Put(_)));
                    }
                }
            }
            Self::Replays(replays) => {
                (from..to).for_each(|number| replays.keep(key(number), &record(number)))
            }
            Self::Map(map) => map.extend((from..to).map(|number| (key(number), record(number)))),
        }
    }

    /// The time of one lookup among `records`, [`GROUP`] of them queued at once.
    async fn look_up(&self, records: u32) -> Duration {
        let mut number = 0_u32;
        // Steps by a prime through all of them, so that no two lookups are neighbours.
        let mut next = || {
            number = (number + 7_919) % records;
            number
        };
        let mut spent = Duration::ZERO;
        for _ in 0..LOOKUPS / GROUP {
            let numbers: Vec<_> = (0..GROUP).map(|_| next()).collect();
            let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
            let prints: Vec<_> = numbers.iter().map(|number| fingerprint(*number)).collect();
            let start = Instant::now();
            match self {
                Self::Store(store) => {
                    let found = join_all(keys.into_iter().map(|key| store.load(key))).await;
                    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
                }
                Self::Replays(replays) => {
                    let found = keys
                        .iter()
                        .zip(prints)
                        .filter(|(key, print)| replays.decide(key, *print, NOW, &TERMS).is_some());
                    assert_eq!(found.count(), GROUP as usize);
                }
                Self::Map(map) => {
                    let found = keys.iter().zip(prints).filter(|(key, print)| {
                        let found = map.get(*key).filter(|record| record.fingerprint() == *print);
                        found.cloned().is_some()
                    });
                    assert_eq!(found.count(), GROUP as usize);
                }
            }
            spent += start.elapsed();
        }
        spent / (LOOKUPS / GROUP * GROUP)
    }
}

/// The child's part: fills one kind of store and prints what it took.
pub(crate) async fn measure(what: &str, records: u32) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("idempotency.sqlite");
    let mut kept = match what {
        "memory" => Kept::Store(Arc::new(MemoryStore::default())),
        "file" => Kept::Store(Arc::new(SqliteStore::open(&path).unwrap())),
        "map" => Kept::Map(HashMap::new()),
        _ => Kept::Replays(Replays::new(1 << 40)),
    };
    kept.fill(0, FEW).await;
    kept.look_up(FEW).await;
    let few = median(&kept, FEW).await;
    let before = process::resident("self");
    kept.fill(FEW, records).await;
    let resident = process::resident("self").saturating_sub(before) as f64 / f64::from(records - FEW);
    let many = median(&kept, records).await;
    drop(kept);
    let disk = size(&path) as f64 / f64::from(records);
    let start = Instant::now();
    if what == "file" {
        drop(SqliteStore::open(&path).unwrap());
    }
    let open = start.elapsed().as_secs_f64();
    println!("measured {resident} {disk} {few} {many} {open}");
}

/// In microseconds.
async fn median(kept: &Kept, records: u32) -> f64 {
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(kept.look_up(records).await);
    }
    Spread::of_times(times).median
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// The parent's part.
pub(crate) fn report(sizes: &Sizes, page: &mut Page) {
    let many = sizes.records.to_string();
    page.section(
        "Records",
        &format!(
            "{many} records of state Succeeded, a reply of {} bytes each (a record of {}), put through the store's own \
             interface\nin a process of its own. A lookup is one of {GROUP} that are queued at once, median of 5 times \
             {LOOKUPS}; the records\nof the file are in the page cache. Keys are hashes, so that no lookup finds anything that \
             the one before brought near:\namong many records each waits for memory that the processor's caches do not hold. \
             A plain `HashMap` of the same records,\nread in the same way, shows how much of the growth that is. What grows \
             beyond it in the file is mostly SQLite's own cache of\n2 MB, behind which every page is read from the system's: a larger \
             cache or `mmap_size` would take some 5 µs off, at the price of\nmemory for each record, or of a signal that ends \
             the process where a disk's error is an answer today. `WITHOUT ROWID` takes\noff one. A commit takes a thousand \
             times as long, so that none of this is done.",
            reply().len(),
            record(0).encode().len()
        ),
        &["", "value"],
    );
    let mut growth = 1.0;
    for (what, name) in [
        ("map", "a plain `HashMap`"),
        ("cache", "in memory in front of the store"),
        ("memory", "`:memory:`"),
        ("file", "a file"),
    ] {
        eprintln!(" {name} ...");
        let line = Process::child(&["records", what, &many]).line("measured ");
        let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [resident, disk, at_few, at_many, open] = numbers.try_into().unwrap();
        page.row(
            &format!("{name}: memory for a record, bytes"),
            format!("{resident:.0}"),
        );
        if what == "file" {
            page.row(&format!("{name}: disk for a record, bytes"), format!("{disk:.0}"));
            page.row(
                &format!("{name}: opening it with {many}, which checks its integrity, seconds"),
                format!("{open:.1}"),
            );
        }
        page.row(
            &format!("{name}: a lookup among {FEW}, µs"),
            format!("{at_few:.2}"),
        );
        page.row(
            &format!("{name}: a lookup among {many}, µs"),
            format!("{at_many:.2}"),
        );
        page.row(
            &format!("**{name}: among {many} / among {FEW}**"),
            format!("{:.2}", at_many / at_few),
        );
        if what == "map" {
            growth = at_many / at_few;
        } else {
            page.row(
                &format!("**{name}: that growth / a `HashMap`'s**"),
                format!("{:.2}", at_many / at_few / growth),
            );
        }
    }
}
