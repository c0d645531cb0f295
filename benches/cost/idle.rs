//! What it takes to be there: from the program's start to the first connection, idle memory, idle connections, bytes on disk.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Sizes,
    common::{
        process::Process,
        report::{Page, Spread},
        turns::take_turns,
    },
    facade::Setting,
    side::ratio,
};

const CONNECTIONS: usize = 1_000;
/// Until a process that has begun or accepted something is at rest.
const SETTLE: Duration = Duration::from_millis(400);

struct Side<'a> {
    name: &'static str,
    start: &'a dyn Fn() -> Process,
    /// Whether connections are opened: a facade as it comes takes 64 of one address.
    connects: bool,
    ready_ms: Vec<f64>,
    idle_mb: Vec<f64>,
    connection_kb: Vec<f64>,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, connects: bool, start: &'a dyn Fn() -> Process) -> Self {
        Self {
            name,
            start,
            connects,
            ready_ms: Vec::new(),
            idle_mb: Vec::new(),
            connection_kb: Vec::new(),
        }
    }

    async fn turn(&mut self, round: usize) {
        let begun = Instant::now();
        let mut process = (self.start)();
        let address = process.line("listening on ");
        let ready = begun.elapsed();
        tokio::time::sleep(SETTLE).await;
        let idle = process.resident() as f64;
        let mut connected = None;
        if self.connects {
            // One after the other: more at once than the listener's queue takes are reset.
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                connections.push(connection(&address).await);
            }
            tokio::time::sleep(SETTLE).await;
            connected = Some(process.resident() as f64);
            drop(connections);
        }
        if round > 0 {
            self.ready_ms.push(ready.as_secs_f64() * 1e3);
            self.idle_mb.push(idle / 1e6);
            self.connection_kb
                .extend(connected.map(|connected| (connected - idle) / CONNECTIONS as f64 / 1e3));
        }
    }
}

/// A connection that has shaken hands as HTTP/2 does (RFC 9113, section 3.4) and is silent from then on.
async fn connection(address: &str) -> TcpStream {
    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&EMPTY_SETTINGS).await.unwrap();
    let read = stream.read(&mut [0; 256]).await.unwrap();
    assert!(read >= 9, "the server does not answer with its settings");
    stream.write_all(&ACKNOWLEDGED).await.unwrap();
    stream
}

pub(crate) struct Idle {
    pub(crate) ready_with_sandbox_ms: Spread,
    pub(crate) memory: Spread,
    rows: Vec<[String; 4]>,
}

pub(crate) async fn measure(sizes: &Sizes, setting: &Setting) -> Idle {
    let mut ram = Process::child(&["ram"]);
    let url = format!("http://{}", ram.line("listening on "));
    let database = setting.database("idle");
    let echo = || Process::child(&["echo", ""]);
    let direct = || Process::child(&["direct", &url]);
    let sandbox = || Process::facade(&["serve", "--sandbox", "--listen", "127.0.0.1:0"]);
    let memory = || setting.facade("idle", ":memory:", &url);
    let file = || setting.facade("idle", &database, &url);
    let mut sides = [
        Side::new("echo", true, &echo),
        Side::new("direct", true, &direct),
        Side::new("facade, `serve --sandbox`", false, &sandbox),
        Side::new("facade, in memory", true, &memory),
        Side::new("facade, SQLite file", true, &file),
    ];
    take_turns(sizes.rounds, &mut sides, async |round, side| {
        side.turn(round).await
    })
    .await;

    let [_, direct, sandbox, memory, _] = &sides;
    Idle {
        ready_with_sandbox_ms: Spread::of(sandbox.ready_ms.iter().copied()),
        memory: ratio(&memory.idle_mb, &direct.idle_mb),
        rows: sides.iter().map(row).collect(),
    }
}

fn row(side: &Side<'_>) -> [String; 4] {
    let whole = |values: &[f64]| Spread::of(values.iter().copied()).whole(1);
    let connections = if side.connects {
        whole(&side.connection_kb)
    } else {
        String::new()
    };
    [
        side.name.to_owned(),
        whole(&side.ready_ms),
        whole(&side.idle_mb),
        connections,
    ]
}

/// Sizes of the program as it was built, and without symbols and debug information, in MB.
fn program(folder: &Path) -> [f64; 2] {
    let built = env!("CARGO_BIN_EXE_ram-facade");
    let stripped = folder.join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(built).status();
    assert!(
        strip.unwrap().success(),
        "strip, of the C compiler's tools, does not work"
    );
    let size = |path: &Path| fs::metadata(path).unwrap().len() as f64 / 1e6;
    [size(built.as_ref()), size(&stripped)]
}

impl Idle {
    pub(crate) fn report(&self, page: &mut Page) {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [built, stripped] = program(folder.path());
        page.section(
            "Start, idle memory and idle connections",
            &format!(
                "From the start of the process to its line `listening on`; resident memory {} ms later, before any call; and \
                 what {CONNECTIONS}\nconnections add that have shaken hands as HTTP/2 does and are silent. Echo and direct are \
                 parts of the benchmark's own\nprogram, of which only touched pages are resident. The program `ram-facade` has \
                 {stripped:.1} MB on disk without its symbols, {built:.1} MB\nwith symbols and line tables.",
                SETTLE.as_millis()
            ),
            &["", "ready, ms", "idle memory, MB", "kB for a connection"],
        );
        for row in &self.rows {
            page.cells(row);
        }
    }
}
