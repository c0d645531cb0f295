//! JWT bearer tokens over the wire: a server that fetches keys over HTTP, and tokens that are really signed.

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
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    Facade, Process, arn,
    issuer::{SigningKey, hs256, jwks},
    jwks_server::{JwksServer, Play},
    raw::{self, Answer, Raw, frame},
    refusal, request as create,
    secrets::keep_token,
    until,
};
use prost::Message;
use ram_facade::{
    clock,
    config::{Config, Sources},
    pb::v1::CreateResourceShareRequest,
    server::{self, health},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;

const ISSUER: &str = "https://issuer.example";

fn now() -> u64 {
    clock::wall_now() / 1_000
}

/// The claims of a good token.
fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "ram-facade", "sub": "alice", "iat": now(), "exp": now() + 600})
}

/// Good claims with members replaced; null takes one away.
fn changed(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("changes are an object") {
        if value.is_null() {
            claims.as_object_mut().expect("claims are one").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// A facade before one issuer.
struct Served {
    facade: Facade,
    issuer: JwksServer,
}

impl Served {
    async fn start(play: Play) -> Self {
        Self::with(JwksServer::start(play).await, "", &[]).await
    }

    /// Starts with further lines for the issuer and keys of the configuration.
    async fn with(issuer: JwksServer, lines: &str, keys: &[(&'static str, &str)]) -> Self {
        let directory = TempDir::new().expect("there is room");
        let file = issuers_file(&directory, &format!("jwks_url = \"{}\"\n{lines}", issuer.url()));
        let mut all = vec![("auth.issuers_file", common::path(&file))];
        all.extend_from_slice(keys);
        let facade = Facade::with(&all).await;
        Self { facade, issuer }
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.facade.server.address()).await
    }

    async fn is_ready(&self) -> bool {
        health::ask(self.facade.server.address(), None, "").await.is_ok()
    }
}

fn issuers_file(directory: &TempDir, lines: &str) -> PathBuf {
    let path = directory.path().join("issuers.toml");
    let text = format!(
        "[[issuer]]\nissuer = \"{ISSUER}\"\naudiences = [\"ram-facade\"]\nalgorithms = [\"RS256\", \"ES256\", \"EdDSA\"]\n\
         {lines}\n"
    );
    fs::write(&path, text).expect("there is room");
    path
}

/// Lists resource types, which changes nothing, under this `authorization`.
async fn list(raw: &Raw, authorization: Option<&str>) -> Answer {
    let mut request =
        raw::request().uri("http://localhost/ramfacade.v1.ResourceShareService/ListResourceTypes");
    if let Some(value) = authorization {
        keep_token(value.trim_start_matches("Bearer "));
        request = request.header("authorization", value);
    }
    raw.send(request, &frame(&[])).await
}

/// `OK`, or the reason of the refusal.
fn outcome(answer: &Answer) -> String {
    match answer.status {
        Some(0) => "OK".to_owned(),
        _ => answer.reason(),
    }
}

async fn bearer(raw: &Raw, token: &str) -> String {
    outcome(&list(raw, Some(&format!("Bearer {token}"))).await)
}

#[tokio::test]
async fn each_bad_token_is_refused_in_one_text_and_each_good_one_accepted() {
    let (rsa, ec, ed) = (
        SigningKey::rsa("rsa"),
        SigningKey::p256("ec"),
        SigningKey::ed25519("ed"),
    );
    let stranger = SigningKey::p256("ec");
    let served = Served::start(Play::Body(jwks(&[&rsa, &ec, &ed]))).await;
    let raw = served.raw().await;
    let good = claims().to_string();
    let header = |changes: Value| {
        let mut header = json!({"alg": "ES256", "kid": "ec"});
        for (name, value) in changes.as_object().expect("changes are an object") {
            header[name] = value.clone();
        }
        ec.sign(&header.to_string(), &good)
    };
    let with = |changes: Value| ec.token(&changed(changes));
    let token = ec.token(&claims());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let evil = served.issuer.url();
    let many: Vec<_> = (0..200)
        .map(|n| format!("audience-{n}"))
        .chain(["ram-facade".to_owned()])
        .collect();

    let mut cases: Vec<(&str, String, &str)> = vec![
        ("RSA", rsa.token(&claims()), "OK"),
        ("EC", token.clone(), "OK"),
        ("Ed25519", ed.token(&claims()), "OK"),
        (
            "98 alg none",
            format!(
                "{}.",
                ec.sign(r#"{"alg":"none"}"#, &good).rsplit_once('.').unwrap().0
            ),
            "INVALID",
        ),
        (
            "98 alg none with a signature",
            ec.sign(r#"{"alg":"none","kid":"ec"}"#, &good),
            "INVALID",
        ),
        (
            "99 the RSA key as a secret",
            hs256(&rsa.public(), r#"{"alg":"HS256","kid":"rsa"}"#, &good),
            "INVALID",
        ),
        (
            "99 the JWK as a secret",
            hs256(
                rsa.jwk().to_string().as_bytes(),
                r#"{"alg":"HS256","kid":"rsa"}"#,
                &good,
            ),
            "INVALID",
        ),
        (
            "100 RS256 with the EC key's id",
            rsa.sign(r#"{"alg":"RS256","kid":"ec"}"#, &good),
            "INVALID",
        ),
        (
            "100 ES256 under RS256",
            ec.sign(r#"{"alg":"RS256","kid":"rsa"}"#, &good),
            "INVALID",
        ),
        (
            "an algorithm that the issuer does not use",
            rsa.sign(r#"{"alg":"RS512","kid":"rsa"}"#, &good),
            "INVALID",
        ),
        (
            "somebody else's key under this id",
            stranger.token(&claims()),
            "INVALID",
        ),
        (
            "101 no kid, one fitting key",
            ec.sign(r#"{"alg":"ES256"}"#, &good),
            "OK",
        ),
        (
            "101 kid ../../x",
            header(json!({"kid": "../../x"})),
            "UNKNOWN KEY",
        ),
        (
            "101 kid with SQL",
            header(json!({"kid": "' OR 1=1 --"})),
            "UNKNOWN KEY",
        ),
        ("101 kid with NUL", header(json!({"kid": "ec\0"})), "UNKNOWN KEY"),
        (
            "101 kid of 5 KB",
            header(json!({"kid": "k".repeat(5_000)})),
            "INVALID",
        ),
        ("101 kid is a number", header(json!({"kid": 1})), "INVALID"),
        (
            "103 expired within the leeway",
            with(json!({"exp": now() - 1})),
            "OK",
        ),
        ("103 expired by 61 s", with(json!({"exp": now() - 61})), "EXPIRED"),
        ("103 exp absent", with(json!({"exp": null})), "INVALID"),
        (
            "103 exp is a float",
            with(json!({"exp": now() as f64 + 60.5})),
            "OK",
        ),
        (
            "103 exp is a text",
            with(json!({"exp": (now() + 60).to_string()})),
            "INVALID",
        ),
        ("103 exp is 1e300", with(json!({"exp": 1e300})), "INVALID"),
        ("103 exp is negative", with(json!({"exp": -1})), "INVALID"),
        (
            "104 nbf in the future",
            with(json!({"nbf": now() + 60})),
            "INVALID",
        ),
        (
            "104 iat in the future",
            with(json!({"iat": now() + 60})),
            "INVALID",
        ),
        ("104 nbf within the leeway", with(json!({"nbf": now() + 2})), "OK"),
        ("105 aud absent", with(json!({"aud": null})), "INVALID"),
        (
            "105 aud in a list",
            with(json!({"aud": ["x", "ram-facade"]})),
            "OK",
        ),
        ("105 aud is an empty list", with(json!({"aud": []})), "INVALID"),
        (
            "105 aud begins as ours",
            with(json!({"aud": "ram-facade-x"})),
            "INVALID",
        ),
        ("105 ours begins as aud", with(json!({"aud": "ram"})), "INVALID"),
        ("105 ours among many", with(json!({"aud": many})), "OK"),
        (
            "115 the API server's own audience",
            with(json!({"aud": ["https://kubernetes.default.svc"]})),
            "INVALID",
        ),
        ("106 iss absent", with(json!({"iss": null})), "INVALID"),
        (
            "106 iss with a slash more",
            with(json!({"iss": format!("{ISSUER}/")})),
            "INVALID",
        ),
        (
            "106 iss over http",
            with(json!({"iss": "http://issuer.example"})),
            "INVALID",
        ),
        (
            "106 iss that looks alike",
            with(json!({"iss": "https://\u{0456}ssuer.example"})),
            "INVALID",
        ),
        ("106 iss is a list", with(json!({"iss": [ISSUER]})), "INVALID"),
        ("107 sub is a number", with(json!({"sub": 1})), "INVALID"),
        ("107 sub absent", with(json!({"sub": null})), "INVALID"),
        ("107 sub empty", with(json!({"sub": ""})), "INVALID"),
        (
            "107 sub of 2 KB",
            with(json!({"sub": "s".repeat(2_000)})),
            "INVALID",
        ),
        (
            "107 sub with a line break",
            with(json!({"sub": "alice\nroot"})),
            "INVALID",
        ),
        ("108 crit", header(json!({"crit": ["exp"], "exp": 1})), "INVALID"),
        (
            "109 jku, x5u, jwk and x5c are not looked at",
            header(json!({
                "jku": evil, "x5u": evil, "jwk": stranger.jwk(), "x5c": ["AAAA"],
            })),
            "OK",
        ),
        (
            "109 the key that the header brings",
            stranger.sign(
                &json!({"alg": "ES256", "kid": "ec", "jwk": stranger.jwk()}).to_string(),
                &good,
            ),
            "INVALID",
        ),
        (
            "another kind of token",
            header(json!({"typ": "logout+jwt"})),
            "INVALID",
        ),
        ("110 encrypted", format!("{signed}.{signature}.a.b"), "INVALID"),
        (
            "110 nested",
            ec.sign(r#"{"alg":"ES256","kid":"ec","cty":"JWT"}"#, &token),
            "INVALID",
        ),
        ("110 four parts", format!("{token}.e30"), "INVALID"),
        ("110 two parts", signed.to_owned(), "INVALID"),
        ("110 no signature", format!("{signed}."), "INVALID"),
        ("111 padding", format!("{token}="), "INVALID"),
        (
            "111 padding in the middle",
            format!("{}==.{}", signed, signature),
            "INVALID",
        ),
        (
            "111 another alphabet",
            format!("{signed}.{}", "+/".repeat(43)),
            "INVALID",
        ),
        (
            "113 claims twice",
            ec.sign(
                r#"{"alg":"ES256","kid":"ec"}"#,
                &good.replacen('{', r#"{"sub":"root","#, 1),
            ),
            "INVALID",
        ),
        (
            "113 header twice",
            ec.sign(r#"{"alg":"ES256","alg":"none","kid":"ec"}"#, &good),
            "INVALID",
        ),
        (
            "claims that are no object",
            ec.sign(r#"{"alg":"ES256","kid":"ec"}"#, "[]"),
            "INVALID",
        ),
        (
            "claims that are no JSON",
            ec.sign(r#"{"alg":"ES256","kid":"ec"}"#, "{"),
            "INVALID",
        ),
        ("no token at all", "some-static-token".to_owned(), "INVALID"),
        (
            "112 12 KiB and a bit",
            with(json!({"x": "x".repeat(9_300)})),
            "INVALID",
        ),
    ];
    cases.extend([("still the good one", token.clone(), "OK")]);

    for (case, token, expected) in &cases {
        let answer = list(&raw, Some(&format!("Bearer {token}"))).await;
        let expected = match *expected {
            "OK" => &["OK"][..],
            "EXPIRED" => &["CREDENTIALS_EXPIRED"],
            // The first has a fetch, the next ones are asked to wait for one.
            "UNKNOWN KEY" => &["CREDENTIALS_INVALID", "FACADE_KEYS_UNAVAILABLE"],
            _ => &["CREDENTIALS_INVALID"],
        };
        let outcome = outcome(&answer);
        assert!(expected.contains(&outcome.as_str()), "{case}: {outcome}");
        if outcome == "CREDENTIALS_INVALID" {
            assert_eq!((answer.status, answer.http.as_u16()), (Some(16), 200), "{case}");
            assert!(
                answer.message.starts_with("the%20credential%20is%20not%20valid"),
                "{case}: {}",
                answer.message
            );
        }
    }
    // The start, and one for the first unknown key id.
    assert_eq!(
        served.issuer.requests(),
        2,
        "a token made the facade fetch what it likes"
    );
    assert_eq!(served.facade.requested(), 0);
}

#[tokio::test]
async fn the_header_is_read_strictly_and_says_what_is_missing() {
    let key = SigningKey::p256("k");
    let served = Served::start(Play::Body(jwks(&[&key]))).await;
    let raw = served.raw().await;
    let token = key.token(&claims());

    for (authorization, expected) in [
        (None, "CREDENTIALS_MISSING"),
        (Some(format!("bEARER {token}")), "OK"),
        (Some(format!("Bearer  {token}")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer\t{token}")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer {token} ")), "OK"),
        (Some(format!("Bearer {token} x")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer {token},{token}")), "CREDENTIALS_INVALID"),
        (Some(token.clone()), "CREDENTIALS_INVALID"),
        (Some("Basic dXNlcjpwYXNz".to_owned()), "CREDENTIALS_INVALID"),
        (Some(format!("DPoP {token}")), "CREDENTIALS_INVALID"),
        (Some(String::new()), "CREDENTIALS_INVALID"),
        (Some("Bearer".to_owned()), "CREDENTIALS_INVALID"),
    ] {
        let answer = list(&raw, authorization.as_deref()).await;
        // Blanks around a value are no part of it (RFC 9110, 5.5), but HTTP/2 lets them through.
        let strict = authorization.as_deref().is_some_and(|value| value.ends_with(' '));
        let expected = if strict { "CREDENTIALS_INVALID" } else { expected };
        assert_eq!(outcome(&answer), expected, "{authorization:?}");
    }
    let basic = list(&raw, Some("Basic dXNlcjpwYXNz")).await;
    assert!(basic.message.contains("Bearer"), "{}", basic.message);
}

#[tokio::test]
async fn a_token_that_is_larger_than_all_headers_may_be_harms_nobody_else() {
    let key = SigningKey::p256("k");
    let served = Served::start(Play::Body(jwks(&[&key]))).await;
    let raw = served.raw().await;

    let huge = key.token(&changed(json!({"x": "x".repeat(22_000)})));
    let answer = list(&raw, Some(&format!("Bearer {huge}"))).await;

    assert_eq!(outcome(&answer), "METADATA_TOO_LARGE");
    assert_eq!(bearer(&raw, &key.token(&claims())).await, "OK");
}

#[tokio::test]
async fn a_kubernetes_service_account_is_one_caller_whatever_its_token() {
    let key = SigningKey::rsa("kube");
    let lines = "[issuer.attributes]\nnamespace = \"/kubernetes.io/namespace\"\n\
                 service_account = \"/kubernetes.io/serviceaccount/name\"";
    let issuer = JwksServer::start(Play::Body(jwks(&[&key]))).await;
    let served = Served::with(issuer, lines, &[]).await;
    // What a projected token has (Kubernetes, "Service account tokens").
    let token = |account: &str, pod: &str| {
        key.token(&json!({
            "aud": ["ram-facade"], "exp": now() + 3_607, "iat": now(), "nbf": now(), "iss": ISSUER,
            "jti": "0b7c7c1f-6f3f-4c55-9d61-4b3a7f0e9d11",
            "kubernetes.io": {
                "namespace": "billing",
                "node": {"name": "node-1", "uid": "5d8a5f5e-7d4c-4f9e-8a59-3c3c3d0f3f2e"},
                "pod": {"name": pod, "uid": "9c6d2b1a-2f0b-4b8e-8a4e-6f8f0d7a1b2c"},
                "serviceaccount": {"name": account, "uid": "1f6f3a52-54a3-4c0e-9a53-2c9c7f1d4e5b"},
                "warnafter": now() + 3_000,
            },
            "sub": format!("system:serviceaccount:billing:{account}"),
        }))
    };
    let create = async |token: &str| {
        let mut request = tonic::Request::new(create("demo", "token-1"));
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("it is ASCII");
        request.metadata_mut().insert("authorization", value);
        served
            .facade
            .client
            .clone()
            .create(request)
            .await
            .expect("it is accepted")
    };

    let first = create(&token("deployer", "pod-1")).await;
    let rotated = create(&token("deployer", "pod-2")).await;
    let other = create(&token("auditor", "pod-1")).await;

    assert_eq!(arn(&first), arn(&rotated));
    assert!(rotated.metadata().contains_key("idempotency-replayed"));
    assert_ne!(
        arn(&first),
        arn(&other),
        "another service account saw this one's record"
    );
    assert_eq!(served.facade.created(), 2);
}

#[tokio::test]
async fn with_the_issuer_down_at_start_its_tokens_are_worth_a_retry_until_it_is_back() {
    let key = Arc::new(SigningKey::p256("k"));
    let plays = [
        Play::Status(500),
        Play::Status(404),
        Play::Status(302),
        Play::Body("<html></html>".to_owned()),
        Play::Body(r#"{"keys":[]}"#.to_owned()),
        Play::Huge(10 << 20),
        Play::Body(json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}]}).to_string()),
    ];
    let running = plays.map(|play| {
        let key = Arc::clone(&key);
        tokio::spawn(async move {
            let served = Served::start(play.clone()).await;
            let raw = served.raw().await;
            let token = key.token(&claims());

            let answer = list(&raw, Some(&format!("Bearer {token}"))).await;

            assert_eq!(outcome(&answer), "FACADE_KEYS_UNAVAILABLE", "{play:?}");
            assert_eq!(answer.status, Some(14));
            let status = tonic::Status::from_header_map(&answer.headers).expect("it is refused");
            let refused = refusal(&status);
            assert_eq!(refused.metadata["outcome"], "not_executed");
            assert!(refused.details.retry_info().is_some());
            assert!(answer.headers.contains_key("grpc-retry-pushback-ms"));
            assert!(!served.is_ready().await, "{play:?}");
            let service = "ramfacade.v1.ResourceShareService";
            assert_eq!(
                health::ask(served.facade.server.address(), None, service).await,
                Ok(())
            );

            served.issuer.play(Play::Body(jwks(&[&key])));
            until("the server is ready", || served.is_ready()).await;
            assert_eq!(bearer(&raw, &token).await, "OK", "{play:?}");
        })
    });
    for test in running {
        test.await.expect("no play fails");
    }
}

#[tokio::test]
async fn a_fetch_that_goes_wrong_later_keeps_the_keys_that_are_known() {
    let key = Arc::new(SigningKey::p256("k"));
    let plays = [
        Play::Status(500),
        Play::Status(301),
        Play::Huge(300 * 1_024),
        Play::Body(r#"{"keys":[]}"#.to_owned()),
    ];
    let running = plays.map(|play| {
        let key = Arc::clone(&key);
        tokio::spawn(async move {
            let served = Served::start(Play::Body(jwks(&[&key]))).await;
            until("the server is ready", || served.is_ready()).await;
            let raw = served.raw().await;
            served.issuer.play(play.clone());

            // Its key id makes the facade look, which says nothing about the key.
            let unknown = bearer(&raw, &SigningKey::p256("new").token(&claims())).await;

            assert_eq!(unknown, "FACADE_KEYS_UNAVAILABLE", "{play:?}");
            assert!(served.issuer.requests() >= 2, "{play:?}");
            assert_eq!(bearer(&raw, &key.token(&claims())).await, "OK", "{play:?}");
            assert!(served.is_ready().await, "{play:?}");
        })
    });
    for test in running {
        test.await.expect("no play fails");
    }
}

#[tokio::test]
async fn an_issuer_that_says_nothing_costs_its_callers_their_deadline_and_nobody_else_anything() {
    let served = {
        let issuer = JwksServer::start(Play::Silence(Duration::from_secs(60))).await;
        let tokens = TempDir::new().expect("there is room");
        let file = tokens.path().join("tokens");
        // printf %s secret | sha256sum
        let line = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b bob";
        fs::write(&file, line).expect("there is room");
        Served::with(issuer, "", &[("auth.tokens_file", common::path(&file))]).await
    };
    let raw = served.raw().await;
    let token = SigningKey::p256("k").token(&claims());

    let request = raw::request()
        .header("authorization", format!("Bearer {token}"))
        .header("grpc-timeout", "300m");
    let message = frame(&create("demo", "t").encode_to_vec());
    let waiting = raw.send(request, &message);
    let (answer, other) = tokio::join!(waiting, bearer(&raw, "secret"));

    assert_eq!(answer.status, Some(4), "{answer:?}");
    assert_eq!(other, "OK");
    assert_eq!(served.facade.requested(), 0);
}

#[tokio::test]
async fn keys_rotate_under_load_without_a_failed_call() {
    let (old, new) = (
        Arc::new(SigningKey::p256("old")),
        Arc::new(SigningKey::rsa("new")),
    );
    let served = Served::with(
        JwksServer::start(Play::Body(jwks(&[&old]))).await,
        "",
        &[("limits.per_second", "0")],
    )
    .await;
    let rotated = Arc::new(AtomicBool::new(false));
    let (calls, with_new) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let raw = served.facade.server.address();
            let (old, new, rotated) = (Arc::clone(&old), Arc::clone(&new), Arc::clone(&rotated));
            let (calls, with_new) = (Arc::clone(&calls), Arc::clone(&with_new));
            tokio::spawn(async move {
                let raw = Raw::connect(raw).await;
                while with_new.load(Ordering::SeqCst) < 100 {
                    let is_rotated = rotated.load(Ordering::SeqCst);
                    let key = if is_rotated { &new } else { &old };
                    let n = calls.fetch_add(1, Ordering::SeqCst);
                    // Another token for each call: none is remembered.
                    let token = key.token(&changed(json!({"sub": format!("caller-{caller}"), "jti": n})));
                    assert_eq!(bearer(&raw, &token).await, "OK");
                    with_new.fetch_add(usize::from(is_rotated), Ordering::SeqCst);
                }
            })
        })
        .collect();
    until("callers are at work", async || calls.load(Ordering::SeqCst) > 50).await;

    // An issuer publishes a key before it signs with it, and keeps the old one until its tokens have ended.
    served.issuer.play(Play::Body(jwks(&[&old, &new])));
    rotated.store(true, Ordering::SeqCst);

    for caller in callers {
        caller.await.expect("no call fails");
    }
    assert_eq!(served.issuer.requests(), 2);
}

#[tokio::test]
async fn a_thousand_key_ids_that_nobody_has_cause_one_fetch() {
    let key = SigningKey::p256("k");
    let served = Served::start(Play::Body(jwks(&[&key]))).await;
    let raw = served.raw().await;
    let good = claims().to_string();
    let began = tokio::time::Instant::now();

    for n in 0..1_000 {
        let header = json!({"alg": "ES256", "kid": format!("random-{n}")}).to_string();
        let outcome = bearer(&raw, &key.sign(&header, &good)).await;
        assert!(
            matches!(
                outcome.as_str(),
                "CREDENTIALS_INVALID" | "FACADE_KEYS_UNAVAILABLE"
            ),
            "{outcome}"
        );
    }

    let windows = usize::try_from(began.elapsed().as_secs() / 30).expect("it fits");
    assert!(
        served.issuer.requests() <= 2 + windows,
        "{} fetches",
        served.issuer.requests()
    );
    assert_eq!(bearer(&raw, &key.token(&claims())).await, "OK");
}

#[tokio::test]
async fn keys_behind_tls_are_fetched_by_the_configured_authority_and_with_the_configured_token() {
    let key = SigningKey::p256("k");
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
            )
            .expect("they belong together");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let issuer = JwksServer::with(Play::Body(jwks(&[&key])), Some(acceptor)).await;
    let files = TempDir::new().expect("there is room");
    let (trusted, other) = (files.path().join("ca.pem"), files.path().join("other.pem"));
    fs::write(&trusted, made.cert.pem()).expect("there is room");
    let stranger =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made");
    fs::write(&other, stranger.cert.pem()).expect("there is room");
    let token_file = files.path().join("token");
    fs::write(&token_file, "kube-token\n").expect("there is room");
    let lines = |ca: &PathBuf| {
        format!(
            "jwks_ca_file = \"{}\"\njwks_token_file = \"{}\"",
            ca.display(),
            token_file.display()
        )
    };

    let deceived = Served::with(issuer.clone(), &lines(&other), &[]).await;
    let refused = bearer(&deceived.raw().await, &key.token(&claims())).await;
    let requests = issuer.requests();
    let served = Served::with(issuer.clone(), &lines(&trusted), &[]).await;
    let accepted = bearer(&served.raw().await, &key.token(&claims())).await;

    assert_eq!((refused.as_str(), requests), ("FACADE_KEYS_UNAVAILABLE", 0));
    assert_eq!(accepted, "OK");
    assert_eq!(issuer.last()["authorization"], "Bearer kube-token");
}

#[tokio::test]
async fn a_noisy_caller_is_told_when_to_come_back_and_leaves_the_others_alone() {
    let key = SigningKey::p256("k");
    let served = Served::with(
        JwksServer::start(Play::Body(jwks(&[&key]))).await,
        "",
        &[("limits.per_second", "1"), ("limits.burst", "5")],
    )
    .await;
    let (noisy, quiet) = (key.token(&changed(json!({"sub": "noisy"}))), key.token(&claims()));
    // Other connections, other tokens: it is the name that counts.
    let noisy_again = key.token(&changed(json!({"sub": "noisy", "jti": "2"})));
    let (raw, other) = (served.raw().await, served.raw().await);

    let mut through = 0;
    for _ in 0..20 {
        through += usize::from(bearer(&raw, &noisy).await == "OK");
        through += usize::from(bearer(&other, &noisy_again).await == "OK");
    }
    let answer = list(&raw, Some(&format!("Bearer {noisy}"))).await;

    assert!((5..=10).contains(&through), "{through} calls went through");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (Some(8), "CALLER_RATE_LIMITED")
    );
    let pushback = answer.headers["grpc-retry-pushback-ms"]
        .to_str()
        .expect("a number")
        .parse::<u64>();
    assert!(pushback.is_ok_and(|ms| (100..=1_500).contains(&ms)), "{answer:?}");
    for _ in 0..5 {
        assert_eq!(bearer(&raw, &quiet).await, "OK");
    }
    assert!(served.is_ready().await);
}

#[tokio::test]
async fn calls_in_flight_are_limited_for_each_caller() {
    let key = SigningKey::p256("k");
    let served = Served::with(
        JwksServer::start(Play::Body(jwks(&[&key]))).await,
        "",
        &[("limits.in_flight", "2")],
    )
    .await;
    let raw = served.raw().await;
    served.facade.faults(r#"{"latency_ms": 1500}"#);
    let call = async |who: &str, name: &str| {
        let token = key.token(&changed(json!({"sub": who})));
        let request = raw::request().header("authorization", format!("Bearer {token}"));
        let message: CreateResourceShareRequest = create(name, name);
        outcome(&raw.send(request, &frame(&message.encode_to_vec())).await)
    };
    // So that the four arrive when the keys are there.
    until("the server is ready", || served.is_ready()).await;

    let (one, two, three, other) = tokio::join!(
        call("alice", "a"),
        call("alice", "b"),
        call("alice", "c"),
        call("bob", "d")
    );

    let mut of_alice = [one, two, three];
    of_alice.sort();
    assert_eq!(of_alice, ["CALLER_IN_FLIGHT_LIMIT", "OK", "OK"]);
    assert_eq!(other, "OK");
}

#[tokio::test]
async fn static_tokens_and_jwts_are_served_side_by_side() {
    let key = SigningKey::p256("k");
    let files = TempDir::new().expect("there is room");
    let tokens = files.path().join("tokens");
    let line = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b bob";
    fs::write(&tokens, line).expect("there is room");
    let served = Served::with(
        JwksServer::start(Play::Body(jwks(&[&key]))).await,
        "",
        &[("auth.tokens_file", common::path(&tokens))],
    )
    .await;
    let raw = served.raw().await;

    assert_eq!(bearer(&raw, "secret").await, "OK");
    assert_eq!(bearer(&raw, &key.token(&claims())).await, "OK");
    assert_eq!(bearer(&raw, "other").await, "CREDENTIALS_INVALID");
    assert_eq!(
        bearer(&raw, &SigningKey::p256("k").token(&claims())).await,
        "CREDENTIALS_INVALID"
    );
}

#[test]
fn check_config_reports_the_faults_of_the_issuers_file_without_a_network() {
    let directory = TempDir::new().expect("there is room");
    let lines = "jwks_url = \"https://issuer.invalid/keys\"\nleeway_s = 90\naudience = \"x\"";
    let file = issuers_file(&directory, lines);
    let flags = [
        ("auth.issuers_file", common::path(&file).to_owned()),
        ("store", ":memory:".to_owned()),
        ("policy.allow_all", "true".to_owned()),
    ];
    let config = Config::read(Sources {
        flags: flags.into(),
        ..Sources::default()
    });

    let faults = server::check(&config.expect("the keys themselves are right"));

    assert_eq!(faults.len(), 1, "{faults:?}");
    for part in [
        "issuer `https://issuer.example`: leeway_s must be",
        "audience is no key",
    ] {
        assert!(faults[0].contains(part), "{part}: {faults:?}");
    }
    issuers_file(&directory, "jwks_url = \"https://issuer.invalid/keys\"");
    let config = Config::read(Sources {
        flags: [
            ("auth.issuers_file", common::path(&file).to_owned()),
            ("store", ":memory:".to_owned()),
            ("policy.allow_all", "true".to_owned()),
        ]
        .into(),
        ..Sources::default()
    });
    assert_eq!(
        server::check(&config.expect("the keys are right")),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn keys_from_a_file_are_ready_at_once() {
    let key = SigningKey::ed25519("k");
    let directory = TempDir::new().expect("there is room");
    let set = directory.path().join("keys.json");
    fs::write(&set, jwks(&[&key])).expect("there is room");
    let file = issuers_file(&directory, &format!("jwks_file = \"{}\"", set.display()));

    let facade = Facade::with(&[("auth.issuers_file", common::path(&file))]).await;

    let raw = Raw::connect(facade.server.address()).await;
    assert_eq!(bearer(&raw, &key.token(&claims())).await, "OK");
    until("the server is ready", async || {
        health::ask(facade.server.address(), None, "").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_hangup_fetches_the_keys_at_once() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let issuer = JwksServer::start(Play::Body(jwks(&[&old]))).await;
    let directory = TempDir::new().expect("there is room");
    let file = issuers_file(&directory, &format!("jwks_url = \"{}\"", issuer.url()));
    let arguments = [
        "serve",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--auth-issuers-file",
        common::path(&file),
    ];
    let program = Process::start(&arguments, &[]);
    let raw = Raw::connect(program.address()).await;
    let answer = async |key: &SigningKey| bearer(&raw, &key.token(&claims())).await;
    assert_eq!(answer(&old).await, "OK");
    // From now on no token makes it look for this key, for a minute.
    assert_eq!(answer(&new).await, "CREDENTIALS_INVALID");

    issuer.play(Play::Body(jwks(&[&new])));
    program.signal("-HUP");

    until("the new key is believed", async || answer(&new).await == "OK").await;
    assert_ne!(answer(&old).await, "OK");
}
