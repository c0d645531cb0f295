//! The disk fails under the idempotency store: a clear error, nothing executed twice, and never an empty store.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use common::{Client, Process, arn, refusal, request, stats};
use tonic::Code;

struct Setup {
    _sandbox: Process,
    url: String,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        Self {
            url: sandbox.sandbox_url(),
            _sandbox: sandbox,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("idempotency.sqlite")
    }

    fn serve(&self) -> Command {
        let store = self.store();
        let arguments = common::serve(&self.url, common::path(&store));
        common::command(&arguments, &[])
    }

    async fn start(&self, command: Command) -> (Process, Client) {
        let process = Process::spawn(command);
        let client = common::connect(process.address()).await;
        (process, client)
    }

    async fn count(&self, what: &str) -> u64 {
        stats(&self.url).await[what]["CreateResourceShare"]
            .as_u64()
            .unwrap_or(0)
    }

    /// Makes a share for each token and stops the server in order.
    async fn filled(&self, tokens: u32) -> Vec<String> {
        let (process, mut client) = self.start(self.serve()).await;
        let mut arns = Vec::new();
        for n in 0..tokens {
            let made = client
                .create(request("demo", &format!("token-{n}")))
                .await
                .unwrap();
            arns.push(arn(&made));
        }
        stop(process, client).await;
        arns
    }
}

async fn stop(process: Process, client: Client) {
    drop(client);
    process.signal("-TERM");
    assert!(process.exit(Duration::from_secs(30)).await.success());
}

/// `command` behind a wrapper: `wrapper arguments... program its-arguments...`.
fn wrapped(wrapper: &str, arguments: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(wrapper);
    outer
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    outer.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    outer
}

/// Runs what should end at once, and ends it where it does not.
fn run(command: &Command) -> Output {
    common::output(&mut wrapped("timeout", &["20"], command))
}

fn assert_refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("idempotency store") && said.contains(why), "{said}");
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_sent_and_what_was_made_is_found_again() {
    let setup = Setup::new();
    // A limit on the size of a file does what a full disk does; the signal that comes with it is ignored.
    let limited = "trap '' 25; ulimit -f 512; exec \"$@\"";
    let (process, mut client) = setup
        .start(wrapped("sh", &["-c", limited, "sh"], &setup.serve()))
        .await;

    let mut arns = Vec::new();
    let refused = loop {
        let token = format!("token-{}", arns.len());
        match client.create(request("demo", &token)).await {
            Ok(made) => arns.push(arn(&made)),
            Err(status) => break refusal(&status),
        }
        assert!(arns.len() < 500, "the disk does not fill up");
    };
    let sent = setup.count("requests").await;
    let again = refusal(&client.create(request("demo", "token-new")).await.unwrap_err());

    for refused in [refused, again] {
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::Unavailable, "IDEMPOTENCY_STORE_UNAVAILABLE")
        );
        assert_eq!(refused.metadata["outcome"], "not_executed");
    }
    assert!(arns.len() > 2, "{arns:?}");
    assert_eq!(sent, arns.len() as u64, "a request without a claim was sent");
    assert_eq!(setup.count("requests").await, sent);

    // There is room again.
    process.kill();
    let (_process, mut client) = setup.start(setup.serve()).await;
    for (n, before) in arns.iter().enumerate() {
        let after = client
            .create(request("demo", &format!("token-{n}")))
            .await
            .unwrap();
        assert_eq!(arn(&after), *before);
    }
    client.create(request("demo", "token-new")).await.unwrap();
    assert_eq!(setup.count("executions").await, arns.len() as u64 + 1);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused_with_a_clear_error() {
    let setup = Setup::new();
    setup.filled(1).await;
    let before = fs::read(setup.store()).unwrap();
    // For root every file may be written: the server runs as nobody then, who may read.
    fs::set_permissions(setup.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(setup.store(), fs::Permissions::from_mode(0o444)).unwrap();
    let is_root = fs::write(setup.dir.path().join("probe"), "").is_ok()
        && fs::OpenOptions::new().write(true).open(setup.store()).is_ok();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let serve = if is_root {
        wrapped("setpriv", &nobody, &setup.serve())
    } else {
        setup.serve()
    };

    let output = run(&serve);

    assert_refused(&output, "cannot be written");
    assert!(fs::read(setup.store()).unwrap() == before);
}

#[tokio::test]
async fn a_flipped_byte_in_a_record_is_an_error_and_not_another_share() {
    let setup = Setup::new();
    let arns = setup.filled(3).await;
    let mut bytes = fs::read(setup.store()).unwrap();
    let place = position(&bytes, arns[1].as_bytes());
    bytes[place + arns[1].len() - 1] ^= 1;
    fs::write(setup.store(), &bytes).unwrap();

    let (_process, mut client) = setup.start(setup.serve()).await;
    let damaged = refusal(&client.create(request("demo", "token-1")).await.unwrap_err());
    let whole = client.create(request("demo", "token-2")).await.unwrap();

    assert_eq!(damaged.reason, "IDEMPOTENCY_STORE_UNAVAILABLE");
    assert_eq!(arn(&whole), arns[2]);
    assert_eq!(setup.count("requests").await, 3, "only those of the beginning");
}

#[tokio::test]
async fn a_file_that_lost_a_byte_of_its_structure_is_refused_and_left_as_it_is() {
    let setup = Setup::new();
    // So few that nothing was ever moved: what is in the file is in use.
    setup.filled(3).await;
    let whole = fs::read(setup.store()).unwrap();
    let key = the_second_key(&whole);
    // A page's kind; a key, which makes its record one that nobody finds; and all of the file.
    let mut page = whole.clone();
    page[4096] ^= 0xff;
    let mut lost = whole.clone();
    lost[key] ^= 1;
    for (damaged, why) in [
        (page, "is damaged"),
        (lost, "is damaged"),
        (Vec::new(), "is no idempotency store"),
    ] {
        fs::write(setup.store(), &damaged).unwrap();

        let output = run(&setup.serve());

        assert_refused(&output, why);
        assert!(fs::read(setup.store()).unwrap() == damaged, "{why}");
    }
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .position(|window| window == part)
        .unwrap()
}

/// Where the key of `token-1` stands for the first time, in the table or in its index.
fn the_second_key(bytes: &[u8]) -> usize {
    use ram_facade::{
        call::{Caller, Target},
        idempotency::{Key, Scope},
    };
    let key = Key::of(&Scope {
        caller: &Caller::new("none", "anonymous"),
        target: &Target {
            partition: "aws".to_owned(),
            account: "111122223333".to_owned(),
            region: "us-east-1".to_owned(),
        },
        operation: "CreateResourceShare",
        client_token: "token-1",
    });
    position(bytes, key.as_bytes())
}

#[tokio::test]
async fn a_directory_that_is_gone_is_named() {
    let setup = Setup::new();
    let gone = setup.dir.path().join("gone/idempotency.sqlite");
    let arguments = common::serve(&setup.url, common::path(&gone));

    let output = run(&common::command(&arguments, &[]));

    assert_refused(&output, "No such file or directory");
    assert!(!Path::new(&gone).exists());
}
