//! Load by h2load, which takes less of the processor than a client in tonic. It sends one body again and again.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use prost::Message;
use ram_facade::pb::v1::CreateResourceShareRequest;

use crate::{common::load::Load, side::CONNECTIONS};

/// Writes the request as gRPC frames it: not compressed, its length, the message.
pub(crate) fn write_body(path: &Path, request: &CreateResourceShareRequest) {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    fs::write(path, [&[0], &length[..], &message].concat()).unwrap();
}

/// Where and what it sends, and what it should get.
pub(crate) struct Target<'a> {
    pub(crate) address: &'a str,
    pub(crate) token: &'a str,
    pub(crate) body: &'a Path,
    /// Bytes of the message of a good answer. An error has none.
    pub(crate) answer: usize,
}

/// Keeps `in_flight` calls in flight for `turn`. Blocks: nothing else is to run meanwhile.
pub(crate) fn run(target: &Target<'_>, in_flight: usize, turn: Duration) -> Load {
    let connections = in_flight.min(CONNECTIONS);
    let log = target.body.with_extension("log");
    drop(fs::remove_file(&log));
    let output = Command::new("h2load")
        .args(["--clients", &connections.to_string(), "--threads", "1"])
        .args(["--max-concurrent-streams", &(in_flight / connections).to_string()])
        .args(["--duration", &format!("{}ms", turn.as_millis())])
        .args([
            "--header",
            "content-type: application/grpc",
            "--header",
            "te: trailers",
        ])
        .args(["--header", &format!("authorization: Bearer {}", target.token)])
        .arg("--data")
        .arg(target.body)
        .arg("--log-file")
        .arg(&log)
        .arg(format!(
            "http://{}/ramfacade.v1.ResourceShareService/Create",
            target.address
        ))
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|e| panic!("h2load (`scripts/tools.sh h2load` installs it): {e}"));
    let said = String::from_utf8(output.stdout).unwrap();

    let succeeded = before(&said, " succeeded");
    let data = said.lines().find(|line| line.starts_with("traffic:")).unwrap();
    let data = data.rsplit(['(', ')']).nth(1).unwrap().parse::<f64>().unwrap();
    // A gRPC error is a success to HTTP, with no message.
    let expected = succeeded * (5 + target.answer) as f64;
    assert!(
        succeeded > 0.0 && data >= expected,
        "not all calls were answered:\n{said}"
    );

    let log = fs::read_to_string(log).unwrap();
    let times = log
        .lines()
        .filter_map(|line| line.rsplit('\t').next()?.parse().ok());
    Load {
        times: times.map(Duration::from_micros).collect(),
        per_second: before(&said, " req/s"),
    }
}

/// The number before `unit`.
fn before(text: &str, unit: &str) -> f64 {
    let number = text.split(unit).next().unwrap().rsplit(' ').next().unwrap();
    number.parse().unwrap()
}
