//! The table of `docs/bench/goodput.md`.

use std::{fmt::Write as _, fs};

use super::{
    Outcomes,
    play::{Contender, Outcome},
    scenarios::Scenario,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bench/goodput.md");

/// Most of what RAM executes for nobody, and longest that a refusal may take, for every scenario with a target.
const MOST_LATE: f64 = 0.02;
const SLOWEST_REFUSAL_MS: f64 = 20.0;

fn mean(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    outcomes.iter().map(&of).sum::<f64>() / outcomes.len().max(1) as f64
}

fn least(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    outcomes.iter().map(of).fold(f64::INFINITY, f64::min)
}

fn most(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    outcomes.iter().map(of).fold(f64::NEG_INFINITY, f64::max)
}

/// A table for each scenario.
pub fn table(scenarios: &[&Scenario], outcomes: &Outcomes) -> String {
    let mut text = String::new();
    for scenario in scenarios {
        let _ = writeln!(
            text,
            "### {}: {}\n\n| | goodput, /s | of what is possible | throttles per success | success p50, ms | success p99, ms | \
             refusal p99, ms | light callers served | late |\n|---|---|---|---|---|---|---|---|---|",
            scenario.name, scenario.about
        );
        for contender in Contender::ALL {
            let Some(played) = outcomes.get(&(scenario.name, contender)) else {
                continue;
            };
            let _ = writeln!(
                text,
                "| {} | {:.2} ({:.2} to {:.2}) | {:.1} % | {:.3} (to {:.3}) | {:.0} | {:.0} | {:.0} | {:.0} % | {:.1} % |",
                contender.name(),
                mean(played, |o| o.goodput),
                least(played, |o| o.goodput),
                most(played, |o| o.goodput),
                100.0 * mean(played, |o| o.share),
                mean(played, |o| o.throttles),
                most(played, |o| o.throttles),
                mean(played, |o| o.success_p50),
                mean(played, |o| o.success_p99),
                mean(played, |o| o.refusal_p99),
                100.0 * mean(played, |o| o.light),
                100.0 * mean(played, |o| o.late),
            );
        }
        text.push('\n');
    }
    text
}

/// Every target that the facade misses, by how much. Targets hold for the mean over the seeds.
pub fn misses(scenarios: &[&Scenario], outcomes: &Outcomes) -> Vec<String> {
    let mut misses = Vec::new();
    for scenario in scenarios {
        let Some(played) = outcomes.get(&(scenario.name, Contender::Facade)) else {
            continue;
        };
        let target = scenario.target;
        let has_target = target.goodput > 0.0;
        let mut miss = |is_missed: bool, what: &str, is: f64, should: f64| {
            if is_missed {
                misses.push(format!(
                    "- {}: {what} is {is:.3}, target {should:.3}",
                    scenario.name
                ));
            }
        };
        let share = mean(played, |o| o.share);
        miss(
            share < target.goodput,
            "goodput of what is possible",
            share,
            target.goodput,
        );
        let throttles = mean(played, |o| o.throttles);
        miss(
            throttles > target.throttles,
            "throttles per success",
            throttles,
            target.throttles,
        );
        let light = mean(played, |o| o.light);
        miss(light < target.light, "light callers served", light, target.light);
        let late = mean(played, |o| o.late);
        miss(has_target && late > MOST_LATE, "late work", late, MOST_LATE);
        let refusal = mean(played, |o| o.refusal_p99);
        miss(
            has_target && refusal > SLOWEST_REFUSAL_MS,
            "refusal p99 in ms",
            refusal,
            SLOWEST_REFUSAL_MS,
        );
    }
    misses
}

/// Writes the page.
pub fn write(scenarios: &[&Scenario], outcomes: &Outcomes, misses: &[String]) {
    let missed = if misses.is_empty() {
        "All targets are reached.".to_owned()
    } else {
        format!("Missed:\n\n{}", misses.join("\n"))
    };
    let page = format!(
        "# Goodput against a RAM that limits its callers\n\n\
         Made by `make bench-goodput`. RAM is a model behind the SDK's HTTP client, in virtual time: a token bucket of the given\n\
         rate and a burst of 10, 60 to 240 ms for work, 5 ms for a refusal. Each scenario lasts 10 minutes; callers begin\n\
         operations at random moments whatever became of earlier ones, and wait 10 s for each try. ram-facade is its real stack\n\
         (idempotency, retry, pace, attempt) over the same SDK client. Its rows are over {} seeds, the others' over {}; what stands\n\
         in brackets is the spread. Goodput counts what succeeded in time; where another program calls too, what it leaves is\n\
         possible, and no less than an equal share. Light callers are all but the one that sends most. Late\n\
         is what RAM executed when nobody waited for it any more. A row of the SDK is one process whose callers share a client; RAM\n\
         accepts what the SDK sends without idempotency records, so the comparison is about load alone.\n\n\
         {missed}\n\n\
         ![Goodput in scenario F](goodput-f.svg)\n\n![Goodput in scenario D](goodput-d.svg)\n\n{}",
        super::SEEDS,
        super::SEEDS_OF_OTHERS,
        table(scenarios, outcomes).trim_end(),
    );
    fs::write(PAGE, page + "\n").unwrap();
}
