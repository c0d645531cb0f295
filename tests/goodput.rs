//! The pacer's promises against a modelled RAM, for two minutes of virtual time and two seeds: the small sibling of
//! `make bench-goodput`, with looser targets.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and the benchmark uses the rest of its parts"
)]

#[path = "../benches/goodput/play.rs"]
mod play;
#[path = "../benches/goodput/scenarios.rs"]
mod scenarios;
#[path = "../benches/goodput/upstream.rs"]
mod upstream;

use play::{Contender, Outcome};
use ram_facade::layers::pace;
use scenarios::Scenario;

fn outcomes(name: &str) -> Vec<Outcome> {
    let scenario = scenarios::ALL.iter().find(|s| s.name == name).unwrap();
    let short = Scenario {
        duration: 120.0,
        ..*scenario
    };
    let play = |seed| play::play(&short, Contender::Facade, seed, pace::Settings::default());
    (1..=2).map(play).collect()
}

fn assert_paced(outcome: &Outcome) {
    assert!(outcome.share > 0.9, "{outcome:?}");
    assert!(outcome.throttles < 0.15, "{outcome:?}");
    assert!(outcome.refusal_p99 < 20.0, "{outcome:?}");
    assert!(outcome.late < 0.02, "{outcome:?}");
}

#[test]
fn twice_as_much_as_ram_takes_is_served_at_rams_rate_and_refused_at_once() {
    for outcome in outcomes("B") {
        assert_paced(&outcome);
    }
}

#[test]
fn a_caller_that_sends_most_leaves_the_others_their_share() {
    for outcome in outcomes("C") {
        assert_paced(&outcome);
        assert!(outcome.light > 0.45, "{outcome:?}");
    }
}

#[test]
fn refusals_that_cost_ram_something_do_not_starve_it() {
    for outcome in outcomes("F") {
        assert_paced(&outcome);
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let scenario = Scenario {
        duration: 30.0,
        ..scenarios::ALL[1]
    };
    let play = || play::play(&scenario, Contender::Facade, 7, pace::Settings::default()).series;

    assert_eq!(play(), play());
}
