//! Secrets that go into the program in every test, and the look for them in everything that comes out.
//!
//! A process is looked at when it ends: see `Process` and `output`. The servers inside a test program share its log, in
//! which no line says which test it belongs to; a secret there ends the test program.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Mutex, Once, PoisonError},
};

use sha2::{Digest, Sha256};
use tracing_subscriber::EnvFilter;

/// What every process gets for AWS's secrets.
pub const AWS: [(&str, &str); 2] = [
    ("AWS_SECRET_ACCESS_KEY", "canary-secret-access-key"),
    ("AWS_SESSION_TOKEN", "canary-session-token"),
];

/// Bearer tokens of two callers.
pub const ALPHA: &str = "canary-token-of-alpha";
pub const BETA: &str = "canary-token-of-beta";

/// The secrets of this test program, each with what it is.
static KEPT: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());

/// From now on nothing may show `secret`.
pub fn keep(what: &'static str, secret: &str) {
    assert!(secret.len() >= 12, "`{secret}` may stand somewhere by chance");
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.insert(secret.to_owned(), what);
}

/// Keeps a bearer token. Of a JWT its signature is the secret.
pub fn keep_token(token: &str) {
    let secret = token.rsplit_once('.').map_or(token, |(_, signature)| signature);
    if secret.len() >= 12 {
        keep("a bearer token", secret);
    }
}

/// The line of a token file that lets `token` in as `caller`.
pub fn token_line(token: &str, caller: &str) -> String {
    keep("a bearer token", token);
    let hash: String = Sha256::digest(token).iter().map(|b| format!("{b:02x}")).collect();
    format!("{hash} {caller}\n")
}

/// Every secret, with what it is.
fn all() -> Vec<(String, &'static str)> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let aws = AWS.into_iter().map(|(what, secret)| (secret.to_owned(), what));
    aws.chain(kept.iter().map(|(secret, what)| (secret.clone(), *what)))
        .collect()
}

/// `text` without the secrets in it.
pub fn masked(text: &str) -> String {
    let mask = |text: String, (secret, _): &(String, _)| text.replace(secret, "[the secret]");
    all().iter().fold(text.to_owned(), mask)
}

/// The first line of `text` that shows a secret: its number, what the secret is, and the line without it.
pub fn shown(text: &str) -> Option<(usize, &'static str, String)> {
    let (secret, what) = all().into_iter().find(|(secret, _)| text.contains(secret))?;
    let line = text.lines().enumerate().find(|(_, line)| line.contains(&secret));
    let (index, line) = line.unwrap_or_default();
    Some((index + 1, what, masked(line)))
}

/// Fails the test if `text`, found at `place`, shows a secret.
pub fn assert_hidden(place: &str, text: &str) {
    if let Some((number, what, line)) = shown(text) {
        panic!("{place}, line {number}, shows {what}: {line}");
    }
}

/// Looks at what the servers in this test program log.
pub fn watch_log() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let started = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("info,ram_facade=trace"))
            .with_ansi(false)
            .with_writer(|| Watched)
            .try_init();
        started.expect("there is no other log");
    });
}

/// A log that nobody reads but for its secrets.
struct Watched;

impl Write for Watched {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some((_, what, line)) = shown(&String::from_utf8_lossy(line)) {
            // A panic here would be a server's, which answers INTERNAL and goes on.
            let _ = writeln!(io::stderr(), "the log shows {what}: {line}");
            std::process::abort();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
