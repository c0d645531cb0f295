//! What a replay allocates beside a bare echo of the same message: `make bench-allocations`.
//!
//! Counts, unlike times, are the same on a busy machine, so that a change of one allocation shows. Prints a table and
//! writes it to `docs/bench/allocations.md`. Each server is this program again, in a process of its own with one
//! thread, so that whatever is counted there belongs to its calls.

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

#[allow(dead_code, reason = "each benchmark uses its part")]
#[path = "../common/mod.rs"]
mod common;

use std::{
    alloc::System,
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead},
    path::Path,
    thread,
};

use ram_facade::{
    config::{Config, Sources},
    pb::v1::CreateResourceShareResponse,
    server::Server,
    telemetry,
};
use stats_alloc::StatsAlloc;

use common::{echo, load, process::Process};

#[global_allocator]
static COUNTED: StatsAlloc<System> = StatsAlloc::system();

/// Calls that warm up, and calls that are counted, one at a time.
const WARM_UP: u32 = 500;
const COUNTED_CALLS: u32 = 2_000;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let one_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap()
    };
    match arguments.as_slice() {
        ["child", "echo", answer] => {
            tell_on_request();
            one_thread().block_on(echo::serve(answer));
        }
        ["child", "facade", filter] => {
            tell_on_request();
            one_thread().block_on(serve(filter));
        }
        // For a profiler, on a server that it started.
        ["call", address, number] => one_thread().block_on(call(address, number.parse().unwrap())),
        arguments if arguments.contains(&"--bench") => one_thread().block_on(run()),
        // Whatever else runs all targets, as `cargo test --all-targets` does, wants to know that it starts.
        _ => println!("run it by `cargo bench --bench allocations`"),
    }
}

async fn call(address: &str, number: u64) {
    let clients = load::connect(address, 1, None).await;
    let client = clients.first().unwrap();
    let call = async |_| drop(load::create(client.clone(), load::request("replay")).await);
    let (_, per_second) = load::each(number, 8, call).await;
    println!("{per_second:.0} calls per second");
}

/// Prints what was allocated so far whenever a line comes in.
fn tell_on_request() {
    thread::spawn(|| {
        for _ in io::stdin().lock().lines() {
            let stats = COUNTED.stats();
            println!(
                "allocated {} {}",
                stats.allocations + stats.reallocations,
                stats.bytes_allocated
            );
        }
    });
}

/// The facade as users start it, with an embedded RAM, until it is killed.
async fn serve(filter: &str) {
    telemetry::start(&telemetry::Settings {
        filter: filter.to_owned(),
        ..telemetry::Settings::default()
    });
    let flags = [
        ("sandbox.enabled", "true"),
        ("listen", "127.0.0.1:0"),
        ("store", ":memory:"),
    ];
    let sources = Sources {
        flags: BTreeMap::from(flags.map(|(key, value)| (key, value.to_owned()))),
        ..Sources::default()
    };
    let server = Box::pin(Server::start(Config::read(sources).unwrap()))
        .await
        .unwrap();
    println!("listening on {}", server.address());
    std::future::pending::<()>().await;
}

/// Allocations of one call, and their bytes.
async fn count(mut process: Process) -> (f64, f64, CreateResourceShareResponse) {
    let address = process.line("listening on ");
    let client = load::connect(&address, 1, None).await.swap_remove(0);
    let answer = load::create(client.clone(), load::request("replay")).await;
    let calls = async |number| {
        for _ in 0..number {
            load::create(client.clone(), load::request("replay")).await;
        }
    };
    calls(WARM_UP).await;
    let before = allocated(&mut process);
    calls(COUNTED_CALLS).await;
    let after = allocated(&mut process);
    let each = |before: u64, after: u64| (after - before) as f64 / f64::from(COUNTED_CALLS);
    (each(before[0], after[0]), each(before[1], after[1]), answer)
}

/// Allocations so far, and their bytes.
fn allocated(process: &mut Process) -> [u64; 2] {
    process.say("");
    let line = process.line("allocated ");
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

async fn run() {
    let (replay, replay_bytes, answer) = count(Process::child(&["facade", "info"])).await;
    let (quiet, quiet_bytes, _) = count(Process::child(&["facade", "warn"])).await;
    let (echo, echo_bytes, _) = count(Process::child(&["echo", &echo::argument(&answer)])).await;

    let page = format!(
        "# What a replay allocates\n\n\
         Written by `make bench-allocations`: allocations of a server for one call, mean of {COUNTED_CALLS} calls over \
         loopback, one at a time.\nA replay is `Create` under a token that was answered before, its answer in memory; the \
         echo is tonic alone, which answers\nthe same message to the same request. Most of an echo's are those of hyper and \
         h2.\n\n\
         |  | allocations | bytes |\n|---|---|---|\n\
         | echo | {echo:.1} | {echo_bytes:.0} |\n\
         | replay | {replay:.1} | {replay_bytes:.0} |\n\
         | replay without a log line | {quiet:.1} | {quiet_bytes:.0} |\n\
         | **replay - echo** | {:.1} | {:.0} |\n",
        replay - echo,
        replay_bytes - echo_bytes
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench/allocations.md");
    let path = env::var_os("RAM_FACADE_BENCH_PAGE").map_or(path, Into::into);
    fs::write(&path, &page).unwrap();
    println!("{page}\nwritten to {}", path.display());
}
