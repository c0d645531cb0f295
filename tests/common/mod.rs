//! What the integration tests share: a facade in this process or in one of its own, and clients.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::print_stderr,
    reason = "what a program says belongs beside the test that it fails in"
)]

pub mod certificates;
pub mod history;
pub mod issuer;
pub mod jwks_server;
pub mod load;
pub mod other_process;
pub mod raw;
pub mod redis_server;
pub mod secrets;

pub use other_process::{send_signal, until};

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use ram_facade::{
    config::{Config, Sources},
    pb::v1::{
        CreateResourceShareRequest, CreateResourceShareResponse,
        resource_share_service_client::ResourceShareServiceClient,
    },
    sandbox::{FaultPlan, Sandbox},
    server::Server,
};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::{ErrorDetails, StatusExt};

pub type Client = ResourceShareServiceClient<Channel>;

/// A rate that holds no test up, in requests a second.
const FAST: &str = "10000";

/// A facade with its sandbox, in this process.
pub struct Facade {
    pub server: Server,
    pub client: Client,
}

impl Facade {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with keys of the configuration set.
    pub async fn with(keys: &[(&'static str, &str)]) -> Self {
        let server = start(keys).await;
        let client = connect(server.address()).await;
        Self { server, client }
    }

    pub fn sandbox(&self) -> &Sandbox {
        self.server.sandbox().expect("it was enabled")
    }

    pub fn faults(&self, plan: &str) {
        self.sandbox()
            .set_faults(FaultPlan::from_json(plan).expect("the test's plan is valid"));
    }

    /// How many shares were made for real.
    pub fn created(&self) -> u64 {
        count(&self.sandbox().stats().executions, "CreateResourceShare")
    }

    /// How many HTTP requests to create one arrived.
    pub fn requested(&self) -> u64 {
        count(&self.sandbox().stats().requests, "CreateResourceShare")
    }

    pub async fn create(
        &self,
        request: CreateResourceShareRequest,
    ) -> Result<Response<CreateResourceShareResponse>, Status> {
        self.client.clone().create(request).await
    }
}

/// Starts a server with its sandbox and with keys of the configuration set.
pub async fn start(keys: &[(&'static str, &str)]) -> Server {
    secrets::watch_log();
    let mut flags = BTreeMap::from([
        ("sandbox.enabled", "true".to_owned()),
        ("listen", "127.0.0.1:0".to_owned()),
        ("sandbox.settle_ms", "0".to_owned()),
        // Quick enough for tests that fail every attempt.
        ("retry.backoff_ms", "1".to_owned()),
        // The sandbox has no rate of its own to find.
        ("pace.initial_rate", FAST.to_owned()),
        ("pace.max_rate", FAST.to_owned()),
    ]);
    flags.extend(keys.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let config = Config::read(Sources {
        flags,
        ..Sources::default()
    })
    .expect("the test's keys are valid");
    Server::start(config).await.expect("the server starts")
}

fn count(counts: &BTreeMap<String, u64>, operation: &str) -> u64 {
    counts.get(operation).copied().unwrap_or_default()
}

pub async fn connect(address: SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URL");
    Client::new(endpoint.connect().await.expect("the server accepts"))
}

/// A request that RAM accepts.
pub fn request(name: &str, token: &str) -> CreateResourceShareRequest {
    CreateResourceShareRequest {
        name: name.to_owned(),
        client_token: token.to_owned(),
        ..CreateResourceShareRequest::default()
    }
}

pub fn arn(response: &Response<CreateResourceShareResponse>) -> String {
    response
        .get_ref()
        .resource_share
        .as_ref()
        .expect("an OK names its share")
        .resource_share_arn
        .clone()
}

/// A refusal as a program reads it.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub domain: String,
    pub reason: String,
    pub metadata: std::collections::HashMap<String, String>,
    pub details: ErrorDetails,
    pub message: String,
}

pub fn refusal(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"))
        .clone();
    Refusal {
        code: status.code(),
        domain: info.domain,
        reason: info.reason,
        metadata: info.metadata,
        details,
        message: status.message().to_owned(),
    }
}

/// The program in a process of its own, as a user starts it. When it is dropped, nothing that it wrote may show a secret.
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    written: [Written; 2],
    audit: Option<PathBuf>,
}

impl Process {
    /// Starts `ram-facade` with `arguments` and an environment that reaches for nothing outside.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(command(arguments, variables))
    }

    /// Starts a command that [`command`] made, changed by the test.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let (sender, lines) = mpsc::channel();
        let stdout = Written::read(child.stdout.take().expect("it was piped"), move |line| {
            // Nobody may be waiting any more.
            let _ = sender.send(line);
        });
        let stderr = Written::read(child.stderr.take().expect("it was piped"), |line| {
            eprintln!("{line}")
        });
        Self {
            child,
            lines,
            written: [stdout, stderr],
            audit: audit_file(&command),
        }
    }

    /// Waits for the line that begins with `prefix` and returns the rest of it.
    pub fn line(&self, prefix: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(Duration::from_secs(30))
                .expect("the line comes before the end");
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.line("listening on ").parse().expect("an address is printed")
    }

    pub fn sandbox_url(&self) -> String {
        self.line("sandbox listening on ")
    }

    pub fn signal(&self, signal: &str) {
        send_signal(self.child.id(), signal);
    }

    /// Ends it as a crash does: no handler runs.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Waits until it ended by itself.
    pub async fn exit(mut self, patience: Duration) -> ExitStatus {
        let waiting = tokio::task::spawn_blocking(move || self.child.wait().expect("it is ours"));
        tokio::time::timeout(patience, waiting)
            .await
            .expect("it ends in time")
            .expect("waiting does not panic")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            return;
        }
        let [stdout, stderr] = &self.written;
        secrets::assert_hidden("standard output", &stdout.text());
        secrets::assert_hidden("standard error", &stderr.text());
        if let Some(lines) = self
            .audit
            .as_ref()
            .and_then(|file| std::fs::read_to_string(file).ok())
        {
            secrets::assert_hidden("the audit log", &lines);
        }
    }
}

/// What a process writes, read to the end so that a full pipe never stops it.
struct Written {
    text: Arc<Mutex<String>>,
    /// Says nothing, and breaks at the end.
    end: Mutex<mpsc::Receiver<()>>,
}

impl Written {
    fn read(from: impl Read + Send + 'static, each: impl Fn(String) + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let (open, end) = mpsc::channel();
        let shared = Arc::clone(&text);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = shared.lock().unwrap_or_else(PoisonError::into_inner);
                *text += &line;
                *text += "\n";
                drop(text);
                each(line);
            }
            drop(open);
        });
        Self {
            text,
            end: Mutex::new(end),
        }
    }

    /// All of it. The process has ended.
    fn text(&self) -> String {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = end.recv_timeout(Duration::from_secs(30));
        assert_eq!(
            ended,
            Err(mpsc::RecvTimeoutError::Disconnected),
            "its output goes on"
        );
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The file in which a command's program keeps its audit log, if it does.
fn audit_file(command: &Command) -> Option<PathBuf> {
    let flag = command
        .get_args()
        .skip_while(|flag| *flag != "--audit-file")
        .nth(1);
    let variable = || {
        let mut all = command.get_envs();
        all.find_map(|(name, value)| (name == "RAM_FACADE_AUDIT_FILE").then_some(value?))
    };
    flag.or_else(variable)
        .filter(|file| *file != OsStr::new("-"))
        .map(PathBuf::from)
}

/// Runs a command that [`command`] made to its end. What it says may show no secret.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().expect("the binary was built");
    secrets::assert_hidden("standard output", &String::from_utf8_lossy(&output.stdout));
    secrets::assert_hidden("standard error", &String::from_utf8_lossy(&output.stderr));
    output
}

/// The arguments that serve everybody on a free port, before the RAM at `ram` and with this store.
pub fn serve<'a>(ram: &'a str, store: &'a str) -> [&'a str; 8] {
    [
        "serve",
        "--insecure-no-auth",
        "--listen",
        "127.0.0.1:0",
        "--ram-endpoint",
        ram,
        "--store",
        store,
    ]
}

pub fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ram-facade"));
    command.args(arguments).env_clear();
    command.envs([
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("RAM_FACADE_LOG_FILTER", "warn"),
        ("RAM_FACADE_PACE_INITIAL_RATE", FAST),
        ("RAM_FACADE_PACE_MAX_RATE", FAST),
    ]);
    command.envs(secrets::AWS);
    command.envs(variables.iter().copied());
    command
}

/// The sandbox's own counts, over its control endpoint.
pub async fn stats(sandbox: &str) -> serde_json::Value {
    let body = http(sandbox, "GET", "/_sandbox/stats", "").await;
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e} in {body}"))
}

pub async fn put_faults(sandbox: &str, plan: &str) {
    http(sandbox, "PUT", "/_sandbox/faults", plan).await;
}

/// One HTTP/1.1 exchange, written by hand so that the tests need no further client.
pub async fn http(url: &str, method: &str, path: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = url
        .strip_prefix("http://")
        .expect("the sandbox speaks plain HTTP");
    let mut stream = tokio::net::TcpStream::connect(host)
        .await
        .expect("the sandbox accepts");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    secrets::assert_hidden(path, body);
    body.to_owned()
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
