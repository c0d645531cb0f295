//! Creates through the facade against creates by hand.

use crate::{
    Sizes,
    common::{
        disk,
        load::{self, Client},
        process::Process,
        report::{Page, Spread},
        turns::take_turns,
    },
    facade::Setting,
    redis::Redis,
    side::{CONNECTIONS, LEVELS, Shown, Table, micros},
};

/// Syncs and round trips before a turn.
const PROBES: u64 = 200;
/// How long the slow RAM takes. An assumption: AWS publishes no times.
pub(crate) const SLOW_MS: u32 = 30;

pub(crate) const DIRECT: &str = "direct";
pub(crate) const MEMORY: &str = "facade, in memory";
const REPEATED: &str = "facade, in memory, same name";
pub(crate) const FILE: &str = "facade, SQLite file";
pub(crate) const REDIS: &str = "facade, Redis";

struct Side<'a> {
    name: &'static str,
    process: &'a Process,
    clients: &'a [Client],
    turns: u32,
    probe: Option<&'a dyn Fn() -> f64>,
    shown: Shown,
}

impl Side<'_> {
    async fn turn(&mut self, round: usize, in_flight: usize, sizes: &Sizes) {
        let probed = self.probe.filter(|_| in_flight == 1).map(|probe| probe());
        self.turns += 1;
        let (turn, same_name) = (self.turns, self.name == REPEATED);
        let request = move |caller, number| {
            let token = format!("{in_flight}-{turn}-{caller}-{number}");
            let mut request = load::request(&token);
            if !same_name {
                request.name = format!("network-{token}");
            }
            request
        };
        let length = sizes.length(round);
        let before = self.process.cpu_ms();
        let load = load::keep(load::spread(self.clients, in_flight), length, request).await;
        if round > 0 {
            self.shown.note(self.process, before, load);
            self.shown.probed.extend(probed);
        }
    }
}

pub(crate) struct Creates {
    pub(crate) fast: Table,
    pub(crate) slow: Table,
}

pub(crate) async fn measure(sizes: &Sizes, setting: &Setting) -> Creates {
    let mut ram = Process::child(&["ram"]);
    let url = format!("http://{}", ram.line("listening on "));
    let redis = Redis::start().await;
    let median = |times: Vec<_>| Spread::of(times.iter().map(micros)).median;
    let sync = || median(disk::sync(setting.folder(), PROBES));
    let ping = || median(redis.pings(PROBES));

    let facade = |name, store: &str| setting.facade(name, store, &url);
    let mut processes = [
        Process::child(&["direct", &url]),
        facade("memory", ":memory:"),
        facade("same-name", ":memory:"),
        facade("file", &setting.database("file")),
        facade("redis", &redis.url()),
    ];
    let mut clients = Vec::new();
    for process in &mut processes {
        let address = process.line("listening on ");
        clients.push(load::connect(&address, CONNECTIONS, Some(setting.token())).await);
    }
    let names = [DIRECT, MEMORY, REPEATED, FILE, REDIS];
    let probes: [Option<&dyn Fn() -> f64>; 5] = [None, None, None, Some(&sync), Some(&ping)];
    let sides = names.into_iter().zip(&processes).zip(&clients).zip(probes);
    let mut sides: Vec<_> = sides
        .map(|(((name, process), clients), probe)| Side {
            name,
            process,
            clients,
            turns: 0,
            probe,
            shown: Shown::default(),
        })
        .collect();

    let fast = table(sizes, &mut sides).await;
    // It differs in what the processor does, which the slow RAM hides.
    sides.retain(|side| side.name != REPEATED);
    ram.say(&SLOW_MS.to_string());
    ram.line("answers after ");
    let short = Sizes {
        turn: sizes.turn / 2,
        ..*sizes
    };
    let slow = table(&short, &mut sides).await;
    Creates { fast, slow }
}

async fn table(sizes: &Sizes, sides: &mut [Side<'_>]) -> Table {
    let mut table = Table::of(sides.iter().map(|side| side.name).collect());
    for in_flight in LEVELS {
        eprintln!("  {in_flight} in flight");
        take_turns(sizes.rounds, sides, async |round, side| {
            side.turn(round, in_flight, sizes).await;
        })
        .await;
        table.take(sides.iter_mut().map(|side| &mut side.shown));
    }
    table
}

impl Creates {
    pub(crate) fn report(&self, page: &mut Page) {
        let probed = |name| Spread::of(self.fast.at(1, name).probed.iter().copied()).whole(0);
        self.fast.report(
            "A create, and RAM answers at once",
            &format!(
                "The hardest case for a facade: RAM itself is a network away. With the same name each time, policies are asked\nonce \
                 and the decision is remembered. Before the turns of one in flight an `fdatasync` of 4 KiB on the \
                 file's disk took\n{} µs and a `PING` of Redis {} µs. A create waits for the commit of its \
                 claim;\nthe commit of its end goes on behind the answer.",
                probed(FILE),
                probed(REDIS)
            ),
            page,
        );
        self.slow.report(
            &format!("A create, and RAM answers after {SLOW_MS} ms"),
            "Where most of the time of a call is RAM's. Its delay is an assumption. Turns are half as long.",
            page,
        );
    }
}
