//! One side of a comparison, and what it showed.

use std::{mem, time::Duration};

use crate::common::{
    load::Load,
    process::Process,
    report::{Page, Spread, quantile},
};

/// Calls in flight.
pub(crate) const LEVELS: [usize; 4] = [1, 8, 64, 512];
/// Over this many connections, or as many as there are calls: less than 100 streams on each.
pub(crate) const CONNECTIONS: usize = 8;

/// What one side showed at one number in flight: a value for each round.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) per_second: Vec<f64>,
    /// In microseconds, as all times.
    pub(crate) p50: Vec<f64>,
    p99: Vec<f64>,
    cpu: Vec<f64>,
    resident_mb: Vec<f64>,
    /// What was measured just before, beside all servers.
    pub(crate) probed: Vec<f64>,
}

impl Shown {
    /// Notes what `process` did under `load`, for which it had spent `cpu_ms` before.
    pub(crate) fn note(&mut self, process: &Process, cpu_ms: f64, load: Load) {
        let calls = load.times.len() as f64;
        let mut times: Vec<_> = load.times.iter().map(micros).collect();
        times.sort_unstable_by(f64::total_cmp);
        self.per_second.push(load.per_second);
        self.p50.push(quantile(&times, 0.5));
        self.p99.push(quantile(&times, 0.99));
        self.cpu.push((process.cpu_ms() - cpu_ms) * 1e3 / calls);
        self.resident_mb.push(process.resident() as f64 / 1e6);
    }
}

pub(crate) fn micros(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The ratios of the rounds.
pub(crate) fn ratio(values: &[f64], reference: &[f64]) -> Spread {
    Spread::of(
        values
            .iter()
            .zip(reference)
            .map(|(value, reference)| value / reference),
    )
}

/// What some sides showed at every number in flight. The first side is the one that others are compared with.
pub(crate) struct Table {
    pub(crate) names: Vec<&'static str>,
    levels: Vec<Vec<Shown>>,
}

impl Table {
    pub(crate) fn of(names: Vec<&'static str>) -> Self {
        Self {
            names,
            levels: Vec::new(),
        }
    }

    /// Takes over what the sides showed at the next number in flight.
    pub(crate) fn take<'a>(&mut self, shown: impl Iterator<Item = &'a mut Shown>) {
        self.levels.push(shown.map(mem::take).collect());
    }

    /// What the side `name` showed with so many in flight.
    pub(crate) fn at(&self, in_flight: usize, name: &str) -> &Shown {
        let level = LEVELS.iter().position(|level| *level == in_flight).unwrap();
        let side = self.names.iter().position(|side| *side == name).unwrap();
        self.levels.get(level).unwrap().get(side).unwrap()
    }

    pub(crate) fn per_second(&self, in_flight: usize, name: &str) -> Spread {
        ratio(
            &self.at(in_flight, name).per_second,
            &self.reference(in_flight).per_second,
        )
    }

    pub(crate) fn p50(&self, in_flight: usize, name: &str) -> Spread {
        ratio(&self.at(in_flight, name).p50, &self.reference(in_flight).p50)
    }

    /// By how many times of what was probed its p50 lies above the reference's.
    pub(crate) fn above(&self, in_flight: usize, name: &str) -> Spread {
        let (shown, reference) = (self.at(in_flight, name), self.reference(in_flight));
        let more = shown
            .p50
            .iter()
            .zip(&reference.p50)
            .map(|(p50, other)| p50 - other);
        Spread::of(more.zip(&shown.probed).map(|(more, probed)| more / probed))
    }

    fn reference(&self, in_flight: usize) -> &Shown {
        self.at(in_flight, self.names.first().unwrap())
    }

    pub(crate) fn report(&self, title: &str, about: &str, page: &mut Page) {
        let reference = self.names.first().unwrap();
        page.section(
            title,
            about,
            &[
                "in flight",
                "",
                "calls/s",
                "p50, µs",
                "p99, µs",
                "server's CPU, µs/call",
                "memory, MB",
                &format!("throughput / {reference}"),
                &format!("p50 / {reference}"),
            ],
        );
        for in_flight in LEVELS {
            for name in &self.names {
                let shown = self.at(in_flight, name);
                let middle = |values: &[f64]| Spread::of(values.iter().copied()).middle(0);
                let mut cells = vec![in_flight.to_string(), (*name).to_owned()];
                cells.extend([&shown.per_second, &shown.p50, &shown.p99].map(|values| middle(values)));
                cells.push(Spread::of(shown.cpu.iter().copied()).middle(0));
                cells.push(middle(&shown.resident_mb));
                if name == reference {
                    cells.extend(["", ""].map(ToOwned::to_owned));
                } else {
                    cells.push(self.per_second(in_flight, name).whole(2));
                    cells.push(self.p50(in_flight, name).whole(2));
                }
                page.cells(&cells);
            }
        }
    }
}
