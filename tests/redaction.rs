//! Secrets that go in by every door, and a search through everything that comes out: the log at every level, the audit
//! log, metrics and statuses.

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
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use ram_facade::pb::v1::CreateResourceShareRequest;
use tonic::{Code, Request, Status, metadata::AsciiMetadataValue};

use common::{
    Client, command, connect, path, put_faults, request,
    secrets::{self, token_line},
    send_signal, until,
};

/// One secret for each door. All of them hold `canary`, and nothing else does.
const TOKEN: &str = "canary-bearer-token-0123456789abcdef";
const DENIED_TOKEN: &str = "canary-token-of-somebody-denied";
const WRONG_TOKEN: &str = "canary-wrong-bearer-token";
const COOKIE: &str = "session=canary-cookie";
const CLIENT_TOKEN: &str = "canary-client-token";
/// Two parts of a JWT that are no secret, and its signature, which makes it one.
const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.canary-signature";
/// No secret: CloudTrail and every signature show it.
const ACCESS_KEY: &str = "AKIDEXAMPLE";

struct Facade {
    child: Child,
    address: SocketAddr,
    output: PathBuf,
    audit: PathBuf,
    metrics: SocketAddr,
}

impl Facade {
    async fn start(directory: &Path, ram: &str, filter: &str) -> Self {
        let tokens = directory.join("tokens");
        // One caller who may share, and one who may not.
        let lines = token_line(TOKEN, "tester") + &token_line(DENIED_TOKEN, "nobody");
        fs::write(&tokens, lines).unwrap();
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
        let policy = directory.join("policy.cedar");
        fs::write(
            &policy,
            "@id(\"testers\")\npermit (principal, action, resource) when { principal.subject == \"tester\" };",
        )
        .unwrap();
        let (jwks, issuers) = (directory.join("jwks"), directory.join("issuers.toml"));
        fs::write(
            &jwks,
            common::issuer::jwks(&[&common::issuer::SigningKey::p256("k")]),
        )
        .unwrap();
        let issuer = format!(
            "[[issuer]]\nissuer = \"https://issuer.example\"\naudiences = [\"ram-facade\"]\nalgorithms = [\"ES256\"]\n\
             jwks_file = \"{}\"\n",
            jwks.display()
        );
        fs::write(&issuers, issuer).unwrap();
        let audit = directory.join("audit.jsonl");
        // Free a moment ago; the program does not say which one it took.
        let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let output = directory.join("output");
        let file = File::create(&output).unwrap();
        let store = directory.join("records.sqlite");
        let child = command(
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--ram-endpoint",
                ram,
                "--store",
                path(&store),
                "--auth-tokens-file",
                path(&tokens),
            ],
            &[
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
                ("RAM_FACADE_LOG_FILTER", filter),
                ("RAM_FACADE_LOG_FORMAT", "json"),
                ("RAM_FACADE_RETRY_BACKOFF_MS", "1"),
                ("RAM_FACADE_POLICY_FILE", path(&policy)),
                ("RAM_FACADE_AUTH_ISSUERS_FILE", path(&issuers)),
                ("RAM_FACADE_AUDIT_FILE", path(&audit)),
                ("RAM_FACADE_METRICS_LISTEN", &metrics.to_string()),
                ("RUST_BACKTRACE", "1"),
            ],
        )
        .stdout(Stdio::from(file.try_clone().unwrap()))
        .stderr(Stdio::from(file))
        .spawn()
        .unwrap();
        let listening = || {
            let text = fs::read_to_string(&output).unwrap();
            text.lines()
                .find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
        };
        until("it listens", || async { listening().is_some() }).await;
        let address = listening().unwrap();
        Self {
            child,
            address,
            output,
            audit,
            metrics,
        }
    }

    async fn stop(mut self) -> String {
        send_signal(self.child.id(), "-TERM");
        let ended = tokio::task::spawn_blocking(move || self.child.wait());
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .expect("it drains")
            .unwrap()
            .unwrap();
        fs::read_to_string(&self.output).unwrap()
    }
}

async fn call(
    client: &Client,
    authorization: &[&str],
    message: CreateResourceShareRequest,
) -> Result<(), Status> {
    let mut request = Request::new(message);
    for value in authorization {
        let mut value: AsciiMetadataValue = value.parse().unwrap();
        // As clients send it: HPACK may not index it. What is under test is the server.
        value.set_sensitive(true);
        request.metadata_mut().append("authorization", value);
    }
    for (name, value) in [
        ("cookie", COOKIE),
        ("x-amz-security-token", "canary-forwarded-token"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    client.clone().create(request).await.map(|_| ())
}

/// The canaries that stand in `text`, each with the line that it stands in.
fn canaries(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.to_ascii_lowercase().contains("canary"))
        .map(|line| line.chars().take(600).collect())
        .collect()
}

/// Goes through every kind of call and refusal, and returns what came back.
async fn session(address: SocketAddr, sandbox: &str) -> Vec<Status> {
    let client = connect(address).await;
    let bearer = format!("Bearer {TOKEN}");
    let good = [bearer.as_str()];
    let wrong = format!("Bearer {WRONG_TOKEN}");
    let named = |name: &str| request(name, CLIENT_TOKEN);
    let mut statuses = Vec::new();
    let mut note = |result: Result<(), Status>, code: Code| {
        let got = result.as_ref().err().map_or(Code::Ok, Status::code);
        assert_eq!(got, code, "{result:?}");
        statuses.extend(result.err());
    };

    note(call(&client, &good, named("first")).await, Code::Ok);
    note(call(&client, &good, named("first")).await, Code::Ok);
    note(call(&client, &good, named("other")).await, Code::InvalidArgument);
    note(call(&client, &[], named("first")).await, Code::Unauthenticated);
    note(
        call(&client, &[&wrong], named("first")).await,
        Code::Unauthenticated,
    );
    let jwt = format!("Bearer {JWT}");
    note(
        call(&client, &[&jwt], named("first")).await,
        Code::Unauthenticated,
    );
    let denied = format!("Bearer {DENIED_TOKEN}");
    note(
        call(&client, &[&denied], named("first")).await,
        Code::PermissionDenied,
    );
    note(
        call(&client, &["Basic canary-basic"], named("first")).await,
        Code::Unauthenticated,
    );
    note(
        call(&client, &[TOKEN], named("first")).await,
        Code::Unauthenticated,
    );
    note(
        call(&client, &[&bearer, &wrong], named("first")).await,
        Code::Unauthenticated,
    );
    let long = format!("{CLIENT_TOKEN}{}", "x".repeat(100));
    note(
        call(&client, &good, request("long", &long)).await,
        Code::InvalidArgument,
    );
    for (plan, code) in [
        (
            r#"{"rules":[{"operation":"CreateResourceShare","fault":{"kind":"error","code":"OperationNotPermittedException","http_status":403}}]}"#,
            Code::FailedPrecondition,
        ),
        (
            r#"{"rules":[{"operation":"CreateResourceShare","fault":{"kind":"error","code":"ServerInternalException","http_status":500}}]}"#,
            Code::Internal,
        ),
        (
            r#"{"rules":[{"operation":"CreateResourceShare","fault":{"kind":"error","code":"ThrottlingException","http_status":429}}]}"#,
            Code::ResourceExhausted,
        ),
    ] {
        put_faults(sandbox, plan).await;
        let token = format!("{CLIENT_TOKEN}-{code:?}");
        note(call(&client, &good, request("fault", &token)).await, code);
    }
    statuses
}

#[tokio::test]
async fn no_secret_that_goes_in_comes_out() {
    for filter in ["info", "debug", "trace"] {
        let sandbox = common::Process::start(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
        let url = sandbox.sandbox_url();
        let directory = tempfile::tempdir().unwrap();
        let facade = Facade::start(directory.path(), &url, filter).await;

        let statuses = session(facade.address, &url).await;
        let metrics = common::http(&format!("http://{}", facade.metrics), "GET", "/metrics", "").await;
        let audit_file = facade.audit.clone();
        let output = facade.stop().await;
        let audit = fs::read_to_string(audit_file).unwrap();

        assert!(metrics.contains("rpc_server_call_duration_seconds"), "{metrics}");
        assert!(audit.contains("\"testers\""), "{audit}");
        assert_eq!(canaries(&metrics), Vec::<String>::new(), "in the metrics");
        assert_eq!(canaries(&audit), Vec::<String>::new(), "in the audit log");

        assert!(output.contains("rpc ended"), "the log is there to be searched");
        assert_eq!(
            canaries(&output),
            Vec::<String>::new(),
            "in the log at `{filter}`"
        );
        for status in statuses {
            // `Status` prints its metadata and details too. A caller may read its own client token, and nobody else's.
            let printed = format!("{status:?} {:?}", String::from_utf8_lossy(status.details()));
            let printed = printed.replace(CLIENT_TOKEN, "");
            assert_eq!(canaries(&printed), Vec::<String>::new());
        }
    }
}

#[test]
fn a_secret_that_any_test_shows_is_found_and_not_shown_again() {
    secrets::keep("a test's secret", "canary-of-this-test");

    let (number, what, line) = secrets::shown("fine\nkey=canary-of-this-test end").expect("it is found");

    assert_eq!((number, what), (2, "a test's secret"));
    assert_eq!(line, "key=[the secret] end");
    assert!(secrets::shown("key=canary-of-another end").is_none());
}
