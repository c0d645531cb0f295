//! A replay through the whole program against tonic alone, under the same load.

use ram_facade::pb::v1::CreateResourceShareResponse;

use crate::{
    Sizes,
    common::{
        echo,
        load::{self, CONNECTIONS, IN_FLIGHT},
        process::Process,
        report::{Page, Spread},
        turns::take_turns,
    },
};

/// One side of the comparison.
pub(crate) struct Side {
    process: Process,
    clients: Vec<load::Client>,
    pub(crate) per_second: Vec<f64>,
    pub(crate) cpu_us: Vec<f64>,
}

impl Side {
    async fn on(process: Process) -> Self {
        Self::known_by(process, None).await
    }

    /// Calls with this bearer token.
    pub(crate) async fn known_by(mut process: Process, token: Option<&str>) -> Self {
        let address = process.line("listening on ");
        Self {
            clients: load::connect(&address, CONNECTIONS, token).await,
            process,
            per_second: Vec::new(),
            cpu_us: Vec::new(),
        }
    }

    pub(crate) async fn turn(&mut self, round: usize, sizes: &Sizes) {
        let before = self.process.cpu_ms();
        let clients = load::spread(&self.clients, IN_FLIGHT);
        let load = load::keep(clients, sizes.turn, |caller, _| {
            load::request(&format!("replay-{caller}"))
        })
        .await;
        let spent = self.process.cpu_ms() - before;
        if round > 0 {
            self.per_second.push(load.per_second);
            self.cpu_us.push(spent * 1e3 / load.times.len() as f64);
        }
    }
}

pub(crate) const SERVE: [&str; 6] = [
    "serve",
    "--sandbox",
    "--listen",
    "127.0.0.1:0",
    "--store",
    ":memory:",
];

/// Executes what will be replayed, and returns the answer.
pub(crate) async fn prepare(side: &Side) -> CreateResourceShareResponse {
    let mut answer = CreateResourceShareResponse::default();
    for caller in 0..IN_FLIGHT {
        let client = side.clients.first().unwrap().clone();
        answer = load::create(client, load::request(&format!("replay-{caller}"))).await;
    }
    answer
}

pub(crate) async fn measure(sizes: &Sizes, page: &mut Page) {
    let facade = Side::on(Process::facade(&SERVE)).await;
    let quiet = Side::on(Process::facade_logging("warn", &SERVE)).await;
    let answer = prepare(&facade).await;
    prepare(&quiet).await;
    let echo = Side::on(Process::child(&["echo", &echo::argument(&answer)])).await;
    let mut sides = [echo, facade, quiet];

    take_turns(sizes.rounds, &mut sides, async |round, side| {
        side.turn(round, sizes).await
    })
    .await;
    let [echo, facade, quiet] = sides;

    let ratio = |side: &Side| {
        Spread::of(
            side.per_second
                .iter()
                .zip(&echo.per_second)
                .map(|(side, echo)| side / echo),
        )
    };
    page.section(
        "A replay, against tonic alone",
        &format!(
            "`Create` under a token that was answered before, through the program as users start it, against a service of\n\
             the same method on tonic's own server that answers the same message. {IN_FLIGHT} calls in flight over 4 \
             connections.\nThe server's processor time is what the client's, on the same cores, does not dilute. What a replay does besides: request\n\
             id, span and log line, deadline, authentication, validation of every field, policy, key and fingerprint, and the \
             reply decoded and\nencoded again. Allocations are counted in [allocations.md](allocations.md)."
        ),
        &["", "median (least to most)"],
    );
    for (name, side) in [
        ("echo", &echo),
        ("replay", &facade),
        ("replay without a log line", &quiet),
    ] {
        page.row(
            &format!("{name}, calls per second"),
            Spread::of(side.per_second.clone()).whole(0),
        );
        page.row(
            &format!("{name}, server's processor time for a call, µs"),
            Spread::of(side.cpu_us.clone()).whole(1),
        );
    }
    page.row("**replay / echo, throughput**", ratio(&facade).whole(2));
    page.row(
        "replay without a log line / echo, throughput",
        ratio(&quiet).whole(2),
    );
}
