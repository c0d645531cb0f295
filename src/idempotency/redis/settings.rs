//! Where the server is and how to reach it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use redis::{ConnectionInfo, IntoConnectionInfo};

/// How a Redis or Valkey server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub address: Address,
    /// ACL user, if it is not in the address. Default none: the server's default user.
    pub user: Option<String>,
    /// File whose first line is the password. Default none. Read when the store is opened.
    pub password_file: Option<PathBuf>,
    /// File with the certificates, as PEM, of the authorities that may vouch for a server reached by TLS. Default none:
    /// those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// Longest time to open a connection, in milliseconds. Range 50 to 10_000. Default 1_000: a healthy server is
    /// reached in one, and callers wait meanwhile.
    pub connect_timeout: Duration,
    /// Longest time to answer a command, in milliseconds. Range 50 to 10_000. Default 1_000: long over a healthy
    /// answer, a fork for a snapshot included, and short enough to ask once more within a caller's deadline.
    pub response_timeout: Duration,
}

impl Settings {
    /// The default of `connect_timeout`.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    /// The default of `response_timeout`.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

    /// The defaults for the server at `address`.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            user: None,
            password_file: None,
            ca_file: None,
            connect_timeout: Self::CONNECT_TIMEOUT,
            response_timeout: Self::RESPONSE_TIMEOUT,
        }
    }
}

/// A URL `redis://[user[:password]@]host[:port][/database]`, with `rediss` for TLS. Shows itself without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: String,
    /// The same without user and password.
    shown: String,
}

impl Address {
    /// Whether the server is reached by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("rediss:") || self.url.starts_with("valkeys:")
    }

    pub(super) fn connection_info(&self) -> redis::RedisResult<ConnectionInfo> {
        self.url.as_str().into_connection_info()
    }
}

impl FromStr for Address {
    type Err = WrongAddress;

    fn from_str(url: &str) -> Result<Self, WrongAddress> {
        let parts = redis::parse_redis_url(url).ok_or(WrongAddress)?;
        let known = ["redis", "rediss", "valkey", "valkeys"].contains(&parts.scheme());
        // `#insecure` would accept any certificate; the protocol is ours to choose.
        if !known || parts.query().is_some() || parts.fragment().is_some() {
            return Err(WrongAddress);
        }
        url.into_connection_info().map_err(|_| WrongAddress)?;
        let host = parts.host_str().ok_or(WrongAddress)?;
        let port = parts.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            url: url.to_owned(),
            shown: format!("{}://{host}{port}{}", parts.scheme(), parts.path()),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.shown)
    }
}

/// The text is no address. It is not repeated, since it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be redis://host:port or rediss://host:port, without query and fragment")]
pub struct WrongAddress;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_never_shows_its_password() {
        let address: Address = "rediss://facade:hunter2@cache.example:6380/3".parse().unwrap();
        let settings = Settings::new(address.clone());

        assert_eq!(address.to_string(), "rediss://cache.example:6380/3");
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }

    #[test]
    fn what_would_not_connect_or_not_safely_is_refused_without_repeating_it() {
        for text in [
            "redis://",
            "redis://:hunter2@",
            "redis://:hunter2@host/database",
            "redis://:hunter2@0.0.0.0",
            "rediss://:hunter2@host/#insecure",
            "redis://:hunter2@host/?protocol=resp3",
            "http://:hunter2@host",
            "unix:///run/redis.sock",
            "host:6379",
        ] {
            assert_eq!(text.parse::<Address>(), Err(WrongAddress), "{text}");
        }
        assert!(!WrongAddress.to_string().contains("hunter2"));
    }

    #[test]
    fn the_usual_addresses_are_accepted() {
        for text in [
            "redis://127.0.0.1",
            "redis://[::1]:6379/1",
            "rediss://cache.example",
            "valkey://cache.example:6379",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }
}
