//! Calls to a server: many at once for a time, or a number of them.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ram_facade::pb::v1::{
    CreateResourceShareRequest, CreateResourceShareResponse, Tag,
    resource_share_service_client::ResourceShareServiceClient,
};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub(crate) type Client = ResourceShareServiceClient<InterceptedService<Channel, Bearer>>;

/// Sends a bearer token with every call, if there is one.
#[derive(Clone)]
pub(crate) struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Connections of one client: a few, as a load balancer has them.
pub(crate) const CONNECTIONS: usize = 4;
/// Calls in flight over all of them.
pub(crate) const IN_FLIGHT: usize = 64;

pub(crate) async fn connect(address: &str, connections: usize, token: Option<&str>) -> Vec<Client> {
    let bearer = Bearer(token.map(|token| format!("Bearer {token}").parse().unwrap()));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channels = (0..connections).map(|_| endpoint.connect());
    let channels = futures_util::future::try_join_all(channels).await.unwrap();
    let client = |channel| Client::new(InterceptedService::new(channel, bearer.clone()));
    channels.into_iter().map(client).collect()
}

/// A request of ordinary size: two resources, two principals, two tags.
pub(crate) fn request(token: &str) -> CreateResourceShareRequest {
    let tag = |key: &str, value: &str| Tag {
        key: key.into(),
        value: value.into(),
    };
    let subnet = |id| format!("arn:aws:ec2:us-east-1:111122223333:subnet/subnet-0123456789abcde{id}");
    CreateResourceShareRequest {
        name: "network-of-the-data-platform".into(),
        resource_arns: vec![subnet('0'), subnet('1')],
        principals: vec!["444455556666".into(), "777788889999".into()],
        tags: vec![tag("team", "network"), tag("stage", "production")],
        client_token: token.into(),
        ..CreateResourceShareRequest::default()
    }
}

pub(crate) async fn create(
    mut client: Client,
    request: CreateResourceShareRequest,
) -> CreateResourceShareResponse {
    client.create(request).await.unwrap().into_inner()
}

/// A client for each of `in_flight` callers, over all connections in turn.
pub(crate) fn spread(clients: &[Client], in_flight: usize) -> Vec<Client> {
    clients.iter().cycle().take(in_flight).cloned().collect()
}

/// What came of a load.
pub(crate) struct Load {
    /// The time of each call that was answered.
    pub(crate) times: Vec<Duration>,
    pub(crate) per_second: f64,
}

/// Keeps a call of each client in flight for `turn`. A request is made from the number of the client and of its call.
pub(crate) async fn keep(
    clients: Vec<Client>,
    turn: Duration,
    request: impl Fn(usize, u64) -> CreateResourceShareRequest + Clone + Send + 'static,
) -> Load {
    let start = Instant::now();
    let end = start + turn;
    let callers = clients.into_iter().enumerate().map(|(caller, client)| {
        let request = request.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            let mut before = Instant::now();
            while before < end {
                create(client.clone(), request(caller, times.len() as u64)).await;
                let now = Instant::now();
                times.push(now - before);
                before = now;
            }
            times
        })
    });
    let times = futures_util::future::join_all(callers).await;
    let times: Vec<_> = times.into_iter().flat_map(Result::unwrap).collect();
    Load {
        per_second: times.len() as f64 / start.elapsed().as_secs_f64(),
        times,
    }
}

/// Does `work` for each number below `count`, `at_once` of them at once. Returns each one's time and how many per second.
pub(crate) async fn each<F: Future<Output = ()>>(
    count: u64,
    at_once: usize,
    work: impl Fn(u64) -> F,
) -> (Vec<Duration>, f64) {
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let workers = (0..at_once).map(async |_| {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return times;
            }
            let start = Instant::now();
            work(number).await;
            times.push(start.elapsed());
        }
    });
    let times = futures_util::future::join_all(workers).await.concat();
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    (times, per_second)
}
