//! One connection to the server for all calls, made again when it breaks.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{
    Client, ConnectionInfo, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind,
    TlsCertificates,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{Settings, settings::Address};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that the settings name cannot be read.
    #[error("cannot read {what} `{path}`")]
    File {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The settings contradict each other or are no settings.
    #[error("the settings of the idempotency store `{address}` cannot be used")]
    Settings {
        /// The server.
        address: Address,
        /// Why.
        source: RedisError,
    },
    /// The server does not answer, does not let us in, or does not do what a store needs.
    #[error(
        "the idempotency store `{address}` cannot be used; it must be running, the primary, one shard, and its user \
         allowed to run the commands that docs/redis.md lists"
    )]
    Unusable {
        /// The server.
        address: Address,
        /// What it says.
        source: RedisError,
    },
}

impl OpenError {
    /// Whether the settings are at fault, and not the server.
    #[must_use]
    pub fn is_in_the_settings(&self) -> bool {
        match self {
            Self::File { .. } | Self::Settings { .. } => true,
            Self::Unusable { .. } => false,
        }
    }
}

/// See the module.
pub(super) struct Connection {
    client: Client,
    config: ConnectionManagerConfig,
    /// Replaced as a whole when the server behind it is not the one to talk to any more.
    manager: Mutex<ConnectionManager>,
}

/// When a peer that acknowledges nothing is given up, so that a lost machine does not look slow for a quarter of an
/// hour, as it does by Linux's own setting.
const PEER_SILENT: Duration = Duration::from_secs(5);
/// Commands that may be queued on the connection: as many as calls may be in flight by default.
const QUEUE: usize = 1_024;

impl Connection {
    /// Prepares a connection; the first command makes it.
    pub(super) fn new(settings: &Settings) -> Result<Self, OpenError> {
        let client = client(settings)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout))
            .set_pipeline_buffer_size(QUEUE)
            // Whoever asks next tries again; nobody waits for a series of attempts.
            .set_number_of_retries(0);
        let manager =
            ConnectionManager::new_lazy_with_config(client.clone(), config.clone()).map_err(|source| {
                OpenError::Settings {
                    address: settings.address.clone(),
                    source,
                }
            })?;
        Ok(Self {
            client,
            config,
            manager: Mutex::new(manager),
        })
    }

    /// Runs a command, once more if the first run met a connection that was gone.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &redis::Cmd) -> RedisResult<T> {
        match command.query_async(&mut self.manager()).await {
            Err(error) if self.is_worth_another(&error) => command.query_async(&mut self.manager()).await,
            result => result,
        }
    }

    /// Runs a script, as [`Connection::query`] does a command. It has to bear being run twice.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        let mut invocation = script.prepare_invoke();
        invocation.key(key);
        for argument in arguments {
            invocation.arg(*argument);
        }
        match invocation.invoke_async(&mut self.manager()).await {
            Err(error) if self.is_worth_another(&error) => invocation.invoke_async(&mut self.manager()).await,
            result => result,
        }
    }

    fn manager(&self) -> ConnectionManager {
        self.manager
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether another connection may do what this one did not. Sees to it that there will be another one.
    fn is_worth_another(&self, error: &RedisError) -> bool {
        // It was demoted: the address may lead to another server by now, but an open connection stays where it is.
        // Servers before 7 hide the kind of an error that a script met in its text.
        let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            || error.to_string().contains("READONLY");
        if demoted {
            let fresh = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone());
            if let Ok(fresh) = fresh {
                *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
            return true;
        }
        // The manager reconnects by itself, but hands out the error of the connection that broke, or of an attempt that
        // failed when somebody last asked. A slow server is not asked twice.
        !error.is_timeout() && (error.is_io_error() || error.is_unrecoverable_error())
    }
}

/// Puts together what a connection takes.
pub(super) fn client(settings: &Settings) -> Result<Client, OpenError> {
    let fault = |source| OpenError::Settings {
        address: settings.address.clone(),
        source,
    };
    let info = connection_info(settings, fault)?;
    let client = match &settings.ca_file {
        Some(path) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(read("the certificates", path)?),
            };
            Client::build_with_tls(info, certificates)
        }
        None => Client::open(info),
    };
    client.map_err(fault)
}

fn connection_info(
    settings: &Settings,
    fault: impl Fn(RedisError) -> OpenError,
) -> Result<ConnectionInfo, OpenError> {
    let info = settings.address.connection_info().map_err(fault)?;
    let mut login = info.redis_settings().clone();
    if let Some(user) = &settings.user {
        login = login.set_username(user);
    }
    if let Some(path) = &settings.password_file {
        let bytes = read("the password file", path)?;
        let text = String::from_utf8_lossy(&bytes);
        login = login.set_password(text.lines().next().unwrap_or_default());
    }
    #[cfg_attr(
        not(target_os = "linux"),
        expect(unused_mut, reason = "only Linux has the option")
    )]
    let mut tcp = info.tcp_settings().clone().set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        tcp = tcp.set_user_timeout(PEER_SILENT);
    }
    Ok(info.set_redis_settings(login).set_tcp_settings(tcp))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|source| OpenError::File {
        what,
        path: path.to_owned(),
        source,
    })
}
