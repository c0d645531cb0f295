//! Whether memory grows under a load that goes on.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    Sizes,
    common::{load, process::Process, report::Page},
    facade::Setting,
    side::CONNECTIONS,
};

/// Callers who create, and as many who ask again.
const CALLERS: usize = 32;
const SAMPLES: u32 = 12;

/// After so many calls since the beginning, so much memory.
struct Sample {
    at: Duration,
    creates: u64,
    resident: f64,
}

pub(crate) struct Long {
    samples: Vec<Sample>,
    replays: usize,
}

pub(crate) async fn measure(sizes: &Sizes, setting: &Setting) -> Long {
    let mut ram = Process::child(&["ram"]);
    let url = format!("http://{}", ram.line("listening on "));
    // Small, so that it is full before the second half even of a short run.
    let cache = "[idempotency]\ncache_bytes = 4194304\n";
    let mut facade = setting.facade_with(cache, "long", &setting.database("long"), &url);
    let address = facade.line("listening on ");
    let clients = load::connect(&address, CONNECTIONS, Some(setting.token())).await;

    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    let fresh = load::keep(
        load::spread(&clients, CALLERS),
        sizes.long,
        move |caller, number| {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = load::request(&format!("fresh-{caller}-{number}"));
            request.name = format!("network-{caller}-{number}");
            request
        },
    );
    let again = load::keep(load::spread(&clients, CALLERS), sizes.long, |caller, _| {
        load::request(&format!("again-{caller}"))
    });
    let sample = async {
        let mut samples = Vec::new();
        for part in 0..=SAMPLES {
            samples.push(Sample {
                at: sizes.long * part / SAMPLES,
                creates: made.load(Ordering::Relaxed),
                resident: facade.resident() as f64,
            });
            setting.truncate_audit("long");
            if part < SAMPLES {
                tokio::time::sleep(sizes.long / SAMPLES).await;
            }
        }
        samples
    };
    let (_, again, samples) = tokio::join!(fresh, again, sample);
    Long {
        samples,
        replays: again.times.len(),
    }
}

impl Long {
    pub(crate) fn report(&self, page: &mut Page) {
        let [.., last] = &*self.samples else { return };
        let half = self.samples.get(self.samples.len() / 2).unwrap();
        let grown = last.resident - half.resident;
        let creates = (last.creates - half.creates) as f64;
        page.section(
            "A long load",
            &format!(
                "{CALLERS} callers who create and as many who ask again, on a SQLite file, for {} s: {} creates and {} replays. \
                 Answers of\nthe last creates stay in memory up to `idempotency.cache_bytes`, here 4 MiB, which are some 6,000. In \
                 the second half memory\ngrew by {:.1} MB, {:.0} bytes for a create.",
                last.at.as_secs(),
                last.creates,
                self.replays,
                grown / 1e6,
                grown / creates
            ),
            &["after, s", "creates", "memory, MB"],
        );
        for sample in &self.samples {
            page.cells(&[
                sample.at.as_secs().to_string(),
                sample.creates.to_string(),
                format!("{:.1}", sample.resident / 1e6),
            ]);
        }
    }
}
