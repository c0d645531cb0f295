//! A Redis or Valkey server of the test's own, in a process of its own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::other_process::{send_signal, until};

/// The programs that the tests run against.
pub const REDIS: &str = "redis-server";
pub const VALKEY: &str = "valkey-server";

pub struct RedisServer {
    program: String,
    child: Option<Child>,
    port: u16,
    extra: Vec<String>,
    dir: tempfile::TempDir,
}

impl RedisServer {
    /// Starts `redis-server` as it should be run: nothing evicted, every write in the log before its answer.
    pub async fn start() -> Self {
        Self::with(REDIS, &[]).await
    }

    /// Starts `program` with further settings; later ones win.
    pub async fn with(program: &str, extra: &[&str]) -> Self {
        let mut server = Self {
            program: program.to_owned(),
            child: None,
            port: free_port(),
            extra: extra.iter().map(|s| (*s).to_owned()).collect(),
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        server.run().await;
        server
    }

    /// Starts it again on the same port and files.
    pub async fn run(&mut self) {
        let log = self.log();
        // It is written to the end, and what it says is of this run only.
        if log.exists() {
            fs::remove_file(&log).expect("it is ours");
        }
        let child = Command::new(&self.program)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args([
                "--dir",
                self.dir.path().to_str().expect("plain names"),
                "--save",
                "",
            ])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--maxmemory-policy", "noeviction", "--loglevel", "notice"])
            .args(["--logfile", log.to_str().expect("plain names")])
            .args(&self.extra)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{} (`scripts/tools.sh redis` installs it): {e}", self.program));
        self.child = Some(child);
        // By its own word, which comes when it has loaded its records: a port that nobody listens on may connect to itself.
        let says_so = || async {
            fs::read_to_string(&log).is_ok_and(|log| log.contains("Ready to accept connections"))
        };
        until("the server is ready", says_so).await;
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("the folder is writable");
        path
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn try_cli(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1"])
            .args(arguments)
            .output()
            .expect("redis-cli comes with redis-server");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a command and returns what the server says.
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments)
            .unwrap_or_else(|| panic!("no answer to {arguments:?}"))
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it is ours");
        }
    }

    pub fn signal(&self, signal: &str) {
        send_signal(self.child.as_ref().expect("it runs").id(), signal);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}
