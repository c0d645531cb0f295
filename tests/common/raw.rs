//! A gRPC client that can do everything wrong: HTTP/2 by hand.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use std::net::SocketAddr;
use tokio::net::TcpStream;

pub const CREATE: &str = "/ramfacade.v1.ResourceShareService/Create";

/// One HTTP/2 connection.
pub struct Raw {
    sender: h2::client::SendRequest<Bytes>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub http: StatusCode,
    pub headers: HeaderMap,
    /// Headers and trailers together: a refusal has its status in the former.
    pub status: Option<i32>,
    pub message: String,
    pub body: Vec<u8>,
}

/// A request that is right in everything, to be spoiled.
pub fn request() -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost{CREATE}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A message with its gRPC prefix.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages of tests are small");
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        let (sender, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender }
    }

    /// Sends a request with its whole body.
    pub async fn send(&self, request: http::request::Builder, body: &[u8]) -> Answer {
        self.exchange(request, body, true).await
    }

    /// Sends a request and a part of its body, and leaves the stream open.
    pub async fn send_unfinished(&self, request: http::request::Builder, part: &[u8]) -> Answer {
        self.exchange(request, part, false).await
    }

    async fn exchange(&self, request: http::request::Builder, body: &[u8], end: bool) -> Answer {
        let request = request.body(()).expect("the test's request can be built");
        let mut sender = self.sender.clone().ready().await.expect("the connection lives");
        let (response, mut stream) = sender.send_request(request, false).expect("the stream opens");
        // The server may have answered and reset the stream before it read everything.
        let _ = stream.send_data(Bytes::copy_from_slice(body), end);
        let response = response.await.expect("there is an answer");
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(Ok(chunk)) = body.data().await {
            let _ = body.flow_control().release_capacity(chunk.len());
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
        drop(stream);
        let text = |name: &str| {
            let value = parts.headers.get(name).or_else(|| trailers.get(name))?;
            Some(value.to_str().expect("statuses are ASCII").to_owned())
        };
        Answer {
            http: parts.status,
            status: text("grpc-status").map(|s| s.parse().expect("a status is a number")),
            message: text("grpc-message").unwrap_or_default(),
            body: bytes,
            headers: parts.headers.clone(),
        }
    }

    /// Sends a well-formed request with this message.
    pub async fn message(&self, message: &[u8]) -> Answer {
        self.send(request(), &frame(message)).await
    }
}

impl Answer {
    /// The `ErrorInfo.reason`.
    pub fn reason(&self) -> String {
        let status =
            tonic::Status::from_header_map(&self.headers).expect("a refusal has its status in the headers");
        super::refusal(&status).reason
    }
}
