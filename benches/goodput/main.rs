//! How much useful work gets through to a RAM that limits its callers, by ram-facade and by the SDK alone.
//!
//! `make bench-goodput` plays every scenario with every contender in virtual time and writes `docs/bench/goodput.md` and
//! its plots. With arguments it plays a part and writes to the terminal: `cargo bench --bench goodput -- B facade 3` plays
//! scenario B with ram-facade for three seeds.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a benchmark fails by panicking and prints what it finds"
)]

mod play;
mod plots;
mod report;
mod scenarios;
mod upstream;

use std::{
    collections::HashMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ram_facade::layers::pace;

use play::{Contender, Outcome, play};
use scenarios::{ALL, Scenario};

/// Seeds of the facade, whose targets hold over all of them, and of the others, which are there to compare.
const SEEDS: u64 = 20;
const SEEDS_OF_OTHERS: u64 = 3;

/// What came of each scenario with each contender, a seed each.
pub type Outcomes = HashMap<(&'static str, Contender), Vec<Outcome>>;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let chosen = |argument: Option<&String>, name: &str| {
        argument.is_none_or(|a| a == "all" || name.to_lowercase().contains(&a.to_lowercase()))
    };
    let seeds = arguments.get(2).and_then(|n| n.parse().ok());
    let scenarios: Vec<_> = ALL
        .iter()
        .filter(|s| arguments.first().is_none_or(|a| a == "all" || a == s.name))
        .collect();
    let contenders = Contender::ALL
        .into_iter()
        .filter(|c| chosen(arguments.get(1), c.name()));

    let mut jobs = Vec::new();
    for contender in contenders {
        for &scenario in &scenarios {
            let most = if contender == Contender::Facade {
                SEEDS
            } else {
                SEEDS_OF_OTHERS
            };
            jobs.extend((0..seeds.unwrap_or(most)).map(|seed| (scenario, contender, seed)));
        }
    }
    let outcomes = play_all(&jobs);

    println!("{}", report::table(&scenarios, &outcomes));
    let misses = report::misses(&scenarios, &outcomes);
    if arguments.is_empty() {
        report::write(&scenarios, &outcomes, &misses);
        plots::write(&outcomes);
    }
    if !misses.is_empty() {
        println!("missed:\n{}", misses.join("\n"));
    }
}

/// Plays on every processor. A play is deterministic whatever the others do.
fn play_all(jobs: &[(&'static Scenario, Contender, u64)]) -> Outcomes {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(&(scenario, contender, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = play(scenario, contender, seed, pace::Settings::default());
                    done.lock()
                        .unwrap()
                        .push((scenario.name, contender, seed, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(_, _, seed, _)| *seed);
    let mut outcomes = Outcomes::new();
    for (scenario, contender, _, outcome) in done {
        outcomes.entry((scenario, contender)).or_default().push(outcome);
    }
    outcomes
}
