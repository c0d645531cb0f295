//! Processes to measure, and what they use.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A child that says on its standard output where it listens. Ends with this value.
pub(crate) struct Process {
    /// Its arguments, for who has to find out why it ended.
    what: String,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the program itself, as `cargo bench` built it.
    pub(crate) fn facade(arguments: &[&str]) -> Self {
        Self::facade_logging("info", arguments)
    }

    /// The same, with another filter for its log.
    pub(crate) fn facade_logging(filter: &str, arguments: &[&str]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_ram-facade").as_ref(), filter, arguments)
    }

    /// Starts this benchmark in another part.
    pub(crate) fn child(arguments: &[&str]) -> Self {
        let arguments = [&["child"], arguments].concat();
        Self::start(&env::current_exe().unwrap(), "info", &arguments)
    }

    fn start(program: &Path, filter: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs([
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("RAM_FACADE_LOG_FILTER", filter),
                // What a call costs shows only where the rate of RAM is no limit.
                ("RAM_FACADE_PACE_INITIAL_RATE", "10000"),
                ("RAM_FACADE_PACE_MAX_RATE", "10000"),
                ("RAM_FACADE_PACE_MAX_QUEUED_PER_CALLER", "10000"),
                ("RAM_FACADE_PACE_MAX_QUEUED", "10000"),
                // And where one caller may ask for all of it.
                ("RAM_FACADE_LIMITS_PER_SECOND", "0"),
                ("RAM_FACADE_LIMITS_IN_FLIGHT", "0"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The log is written, as in service, to where it costs least.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take().unwrap();
        Self {
            what: arguments.join(" "),
            child,
            input,
            lines,
        }
    }

    /// Waits for the line that begins with `prefix` and returns the rest.
    pub(crate) fn line(&mut self, prefix: &str) -> String {
        let mut rest = self.lines.by_ref().map_while(Result::ok);
        rest.find_map(|line| line.strip_prefix(prefix).map(ToOwned::to_owned))
            .unwrap_or_else(|| panic!("{} ended without a line `{prefix}...`", self.what))
    }

    /// Sends it a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        resident(&self.child.id().to_string())
    }

    /// Processor time so far, in milliseconds. 0 where there is no /proc.
    pub(crate) fn cpu_ms(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Behind the name in brackets: the 12th and 13th fields are ticks of 10 ms.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u32 = fields
            .skip(11)
            .take(2)
            .filter_map(|t| t.parse::<u32>().ok())
            .sum();
        f64::from(ticks) * 10.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Resident memory of a process, in bytes. 0 where there is no /proc.
pub(crate) fn resident(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
