//! Policies are read again when their files change.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{Cedar, LoadError, files};
use crate::failure::chain;

/// What a look at the files brought.
#[derive(Debug)]
enum Look {
    /// They say what they said.
    Same,
    /// Other policies are in force.
    Changed,
}

impl Cedar {
    /// Looks at the files every `poll_interval` and on SIGHUP, until `shutdown` is cancelled. The files are small, and
    /// comparing their texts sees every change, whatever their times say.
    ///
    /// # Errors
    /// If the process cannot listen to SIGHUP.
    ///
    /// # Cancellation
    /// A look that has begun goes on to its end.
    pub fn watch(
        self: Arc<Self>,
        poll_interval: Duration,
        shutdown: CancellationToken,
    ) -> io::Result<impl Future<Output = ()>> {
        let hangups = signal(SignalKind::hangup())?;
        Ok(self.keep_looking(poll_interval, shutdown, hangups))
    }

    async fn keep_looking(
        self: Arc<Self>,
        poll_interval: Duration,
        shutdown: CancellationToken,
        mut hangups: Signal,
    ) {
        let mut ticks = interval(poll_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One line in the log for a fault, however often it is met.
        let mut told = String::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
                Some(()) = hangups.recv() => told.clear(),
            }
            let cedar = Arc::clone(&self);
            let fault = match tokio::task::spawn_blocking(move || cedar.look()).await {
                Ok(Ok(Look::Same)) => continue,
                Ok(Ok(Look::Changed)) => String::new(),
                Ok(Err(error)) => chain(&error),
                Err(panicked) => panicked.to_string(),
            };
            if fault.is_empty() {
                tracing::info!(path = %self.path.display(), policies = self.len(), "read the policies again");
            } else if fault != told {
                tracing::error!(fault, "kept the old policies");
            }
            self.current.send_if_modified(|current| {
                let changed = *current != fault.is_empty();
                *current = fault.is_empty();
                changed
            });
            told = fault;
        }
    }

    /// Reads the files again and takes over what they say, if that is another text and valid. Blocks.
    fn look(&self) -> Result<Look, LoadError> {
        let sources = files::read(Path::new(&self.path))?;
        let mut last = self
            .sources
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last == sources && *self.current.borrow() {
            return Ok(Look::Same);
        }
        for warning in self.replace(&sources)? {
            tracing::warn!("{warning}");
        }
        *last = sources;
        Ok(Look::Changed)
    }
}
