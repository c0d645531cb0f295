//! A Redis server of the benchmark's own, and what a round trip to it takes.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct Redis {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// Starts it as docs/redis.md says it must be, its log on the disk once a second.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", folder.path().to_str().unwrap()])
            .args(["--appendonly", "yes", "--appendfsync", "everysec"])
            .args(["--maxmemory-policy", "noeviction", "--loglevel", "warning"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("redis-server (`scripts/tools.sh redis` installs it): {e}"));
        let redis = Self {
            child,
            port,
            _folder: folder,
        };
        let patience = Instant::now() + Duration::from_secs(10);
        // A connection alone proves nothing: a port may connect to itself.
        while !redis.answers() {
            assert!(Instant::now() < patience, "redis-server does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn answers(&self) -> bool {
        let mut said = [0; 7];
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut said)
        });
        asked.is_ok() && said == *b"+PONG\r\n"
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

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
