//! What a generated service says to bodies that are not one well-formed message.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of tests ends its test when something is not as it must be"
)]

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use prost::Message;
use ram_facade::{
    layers::{explain::ExplainLayer, wire::Response},
    pb::v1::{
        CreateResourceShareRequest, CreateResourceShareResponse, ListResourceTypesRequest,
        ListResourceTypesResponse,
        resource_share_service_client::ResourceShareServiceClient,
        resource_share_service_server::{ResourceShareService, ResourceShareServiceServer},
    },
};
use tonic::{Code, Status, body::Body, codec::CompressionEncoding, service::Routes};
use tonic_types::StatusExt;
use tower::{Layer, ServiceExt};

const METHOD: &str = "/ramfacade.v1.ResourceShareService/Create";

struct Fixed;

#[tonic::async_trait]
impl ResourceShareService for Fixed {
    async fn create(
        &self,
        _request: tonic::Request<CreateResourceShareRequest>,
    ) -> Result<tonic::Response<CreateResourceShareResponse>, Status> {
        Ok(tonic::Response::new(CreateResourceShareResponse::default()))
    }

    async fn list_resource_types(
        &self,
        _request: tonic::Request<ListResourceTypesRequest>,
    ) -> Result<tonic::Response<ListResourceTypesResponse>, Status> {
        Ok(tonic::Response::new(ListResourceTypesResponse::default()))
    }
}

fn service()
-> impl tower::Service<http::Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone {
    let server = ResourceShareServiceServer::new(Fixed)
        .max_decoding_message_size(1_024)
        .accept_compressed(CompressionEncoding::Gzip);
    ExplainLayer.layer(Routes::new(server))
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put(message);
    bytes.freeze()
}

fn message(name: &str) -> Vec<u8> {
    CreateResourceShareRequest {
        name: name.to_owned(),
        ..CreateResourceShareRequest::default()
    }
    .encode_to_vec()
}

async fn send(path: &str, encoding: Option<&str>, body: Bytes) -> Response {
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("x-request-id", "req-1");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(Body::new(Full::new(body))).unwrap();
    service().oneshot(request).await.unwrap()
}

/// Asserts that the answer refuses with `code` and `reason`, and returns the status.
fn assert_refused(response: &Response, code: Code, reason: &str) -> Status {
    let status = Status::from_header_map(response.headers()).expect("it was answered");
    let details = status.get_error_details();
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, reason);
    assert_eq!(details.request_info().unwrap().request_id, "req-1");
    status
}

#[tokio::test]
async fn one_message_is_answered() {
    let response = send(METHOD, None, framed(0, &message("a"))).await;

    assert!(!response.headers().contains_key("grpc-status"));
}

#[tokio::test]
async fn a_second_message_is_refused() {
    let one = framed(0, &message("a"));

    let response = send(METHOD, None, [one.clone(), one].concat().into()).await;

    let status = assert_refused(&response, Code::Internal, "MALFORMED_MESSAGE");
    assert!(status.message().contains("second message"));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_without_an_echo() {
    // Field 1 is a string; 0xff is never UTF-8.
    for bytes in [
        &b"\x0a\x07canary\xff"[..],
        b"\x0a\xff",
        b"\xff\xff\xff",
        b"\x08\x01",
    ] {
        let response = send(METHOD, None, framed(0, bytes)).await;

        let status = assert_refused(&response, Code::Internal, "MALFORMED_MESSAGE");
        let shown = format!("{status:?}");
        assert!(
            !shown.contains("canary") && !shown.contains("CreateResourceShare"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn broken_framing_is_refused() {
    let whole = framed(0, &message("a"));
    for body in [
        Bytes::new(),
        whole.slice(..3),
        whole.slice(..whole.len() - 1),
        framed(1, &message("a")),
        framed(2, &message("a")),
        [&whole[..], &[0, 0, 0]].concat().into(),
    ] {
        let response = send(METHOD, None, body).await;

        assert_refused(&response, Code::Internal, "MALFORMED_MESSAGE");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_prefix() {
    let only_the_prefix = framed(0, &[0; 2_000]).slice(..5);

    let response = send(METHOD, None, only_the_prefix).await;

    assert_refused(&response, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn a_compression_that_is_not_on_is_refused_with_those_that_are() {
    for encoding in ["br", "zstd", "b\u{f6}gus"] {
        let response = send(METHOD, Some(encoding), framed(1, &message("a"))).await;

        assert_refused(&response, Code::Unimplemented, "ENCODING_UNSUPPORTED");
        assert_eq!(response.headers()["grpc-accept-encoding"], "gzip,identity");
    }
}

#[tokio::test]
async fn bytes_that_are_not_gzip_are_refused() {
    let response = send(METHOD, Some("gzip"), framed(1, b"not gzip at all")).await;

    assert_refused(&response, Code::Internal, "MALFORMED_MESSAGE");
}

#[tokio::test]
async fn unknown_methods_are_refused() {
    for path in [
        "/ramfacade.v1.ResourceShareService/Destroy",
        "/ramfacade.v1.ResourceShareService/create",
        "/ramfacade.v1.ResourceShareService/Create/",
        "/ramfacade.v1.ResourceShareService/%43reate",
        "//ramfacade.v1.ResourceShareService/Create",
        "/ramfacade.v2.ResourceShareService/Create",
        "/",
    ] {
        let response = send(path, None, framed(0, &message("a"))).await;

        assert_refused(&response, Code::Unimplemented, "METHOD_UNKNOWN");
    }
}

#[tokio::test]
async fn the_generated_client_speaks_the_same_codec() {
    let mut client = ResourceShareServiceClient::new(service());

    let answer = client
        .create(CreateResourceShareRequest::default())
        .await
        .unwrap();

    assert_eq!(answer.into_inner(), CreateResourceShareResponse::default());
}
