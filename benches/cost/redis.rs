//! A Redis server of the benchmark's own, and what a round trip to it takes.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::common::redis_server::{REDIS, RedisServer};

pub(crate) struct Redis {
    server: RedisServer,
    /// On the disk of the other stores.
    _folder: tempfile::TempDir,
}

impl Redis {
    /// Starts it as docs/redis.md says it must be, its log on the disk once a second.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = folder.path().to_str().unwrap();
        let server = RedisServer::with(REDIS, &["--dir", dir, "--appendfsync", "everysec"]).await;
        Self {
            server,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The times of some round trips, one after the other.
    pub(crate) fn pings(&self, number: u64) -> Vec<Duration> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
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
