//! The audit log: who asked for what, what policy said, and what became of it. One JSON object a line.
//!
//! It is apart from the debug log, and complete where that is sparse: names, ARNs and principals stand in it. Tokens and
//! secrets never do. `docs/audit.md` is its reference.
//!
//! A thread of its own writes, so that a slow disk holds up no call. What waits for it is bounded in bytes; what does not
//! fit, or what the disk refuses, is lost, counted, and told in the log at most once a second. With
//! [`Settings::required`] nothing is changed at AWS before its decision stands in the log.

mod line;
mod writer;

use std::{io, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use self::line::{About, Decided, Event, Line, Outcome};
use self::writer::Writer;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// To standard output.
    Stdout,
    /// To the end of this file, which is made with mode 0600 if there is none.
    File(PathBuf),
}

impl FromStr for Sink {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "" => Err(()),
            "-" => Ok(Self::Stdout),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// Whether and how calls are put on record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go. Default nowhere.
    pub sink: Option<Sink>,
    /// Whether a call that changes something waits until its decision is written, and is refused where it cannot be.
    /// Default false: calls go on and lines are lost.
    pub required: bool,
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log `{}`", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// A line that was asked for could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWritten;

/// The way into the log. Cloning shares it; the default leads nowhere.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    writer: Option<Arc<Writer>>,
    required: bool,
}

impl Audit {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn start(settings: &Settings) -> Result<Self, OpenError> {
        let Some(sink) = &settings.sink else {
            return Ok(Self::default());
        };
        let writer = Writer::start(sink.clone()).map_err(|source| OpenError {
            path: match sink {
                Sink::Stdout => "-".into(),
                Sink::File(path) => path.clone(),
            },
            source,
        })?;
        Ok(Self {
            writer: Some(Arc::new(writer)),
            required: settings.required,
        })
    }

    /// Whether there is a log, so that lines are worth making.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether what changes something has to be on record first.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Hands a line to the writer. Never waits.
    pub fn note(&self, line: &Line<'_>) {
        if let Some(writer) = &self.writer {
            writer.write(line.to_bytes(), None);
        }
    }

    /// Hands a line to the writer and waits until the system has taken it.
    ///
    /// # Errors
    /// If it was not written.
    ///
    /// # Cancellation
    /// The line is written all the same.
    pub async fn note_for_certain(&self, line: &Line<'_>) -> Result<(), NotWritten> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let (done, written) = oneshot::channel();
        writer.write(line.to_bytes(), Some(done));
        written.await.unwrap_or(Err(NotWritten))
    }

    /// Makes the count of lost lines part of `registry`, if there is a log.
    pub fn register(&self, registry: &mut Registry) {
        if let Some(writer) = &self.writer {
            registry.register(
                "ram_facade_audit_lost_lines",
                "Lines of the audit log that could not be written",
                writer.lost().clone(),
            );
        }
    }

    /// How many lines were lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.lost().get())
    }

    /// Opens the file anew at every SIGHUP, as log rotation wants it, until `stop` is cancelled.
    ///
    /// # Errors
    /// If the process cannot listen to SIGHUP.
    ///
    /// # Cancellation
    /// The file stays as it is.
    pub fn reopen_on_hangup(&self, stop: CancellationToken) -> io::Result<impl Future<Output = ()> + use<>> {
        let writer = self.writer.clone();
        // Without a log SIGHUP keeps its meaning, which is to end.
        let hangups = writer
            .is_some()
            .then(|| signal(SignalKind::hangup()))
            .transpose()?;
        Ok(async move {
            let (Some(writer), Some(mut hangups)) = (writer, hangups) else {
                return;
            };
            while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
                writer.reopen();
            }
        })
    }

    /// Waits until everything that was handed over is written or lost, at most for `patience`.
    ///
    /// # Cancellation
    /// The writer goes on.
    pub async fn flush(&self, patience: Duration) {
        if let Some(writer) = &self.writer
            && timeout(patience, writer.flush()).await.is_err()
        {
            tracing::error!("stopping before the audit log was written to its end");
        }
    }
}

#[cfg(test)]
mod tests;
