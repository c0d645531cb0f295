//! A create with its records on disk against one with its records in memory.

use std::time::Duration;

use crate::{
    Sizes,
    common::{
        disk,
        load::{self, CONNECTIONS, IN_FLIGHT},
        process::Process,
        report::{Page, Spread},
        turns::take_turns,
    },
};

/// Creates of one round: alone, for the time of one; and [`IN_FLIGHT`] at once, for their number.
const ALONE: u64 = 100;
const TOGETHER: u64 = 1_000;
/// The sandbox's account has room for 25,000 shares.
const MOST_ROUNDS: usize = 10;

struct Side {
    name: &'static str,
    clients: Vec<load::Client>,
    alone: Vec<Duration>,
    per_second: Vec<f64>,
    _process: Process,
}

impl Side {
    async fn on(name: &'static str, store: &str, ram: &str) -> Self {
        let arguments = [
            "serve",
            "--insecure-no-auth",
            "--listen",
            "127.0.0.1:0",
            "--ram-endpoint",
            ram,
            "--store",
            store,
        ];
        let mut process = Process::facade(&arguments);
        let clients = load::connect(&process.line("listening on "), CONNECTIONS, None).await;
        Self {
            name,
            clients,
            alone: Vec::new(),
            per_second: Vec::new(),
            _process: process,
        }
    }

    async fn turn(&mut self, round: usize) {
        let (name, clients) = (self.name, &self.clients);
        let create = |kind: &'static str| {
            move |number: u64| async move {
                let client = clients.iter().cycle().nth(number as usize % 64).unwrap().clone();
                load::create(client, load::request(&format!("{name}-{kind}-{round}-{number}"))).await;
            }
        };
        let alone = load::each(ALONE, 1, create("alone")).await.0;
        let per_second = load::each(TOGETHER, IN_FLIGHT, create("together")).await.1;
        if round > 0 {
            self.alone.extend(alone);
            self.per_second.push(per_second);
        }
    }
}

pub(crate) async fn measure(sizes: &Sizes, page: &mut Page) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut sandbox = Process::facade(&["sandbox"]);
    let ram = sandbox.line("sandbox listening on ");
    let path = directory.path().join("idempotency.sqlite");
    let memory = Side::on("memory", ":memory:", &ram).await;
    let file = Side::on("file", path.to_str().unwrap(), &ram).await;

    let mut synced = Vec::new();
    let mut sides = [memory, file];
    take_turns(sizes.rounds.min(MOST_ROUNDS), &mut sides, async |round, side| {
        synced.extend(disk::sync(directory.path(), ALONE));
        side.turn(round).await;
    })
    .await;
    let [memory, file] = sides;

    let (synced, in_memory, on_disk) = (
        Spread::of_times(synced),
        Spread::of_times(memory.alone),
        Spread::of_times(file.alone),
    );
    let ratio = file
        .per_second
        .iter()
        .zip(&memory.per_second)
        .map(|(file, memory)| file / memory);
    page.section(
        "A create, on disk against in memory",
        &format!(
            "New shares in an embedded RAM, which is a process of its own on the same cores and answers in well under a\n\
             millisecond: against RAM itself the share of the disk is far smaller. SQLite with `synchronous=FULL`; a create \
             commits\nits claim and its end. Times are of {ALONE} creates a round, one at a time; throughput is with \
             {IN_FLIGHT} in flight."
        ),
        &["", "median"],
    );
    page.row("`fdatasync` of 4 KiB on the same disk, µs", synced.middle(0));
    page.row("create in memory, µs", in_memory.middle(0));
    page.row("create on disk, µs", on_disk.middle(0));
    page.row(
        "**on disk / in memory, time of one**",
        format!("{:.2}", on_disk.median / in_memory.median),
    );
    page.row(
        "what the disk adds, in times of an `fdatasync`",
        format!("{:.1}", (on_disk.median - in_memory.median) / synced.median),
    );
    page.row(
        "create in memory, calls per second",
        Spread::of(memory.per_second.clone()).whole(0),
    );
    page.row(
        "create on disk, calls per second",
        Spread::of(file.per_second.clone()).whole(0),
    );
    page.row("**on disk / in memory, throughput**", Spread::of(ratio).whole(2));
}
