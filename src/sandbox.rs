//! RAM in miniature: an HTTP endpoint that speaks RAM's REST-JSON and keeps its shares in memory.
//!
//! Real clients reach it with their real SDK, so what is tested against it is the client as it ships. It honours client
//! tokens, validates with RAM's exceptions, has quotas, lets associations settle, goes wrong on request
//! ([`FaultPlan`]) and counts what it executed ([`Stats`]).
//!
//! It does not check signatures (one must be there), knows no IAM policies, sends no invitations, does not know which
//! resources or customer managed permissions exist, and forgets everything when it ends. It is a tool for a loopback
//! address: anyone who reaches it may do anything, the control requests under `/_sandbox/` included.
//! `docs/sandbox.md` is its manual.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! use ram_facade::sandbox::{Sandbox, Settings};
//!
//! let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), Settings::default()).await?;
//! let endpoint = sandbox.url(); // for the SDK's `endpoint_url`
//! assert_eq!(sandbox.stats().executions_of("CreateResourceShare"), 0);
//! sandbox.stop().await;
//! # assert!(endpoint.starts_with("http://127.0.0.1:")); Ok(()) }
//! ```

mod answer;
mod clock;
mod control;
mod error;
mod faults;
mod http;
mod operations;
mod page;
mod play;
mod query;
mod quotas;
mod server;
mod settings;
mod share;
mod shares;
mod stats;
mod sts;
mod tokens;
mod validate;
mod world;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::world::World;
pub use self::{
    faults::{ErrorAnswer, Fault, FaultPlan, RateLimit, RawAnswer, Rule},
    quotas::Quotas,
    settings::Settings,
    stats::Stats,
};

/// A running endpoint. Dropping it ends it.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    settings: Arc<Settings>,
    world: Mutex<World>,
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Sandbox {
    /// Listens on `listen` and serves in the background. Port 0 takes any free port.
    ///
    /// # Errors
    /// `InvalidInput` if the settings or their fault plan make no sense, else what the operating system says about the
    /// address.
    pub async fn start(listen: SocketAddr, settings: Settings) -> io::Result<Self> {
        settings
            .check()
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidInput, fault))?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;

        let end = CancellationToken::new();
        let world = Mutex::new(World::new(&settings, settings.faults.clone(), &end));
        let shared = Arc::new(Shared {
            settings: Arc::new(settings),
            world,
            end,
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(server::serve(listener, shared.clone()));
        tracing::info!(%address, "the sandbox is listening");
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for a client on this machine, such as `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// The counts so far, the same as `GET /_sandbox/stats`.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Begins a fault plan from its start, in place of the one before. Call [`FaultPlan::check`] first if the plan comes
    /// from outside; what cannot be sent is left out.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.set_faults(plan);
    }

    /// Forgets shares, tokens, counts and faults, and ends every request that is still waiting.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Closes every connection and waits until nothing runs any more.
    pub async fn stop(self) {
        self.shared.end.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.end.cancel();
    }
}

impl Shared {
    /// The state. A panic under the lock would be a defect, yet it must not take every later request with it.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> Stats {
        self.world().stats()
    }

    /// Every share that is remembered, oldest first, with the client token it was made under.
    fn made(&self) -> serde_json::Value {
        let world = self.world();
        let shares = world.shares.iter().map(share::Share::made);
        serde_json::json!({ "shares": shares.collect::<Vec<_>>() })
    }

    fn plan(&self) -> FaultPlan {
        self.world().faults.plan().clone()
    }

    fn set_faults(&self, plan: FaultPlan) {
        self.world().faults = faults::Armed::new(plan);
    }

    fn reset(&self) {
        self.world().reset(&self.settings, &self.end);
    }
}
