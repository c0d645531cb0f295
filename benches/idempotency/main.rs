//! What idempotency costs, as ratios within one run: `make bench`.
//!
//! Prints a table and writes it to `docs/bench/idempotency.md`. What is compared is measured in turns, several times,
//! so that a busy machine slows both sides; the spread says how much the rounds differ. Servers are processes of their
//! own. Sizes: `RAM_FACADE_BENCH_ROUNDS`, `RAM_FACADE_BENCH_SECONDS`, `RAM_FACADE_BENCH_RECORDS`.

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

mod access;
#[allow(dead_code, reason = "each benchmark uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod create;
mod records;
mod replay;

use std::{env, time::Duration};

use common::{echo, report};

/// How much is measured.
struct Sizes {
    /// How often the two sides of a comparison take turns.
    rounds: usize,
    /// How long one side of one round of replays lasts.
    turn: Duration,
    /// How many records make a full store.
    records: u32,
}

impl Sizes {
    fn from_environment() -> Self {
        use report::number;
        Self {
            rounds: number("RAM_FACADE_BENCH_ROUNDS", 7).max(1) as usize,
            turn: Duration::from_secs(number("RAM_FACADE_BENCH_SECONDS", 2).max(1).into()),
            records: number("RAM_FACADE_BENCH_RECORDS", 1_000_000).max(2_000),
        }
    }
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.as_slice() {
        ["child", "echo", answer] => runtime.block_on(echo::serve(answer)),
        ["child", "records", what, records] => {
            runtime.block_on(records::measure(what, records.parse().unwrap()));
        }
        arguments if arguments.contains(&"--bench") => runtime.block_on(run(&Sizes::from_environment())),
        // Whatever else runs all targets, as `cargo test --all-targets` does, wants to know that it starts.
        _ => println!("run it by `cargo bench --bench idempotency`"),
    }
}

async fn run(sizes: &Sizes) {
    let mut page = report::Page::begin(
        "What idempotency costs",
        "make bench",
        &format!("{} rounds, the sides of a comparison in turns", sizes.rounds),
    );
    eprintln!("replay against echo ...");
    replay::measure(sizes, &mut page).await;
    eprintln!("replay by a known caller against replay by anybody ...");
    access::measure(sizes, &mut page).await;
    eprintln!("create with a file against create in memory ...");
    create::measure(sizes, &mut page).await;
    eprintln!("records ...");
    records::report(sizes, &mut page);
    page.finish("docs/bench/idempotency.md");
}
