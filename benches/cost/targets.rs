//! What the facade may cost at most, beside what was measured.

use crate::{
    common::report::{Page, Spread},
    create::{Creates, FILE, MEMORY, REDIS, SLOW_MS},
    idle::Idle,
    replay::{REPLAY, Replays},
};

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn text(&self) -> String {
        match self {
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::AtLeast(bound) => format!(">= {bound}"),
        }
    }

    fn verdict(&self, measured: f64) -> &'static str {
        let is_met = match self {
            Self::AtMost(bound) => measured <= *bound,
            Self::AtLeast(bound) => measured >= *bound,
        };
        if is_met { "met" } else { "**missed**" }
    }
}

pub(crate) fn judge(creates: &Creates, replays: &Replays, idle: &Idle, page: &mut Page) {
    use Bound::{AtLeast, AtMost};
    let (fast, slow) = (&creates.fast, &creates.slow);
    page.section(
        "Targets",
        &format!(
            "Set before anything was measured, and judged by the median with a RAM that answers at once; beside it the same \
             with one that\nanswers after {SLOW_MS} ms, as RAM may. *Direct* is the handler that a team would write by hand, \
             *echo* tonic alone."
        ),
        &["", "target", "measured", "", &format!("RAM after {SLOW_MS} ms")],
    );
    let mut row = |what: &str, bound: Bound, measured: Spread, slow: Option<Spread>, digits| {
        page.cells(&[
            what,
            &bound.text(),
            &measured.whole(digits),
            bound.verdict(measured.median),
            &slow.map_or(String::new(), |slow| slow.whole(digits)),
        ]);
    };
    row(
        "a create in memory, 64 in flight: p50 / direct",
        AtMost(1.15),
        fast.p50(64, MEMORY),
        Some(slow.p50(64, MEMORY)),
        2,
    );
    row(
        "a create in memory, 64 in flight: throughput / direct",
        AtLeast(0.85),
        fast.per_second(64, MEMORY),
        Some(slow.per_second(64, MEMORY)),
        2,
    );
    row(
        "a create on a SQLite file, 1 in flight: p50 above direct, in times of an `fdatasync`",
        AtMost(1.5),
        fast.above(1, FILE),
        Some(slow.above(1, FILE)),
        2,
    );
    row(
        "a create on a SQLite file, 64 in flight: throughput / direct",
        AtLeast(0.5),
        fast.per_second(64, FILE),
        Some(slow.per_second(64, FILE)),
        2,
    );
    row(
        "a create on Redis, 1 in flight: p50 above direct, in round trips",
        AtMost(3.0),
        fast.above(1, REDIS),
        Some(slow.above(1, REDIS)),
        2,
    );
    row(
        "a replay, 64 in flight: throughput / echo",
        AtLeast(0.8),
        replays.0.per_second(64, REPLAY),
        None,
        2,
    );
    row("idle memory / direct", AtMost(1.5), idle.memory, None, 2);
    row(
        "from the program's start to serving with the sandbox, ms",
        AtMost(100.0),
        idle.ready_with_sandbox_ms,
        None,
        1,
    );
}
