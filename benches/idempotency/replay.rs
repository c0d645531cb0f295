//! A replay through the whole program against tonic alone, under the same load.

use crate::{
    Sizes, echo,
    load::{self, IN_FLIGHT},
    process::Process,
    report::{Page, Spread},
};

/// One side of the comparison.
struct Side {
    process: Process,
    clients: Vec<load::Client>,
    per_second: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Side {
    async fn on(mut process: Process) -> Self {
        let address = process.line("listening on ");
        Self {
            clients: load::connect(&address).await,
            process,
            per_second: Vec::new(),
            cpu_us: Vec::new(),
        }
    }

    async fn turn(&mut self, sizes: &Sizes) {
        let before = self.process.cpu_ms();
        let per_second = load::for_a_turn(&self.clients, sizes.turn).await;
        let spent = self.process.cpu_ms() - before;
        self.per_second.push(per_second);
        self.cpu_us
            .push(spent * 1e3 / (per_second * sizes.turn.as_secs_f64()));
    }
}

pub(crate) async fn measure(sizes: &Sizes, page: &mut Page) {
    let serve = [
        "serve",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--store",
        ":memory:",
    ];
    let mut facade = Side::on(Process::facade(&serve)).await;
    let mut answer = Default::default();
    for caller in 0..IN_FLIGHT {
        let client = facade.clients.first().unwrap().clone();
        answer = load::create(client, load::request(&format!("replay-{caller}"))).await;
    }
    let mut echo = Side::on(Process::child(&["echo", &echo::argument(&answer)])).await;

    // The first turns warm up and do not count.
    facade.turn(sizes).await;
    echo.turn(sizes).await;
    (facade.per_second, facade.cpu_us) = Default::default();
    (echo.per_second, echo.cpu_us) = Default::default();
    for round in 0..sizes.rounds {
        // Who goes first changes, so that a drift of the machine is on nobody's side.
        if round % 2 == 0 {
            echo.turn(sizes).await;
            facade.turn(sizes).await;
        } else {
            facade.turn(sizes).await;
            echo.turn(sizes).await;
        }
    }

    let ratio = |of: &[f64], to: &[f64]| Spread::of(of.iter().zip(to).map(|(of, to)| of / to));
    page.section(
        "A replay, against tonic alone",
        &format!(
            "`Create` under a token that was answered before, through the program as users start it, against a service of\n\
             the same method on tonic's own server that answers the same message. {IN_FLIGHT} calls in flight over 4 \
             connections."
        ),
        ["", "median (least to most)"],
    );
    page.row(
        "echo, calls per second",
        Spread::of(echo.per_second.clone()).whole(0),
    );
    page.row(
        "replay, calls per second",
        Spread::of(facade.per_second.clone()).whole(0),
    );
    page.row(
        "**replay / echo, throughput**",
        ratio(&facade.per_second, &echo.per_second).whole(2),
    );
    page.row(
        "echo, processor time of the server for a call, µs",
        Spread::of(echo.cpu_us.clone()).whole(1),
    );
    page.row(
        "replay, processor time of the server for a call, µs",
        Spread::of(facade.cpu_us).whole(1),
    );
}
