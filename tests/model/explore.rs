//! Visits every state that can be reached, nearest first, so that what it finds is the shortest way to it.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    driver::{Invariant, Next, Settings, steps},
    state::State,
};

/// What an exploration saw.
#[derive(Debug)]
pub(crate) struct Report {
    /// Different states.
    pub(crate) states: usize,
    /// Steps from one of them to another or the same.
    pub(crate) transitions: u64,
    /// The length of the longest of all shortest ways.
    pub(crate) depth: u32,
    /// Whether there was nothing left to visit.
    pub(crate) complete: bool,
    /// The first promise that was broken, and how.
    pub(crate) broken: Option<Broken>,
}

#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: Invariant,
    pub(crate) trace: String,
}

/// The digests of the states that were visited, each with that of the state it was reached from.
type Visited = HashMap<u128, u128, BuildHasherDefault<Same>>;

/// Explores until everything was visited, a promise is broken, or there are `most` states.
pub(crate) fn explore(settings: &Settings, most: usize) -> Report {
    let start = State::new(settings.payloads);
    let mut visited = Visited::default();
    visited.insert(start.digest(), 0);
    let mut report = Report {
        states: 1,
        transitions: 0,
        depth: 0,
        complete: false,
        broken: None,
    };
    let mut level = vec![start];
    let mut next_level = Vec::new();
    let mut next = Vec::new();
    while !level.is_empty() {
        for state in level.drain(..) {
            let from = state.digest();
            steps(settings, &state, &mut next);
            for (step, outcome) in next.drain(..) {
                report.transitions += 1;
                let mut reached = match outcome {
                    Ok(reached) => reached,
                    Err(invariant) => {
                        let trace = trace(settings, &visited, from, step.who, step.what);
                        report.broken = Some(Broken { invariant, trace });
                        return report;
                    }
                };
                reached.settle();
                if let Entry::Vacant(vacant) = visited.entry(reached.digest()) {
                    vacant.insert(from);
                    report.states += 1;
                    next_level.push(reached);
                }
            }
            if report.states >= most {
                return report;
            }
        }
        std::mem::swap(&mut level, &mut next_level);
        report.depth += 1;
    }
    report.complete = true;
    report
}

/// Tells the way to the state with digest `last`, and the step there that broke a promise. Executors keep the number that
/// they had at the beginning.
fn trace(settings: &Settings, visited: &Visited, last: u128, who: Option<usize>, what: &str) -> String {
    let mut way = vec![last];
    while let Some(&before) = way
        .last()
        .and_then(|digest| visited.get(digest))
        .filter(|&&digest| digest != 0)
    {
        way.push(before);
    }
    let mut state = State::new(settings.payloads);
    let mut names = [1, 2, 3];
    let mut out = String::new();
    for digest in way.into_iter().rev().skip(1) {
        let mut next: Vec<Next> = Vec::new();
        steps(settings, &state, &mut next);
        let (step, reached, order) = next
            .into_iter()
            .find_map(|(step, outcome)| {
                let mut reached = outcome.ok()?;
                let order = reached.settle();
                (reached.digest() == digest).then_some((step, reached, order))
            })
            .expect("the way was taken before");
        say(&mut out, state.now, step.who.map(|i| names[i]), step.what);
        names = order.map(|i| names[i]);
        state = reached;
    }
    say(&mut out, state.now, who.map(|i| names[i]), what);
    out
}

fn say(out: &mut String, now: u8, who: Option<usize>, what: &str) {
    let minute = now * 2;
    let _ = match who {
        Some(who) => writeln!(out, "  minute {minute:2}  executor {who} {what}"),
        None => writeln!(out, "  minute {minute:2}  {what}"),
    };
}

/// A digest is its own hash.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only digests are hashed")
    }

    fn write_u128(&mut self, digest: u128) {
        // The upper half is as good a hash as the lower.
        self.0 = u64::try_from(digest >> 64).unwrap_or_default();
    }
}
