//! The facade as a host of the simulation: the HTTP ring as far as deadlines are concerned, the whole call ring, and the
//! real SDK.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use http::Request;
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    service::TowerToHyperService,
};
use ram_facade::{
    api::Api,
    auth::{anonymous::Anonymous, policy::EveryCaller},
    clock::{UnixMillis, wall_now},
    idempotency::memory::MemoryStore,
    layers::{
        attempt,
        authenticate::AuthenticateLayer,
        catch_panic::CatchPanicLayer,
        deadline::{self, DeadlineLayer},
        explain::ExplainLayer,
        grpc_request::GrpcRequestLayer,
        idempotency::{self, IdempotencyLayer},
        pace::{self, Pacer},
        request_id::RequestIdLayer,
        retry::{self, RetryLayer},
    },
    pb::v1::resource_share_service_server::ResourceShareServiceServer,
    ram::{self, Ram},
    stack::Stack,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{body::Body, service::Routes};
use tower::{ServiceBuilder, ServiceExt};
use turmoil::net::TcpListener;

use super::net::{Io, SdkHttp};

pub(crate) async fn serve(pace: pace::Settings) -> turmoil::Result {
    let api = Api::new(stack(pace).await);
    let ring = ServiceBuilder::new()
        .layer(RequestIdLayer)
        .layer(CatchPanicLayer)
        .layer(GrpcRequestLayer)
        .layer(DeadlineLayer::new(deadline::Settings::default()))
        .layer(AuthenticateLayer::new(Arc::new(Anonymous::default())))
        .layer(ExplainLayer)
        .service(Routes::new(ResourceShareServiceServer::new(api)).prepare());
    let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = ring
            .clone()
            .map_request(|request: Request<Incoming>| request.map(Body::new));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(Io::from(stream), TowerToHyperService::new(service));
        tokio::spawn(connection);
    }
}

async fn stack(pace: pace::Settings) -> Stack {
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        )))
        .endpoint_url("http://ram")
        .http_client(SdkHttp::default())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .build();
    let settings = ram::Settings {
        account: Some("111122223333".to_owned()),
        ..ram::Settings::default()
    };
    let ram = Ram::with_sdk_config(&sdk, &settings)
        .await
        .expect("the account is known");
    let (began, wall) = (Instant::now(), wall_now());
    let clock = move || wall + UnixMillis::try_from(began.elapsed().as_millis()).expect("it is soon over");
    let idempotency = IdempotencyLayer::with_clock(
        Arc::new(MemoryStore::default()),
        idempotency::Settings::default(),
        TaskTracker::new(),
        Arc::new(clock),
    );
    Stack::new(
        Arc::new(EveryCaller),
        idempotency,
        RetryLayer::new(retry::Settings::default()),
        Pacer::new(pace),
        attempt::Settings::default(),
        ram,
    )
}

/// A rate that holds nobody up.
pub(crate) fn no_limit() -> pace::Settings {
    pace::Settings {
        rate: pace::rate::Settings {
            initial: 10_000.0,
            min: 10_000.0,
            max: 10_000.0,
        },
        max_wait: Duration::from_secs(2),
        ..pace::Settings::default()
    }
}
