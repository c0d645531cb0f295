//! Watches files that are read again while the program runs.
//!
//! A look compares what `stat` says about each file, through symbolic links: Kubernetes changes a mounted file by
//! swapping the link to its folder. Looking needs no descriptors and misses nothing on any file system.

use std::{io, os::unix::fs::MetadataExt, path::Path, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// What tells that a file has changed: `ctime` also sees changed rights, and a write that keeps the time and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at `path`, `None` while there is none.
    fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Whether reading the same files once more would end the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Yes: they were taken over, or they are wrong and stay so until they change.
    Final,
    /// No: they could not be read, which may be over at the next look.
    Unfinished,
}

/// Calls `read` at once, whenever one of `files` changes, and on SIGHUP, until `shutdown` is cancelled. `read` may
/// block; it is called again at the next look while it says [`Reading::Unfinished`].
///
/// From the call on, before the future is polled, SIGHUP does not end the process.
///
/// # Errors
/// If the process cannot listen to SIGHUP.
///
/// # Cancellation
/// A reading that has begun goes on to its end.
pub fn files(
    files: Vec<PathBuf>,
    poll_interval: Duration,
    shutdown: CancellationToken,
    read: impl Fn() -> Reading + Send + Sync + 'static,
) -> io::Result<impl Future<Output = ()>> {
    let hangups = signal(SignalKind::hangup())?;
    Ok(look(files, poll_interval, shutdown, hangups, read))
}

async fn look(
    files: Vec<PathBuf>,
    poll_interval: Duration,
    shutdown: CancellationToken,
    mut hangups: Signal,
    read: impl Fn() -> Reading + Send + Sync + 'static,
) {
    let mut ticks = interval(poll_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (files, read) = (Arc::new(files), Arc::new(read));
    // The first look reads once more: something may have changed since the files were loaded.
    let mut seen = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
            Some(()) = hangups.recv() => seen = None,
        }
        let (files, read, before) = (Arc::clone(&files), Arc::clone(&read), seen.take());
        let look = tokio::task::spawn_blocking(move || {
            // Before the reading: a change during it shows at the next look.
            let stamps: Option<Vec<_>> = Some(files.iter().map(|file| Stamp::at(file)).collect());
            (stamps == before || read() == Reading::Final)
                .then_some(stamps)
                .flatten()
        });
        match look.await {
            Ok(stamps) => seen = stamps,
            Err(error) => tracing::error!(%error, "could not look at the watched files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::symlink,
        sync::atomic::{AtomicU32, Ordering},
        time::SystemTime,
    };

    use super::*;

    #[test]
    fn a_change_that_keeps_length_and_time_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
                .unwrap();
        };
        write("good");
        let before = Stamp::at(&path).unwrap();

        write("best");

        let after = Stamp::at(&path).unwrap();
        assert_eq!((before.modified, before.length), (after.modified, after.length));
        assert_ne!(before, after);
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), "same").unwrap();
        }
        symlink("1", at("data")).unwrap();
        symlink("data/file", at("file")).unwrap();
        let before = Stamp::at(&at("file"));

        symlink("2", at("data_tmp")).unwrap();
        fs::rename(at("data_tmp"), at("data")).unwrap();

        assert_ne!(before, Stamp::at(&at("file")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_reading_is_repeated_and_a_final_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let readings = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&readings);
        let shutdown = CancellationToken::new();
        let read = move || match count.fetch_add(1, Ordering::SeqCst) {
            0..3 => Reading::Unfinished,
            _ => Reading::Final,
        };
        let watching = files(
            vec![path.clone()],
            Duration::from_millis(1),
            shutdown.clone(),
            read,
        );
        let watching = tokio::spawn(watching.unwrap());
        let at_least = async |wanted| {
            while readings.load(Ordering::SeqCst) < wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };

        at_least(4).await;
        // Fifty looks of virtual time.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(readings.load(Ordering::SeqCst), 4, "nothing has changed");
        fs::write(&path, "changed").unwrap();
        at_least(5).await;

        shutdown.cancel();
        watching.await.unwrap();
    }
}
