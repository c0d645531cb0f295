//! The table, and what its numbers are made of.

use std::{env, fmt::Write as _, fs, path::Path, thread, time::Duration};

/// The middle of some values, and their ends.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        Self {
            median: quantile(&values, 0.5),
            least: quantile(&values, 0.0),
            most: quantile(&values, 1.0),
        }
    }

    pub(crate) fn of_times(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(times.into_iter().map(|time| time.as_secs_f64() * 1e6))
    }

    /// The median alone.
    pub(crate) fn middle(&self, digits: usize) -> String {
        format!("{:.digits$}", self.median)
    }

    /// The median, and from where to where the values go.
    pub(crate) fn whole(&self, digits: usize) -> String {
        format!(
            "{:.digits$} ({:.digits$} to {:.digits$})",
            self.median, self.least, self.most
        )
    }
}

/// The value below which the part `q` of the values lies.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((q * last as f64).round() as usize)
        .copied()
        .unwrap_or_default()
}

/// A size that the environment may set.
pub(crate) fn number(variable: &str, default: u32) -> u32 {
    env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is `{text}`, no number"))
    })
}

/// The page that is written and printed at the end.
pub(crate) struct Page(String);

impl Page {
    /// Begins with what `command` measures and in how many `rounds`.
    pub(crate) fn begin(title: &str, command: &str, rounds: &str) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // What else ran on the machine when this began: it is in every number below.
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        Self(format!(
            "# {title}\n\n\
             Written by `{command}`, on {cores} cores that clients and servers share, over loopback, built for release. The \
             machine's\nload average was {load} before it began. Compare within a run only: {rounds}.\nA value is the median \
             of the rounds, with the least and the most in brackets.\n"
        ))
    }

    /// A section without a table.
    pub(crate) fn text(&mut self, title: &str, about: &str) {
        let _ = write!(self.0, "\n## {title}\n\n{about}\n");
    }

    /// A section, and the head of its table.
    pub(crate) fn section(&mut self, title: &str, about: &str, head: &[&str]) {
        self.text(title, about);
        self.0.push('\n');
        self.cells(head);
        self.cells(&vec!["---"; head.len()]);
    }

    /// A row of two columns, which is shown while the rest is measured.
    pub(crate) fn row(&mut self, what: &str, value: impl AsRef<str>) {
        eprintln!("  {what}: {}", value.as_ref());
        self.cells(&[what, value.as_ref()]);
    }

    pub(crate) fn cells(&mut self, cells: &[impl AsRef<str>]) {
        for cell in cells {
            let _ = write!(self.0, "| {} ", cell.as_ref());
        }
        self.0.push_str("|\n");
    }

    /// Writes it to `path` in the project, or where the environment says.
    pub(crate) fn finish(self, path: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let path = env::var_os("RAM_FACADE_BENCH_PAGE").map_or(path, Into::into);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &self.0).unwrap();
        println!("{}\nwritten to {}", self.0, path.display());
    }
}
