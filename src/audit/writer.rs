//! The thread that writes, and the bounded way to it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, Thread},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{sync::oneshot, time::Instant};

use super::{NotWritten, Sink};

/// Most bytes that wait for the disk: some ten thousand ordinary lines.
const MAX_WAITING: usize = 8 * 1_024 * 1_024;
/// Most bytes in one write.
const BATCH: usize = 256 * 1_024;
/// How long a line that nobody waits for stays for others to come: one write, and one change of threads, for all of them.
const LINGER: Duration = Duration::from_millis(2);
/// Time between two complaints about lost lines.
const QUIET: Duration = Duration::from_secs(1);

/// Tells whether a line was written.
type Done = oneshot::Sender<Result<(), NotWritten>>;

enum Message {
    Line(Vec<u8>, Option<Done>),
    Reopen,
    Flush(oneshot::Sender<()>),
}

impl Message {
    /// Whether somebody waits for what comes of it.
    fn is_awaited(&self) -> bool {
        !matches!(self, Self::Line(_, None))
    }
}

/// The sending side. When it is dropped, the thread writes what it has and ends.
#[derive(Debug)]
pub(super) struct Writer {
    messages: Sender<Message>,
    thread: Thread,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    lost: Counter,
    complained: Mutex<Option<Instant>>,
}

impl State {
    /// Counts lost lines, and says so if it has not just been said.
    fn lose(&self, lines: u64, why: &str) {
        let lost = self.lost.inc_by(lines) + lines;
        let now = Instant::now();
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|then| now.duration_since(then) >= QUIET) {
            *complained = Some(now);
            tracing::error!(lost, why, "lines of the audit log are lost");
        }
    }
}

impl Writer {
    pub(super) fn start(sink: Sink) -> io::Result<Self> {
        let mut out = Out::open(sink)?;
        let (messages, received) = mpsc::channel();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(&received, &mut out, &shared))?;
        Ok(Self {
            messages,
            thread: thread.thread().clone(),
            state,
        })
    }

    pub(super) fn write(&self, line: Vec<u8>, done: Option<Done>) {
        let length = line.len();
        let waiting = self.state.waiting.fetch_add(length, Ordering::Relaxed) + length;
        if waiting > MAX_WAITING {
            self.state.waiting.fetch_sub(length, Ordering::Relaxed);
            self.state.lose(1, "the disk does not keep up");
            tell(done, Err(NotWritten));
            return;
        }
        // Without a receiver the thread has panicked; dropping `done` tells whoever waits.
        if !self.send(Message::Line(line, done)) {
            self.state.lose(1, "the writer is gone");
        }
    }

    pub(super) fn reopen(&self) {
        self.send(Message::Reopen);
    }

    pub(super) async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        if self.send(Message::Flush(sender)) {
            let _ = done.await;
        }
    }

    /// Returns whether there is somebody to take it.
    fn send(&self, message: Message) -> bool {
        let is_awaited = message.is_awaited();
        let is_sent = self.messages.send(message).is_ok();
        if is_awaited {
            self.thread.unpark();
        }
        is_sent
    }

    /// How many lines were lost since the start.
    pub(super) fn lost(&self) -> &Counter {
        &self.state.lost
    }
}

fn tell(done: Option<Done>, result: Result<(), NotWritten>) {
    if let Some(done) = done {
        // Whoever asked may have gone.
        let _ = done.send(result);
    }
}

fn run(messages: &Receiver<Message>, out: &mut Out, state: &State) {
    let mut batch = Batch::default();
    while let Ok(first) = messages.recv() {
        if !first.is_awaited() {
            // Ends early for whoever waits.
            thread::park_timeout(LINGER);
        }
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line, done) => batch.add(&line, done),
                Message::Reopen => {
                    batch.write(out, state);
                    out.reopen();
                }
                Message::Flush(done) => {
                    batch.write(out, state);
                    let _ = done.send(());
                }
            }
            if batch.bytes.len() >= BATCH {
                batch.write(out, state);
            }
            next = messages.try_recv().ok();
        }
        batch.write(out, state);
    }
}

/// What one write takes.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    done: Vec<Done>,
}

impl Batch {
    fn add(&mut self, line: &[u8], done: Option<Done>) {
        self.bytes.extend_from_slice(line);
        self.lines += 1;
        self.done.extend(done);
    }

    fn write(&mut self, out: &mut Out, state: &State) {
        if self.lines == 0 {
            return;
        }
        let written = out.write(&self.bytes);
        state.waiting.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        if let Err(error) = &written {
            state.lose(self.lines, &error.to_string());
        }
        for done in self.done.drain(..) {
            tell(Some(done), written.as_ref().map(drop).map_err(|_| NotWritten));
        }
        self.bytes.clear();
        self.lines = 0;
    }
}

/// The open file.
struct Out {
    sink: Sink,
    /// `None` for standard output.
    file: Option<File>,
    /// A write broke off, perhaps inside a line: the next one begins on a line of its own.
    torn: bool,
}

impl Out {
    fn open(sink: Sink) -> io::Result<Self> {
        let file = open(&sink)?;
        Ok(Self {
            sink,
            file,
            torn: false,
        })
    }

    /// Goes on with the old file if there is no new one.
    fn reopen(&mut self) {
        match open(&self.sink) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                tracing::error!(%error, "cannot open the audit log again; the old file is still written");
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.try_write(bytes);
        self.torn = result.is_err();
        result
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let separator: &[u8] = if self.torn { b"\n" } else { b"" };
        match &mut self.file {
            Some(file) => {
                file.write_all(separator)?;
                file.write_all(bytes)
            }
            None => {
                let mut out = io::stdout().lock();
                out.write_all(separator)?;
                out.write_all(bytes)?;
                out.flush()
            }
        }
    }
}

fn open(sink: &Sink) -> io::Result<Option<File>> {
    match sink {
        Sink::Stdout => Ok(None),
        Sink::File(path) => {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o600);
            options.open(path).map(Some)
        }
    }
}
