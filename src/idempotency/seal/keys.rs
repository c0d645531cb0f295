//! The keys that records are sealed under, from a file.
//!
//! Each line is a key: 32 random bytes in base64, as `openssl rand -base64 32` prints them. The first seals; all of
//! them open. So a key is replaced in three steps: add the new one at the end for every replica, move it to the top,
//! and remove the old one when its last records have expired. Blank lines and lines from `#` on mean nothing. The file
//! is read at start only.

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::bounded;

/// Largest file that is read, in bytes: a thousand keys.
const MAX_FILE: usize = 64 * 1_024;
const KEY: usize = 32;
/// A key in base64, with its padding.
const KEY_IN_BASE64: usize = KEY.div_ceil(3) * 4;

/// Why a file of keys cannot be used. No text of the file is ever quoted.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("cannot read the store's key file `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner and group can read it, or others than its owner write it.
    #[error(
        "the store's key file `{path}` has mode {mode:04o}; make it 0600, or 0440 for a group of its own"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line is no key.
    #[error("line {line} of the store's key file `{path}` is no key; it must be 32 bytes in base64")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// It holds no key.
    #[error("the store's key file `{path}` holds no key; `openssl rand -base64 32` makes one")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The keys of a file: the one that seals, and all that open.
pub struct Keys {
    file: PathBuf,
    current: SealingKey,
    others: Vec<SealingKey>,
}

/// One key, under the name by which a record says what it was sealed with.
pub(super) struct SealingKey {
    /// The first bytes of the key's hash.
    pub(super) name: [u8; 4],
    pub(super) aead: RandomizedNonceKey,
}

impl Keys {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`KeysError`] if it cannot be read, is open to others, or does not consist of keys.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let file = path.to_owned();
        let text = read(path)?;
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            match SealingKey::parse(line) {
                Some(key) => keys.push(key),
                None => {
                    return Err(KeysError::NoKey {
                        path: file,
                        line: number,
                    });
                }
            }
        }
        let mut keys = keys.into_iter();
        match keys.next() {
            Some(current) => Ok(Self {
                file,
                current,
                others: keys.collect(),
            }),
            None => Err(KeysError::Empty { path: file }),
        }
    }

    /// The file, for messages.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The key that seals.
    pub(super) fn current(&self) -> &SealingKey {
        &self.current
    }

    /// The key that a record names.
    pub(super) fn named(&self, name: &[u8; 4]) -> Option<&SealingKey> {
        std::iter::once(&self.current)
            .chain(&self.others)
            .find(|key| key.name == *name)
    }
}

/// Names the file and counts the keys.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} of {})", 1 + self.others.len(), self.file.display())
    }
}

impl SealingKey {
    fn parse(line: &[u8]) -> Option<Self> {
        if line.len() != KEY_IN_BASE64 {
            return None;
        }
        // One byte more than a key: what base64 of this length can hold.
        let mut bytes = Zeroizing::new([0; KEY + 1]);
        let length = STANDARD.decode_slice(line, bytes.as_mut_slice()).ok()?;
        let key: &[u8; KEY] = bytes.get(..length)?.try_into().ok()?;
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(key).into();
        Some(Self {
            name: [a, b, c, d],
            aead: RandomizedNonceKey::new(&AES_256_GCM, key).ok()?,
        })
    }
}

pub(super) fn hex(name: &[u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(*name))
}

/// Reads the file into memory that is wiped, in one piece: a buffer that grows would leave copies behind.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let failed = |source| KeysError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    check_mode(path, &file.metadata().map_err(failed)?)?;
    bounded::read(&file, MAX_FILE).map_err(failed)
}

/// A group may read: that is how container platforms hand out secrets.
#[cfg(unix)]
fn check_mode(path: &Path, metadata: &std::fs::Metadata) -> Result<(), KeysError> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777;
    if mode & 0o027 == 0 {
        return Ok(());
    }
    Err(KeysError::Exposed {
        path: path.to_owned(),
        mode,
    })
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &std::fs::Metadata) -> Result<(), KeysError> {
    Ok(())
}
