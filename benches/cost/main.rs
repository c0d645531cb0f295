//! What the facade costs beside doing without it, within one run: `make bench-cost`.
//!
//! Prints a page and writes it to `docs/bench/cost.md`. Every server is a process of its own; what is compared is measured in
//! turns, several times, and a ratio is made of two turns of the same round. Sizes: `RAM_FACADE_BENCH_ROUNDS`,
//! `RAM_FACADE_BENCH_SECONDS` (of one turn), `RAM_FACADE_BENCH_MINUTES` (of the long load; 30 seconds without it).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark stops at the first surprise, prints, and reads the environment and the clock"
)]

mod canned_ram;
#[allow(dead_code, reason = "each benchmark uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod create;
mod direct;
mod facade;
mod h2load;
mod idle;
mod long;
mod redis;
mod replay;
mod side;
mod targets;

use std::{env, time::Duration};

use common::{
    echo,
    report::{Page, number},
};
use facade::Setting;

/// How much is measured.
struct Sizes {
    /// How often the sides of a comparison take turns.
    rounds: usize,
    /// How long one turn lasts.
    turn: Duration,
    /// How long the long load lasts.
    long: Duration,
}

impl Sizes {
    fn from_environment() -> Self {
        let minutes = number("RAM_FACADE_BENCH_MINUTES", 0);
        Self {
            rounds: number("RAM_FACADE_BENCH_ROUNDS", 5).max(1) as usize,
            turn: Duration::from_secs(number("RAM_FACADE_BENCH_SECONDS", 2).max(1).into()),
            long: Duration::from_secs(if minutes == 0 { 30 } else { u64::from(minutes) * 60 }),
        }
    }

    /// How long a turn of this round lasts: the first one only warms up.
    fn length(&self, round: usize) -> Duration {
        if round == 0 { self.turn / 2 } else { self.turn }
    }
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.as_slice() {
        ["child", "echo", answer] => runtime.block_on(echo::serve(answer)),
        ["child", "direct", ram] => runtime.block_on(direct::serve(ram)),
        ["child", "ram"] => runtime.block_on(canned_ram::serve()),
        arguments if arguments.contains(&"--bench") => runtime.block_on(run(&Sizes::from_environment())),
        // Whatever else runs all targets, as `cargo test --all-targets` does, wants to know that it starts.
        _ => println!("run it by `cargo bench --bench cost`"),
    }
}

async fn run(sizes: &Sizes) {
    let mut page = Page::begin(
        "What the facade costs",
        "make bench-cost",
        &format!(
            "{} rounds, the sides of a comparison in turns, each turn {} s",
            sizes.rounds,
            sizes.turn.as_secs()
        ),
    );
    let setting = Setting::prepare();
    eprintln!("start and idle ...");
    let idle = idle::measure(sizes, &setting).await;
    eprintln!("creates ...");
    let creates = create::measure(sizes, &setting).await;
    eprintln!("replays ...");
    let replays = replay::measure(sizes, &setting).await;
    eprintln!("a long load ...");
    let long = long::measure(sizes, &setting).await;

    targets::judge(&creates, &replays, &idle, &mut page);
    facade::describe(&mut page);
    creates.report(&mut page);
    replays.report(&mut page);
    idle.report(&mut page);
    long.report(&mut page);
    page.finish("docs/bench/cost.md");
}
