//! The composition root: the only place that names concrete stores, authenticators and clients, and that composes the
//! HTTP ring.

pub mod connections;
pub mod health;
mod policies;
pub mod tls;
mod verifiers;

use std::{borrow::Cow, io, net::SocketAddr, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_health::server::{HealthReporter, HealthService};
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;

use crate::{
    api::Api,
    audit::{self, Audit},
    auth::{jwt, static_tokens::LoadError},
    config::{self, Config},
    failure::chain,
    idempotency::{
        memory::MemoryStore,
        redis::{OpenError as SharedOpenError, RedisStore},
        seal::{Keys, KeysError, Sealed},
        sqlite::{self, SqliteStore},
        store::Store,
        sweeper,
    },
    layers::{
        authenticate::AuthenticateLayer,
        catch_panic::CatchPanicLayer,
        deadline::DeadlineLayer,
        explain::ExplainLayer,
        grpc_request::GrpcRequestLayer,
        idempotency::IdempotencyLayer,
        in_flight::{Draining, InFlightLayer},
        limit_caller::LimitCallerLayer,
        limit_metadata::LimitMetadataLayer,
        pace::Pacer,
        request_id::RequestIdLayer,
        retry::RetryLayer,
        trace::{self, TraceLayer},
    },
    pb,
    pb::v1::resource_share_service_server::ResourceShareServiceServer,
    ram::{self, Ram},
    sandbox::Sandbox,
    stack::Stack,
    telemetry::metrics,
};

use self::{connections::Drained, verifiers::Verifiers};
use tls::Tls;

/// Largest request message, in bytes, compressed or not: a hundred ARNs, fifty tags and as many principals are a
/// quarter of it.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// How long a stopping server waits for its audit log to be written, which is no part of the drain.
const AUDIT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// RAM cannot be set up.
    #[error(transparent)]
    Ram(#[from] ram::ConnectError),
    /// The idempotency store cannot be opened.
    #[error(transparent)]
    Store(#[from] sqlite::OpenError),
    /// The idempotency store that replicas share cannot be used.
    #[error(transparent)]
    SharedStore(#[from] SharedOpenError),
    /// The file of the store's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The file of bearer tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] LoadError),
    /// The issuers of JWT bearer tokens cannot be used.
    #[error(transparent)]
    Issuers(#[from] jwt::LoadError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::LoadError),
    /// The policies cannot be used.
    #[error("{0}")]
    Policy(String),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] audit::OpenError),
    /// The compiled contract cannot be served: a defect of the build.
    #[error("the compiled contract is broken: {0}")]
    Contract(String),
}

/// A running server. Dropping it leaves it running; [`Server::stop`] ends it.
pub struct Server {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    sandbox: Option<Sandbox>,
    health: HealthReporter,
    becoming_ready: Option<JoinHandle<()>>,
    draining: Draining,
    executions: TaskTracker,
    stop: CancellationToken,
    connections: JoinHandle<Drained>,
    drain: std::time::Duration,
    audit: Audit,
}

impl Server {
    /// Starts everything that `config` asks for and serves.
    ///
    /// # Errors
    /// [`StartError`] for whatever cannot be had. Nothing is served then.
    ///
    /// # Cancellation
    /// Nothing is served; what was started is dropped.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        for variable in &config.stray_variables {
            tracing::warn!(
                variable,
                "this environment variable is no key of this program and changes nothing"
            );
        }
        // Before the listener: nobody connects to a server that cannot say who it is.
        let stop = CancellationToken::new();
        let tls = config.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        if tls.is_none() && !config.listen.ip().is_loopback() {
            tracing::warn!(
                listen = %config.listen,
                "no TLS: calls and credentials can be read on their way; set tls.certificate_file, or leave it to a mesh"
            );
        }
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|e| StartError::Listen(config.listen, e))?;
        let address = listener
            .local_addr()
            .map_err(|e| StartError::Listen(config.listen, e))?;

        let sandbox = start_sandbox(&config).await?;
        let ram = connect(&config, sandbox.as_ref()).await?;
        let store = open_store(&config).await?;
        let Verifiers {
            authenticator,
            issuers,
        } = verifiers::start(&config.authentication, &stop)?;

        let executions = TaskTracker::new();
        let idempotency =
            IdempotencyLayer::new(Arc::clone(&store), config.idempotency.clone(), executions.clone());
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(sweeper::run(store, idempotency.clock(), stopped));
        let draining = Draining::default();
        let health = HealthReporter::new();
        let policy = policies::start(&config, &health, &stop).await?;
        let retry = RetryLayer::new(config.retry);
        let pacer = Pacer::new(config.pace);
        let calls = trace::Metrics::new(pb::method_paths());
        let mut registry = Registry::default();
        calls.register(&mut registry);
        idempotency.metrics().register(&mut registry);
        let target = registry.sub_registry_with_labels(labels(&ram).into_iter());
        pacer.metrics().register(target);
        retry.metrics().register(target);
        if let Some(issuers) = &issuers {
            issuers.metrics().register(&mut registry);
        }
        let audit = Audit::start(&config.audit)?;
        audit.register(&mut registry);
        let metrics = start_metrics(config.metrics.listen, registry, &stop).await?;

        let reopening = audit.reopen_on_hangup(stop.clone());
        watch(reopening, "the audit log is not opened again on SIGHUP");
        let stack = Stack::new(policy, idempotency, retry, pacer, config.attempt, ram).audited(&audit);
        let routes = routes(stack, &health)?;

        let ring = ServiceBuilder::new()
            // First, so that every line of the log and every refusal below has the id.
            .layer(RequestIdLayer)
            // Before all that reads a status: within, there is only gRPC. Switched off, grpc-web is refused like JSON.
            .option_layer(config.grpc_web.then(GrpcWebLayer::new))
            // Sees every refusal below, and the call whose client went away.
            .layer(TraceLayer::new(calls))
            // Around all that runs for a request: a defect answers INTERNAL and the connection lives on.
            .layer(CatchPanicLayer)
            // Before anything is counted: what is no gRPC request takes no place.
            .layer(GrpcRequestLayer)
            // Behind it, because the refusal is gRPC's.
            .layer(LimitMetadataLayer)
            // Before the credentials are looked at, which costs more than to refuse.
            .layer(InFlightLayer::new(&config.in_flight, draining.clone()))
            // The clock starts at the headers and covers a body that drips.
            .layer(DeadlineLayer::new(config.deadline))
            // Before the message is decoded: nobody unknown has anything parsed.
            .layer(AuthenticateLayer::new(authenticator))
            // As soon as it is known who calls, and before that costs anything more.
            .layer(LimitCallerLayer::new(config.limits))
            // Next to tonic, whose own refusals carry no reason.
            .layer(ExplainLayer)
            .service(routes);

        if let Some(tls) = &tls {
            let watching = Arc::clone(tls).watch(stop.clone());
            watch(
                watching,
                "the files of TLS are not watched: changes need a restart",
            );
        }
        health::serving(&health, issuers.is_none()).await;
        let becoming_ready = issuers.map(|issuers| {
            let health = health.clone();
            tokio::spawn(async move {
                issuers.ready().await;
                health::serving(&health, true).await;
            })
        });
        let drain = config.connections.drain;
        let serving = connections::serve(listener, tls, ring, config.connections, stop.clone());
        Ok(Self {
            address,
            metrics,
            sandbox,
            health,
            becoming_ready,
            draining,
            executions,
            stop,
            connections: tokio::spawn(serving),
            drain,
            audit,
        })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The embedded RAM, if there is one.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }

    /// Tells probes, refuses new calls, lets those in flight end within the drain time and stops.
    ///
    /// An execution whose caller is gone has what is left of that time: its outcome is worth recording, and where it is
    /// cut a retry takes it over.
    ///
    /// # Cancellation
    /// The server goes on draining by itself.
    pub async fn stop(self) -> Drained {
        // First, and to its end: it must not say afterwards that the server is ready.
        if let Some(becoming_ready) = self.becoming_ready {
            becoming_ready.abort();
            let _ = becoming_ready.await;
        }
        health::stop(&self.health).await;
        self.draining.start();
        self.stop.cancel();
        let end = Instant::now() + self.drain;
        let drained = self.connections.await.unwrap_or(Drained::Cut(0));

        self.executions.close();
        crate::failpoint!("shutdown");
        if timeout_at(end, self.executions.wait()).await.is_err() {
            tracing::warn!(
                executions = self.executions.len(),
                "stopping before these ended; a retry takes them over"
            );
        }
        // Last, when nothing can end any more.
        self.audit.flush(AUDIT_PATIENCE).await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drained
    }
}

/// Which RAM the metrics of pacing and retries speak of.
fn labels(ram: &Ram) -> [(Cow<'static, str>, Cow<'static, str>); 2] {
    let target = &ram.target;
    [
        ("account".into(), target.account.clone().into()),
        ("region".into(), target.region.clone().into()),
    ]
}

async fn start_metrics(
    listen: Option<SocketAddr>,
    registry: Registry,
    stop: &CancellationToken,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(listen) = listen else {
        return Ok(None);
    };
    let failed = |e| StartError::Listen(listen, e);
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "metrics are served");
    tokio::spawn(metrics::serve(listener, Arc::new(registry), stop.clone()));
    Ok(Some(address))
}

async fn start_sandbox(config: &Config) -> Result<Option<Sandbox>, StartError> {
    let Some(config::Sandbox { listen, settings }) = &config.sandbox else {
        return Ok(None);
    };
    tracing::warn!("sandbox: shares live in this process only and nothing reaches AWS");
    let started = Sandbox::start(*listen, settings.clone()).await;
    started.map(Some).map_err(|e| StartError::Listen(*listen, e))
}

/// Looks at what the configuration points to, without changing any of it: every fault, as a sentence.
#[must_use]
pub fn check(config: &Config) -> Vec<String> {
    let store = match &config.store {
        config::Store::Redis(settings) => RedisStore::check(settings).err().map(|e| chain(&e)),
        config::Store::Memory | config::Store::File(_) => None,
    };
    let keys = config
        .store_key_file
        .as_deref()
        .and_then(|path| Keys::load(path).err());
    let tls = config.tls.clone().and_then(|settings| Tls::load(settings).err());
    verifiers::check(&config.authentication)
        .into_iter()
        .chain(tls.map(|e| chain(&e)))
        .chain(store)
        .chain(keys.map(|e| chain(&e)))
        .chain(policies::check(&config.policies).err())
        .collect()
}

/// Connects to the sandbox as to AWS: by the SDK, over HTTP, signed, asking STS for the account.
async fn connect(config: &Config, sandbox: Option<&Sandbox>) -> Result<Ram, StartError> {
    let Some((sandbox, settings)) = sandbox.zip(config.sandbox.as_ref().map(|s| &s.settings)) else {
        return Ok(Ram::connect(&config.ram).await?);
    };
    let credentials = Credentials::new("sandbox", "sandbox", None, None, "sandbox");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(sandbox.url())
        .build();
    Ok(Ram::with_sdk_config(&sdk, &config.ram).await?)
}

async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    // Before the store, which a faulty key file must not leave open behind it.
    let keys = config.store_key_file.as_deref().map(Keys::load).transpose()?;
    let store: Arc<dyn Store> = match &config.store {
        config::Store::Memory => Arc::new(MemoryStore::default()),
        config::Store::File(path) => Arc::new(SqliteStore::open(path)?),
        config::Store::Redis(settings) => Arc::new(Box::pin(RedisStore::open(settings)).await?),
    };
    Ok(match keys {
        Some(keys) => Arc::new(Sealed::new(store, keys)),
        None => store,
    })
}

/// Runs `watching` in a task of its own; `otherwise` is what the log says if it cannot be.
fn watch(watching: io::Result<impl Future<Output = ()> + Send + 'static>, otherwise: &str) {
    match watching {
        Ok(watching) => drop(tokio::spawn(watching)),
        Err(error) => tracing::error!(%error, "{otherwise}"),
    }
}

/// The services that this server has: the contract's, health, and reflection in both versions that clients ask for.
fn routes(stack: Stack, health: &HealthReporter) -> Result<Routes, StartError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that grpcurl can show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection()
        .build_v1()
        .map_err(|e| StartError::Contract(e.to_string()))?;
    let v1alpha = reflection()
        .build_v1alpha()
        .map_err(|e| StartError::Contract(e.to_string()))?;
    let service = ResourceShareServiceServer::new(Api::new(stack))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let health = tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(
        health.clone(),
    ));
    Ok(Routes::new(service)
        .add_service(health)
        .add_service(v1)
        .add_service(v1alpha)
        .prepare())
}
