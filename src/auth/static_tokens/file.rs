//! The file: read with care, and read again when it changes.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    bounded,
    failure::chain,
    watch::{self, Reading},
};

use super::{
    StaticTokens,
    table::{Fault, Table},
};

/// Largest file that is read, in bytes: some 10,000 lines.
const MAX_FILE: usize = 1_024 * 1_024;

/// Why a file of tokens was not taken over.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read the token file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its lines break rules; these are all of them.
    #[error("the token file `{}` is not valid: {}", path.display(), listed(faults))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Every faulty line.
        faults: Vec<Fault>,
    },
    /// Everybody on the machine could add a token of their own.
    #[error("the token file `{}` can be written by everybody; take that right away", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// It names nobody, which is what a file looks like while it is being written.
    #[error("the token file `{}` holds no token", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

pub(super) fn listed(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(Fault::to_string).collect();
    lines.join("; ")
}

impl StaticTokens {
    /// Reads the file again, and logs how that went. Blocks.
    ///
    /// # Errors
    /// As [`load`](Self::load); the tokens then stay as they were.
    pub fn reload(&self) -> Result<(), LoadError> {
        match read(&self.path) {
            Ok(table) => {
                tracing::info!(path = %self.path.display(), tokens = table.len(), "read the tokens again");
                self.table.store(Arc::new(table));
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "kept the old tokens");
                Err(error)
            }
        }
    }

    /// Reads the file again whenever it changes, and on SIGHUP, until `shutdown` is cancelled.
    ///
    /// # Errors
    /// If the process cannot listen to SIGHUP.
    ///
    /// # Cancellation
    /// A reading that has begun goes on to its end.
    pub fn watch(
        self: Arc<Self>,
        poll_interval: Duration,
        shutdown: CancellationToken,
    ) -> io::Result<impl Future<Output = ()>> {
        let files = vec![self.path.clone()];
        watch::files(files, poll_interval, shutdown, move || finality(&self.reload()))
    }
}

pub(super) fn finality(reloaded: &Result<(), LoadError>) -> Reading {
    match reloaded {
        // A file whose text is wrong stays so until it changes; one line in the log is enough.
        Ok(()) | Err(LoadError::Parse { .. } | LoadError::Empty { .. } | LoadError::Writable { .. }) => {
            Reading::Final
        }
        // May be over at the next look, and until then a token that was taken away is still good.
        Err(LoadError::Read { .. }) => Reading::Unfinished,
    }
}

pub(super) fn read(path: &Path) -> Result<Table, LoadError> {
    let path = || path.to_owned();
    let failed = |source| LoadError::Read { path: path(), source };
    let file = File::open(path()).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    if mode & 0o002 != 0 {
        return Err(LoadError::Writable { path: path() });
    }
    if mode & 0o004 != 0 {
        // Only hashes stand in it, so this is no reason to stop.
        tracing::warn!(path = %path().display(), "everybody on this machine can read the token file");
    }

    let bytes = bounded::read(&file, MAX_FILE).map_err(failed)?;
    let text = io::read_to_string(bytes.as_slice()).map_err(failed)?;
    let table = Table::parse(&text).map_err(|faults| LoadError::Parse { path: path(), faults })?;
    if table.len() == 0 {
        return Err(LoadError::Empty { path: path() });
    }
    Ok(table)
}
