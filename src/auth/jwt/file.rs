//! Files that decide who is let in: read whole, bounded, and not if everybody could have written them.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::bounded;

/// Largest file other than a key set, in bytes.
pub(super) const MAX_FILE: usize = 1_024 * 1_024;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read, or is too large.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Everybody on the machine could put what they like into it.
    #[error("`{}` can be written by everybody; take that right away", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file that decides who is let in.
pub(super) fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o002 != 0 {
        return Err(FileError::Writable {
            path: path.to_owned(),
        });
    }
    bounded::read(&file, limit).map_err(failed)
}
