//! Whatever arrives, the answer is right, nothing reaches RAM, nothing is recorded, and the next caller is served.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::{
    Facade, arn,
    raw::{self, Raw, frame},
    refusal, request as create,
    secrets::{ALPHA, BETA, token_line},
};
use http::{Method, StatusCode};
use prost::Message;
use ram_facade::pb::v1::{CreateResourceShareRequest, Tag};
use tonic::Code;

fn good() -> Vec<u8> {
    create("demo", "token-1").encode_to_vec()
}

/// Nothing reached RAM, and the token is still free for another request.
async fn assert_untouched(facade: &Facade) {
    assert_eq!(facade.requested(), 0);
    let made = facade
        .create(create("made-afterwards", "token-1"))
        .await
        .expect("the server still serves");
    assert!(made.metadata().get("idempotency-replayed").is_none());
}

#[tokio::test]
async fn what_is_no_grpc_request_is_refused_by_http() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;
    let body = frame(&good());

    for content_type in [
        "application/json",
        "application/grpc-web",
        "application/grpc+json",
        "text/html",
        "",
    ] {
        let mut request = raw::request();
        request
            .headers_mut()
            .unwrap()
            .insert("content-type", content_type.parse().unwrap());
        assert_eq!(
            raw.send(request, &body).await.http,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = raw.send(raw::request().method(method.clone()), &body).await;
        assert_eq!(answer.http, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn what_names_no_method_is_unimplemented() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;

    for path in [
        "/",
        "/ramfacade.v1.ResourceShareService",
        "/ramfacade.v1.ResourceShareService/Delete",
        "/ramfacade.v2.ResourceShareService/Create",
        "/ramfacade.v1.ResourceShareService/create",
        "/ramfacade.v1.ResourceShareService/Create/",
        "//ramfacade.v1.ResourceShareService/Create",
        "/ramfacade.v1.ResourceShareService/%43reate",
        "/ramfacade.v1.ResourceShareService/Create?x=1",
    ] {
        let request = raw::request().uri(format!("http://localhost{path}"));
        let answer = raw.send(request, &frame(&good())).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (Some(12), "METHOD_UNKNOWN"),
            "{path}"
        );
    }
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn a_message_that_is_framed_wrongly_is_refused() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;
    let message = good();
    let with_prefix =
        |flag: u8, length: u32, rest: &[u8]| [&[flag], length.to_be_bytes().as_slice(), rest].concat();
    let two = [frame(&message), frame(&message)].concat();
    let length = u32::try_from(message.len()).unwrap();

    let cases: [(&str, Vec<u8>, i32, &str); 8] = [
        ("no message", vec![], 13, "MALFORMED_MESSAGE"),
        ("half a prefix", vec![0, 0], 13, "MALFORMED_MESSAGE"),
        (
            "less than it claims",
            with_prefix(0, length + 10, &message),
            13,
            "MALFORMED_MESSAGE",
        ),
        (
            "5 MiB claimed",
            with_prefix(0, 5 << 20, &message),
            8,
            "MESSAGE_TOO_LARGE",
        ),
        (
            "4 GiB claimed",
            with_prefix(0, u32::MAX, &message),
            8,
            "MESSAGE_TOO_LARGE",
        ),
        (
            "compressed without saying how",
            with_prefix(1, length, &message),
            13,
            "MALFORMED_MESSAGE",
        ),
        (
            "an unknown flag",
            with_prefix(2, length, &message),
            13,
            "MALFORMED_MESSAGE",
        ),
        ("two messages", two, 13, "MALFORMED_MESSAGE"),
    ];
    for (what, body, status, reason) in cases {
        let answer = raw.send(raw::request(), &body).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (Some(status), reason),
            "{what}: {answer:?}"
        );
    }
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn a_claim_of_4_mib_that_never_comes_is_refused_at_once_and_takes_no_memory() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;

    // More than fit on the connection at a time: each must have been answered and closed.
    for _ in 0..300 {
        let prefix = [&[0], (4_u32 << 20).to_be_bytes().as_slice()].concat();
        let answer = raw.send_unfinished(raw::request(), &prefix).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (Some(8), "MESSAGE_TOO_LARGE")
        );
    }
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn compression_is_accepted_as_gzip_and_bounded() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let compressed = |body: &[u8]| {
        let mut framed = frame(body);
        framed[0] = 1;
        framed
    };
    let send = |encoding: &'static str, body: Vec<u8>| {
        let raw = &raw;
        async move {
            raw.send(
                raw::request().header("grpc-encoding", encoding),
                &compressed(&body),
            )
            .await
        }
    };

    let bomb = gzip(&vec![0_u8; 100 << 20]);
    assert!(bomb.len() < 200 << 10, "the bomb itself is within the limit");
    let answer = send("gzip", bomb).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (Some(8), "MESSAGE_TOO_LARGE")
    );

    let mut half = gzip(&good());
    half.truncate(half.len() / 2);
    let answer = send("gzip", half).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (Some(13), "MALFORMED_MESSAGE")
    );

    for unknown in ["zstd", "br", "frob"] {
        let answer = send(unknown, good()).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (Some(12), "ENCODING_UNSUPPORTED"),
            "{unknown}"
        );
    }
    assert_eq!(facade.requested(), 0);

    let answer = send("gzip", gzip(&good())).await;
    assert_eq!(answer.status, Some(0), "{answer:?}");
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_such_message_are_refused_without_echoing_them() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;
    let secret = "SECRETVALUE";
    let group_bomb = [vec![0x7b_u8; 200], vec![0x7c; 200]].concat();

    let cases: [(&str, Vec<u8>); 6] = [
        ("an endless varint", vec![0xff; 16]),
        (
            "a name that is no UTF-8",
            [&[0x0a, 14], secret.as_bytes(), &[0xff, 0xfe, 0xfd]].concat(),
        ),
        ("groups nested too deeply", group_bomb),
        (
            "a string where a number belongs",
            [&[0x2a, 11], secret.as_bytes()].concat(),
        ),
        ("a length behind the end", vec![0x0a, 0x7f, b'x']),
        ("field number 0", vec![0x00, 0x01]),
    ];
    for (what, body) in cases {
        let answer = raw.message(&body).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (Some(13), "MALFORMED_MESSAGE"),
            "{what}: {answer:?}"
        );
        assert!(!answer.message.contains(secret), "{what}: {}", answer.message);
    }
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn messages_from_newer_clients_and_odd_encodings_are_served() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;

    // A field that this contract does not have yet.
    let newer = [
        create("newer", "t1").encode_to_vec(),
        vec![0xfa, 0x07, 3, b'n', b'e', b'w'],
    ]
    .concat();
    assert_eq!(raw.message(&newer).await.status, Some(0));
    // The name twice: the last one counts.
    let twice = [
        create("first", "t2").encode_to_vec(),
        create("last", "t2").encode_to_vec(),
    ]
    .concat();
    let answer = raw.message(&twice).await;
    assert_eq!(answer.status, Some(0));
    let body = Bytes::from(answer.body).slice(5..);
    let response = ram_facade::pb::v1::CreateResourceShareResponse::decode(body).unwrap();
    assert_eq!(response.resource_share.unwrap().name, "last");
    // 200 KB of unknown empty fields.
    let padded = [
        create("padded", "t3").encode_to_vec(),
        [0xfa, 0x07, 0].repeat(65_000),
    ]
    .concat();
    assert_eq!(raw.message(&padded).await.status, Some(0));
}

#[tokio::test]
async fn a_timeout_that_breaks_the_grammar_is_refused_by_name() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;

    for bad in ["", "S", "-1S", "1.5S", "1x", "123456789S", "1 S", "１S", "0x1S"] {
        let Ok(value) = http::HeaderValue::from_bytes(bad.as_bytes()) else {
            panic!("{bad}")
        };
        let answer = raw
            .send(raw::request().header("grpc-timeout", value), &frame(&good()))
            .await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (Some(3), "INVALID_TIMEOUT"),
            "{bad}"
        );
    }
    let answer = raw
        .send(raw::request().header("grpc-timeout", "0n"), &frame(&good()))
        .await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (Some(4), "DEADLINE_EXCEEDED")
    );
    assert_untouched(&facade).await;

    let long = raw
        .send(
            raw::request().header("grpc-timeout", "99999999H"),
            &frame(&good()),
        )
        .await;
    assert_eq!(
        long.status,
        Some(3),
        "another name under the token of the call before: {long:?}"
    );
    let mut fresh = create("long", "token-2").encode_to_vec();
    fresh = frame(&fresh);
    assert_eq!(
        raw.send(raw::request().header("grpc-timeout", "99999999H"), &fresh)
            .await
            .status,
        Some(0)
    );
}

#[tokio::test]
async fn headers_that_mean_nothing_here_do_no_harm() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;

    for (i, (name, value)) in [
        ("traceparent", "garbage"),
        (
            "traceparent",
            "ff-00000000000000000000000000000000-0000000000000000-00",
        ),
        ("tracestate", "x=%%%"),
        ("some-bin", "!!not base64!!"),
        ("grpc-accept-encoding", "frob"),
        ("x-request-id", "with spaces and \u{e9}"),
    ]
    .into_iter()
    .enumerate()
    {
        let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let body = frame(&create("demo", &format!("token-{i}")).encode_to_vec());
        let answer = raw.send(raw::request().header(name, value), &body).await;
        assert_eq!(answer.status, Some(0), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn metadata_over_its_limit_is_refused_with_a_reason_and_the_connection_lives_on() {
    let facade = Facade::start().await;
    let raw = Raw::connect(facade.server.address()).await;
    let body = frame(&good());

    for kib in [17, 64, 120] {
        let request = raw::request().header("authorization", "x".repeat(kib * 1_024));
        let answer = raw.send(request, &body).await;
        let seen = (answer.status, answer.reason());
        assert_eq!(seen, (Some(8), "METADATA_TOO_LARGE".to_owned()), "{kib} KiB");
    }
    assert_untouched(&facade).await;
    let request = raw::request().header("baggage", "x".repeat(15 * 1_024));
    let fits = frame(&create("demo", "token-2").encode_to_vec());
    assert_eq!(raw.send(request, &fits).await.status, Some(0));
}

#[tokio::test]
async fn every_broken_rule_is_reported_at_once_with_its_field() {
    let facade = Facade::start().await;
    let request = CreateResourceShareRequest {
        name: "a/b".to_owned(),
        resource_arns: vec![
            "arn:aws:ec2:us-east-1:111122223333:subnet/s".to_owned(),
            "arn:aws:ec2:*".to_owned(),
        ],
        principals: vec![
            "o-a1b2c3d4e5".to_owned(),
            "44445555666".to_owned(),
            "４４４４５５５５６６６６".to_owned(),
        ],
        tags: vec![
            Tag {
                key: "aws:x".to_owned(),
                value: String::new(),
            },
            Tag {
                key: "a".to_owned(),
                value: "v".repeat(257),
            },
            Tag {
                key: "a".to_owned(),
                value: String::new(),
            },
        ],
        client_token: "x".repeat(65),
        permission_arns: vec!["arn:aws:s3:::bucket".to_owned()],
        sources: vec!["444455556666".to_owned()],
        ..CreateResourceShareRequest::default()
    };

    let refused = refusal(&facade.create(request).await.unwrap_err());

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::InvalidArgument, "INVALID_REQUEST")
    );
    let fields: Vec<_> = refused
        .details
        .bad_request()
        .unwrap()
        .field_violations
        .iter()
        .map(|v| v.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "name",
            "resource_arns[1]",
            "principals[0]",
            "principals[1]",
            "principals[2]",
            "sources",
            "tags[0].key",
            "tags[1].value",
            "tags[2].key",
            "client_token",
            "permission_arns[0]",
        ]
    );
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn lists_of_hostile_length_get_a_short_answer() {
    let facade = Facade::start().await;
    let many = CreateResourceShareRequest {
        resource_arns: vec![String::new(); 100_000],
        principals: vec!["x".to_owned(); 3_000],
        tags: (0..51)
            .map(|i| Tag {
                key: format!("k{i}"),
                value: String::new(),
            })
            .collect(),
        ..create("demo", "token-1")
    };

    let refused = refusal(&facade.create(many).await.unwrap_err());

    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::InvalidArgument, "INVALID_REQUEST")
    );
    assert!(refused.details.bad_request().unwrap().field_violations.len() < 50);
    let too_large = CreateResourceShareRequest {
        resource_arns: vec!["arn:aws:ec2:us-east-1:111122223333:subnet/s".repeat(20); 1_000],
        ..create("demo", "token-1")
    };
    let refused = refusal(&facade.create(too_large).await.unwrap_err());
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    assert_untouched(&facade).await;
}

#[tokio::test]
async fn client_tokens_outside_their_alphabet_are_refused_and_odd_ones_inside_are_not() {
    let facade = Facade::start().await;

    for bad in [
        "tökén".to_owned(),
        "a\nb".to_owned(),
        "a\u{0}b".to_owned(),
        "x".repeat(65),
    ] {
        let refused = refusal(&facade.create(create("demo", &bad)).await.unwrap_err());
        assert_eq!(
            refused.details.bad_request().unwrap().field_violations[0].field,
            "client_token",
            "{bad:?}"
        );
    }
    assert_eq!(facade.requested(), 0);
    let mut arns = std::collections::HashSet::new();
    for good in [
        "00000000-0000-0000-0000-000000000000",
        "~!@ #",
        "A",
        "a",
        &"x".repeat(64),
    ] {
        arns.insert(arn(&facade.create(create("demo", good)).await.unwrap()));
    }
    assert_eq!(arns.len(), 5, "tokens are case-sensitive and never normalised");
}

#[tokio::test]
async fn more_than_one_credential_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    std::fs::write(&file, token_line(ALPHA, "service-a")).unwrap();
    let facade = Facade::with(&[("auth.tokens_file", common::path(&file))]).await;
    let raw = Raw::connect(facade.server.address()).await;

    let good_one = format!("Bearer {ALPHA}");
    for credentials in [
        &[good_one.clone(), good_one.clone()][..],
        &["Basic YTpi".to_owned()],
        &[format!("Bearer  {ALPHA}")],
        &[format!("Bearer\t{ALPHA}")],
        &["Bearer".to_owned()],
        &[format!("{good_one},Bearer {BETA}")],
        &[ALPHA.to_owned()],
    ] {
        let request = credentials
            .iter()
            .fold(raw::request(), |r, c| r.header("authorization", c));
        let answer = raw.send(request, &frame(&good())).await;
        assert_eq!(answer.status, Some(16), "{credentials:?}: {answer:?}");
        assert!(!format!("{answer:?}").contains(ALPHA), "{credentials:?}");
    }
    let answer = raw
        .send(
            raw::request().header("authorization", format!("bearer {ALPHA}")),
            &frame(&good()),
        )
        .await;
    assert_eq!(answer.status, Some(0), "the scheme has no case: {answer:?}");
}
