//! Gathers every module's settings from flags, environment and file, and reports every fault at once.
//!
//! This file and those below are the list of keys; what a setting means in full stands at its field. `docs/configuration.md` is made from
//! the list, and a test keeps it current.

mod access;
mod keys;
mod reader;
mod store;
mod tls;

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::PathBuf, str::FromStr};

use crate::{
    audit,
    idempotency::redis::{Settings as RedisSettings, WrongAddress},
    layers::{attempt, deadline, idempotency, in_flight, limit_caller, pace, retry},
    ram, rules, sandbox,
    server::{connections, tls as server_tls},
    telemetry,
};

pub use access::{Authentication, Policies};
use reader::Reader;
pub use reader::{Fault, Key};

/// Where the records of the idempotency store live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this process: gone with it.
    Memory,
    /// In a SQLite file of this name.
    File(PathBuf),
    /// In a Redis or Valkey server, which replicas share.
    Redis(RedisSettings),
}

impl FromStr for Store {
    type Err = WrongAddress;

    fn from_str(text: &str) -> Result<Self, WrongAddress> {
        match text {
            "" => Err(WrongAddress),
            ":memory:" => Ok(Self::Memory),
            // A file of that name is nobody's wish.
            url if url.contains("://") => Ok(Self::Redis(RedisSettings::new(url.parse()?))),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// The embedded RAM.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How it behaves.
    pub settings: sandbox::Settings,
}

/// Everything that `serve` needs, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// The embedded RAM, if it is to be used instead of AWS's.
    pub sandbox: Option<Sandbox>,
    /// How callers prove who they are.
    pub authentication: Authentication,
    /// TLS, if it is to be spoken.
    pub tls: Option<server_tls::Settings>,
    /// What they may do.
    pub policies: Policies,
    /// Where idempotency records live.
    pub store: Store,
    /// Whether grpc-web is served beside gRPC.
    pub grpc_web: bool,
    /// File with the keys that seal the records, if they are to be sealed.
    pub store_key_file: Option<PathBuf>,
    /// How RAM is reached.
    pub ram: ram::Settings,
    /// The accept loop.
    pub connections: connections::Settings,
    /// The cap on calls in flight.
    pub in_flight: in_flight::Settings,
    /// The caps of each caller.
    pub limits: limit_caller::Settings,
    /// Deadlines.
    pub deadline: deadline::Settings,
    /// Records of intents.
    pub idempotency: idempotency::Settings,
    /// Retries.
    pub retry: retry::Settings,
    /// The rate of requests to RAM.
    pub pace: pace::Settings,
    /// Attempts.
    pub attempt: attempt::Settings,
    /// The audit log.
    pub audit: audit::Settings,
    /// Metrics.
    pub metrics: telemetry::metrics::Settings,
    /// Logs.
    pub log: telemetry::Settings,
    /// Variables that look like ours and mean nothing: worth a warning.
    pub stray_variables: Vec<String>,
}

/// The texts that a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Flags of the command line by the key that they set.
    pub flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The text of the file.
    pub file: Option<String>,
}

impl Sources {
    /// The flags given and the environment of this process.
    #[must_use]
    pub fn with_environment(flags: BTreeMap<&'static str, String>, file: Option<String>) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the module that reads the environment"
        )]
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            flags,
            variables,
            file,
        }
    }
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every fault, each naming its key and variable.
    pub fn read(sources: Sources) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(sources.flags, sources.variables, sources.file.as_deref());
        let config = read(&mut reader);
        let finished = reader.finish();
        match config {
            Some(config) if finished.faults.is_empty() => Ok(Self {
                stray_variables: finished.stray,
                ..config
            }),
            _ => Err(finished.faults),
        }
    }
}

/// Reads what an operator's command needs to know of the configuration that `serve` uses: which store, and how long its
/// records count. Says nothing about keys that only a server needs.
///
/// # Errors
/// Every fault in a key of the store or of `idempotency`.
pub fn records(sources: Sources) -> Result<(Option<Store>, idempotency::Settings), Vec<Fault>> {
    let mut reader = Reader::new(sources.flags, sources.variables, sources.file.as_deref());
    let store = store::read(&mut reader);
    let settings = keys::idempotency(&mut reader);
    let faults = reader.into_faults();
    match store {
        Ok(store) if faults.is_empty() => Ok((store, settings)),
        _ => Err(faults),
    }
}

const ADDRESS: &str = "an address with a port, like 127.0.0.1:50051";

/// Reads every key. `None` when something without which there is no configuration is missing; the fault is noted.
fn read(r: &mut Reader) -> Option<Config> {
    let default_listen = SocketAddr::from(([127, 0, 0, 1], 50051));
    let listen = r.or_default(
        "listen",
        default_listen,
        ADDRESS,
        "Where gRPC is served. Port 0 takes a free one.",
    );
    let grpc_web = r.or_default(
        "grpc_web.enabled",
        false,
        "true or false",
        "Serves grpc-web as well, over HTTP/2 and without CORS (docs/grpc-web.md).",
    );
    let store = store::read(r);
    let store_key_file = r.optional(
        "store_key_file",
        "a file path",
        "Seals the records under the first key of this file, a line of base64 for each, made by `openssl rand -base64 \
         32`; all of its keys open records. Mode 0600 or 0440. Read at start.",
    );
    let tls = tls::read(r);
    let access = access::read(r, tls.as_ref());
    let sandbox = read_sandbox(r);
    let ram = read_ram(r);

    let (authentication, policies) = access.judge(r, listen, sandbox.is_some());

    let config = Config {
        authentication,
        tls,
        policies,
        store: match (store, &sandbox) {
            (Ok(Some(store)), _) => Some(store),
            (Ok(None), Some(_)) => Some(Store::Memory),
            (Err(WrongAddress), _) => None,
            (Ok(None), None) => {
                r.fault(
                    "store (RAM_FACADE_STORE) is not set: name a file that survives restarts, redis://host:port for \
                     replicas to share, or `:memory:` to forget on restart which requests were served",
                );
                None
            }
        }?,
        store_key_file,
        grpc_web,
        listen,
        sandbox,
        ram,
        connections: keys::connections(r),
        in_flight: keys::in_flight(r),
        limits: keys::limits(r),
        deadline: keys::deadline(r),
        idempotency: keys::idempotency(r),
        retry: keys::retry(r),
        pace: keys::pace(r),
        attempt: keys::attempt(r),
        audit: read_audit(r),
        metrics: telemetry::metrics::Settings {
            listen: r.optional(
                "metrics.listen",
                "an address with a port, like 127.0.0.1:9464",
                "Where `/metrics` is served, without authentication. Unset: nowhere.",
            ),
        },
        log: read_log(r),
        stray_variables: Vec::new(),
    };
    Some(config)
}

fn read_sandbox(r: &mut Reader) -> Option<Sandbox> {
    let on = r.or_default(
        "sandbox.enabled",
        false,
        "true or false",
        "Uses an embedded RAM instead of AWS's.",
    );
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = r.or_default(
        "sandbox.listen",
        any,
        ADDRESS,
        "Where the embedded RAM listens. Port 0 takes a free one.",
    );
    let default = sandbox::Settings::default();
    let settle = r.millis(
        "sandbox.settle_ms",
        default.settle,
        0..=600_000,
        "How long its associations take to settle.",
    );
    if on && !listen.ip().is_loopback() {
        r.fault(format!(
            "sandbox.listen (RAM_FACADE_SANDBOX_LISTEN) is `{listen}`; the sandbox checks nobody and listens on loopback \
             only"
        ));
    }
    on.then_some(Sandbox {
        listen,
        settings: sandbox::Settings { settle, ..default },
    })
}

fn read_ram(r: &mut Reader) -> ram::Settings {
    let default = ram::Settings::default();
    let settings = ram::Settings {
        endpoint: r.optional(
            "ram.endpoint",
            "a URL",
            "Endpoint of RAM and STS instead of AWS's own.",
        ),
        sts_endpoint: r.optional(
            "ram.sts_endpoint",
            "a URL",
            "Endpoint of STS, when it differs from ram.endpoint.",
        ),
        region: r.optional(
            "ram.region",
            "a Region",
            "AWS Region. Unset: AWS_REGION or the profile's.",
        ),
        account: r.optional(
            "ram.account",
            "12 digits",
            "Account of the credentials. Unset: asked of STS at start.",
        ),
        connect_timeout: r.millis(
            "ram.connect_timeout_ms",
            default.connect_timeout,
            100..=10_000,
            "Longest time to open a connection to RAM.",
        ),
    };
    for (key, url) in [
        ("ram.endpoint", &settings.endpoint),
        ("ram.sts_endpoint", &settings.sts_endpoint),
    ] {
        let is_url = |u: &String| {
            u.parse::<http::Uri>()
                .is_ok_and(|u| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some())
        };
        if url.as_ref().is_some_and(|u| !is_url(u)) {
            r.fault(format!(
                "{key} must be a URL like https://ram.eu-west-1.amazonaws.com"
            ));
        }
    }
    if settings.account.as_ref().is_some_and(|a| !rules::is_account(a)) {
        r.fault("ram.account (RAM_FACADE_RAM_ACCOUNT) must have 12 digits");
    }
    settings
}

fn read_audit(r: &mut Reader) -> audit::Settings {
    let settings = audit::Settings {
        sink: r.optional(
            "audit.file",
            "a file path, or `-` for standard output",
            "Where one JSON line for each decision and each outcome goes (docs/audit.md). Made with mode 0600; opened \
             again on SIGHUP. Unset: there is no audit log.",
        ),
        required: r.or_default(
            "audit.required",
            false,
            "true or false",
            "Whether calls that change something are refused while the audit log cannot be written. Otherwise they go \
             on, and lines that are lost are counted and logged.",
        ),
    };
    if settings.required && settings.sink.is_none() {
        r.fault("audit.required (RAM_FACADE_AUDIT_REQUIRED) is true, but audit.file names no log");
    }
    settings
}

fn read_log(r: &mut Reader) -> telemetry::Settings {
    let default = telemetry::Settings::default();
    let settings = telemetry::Settings {
        format: r.or_default(
            "log.format",
            default.format,
            "`text` or `json`",
            "Form of the log lines.",
        ),
        filter: r.or_default(
            "log.filter",
            default.filter,
            "a filter like `info,ram_facade=debug`",
            "Which events are logged. RUST_LOG goes before it.",
        ),
    };
    if !telemetry::is_filter(&settings.filter) {
        r.fault(format!(
            "log.filter (RAM_FACADE_LOG_FILTER) is `{}`, which is no filter",
            settings.filter
        ));
    }
    settings
}

/// The reference of all keys, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut reader = Reader::new(
        BTreeMap::from([("store", ":memory:".to_owned())]),
        BTreeMap::new(),
        None,
    );
    let _ = read(&mut reader);
    let mut page = String::from(
        "# Configuration\n\n\
         Flags go before environment variables, variables before the file (`--config FILE`, TOML; the part before the\n\
         dot is the table). `ram-facade check-config` reports every fault at once.\n\n\
         | key | variable | values | default | meaning |\n|---|---|---|---|---|\n",
    );
    for key in reader.finish().keys {
        let default = if key.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", key.default)
        };
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} | {default} | {} |",
            key.name,
            key.variable(),
            key.values,
            key.meaning
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a file alone makes, or its faults.
    pub(super) fn config(file: &str) -> Result<Config, Vec<String>> {
        let sources = Sources {
            file: Some(file.to_owned()),
            ..Sources::default()
        };
        Config::read(sources).map_err(|faults| faults.into_iter().map(|f| f.0).collect())
    }

    #[test]
    fn the_sandbox_needs_no_other_key() {
        let config = config("[sandbox]\nenabled = true").unwrap();

        assert_eq!(config.store, Store::Memory);
        assert_eq!(config.authentication, Authentication::default());
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults = config(
            "listen = \"here\"\n[retry]\nmax_attempts = 0\n[ram]\naccount = \"1\"\nendpoint = \"x\"\nnmae = 1",
        );

        let faults = faults.unwrap_err().join("\n");
        for part in [
            "listen",
            "max_attempts",
            "ram.account",
            "ram.endpoint",
            "ram.nmae",
            "store",
            "no authentication",
        ] {
            assert!(faults.contains(part), "{part} is missing from: {faults}");
        }
    }

    #[test]
    fn a_server_that_replicas_share_has_keys_of_its_own() {
        let config = config(
            "store = \"rediss://cache.example:6380\"\ninsecure_no_auth = true\n[redis]\nuser = \"facade\"\n\
             password_file = \"/run/password\"\nca_file = \"/etc/ca.pem\"\nresponse_timeout_ms = 500",
        )
        .unwrap();

        let Store::Redis(settings) = config.store else {
            panic!("{:?}", config.store)
        };
        assert_eq!(settings.address.to_string(), "rediss://cache.example:6380");
        assert_eq!(settings.user.as_deref(), Some("facade"));
        assert_eq!(settings.password_file, Some("/run/password".into()));
        assert_eq!(settings.response_timeout, Duration::from_millis(500));
        assert_eq!(settings.connect_timeout, RedisSettings::CONNECT_TIMEOUT);
    }

    #[test]
    fn no_fault_and_no_debug_output_shows_a_password() {
        let wrong = config("store = \"redis://:hunter2@\"\ninsecure_no_auth = true").unwrap_err();
        let right = config("store = \"redis://:hunter2@cache.example\"\ninsecure_no_auth = true").unwrap();

        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(
            wrong[0].starts_with("store (RAM_FACADE_STORE) must be redis://"),
            "{wrong:?}"
        );
        assert!(!wrong[0].contains("hunter2"), "{wrong:?}");
        assert!(!format!("{right:?}").contains("hunter2"));
    }

    #[test]
    fn an_authority_for_a_server_without_tls_is_a_fault() {
        let faults = config("store = \"redis://host\"\ninsecure_no_auth = true\n[redis]\nca_file = \"x\"")
            .unwrap_err();

        assert!(faults[0].contains("rediss://"), "{faults:?}");
    }

    #[test]
    fn the_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();

        assert!(
            on_disk == reference(),
            "run `ram-facade check-config --reference > docs/configuration.md`"
        );
    }
}
