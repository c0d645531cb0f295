//! Opens a store's file: locked, private, checked, and never replaced.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

/// The format of the tables. A file of another is refused.
const SCHEMA: i64 = 1;
/// "RAMF": says whose file it is, before anything is read from it.
const APPLICATION: i64 = 0x5241_4d46;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or reached.
    #[error(
        "cannot make or reach the idempotency store `{path}` ({source}); its directory must exist and be writable"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the idempotency store `{path}` is open in another process; each replica needs a file of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It, or the log beside it, may not be written.
    #[error(
        "the idempotency store `{path}` cannot be written; give the file and its directory to the user that runs this \
         program"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged.
    #[error(
        "the idempotency store `{path}` is damaged ({what}); restore it, or move it away and accept that tokens of \
         the last day may execute again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the check found.
        what: String,
    },
    /// It is something else.
    #[error(
        "`{path}` is no idempotency store, or making it was interrupted; choose another path, or remove the file if \
         it holds nothing"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another release made it.
    #[error("the idempotency store `{path}` has format {found}, this release knows {SCHEMA}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// SQLite fails for another reason.
    #[error("cannot open the idempotency store `{path}`: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is no thread for it.
    #[error("cannot start the idempotency store's thread")]
    Thread(#[source] io::Error),
}

/// An open store.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// How often it was opened, this time included.
    pub(super) opening: u64,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let new = create(path)?;
    let fault = |error| explain(path, error);

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    // SQLite settles for reading where it may not write, and fails at the lock with an error that says nothing.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(fault)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    connection
        .busy_timeout(std::time::Duration::ZERO)
        .map_err(fault)?;
    // Before the first read, so that the first read takes the lock and keeps it.
    pragma(&connection, "locking_mode", "EXCLUSIVE").map_err(fault)?;
    lock(&connection).map_err(fault)?;

    if new {
        connection
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(fault)?;
    } else {
        recognise(&connection, path)?;
    }
    pragma(&connection, "journal_mode", "WAL").map_err(fault)?;
    settle_pragmas(&connection).map_err(fault)?;
    if new {
        make_tables(&connection).map_err(fault)?;
    } else {
        check(&connection, path)?;
    }
    let opening = begin_opening(&connection).map_err(fault)?;
    Ok(Opened { connection, opening })
}

/// Says that the file was left in order, and closes it.
pub(super) fn close(connection: Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE opening SET clean = 1", [])?;
    crate::failpoint!("close");
    connection.close().map_err(|(_, error)| error)
}

/// Makes an empty file that only its owner may read, unless there is one. Returns whether it did.
///
/// A file that exists is not opened here: closing it would release the lock that another store of this process has
/// on it (POSIX gives locks to processes, not to open files).
fn create(path: &Path) -> Result<bool, OpenError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_empty(path).map(|()| false),
        Err(source) => Err(OpenError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A store is never empty, not even a new one: such a file was cut off. SQLite would take it for a new database.
fn refuse_empty(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(file) if file.len() > 0 => Ok(()),
        Ok(_) => Err(OpenError::Foreign {
            path: path.to_owned(),
        }),
        Err(source) => Err(OpenError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Takes the lock now, so that a second process is refused at start and not at its first claim.
fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

/// Sets a pragma that answers with what it is now.
fn pragma(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    let now: String = connection.pragma_update_and_check(None, name, value, |row| row.get(0))?;
    if now.eq_ignore_ascii_case(value) {
        Ok(())
    } else {
        Err(rusqlite::Error::InvalidParameterName(format!(
            "{name} stays {now}"
        )))
    }
}

fn settle_pragmas(connection: &Connection) -> rusqlite::Result<()> {
    // An acknowledged claim must survive a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn make_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TABLE record (
             key BLOB NOT NULL PRIMARY KEY,
             version INTEGER NOT NULL,
             expires INTEGER NOT NULL,
             bytes BLOB NOT NULL
         ) STRICT;
         CREATE INDEX record_expires ON record (expires);
         CREATE TABLE opening (number INTEGER NOT NULL, clean INTEGER NOT NULL) STRICT;
         INSERT INTO opening VALUES (0, 1);
         PRAGMA user_version = {SCHEMA};
         COMMIT"
    ))
}

/// Refuses a file that is not ours before anything is changed in it.
fn recognise(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(|error| explain(path, error))?;
    let found = number("user_version").map_err(|error| explain(path, error))?;
    if application != APPLICATION || found == 0 {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    if found != SCHEMA {
        return Err(OpenError::Format {
            path: path.to_owned(),
            found,
        });
    }
    Ok(())
}

/// Reads through the file, every index against its table: a record that its index does not lead to would be taken for
/// none, and its request executed again. That takes seconds for a million records.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let fault = |error| explain(path, error);
    let clean = connection
        .query_row("SELECT clean FROM opening", [], |row| row.get::<_, bool>(0))
        .map_err(fault)?;
    if !clean {
        tracing::info!("the idempotency store was not closed cleanly; nothing that was answered is lost");
    }
    let what: String = connection
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .map_err(fault)?;
    if what == "ok" {
        Ok(())
    } else {
        Err(OpenError::Damaged {
            path: path.to_owned(),
            what,
        })
    }
}

fn begin_opening(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row(
            "UPDATE opening SET number = number + 1, clean = 0 RETURNING number",
            params![],
            |row| row.get::<_, i64>(0),
        )
        .map(i64::cast_unsigned)
}

fn explain(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::ReadOnly) => OpenError::ReadOnly { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged {
            path,
            what: error.to_string(),
        },
        _ => OpenError::Sqlite { path, source: error },
    }
}
