//! The baseline: tonic alone, which decodes the same request and answers the same message.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use prost::Message;
use ram_facade::pb::v1::{CreateResourceShareRequest, CreateResourceShareResponse};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// The answer as an argument of the child.
pub(crate) fn argument(answer: &CreateResourceShareResponse) -> String {
    URL_SAFE.encode(answer.encode_to_vec())
}

/// Serves until it is killed.
pub(crate) async fn serve(answer: &str) {
    let answer = CreateResourceShareResponse::decode(&*URL_SAFE.decode(answer).unwrap()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder().add_service(Echo { answer });
    server.serve_with_incoming(incoming).await.unwrap();
}

/// What tonic generates for a service of one unary method.
#[derive(Clone)]
struct Echo {
    answer: CreateResourceShareResponse,
}

impl NamedService for Echo {
    const NAME: &'static str = "ramfacade.v1.ResourceShareService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.answer.clone();
        Box::pin(async move {
            let unary = service_fn(move |_: Request<CreateResourceShareRequest>| {
                ready(Ok::<_, Status>(Response::new(answer.clone())))
            });
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(grpc.unary(unary, request).await)
        })
    }
}
