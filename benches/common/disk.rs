//! What a disk takes, without anything in front of it.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

/// The times that the disk of `directory` takes for 4 KiB, which is what a commit waits for.
pub(crate) fn sync(directory: &Path, times: u64) -> Vec<Duration> {
    let mut file = File::create(directory.join("sync")).unwrap();
    let once = |_| {
        let start = Instant::now();
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
        start.elapsed()
    };
    (0..times).map(once).collect()
}
