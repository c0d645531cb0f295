//! The keys of the idempotency store.

use std::{path::PathBuf, time::Duration};

use super::{Store, reader::Reader};
use crate::idempotency::redis::{Settings as RedisSettings, WrongAddress};

/// The store, `None` if there is no word of one. A wrong word is noted as a fault.
pub(super) fn read(r: &mut Reader) -> Result<Option<Store>, WrongAddress> {
    // Taken as text first: a wrong address may hold a password, which no fault may show.
    let text = r.optional::<String>(
        "store",
        "a file path, `redis://host:port`, `rediss://host:port` or `:memory:`",
        "Where the idempotency records live. Replicas share a Redis or Valkey server (`rediss` for TLS; docs/redis.md); \
         `:memory:` forgets them with the process. With the sandbox the default is `:memory:`; without, there is none.",
    );
    let server = ServerKeys::read(r);
    match text.map(|text| text.parse()).transpose() {
        Ok(Some(Store::Redis(settings))) => Ok(Some(Store::Redis(server.complete(r, settings)))),
        Ok(store) => Ok(store),
        Err(why) => {
            r.fault(format!(
                "store (RAM_FACADE_STORE) {why}; or a file path, or `:memory:`"
            ));
            Err(why)
        }
    }
}

/// What a server's address leaves open. The keys mean nothing for another store.
struct ServerKeys {
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl ServerKeys {
    fn read(r: &mut Reader) -> Self {
        Self {
            user: r.optional(
                "redis.user",
                "an ACL user",
                "Who logs in to the Redis or Valkey server. Unset: the one of the URL, or the server's default user.",
            ),
            password_file: r.optional(
                "redis.password_file",
                "a file path",
                "File whose first line is the password for the server. Read at start.",
            ),
            ca_file: r.optional(
                "redis.ca_file",
                "a file path",
                "File with the certificates (PEM) that may vouch for a `rediss` server. Unset: the system's.",
            ),
            connect_timeout: r.millis(
                "redis.connect_timeout_ms",
                RedisSettings::CONNECT_TIMEOUT,
                50..=10_000,
                "Longest time to open a connection to the server.",
            ),
            response_timeout: r.millis(
                "redis.response_timeout_ms",
                RedisSettings::RESPONSE_TIMEOUT,
                50..=10_000,
                "Longest time the server may take to answer a command.",
            ),
        }
    }

    fn complete(self, r: &mut Reader, settings: RedisSettings) -> RedisSettings {
        if self.ca_file.is_some() && !settings.address.is_tls() {
            r.fault("redis.ca_file (RAM_FACADE_REDIS_CA_FILE) is set, but store is no rediss:// URL");
        }
        RedisSettings {
            user: self.user,
            password_file: self.password_file,
            ca_file: self.ca_file,
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            ..settings
        }
    }
}
