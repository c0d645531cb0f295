//! grpc-web, which is served where it is switched on and refused everywhere else. The Node client's suite asks with a
//! real grpc-web client; this one looks at the bytes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    Facade,
    raw::{self, Answer, Raw, frame},
    request as create,
};
use http::StatusCode;
use prost::Message;
use ram_facade::pb::v1::CreateResourceShareResponse;

const WEB: &str = "application/grpc-web+proto";

async fn send(facade: &Facade, content_type: &str, message: &[u8]) -> Answer {
    let raw = Raw::connect(facade.server.address()).await;
    let mut request = raw::request();
    let headers = request.headers_mut().unwrap();
    headers.insert("content-type", content_type.parse().unwrap());
    raw.send(request, &frame(message)).await
}

/// The frames of a body: the flag of each and what it holds.
fn frames(mut body: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        frames.push((*flag, &rest[..length]));
        body = &rest[length..];
    }
    frames
}

#[tokio::test]
async fn switched_on_a_share_is_made_and_the_status_follows_the_message() {
    let facade = Facade::with(&[("grpc_web.enabled", "true")]).await;

    let answer = send(&facade, WEB, &create("demo", "token-1").encode_to_vec()).await;

    assert_eq!(answer.http, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], WEB);
    let frames = frames(&answer.body);
    let [(0, message), (0x80, trailers)] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    let response = CreateResourceShareResponse::decode(*message).unwrap();
    assert!(
        response
            .resource_share
            .unwrap()
            .resource_share_arn
            .starts_with("arn:")
    );
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
}

#[tokio::test]
async fn switched_on_a_refusal_keeps_its_code_and_its_details() {
    let facade = Facade::with(&[("grpc_web.enabled", "true")]).await;

    let answer = send(&facade, WEB, &create("", "token-1").encode_to_vec()).await;

    let mut seen = String::from_utf8_lossy(&answer.body).into_owned();
    for (name, value) in &answer.headers {
        seen.push_str(&format!("{name}:{}\n", value.to_str().unwrap()));
    }
    assert!(
        seen.contains("grpc-status:3") || seen.contains("grpc-status: 3"),
        "{seen}"
    );
    assert!(seen.contains("grpc-status-details-bin"), "{seen}");
    assert_eq!(facade.requested(), 0);
}

#[tokio::test]
async fn switched_on_grpc_is_served_as_before_and_nothing_else_is() {
    let facade = Facade::with(&[("grpc_web.enabled", "true")]).await;
    let message = create("demo", "token-1").encode_to_vec();

    assert_eq!(send(&facade, "application/grpc", &message).await.status, Some(0));
    for content_type in ["application/json", "application/grpc-web+json", "text/html"] {
        let answer = send(&facade, content_type, &message).await;
        assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
}

#[tokio::test]
async fn no_other_origin_is_let_in() {
    let facade = Facade::with(&[("grpc_web.enabled", "true")]).await;
    let raw = Raw::connect(facade.server.address()).await;
    let preflight = raw::request()
        .method("OPTIONS")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "POST");

    let answer = raw.send(preflight, b"").await;

    assert_eq!(answer.http, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn switched_off_it_is_refused() {
    let facade = Facade::start().await;

    let answer = send(&facade, WEB, &create("demo", "token-1").encode_to_vec()).await;

    assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(facade.requested(), 0);
}
