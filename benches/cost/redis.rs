//! A Redis server of the benchmark's own, and what a round trip to it takes.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct Redis {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts it as docs/redis.md says it must be, its log on the disk once a second.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", folder.path().to_str().unwrap()])
            .args(["--appendonly", "yes", "--appendfsync", "everysec"])
            .args(["--maxmemory-policy", "noeviction"])
            .args(["--logfile", "log", "--loglevel", "notice"])
            .spawn()
            .unwrap_or_else(|e| panic!("redis-server (`scripts/tools.sh redis` installs it): {e}"));
        let redis = Self { child, port, folder };
        let patience = Instant::now() + Duration::from_secs(10);
        while !redis.is_ready() {
            assert!(Instant::now() < patience, "redis-server is not ready");
            thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn is_ready(&self) -> bool {
        let log = fs::read_to_string(self.folder.path().join("log"));
        log.is_ok_and(|log| log.contains("Ready to accept connections"))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The times of some round trips, one after the other.
    pub(crate) fn pings(&self, number: u64) -> Vec<Duration> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let once = |_| {
            let start = Instant::now();
            stream.write_all(b"PING\r\n").unwrap();
            stream.read_exact(&mut [0; 7]).unwrap();
            start.elapsed()
        };
        (0..number).map(once).collect()
    }
}

/// A port that nobody listened on just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
