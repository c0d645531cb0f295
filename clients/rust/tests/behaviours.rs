//! What every client must see of the service; clients/behaviours.json lists the names, clients/run.py starts the scene.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use prost::Message;
use ram_facade_client::{
    RETRY, Refusal, Retry, Service, connect, create as create_with, endpoint, next_step,
    v1::{CreateResourceShareRequest, CreateResourceShareResponse, ResourceShare, ResourceShareStatus, Tag},
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status, codec::CompressionEncoding};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const ONCE: Retry = Retry { attempts: 1, ..RETRY };
const LONG: Duration = Duration::from_secs(30);

fn scene() -> Value {
    let file = env::var("SCENE").expect("SCENE names no scene; run clients/run.py");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// One HTTP request to the sandbox or to the runner.
fn ask(method: &str, url: &str, body: &Value) -> Value {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    assert!(status.starts_with('2'), "{method} {url}: {head}");
    serde_json::from_str(body).unwrap_or(Value::Null)
}

/// The embedded RAM behind a service.
struct Sandbox(String);

impl Sandbox {
    fn reset(url: &Value) -> Self {
        ask("POST", &format!("{}/_sandbox/reset", text(url)), &Value::Null);
        Self(text(url))
    }

    fn main() -> Self {
        Self::reset(&scene()["main"]["sandbox"])
    }

    fn fault(&self, fault: Value, times: Option<u32>) {
        let mut rule = json!({ "operation": "CreateResourceShare", "fault": fault });
        if let Some(times) = times {
            rule["times"] = times.into();
        }
        ask(
            "PUT",
            &format!("{}/_sandbox/faults", self.0),
            &json!({ "rules": [rule] }),
        );
    }

    fn count(&self, what: &str) -> u64 {
        let counts = &ask("GET", &format!("{}/_sandbox/stats", self.0), &Value::Null)[what];
        counts
            .as_u64()
            .or_else(|| counts["CreateResourceShare"].as_u64())
            .unwrap_or(0)
    }

    async fn wait_for_requests(&self, least: u64) {
        until(|| self.count("requests") >= least).await;
    }
}

async fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "it did not happen within 30 seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tap(what: &str) -> u64 {
    let control = text(&scene()["control"]);
    ask("GET", &format!("{control}/tap"), &Value::Null)[what]
        .as_u64()
        .unwrap()
}

fn service_at(address: &Value, token: &str) -> Service {
    connect(&endpoint(&text(address), None).unwrap(), Some(token)).unwrap()
}

fn service() -> Service {
    let scene = scene();
    service_at(&scene["main"]["address"], &text(&scene["token"]))
}

fn share() -> CreateResourceShareRequest {
    CreateResourceShareRequest {
        name: "demo".to_owned(),
        ..CreateResourceShareRequest::default()
    }
}

async fn send(service: &Service, request: &mut CreateResourceShareRequest) -> CreateResourceShareResponse {
    create_with(service, request, LONG, &RETRY).await.unwrap()
}

async fn arn(service: &Service, request: &mut CreateResourceShareRequest) -> String {
    let arn = send(service, request)
        .await
        .resource_share
        .unwrap()
        .resource_share_arn;
    assert!(
        arn.starts_with("arn:aws:ram:us-east-1:111122223333:resource-share/"),
        "{arn}"
    );
    arn
}

async fn refused(service: &Service, request: &mut CreateResourceShareRequest) -> Refusal {
    create_with(service, request, LONG, &ONCE)
        .await
        .unwrap_err()
        .into()
}

#[tokio::test]
async fn create() {
    let ram = Sandbox::main();
    let team = Tag {
        key: "team".to_owned(),
        value: "network".to_owned(),
    };
    let mut request = CreateResourceShareRequest {
        tags: vec![team.clone()],
        allow_external_principals: Some(false),
        ..share()
    };

    let made = send(&service(), &mut request).await.resource_share.unwrap();

    assert_eq!(made.status(), ResourceShareStatus::Active);
    assert_eq!(made.allow_external_principals, Some(false));
    assert_eq!(made.tags, [team]);
    assert_eq!(ram.count("executions"), 1);
}

#[tokio::test]
async fn replay() {
    let (ram, service, mut request) = (Sandbox::main(), service(), share());

    assert_eq!(
        arn(&service, &mut request).await,
        arn(&service, &mut request).await
    );
    assert_eq!(ram.count("executions"), 1);
}

#[tokio::test]
async fn mismatch() {
    let (ram, service, mut request) = (Sandbox::main(), service(), share());
    arn(&service, &mut request).await;
    request.name = "other".to_owned();

    let refusal = refused(&service, &mut request).await;

    assert_eq!(refusal.code, Code::InvalidArgument);
    assert_eq!(refusal.reason(), "IDEMPOTENT_PARAMETER_MISMATCH");
    assert_eq!(refusal.fields()[0].0, "client_token");
    assert_eq!(next_step(&refusal), "fix your request");
    assert_eq!(ram.count("executions"), 1);
}

#[tokio::test]
async fn every_code_with_typed_details() {
    let scene = scene();
    let rows = scene["codes"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let code = text(&row["code"]);
        let server = &scene[row["server"].as_str().unwrap_or("main")];
        let ram = Sandbox::reset(&server["sandbox"]);
        if !row["fault"].is_null() {
            ram.fault(row["fault"].clone(), None);
        }
        let token = row["token"].as_str().or_else(|| scene["token"].as_str()).unwrap();
        let service = service_at(&server["address"], token);
        let request = CreateResourceShareRequest {
            name: row["name"].as_str().unwrap_or("demo").to_owned(),
            client_token: format!("{code}-{}", std::process::id()),
            ..share()
        };

        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..row["callers"].as_u64().unwrap_or(1) {
            let (service, mut request) = (service.clone(), request.clone());
            calls.spawn(async move { create_with(&service, &mut request, LONG, &ONCE).await });
        }
        let outcomes = calls.join_all().await;
        let status = outcomes
            .into_iter()
            .find_map(Result::err)
            .expect("nobody was refused");

        let names = details_of(&status);
        let refusal = Refusal::from(status);
        let info = refusal.details.error_info().unwrap();
        let name: String = format!("{:?}", refusal.code).to_uppercase();
        assert_eq!(name, code.replace('_', ""));
        assert_eq!(
            (info.domain.as_str(), info.reason.as_str()),
            (row["domain"].as_str().unwrap(), row["reason"].as_str().unwrap())
        );
        assert_eq!(json!(names), row["details"], "{code}");
        let fields: Vec<_> = refusal.fields().iter().map(|(field, _)| *field).collect();
        let wanted = if row["fields"].is_null() {
            json!([])
        } else {
            row["fields"].clone()
        };
        assert_eq!(json!(fields), wanted, "{code}");
        assert_eq!(
            refusal.retry_after().is_some_and(|d| !d.is_zero()),
            names.contains(&"RetryInfo".to_owned()),
            "{code}"
        );
        assert_eq!(next_step(&refusal), row["next"], "{code}");
    }
}

/// The types of a status's details, sorted: `google.rpc.Status` has them as its third field.
fn details_of(status: &Status) -> Vec<String> {
    let packed = tonic_types::pb::Status::decode(status.details()).unwrap();
    let mut names: Vec<_> = packed
        .details
        .iter()
        .map(|any| any.type_url.rsplit('.').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn deadline_exceeded() {
    // One that has not seen a slow RAM: after that it refuses short deadlines at once, with RATE_LIMIT_EXCEEDED.
    let scene = scene();
    let started = ask("POST", &format!("{}/facade", text(&scene["control"])), &Value::Null);
    let ram = Sandbox::reset(&started["sandbox"]);
    let (service, mut request) = (service_at(&started["address"], &text(&scene["token"])), share());
    ram.fault(json!({ "kind": "delay", "ms": 3000 }), Some(1));
    let began = Instant::now();

    let status = create_with(&service, &mut request, Duration::from_millis(300), &RETRY)
        .await
        .unwrap_err();

    // tonic's own timer says CANCELLED ("Timeout expired") when it is faster than the service's answer.
    let refusal = Refusal::from(status);
    assert!(
        matches!(refusal.code, Code::DeadlineExceeded | Code::Cancelled),
        "{:?} {}: {}",
        refusal.code,
        refusal.reason(),
        refusal.message
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(next_step(&refusal), "try again");
    // The execution went on: the same token gets its outcome.
    arn(&service, &mut request).await;
    assert_eq!(ram.count("executions"), 1);
}

#[tokio::test]
async fn cancellation() {
    let (ram, service) = (Sandbox::main(), service());
    ram.fault(json!({ "kind": "delay", "ms": 1000 }), Some(1));
    let mut request = share();
    request.client_token = format!("cancelled-{}", std::process::id());
    let call = tokio::spawn({
        let (service, mut request) = (service.clone(), request.clone());
        async move { create_with(&service, &mut request, LONG, &RETRY).await }
    });
    ram.wait_for_requests(1).await;

    // Dropping its future is how a call is cancelled in Rust.
    call.abort();

    assert!(call.await.unwrap_err().is_cancelled());
    arn(&service, &mut request).await;
    assert_eq!(ram.count("executions"), 1);
}

#[tokio::test]
async fn unavailable_is_retried_by_the_client() {
    let ram = Sandbox::main();
    ram.fault(json!({ "kind": "drop_after_execution" }), Some(1));

    arn(&service(), &mut share()).await;

    assert_eq!(ram.count("requests"), 2);
    assert_eq!(ram.count("executions"), 1);
    assert_eq!(ram.count("live_shares"), 1);
}

#[tokio::test]
async fn pushback_is_obeyed() {
    let ram = Sandbox::main();
    ram.fault(scene()["throttled"].clone(), Some(1));
    // By itself this client would come back at once.
    let eager = Retry {
        codes: &[Code::Unavailable, Code::ResourceExhausted],
        first_wait: Duration::from_millis(1),
        ..RETRY
    };
    let began = Instant::now();

    create_with(&service(), &mut share(), LONG, &eager).await.unwrap();

    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(ram.count("requests"), 2);
}

#[tokio::test]
async fn unknown_enum_value_is_kept() {
    let ram = Sandbox::main();
    ram.fault(
        json!({ "kind": "patch", "pointer": "/resourceShare/status", "value": "FROBBED" }),
        None,
    );

    let made = send(&service(), &mut share()).await.resource_share.unwrap();

    assert_eq!(made.status(), ResourceShareStatus::Unspecified);
    assert_eq!(made.unrecognized_status, "FROBBED");
    // A newer service may name a state that this client does not know: the number survives.
    let newer = ResourceShare::decode([0x28, 99].as_slice()).unwrap();
    assert_eq!(newer.status, 99);
    assert_eq!(newer.encode_to_vec(), [0x28, 99]);
}

#[tokio::test]
async fn metadata_of_64_kib_is_refused_readably() {
    let ram = Sandbox::main();
    let service = service_at(&scene()["main"]["address"], &"x".repeat(65_536));

    let refusal = refused(&service, &mut share()).await;

    assert_eq!(refusal.code, Code::ResourceExhausted, "{}", refusal.message);
    assert_eq!(refusal.reason(), "METADATA_TOO_LARGE");
    assert_eq!(next_step(&refusal), "fix your request");
    assert_eq!(ram.count("requests"), 0);
}

#[tokio::test]
async fn tls_with_a_private_ca() {
    let scene = scene();
    let (tls, token) = (&scene["tls"], text(&scene["token"]));
    let ram = Sandbox::reset(&tls["sandbox"]);
    let by = |ca: &str| {
        let pem = fs::read_to_string(text(&tls[ca])).unwrap();
        connect(
            &endpoint(&text(&tls["address"]), Some(&pem)).unwrap(),
            Some(&token),
        )
        .unwrap()
    };

    arn(&by("ca_file"), &mut share()).await;
    assert_eq!(
        refused(&by("other_ca_file"), &mut share()).await.code,
        Code::Unavailable
    );
    assert_eq!(ram.count("executions"), 1);
}

#[tokio::test]
async fn gzip() {
    Sandbox::main();
    let scene = scene();
    let before = tap("compressed");
    let service =
        service_at(&scene["tap"], &text(&scene["token"])).send_compressed(CompressionEncoding::Gzip);
    let tags = (0..40).map(|i| Tag {
        key: format!("key-{i}"),
        value: "v".repeat(200),
    });
    let mut request = CreateResourceShareRequest {
        tags: tags.collect(),
        ..share()
    };

    let made = send(&service, &mut request).await.resource_share.unwrap();

    assert_eq!(made.tags.len(), 40);
    assert_eq!(tap("compressed"), before + 1);
}

#[tokio::test]
async fn keepalive() {
    let (connections, goaways, pongs) = (tap("connections"), tap("goaways"), tap("pongs"));
    let endpoint = endpoint(&text(&scene()["tap"]), None)
        .unwrap()
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    let mut health = HealthClient::new(endpoint.connect_lazy());

    health.check(HealthCheckRequest::default()).await.unwrap();
    until(|| tap("pongs") >= pongs + 3).await;
    health.check(HealthCheckRequest::default()).await.unwrap();

    // All on one connection, which the service did not end for being pinged.
    assert_eq!(tap("connections"), connections + 1);
    assert_eq!(tap("goaways"), goaways);
}

#[tokio::test]
async fn drain() {
    let scene = scene();
    let control = text(&scene["control"]);
    let started = ask("POST", &format!("{control}/facade"), &Value::Null);
    let own = format!("{control}/facade/{}", started["id"]);
    let ram = Sandbox::reset(&started["sandbox"]);
    ram.fault(json!({ "kind": "delay", "ms": 1500 }), None);
    let service = service_at(&started["address"], &text(&scene["token"]));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let service = service.clone();
        calls.spawn(async move { arn(&service, &mut share()).await });
    }
    ram.wait_for_requests(5).await;

    ask("POST", &format!("{own}/terminate"), &Value::Null);

    let arns: std::collections::BTreeSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(arns.len(), 5);
    let late = refused(&service, &mut share()).await;
    assert_eq!(late.code, Code::Unavailable);
    assert_eq!(next_step(&late), "try again");
    assert_eq!(ask("GET", &format!("{own}/exit"), &Value::Null)["code"], 0);
}

#[tokio::test]
async fn health() {
    let endpoint = endpoint(&text(&scene()["main"]["address"]), None).unwrap();
    let mut health = HealthClient::new(endpoint.connect_lazy());
    for service in ["", "ramfacade.v1.ResourceShareService"] {
        let service = service.to_owned();
        let answer = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status().as_str_name(), "SERVING");
    }
}

#[tokio::test]
async fn reflection() {
    let scene = scene();
    let endpoint = endpoint(&text(&scene["main"]["address"]), None).unwrap();
    let mut client = ServerReflectionClient::new(endpoint.connect_lazy());
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut request = Request::new(tonic::codegen::tokio_stream::once(question));
    let bearer = format!("Bearer {}", text(&scene["token"]));
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());

    let answer = client
        .server_reflection_info(request)
        .await
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();

    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    assert!(
        list.service
            .iter()
            .any(|service| service.name == "ramfacade.v1.ResourceShareService")
    );
}
