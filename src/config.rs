//! Gathers every module's settings from flags, environment and file, and reports every fault at once.
//!
//! This file and those below are the list of keys; what a setting means in full stands at its field. `docs/configuration.md` is made from
//! the list, and a test keeps it current.

mod keys;
mod reader;
mod store;
mod tls;

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::PathBuf, str::FromStr};

use crate::{
    audit,
    auth::certificate,
    idempotency::redis::{Settings as RedisSettings, WrongAddress},
    layers::{attempt, deadline, idempotency, in_flight, limit_caller, pace, retry},
    ram, rules, sandbox,
    server::{connections, tls as server_tls},
    telemetry,
};

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

/// How callers prove who they are. Without any way everybody is the same anonymous caller, on loopback only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Bearer tokens whose hashes stand in this file.
    pub tokens_file: Option<PathBuf>,
    /// JWT bearer tokens of the issuers in this file.
    pub issuers_file: Option<PathBuf>,
    /// Client certificates with these names.
    pub certificate: Option<certificate::Settings>,
}

impl Authentication {
    /// Returns whether nobody has to prove anything.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// What callers may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policies {
    /// What the Cedar policies of this file or folder permit.
    Cedar(PathBuf),
    /// Everything, whoever they are.
    AllowAll,
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
    let insecure = r.or_default(
        "insecure_no_auth",
        false,
        "true or false",
        "Serves everybody, on loopback addresses only.",
    );
    let tls = tls::read(r);
    let proofs = Authentication {
        tokens_file: r.optional(
            "auth.tokens_file",
            "a file path",
            "File with a line `SHA-256-of-token caller-name` for each bearer token. Reread when it changes and on SIGHUP.",
        ),
        issuers_file: r.optional(
            "auth.issuers_file",
            "a file path",
            "File (TOML) with an [[issuer]] for each issuer of JWT bearer tokens that are accepted; docs/auth.md. Read \
             at start.",
        ),
        certificate: tls::callers(r, tls.as_ref()),
    };
    let policy = read_policy(r);
    let sandbox = read_sandbox(r);
    let ram = read_ram(r);

    let config = Config {
        authentication: authentication(r, listen, insecure, proofs, sandbox.is_some()),
        tls,
        policies: policies(r, policy, insecure || sandbox.is_some()),
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

/// Nobody gets in by default, and what is open to everybody is open on loopback only.
fn authentication(
    r: &mut Reader,
    listen: SocketAddr,
    insecure: bool,
    proofs: Authentication,
    sandbox: bool,
) -> Authentication {
    if !proofs.is_off() {
        if insecure {
            r.fault("insecure_no_auth and the keys auth.* exclude each other; remove one");
        }
    } else if !insecure && !sandbox {
        r.fault(
            "no authentication: set auth.tokens_file (RAM_FACADE_AUTH_TOKENS_FILE), auth.issuers_file \
             (RAM_FACADE_AUTH_ISSUERS_FILE) or auth.certificate.* for client certificates, or insecure_no_auth \
             (--insecure-no-auth) to serve everybody on loopback",
        );
    } else if !listen.ip().is_loopback() {
        r.fault(format!(
            "listen (RAM_FACADE_LISTEN) is `{listen}`, but without authentication only loopback addresses are served; \
             set one of the keys auth.*, or listen on 127.0.0.1"
        ));
    }
    proofs
}

fn read_policy(r: &mut Reader) -> (Option<PathBuf>, bool) {
    let file = r.optional(
        "policy.file",
        "a file or a folder",
        "Cedar policies that say who may share what, in a file or in the `*.cedar` files of a folder (docs/policy.md). \
         What no policy permits is denied. Reread when it changes and on SIGHUP.",
    );
    let allow_all = r.or_default(
        "policy.allow_all",
        false,
        "true or false",
        "Lets every authenticated caller do everything that the credentials may, instead of policies.",
    );
    (file, allow_all)
}

/// Nothing is permitted by default, except where nobody is asked who they are either.
fn policies(r: &mut Reader, (file, allow_all): (Option<PathBuf>, bool), open: bool) -> Policies {
    match file {
        Some(_) if allow_all => {
            r.fault("policy.file and policy.allow_all exclude each other; remove one");
        }
        Some(_) if !cfg!(feature = "cedar") => {
            r.fault("policy.file (RAM_FACADE_POLICY_FILE) is set, but this build has no policies (feature `cedar`)");
        }
        Some(file) => return Policies::Cedar(file),
        None if !open && !allow_all => {
            r.fault(
                "no policy: set policy.file (RAM_FACADE_POLICY_FILE) to Cedar policies, or policy.allow_all = true to \
                 let every authenticated caller do everything",
            );
        }
        None => {}
    }
    Policies::AllowAll
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

    fn config(file: &str) -> Result<Config, Vec<String>> {
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
    fn nobody_gets_in_by_default() {
        let faults = config("store = \":memory:\"").unwrap_err();

        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("no authentication"), "{faults:?}");
        assert!(faults[1].contains("no policy"), "{faults:?}");
    }

    #[test]
    fn whoever_gets_in_may_do_nothing_by_default() {
        let with = |policy| {
            config(&format!(
                "store = \":memory:\"\n[auth]\ntokens_file = \"t\"\n[policy]\n{policy}"
            ))
        };
        let refused = |policy| with(policy).unwrap_err().join("\n");

        assert!(refused("").contains("no policy: set policy.file"));
        assert!(refused("file = \"p\"\nallow_all = true").contains("exclude each other"));
        assert_eq!(with("allow_all = true").unwrap().policies, Policies::AllowAll);
        #[cfg(feature = "cedar")]
        assert_eq!(
            with("file = \"p\"").unwrap().policies,
            Policies::Cedar("p".into())
        );
        #[cfg(not(feature = "cedar"))]
        assert!(refused("file = \"p\"").contains("this build has no policies"));
    }

    #[test]
    fn without_authentication_only_loopback_is_served() {
        for key in ["insecure_no_auth = true", "sandbox.enabled = true"] {
            let faults = config(&format!("listen = \"0.0.0.0:1\"\nstore = \":memory:\"\n{key}")).unwrap_err();
            assert!(faults[0].contains("only loopback"), "{faults:?}");
        }
        assert!(config("listen = \"[::1]:0\"\nstore = \":memory:\"\ninsecure_no_auth = true").is_ok());
    }

    #[test]
    fn several_verifiers_may_stand_together_and_none_beside_insecure_no_auth() {
        let both = "store = \":memory:\"\nlisten = \"0.0.0.0:1\"\npolicy.allow_all = true\n[auth]\ntokens_file = \"t\"\nissuers_file = \"i\"";
        let expected = Authentication {
            tokens_file: Some("t".into()),
            issuers_file: Some("i".into()),
            certificate: None,
        };

        assert_eq!(config(both).unwrap().authentication, expected);
        for key in ["tokens_file", "issuers_file"] {
            let faults = config(&format!(
                "store = \":memory:\"\ninsecure_no_auth = true\n[auth]\n{key} = \"x\""
            ));
            assert!(faults.unwrap_err()[0].contains("exclude each other"), "{key}");
        }
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

    const FILES: &str = "certificate_file = \"c\"\nkey_file = \"k\"\nclient_ca_file = \"a\"\n";

    #[test]
    fn a_certificate_that_names_its_caller_is_authentication_enough() {
        let file = format!(
            "listen = \"0.0.0.0:1\"\nstore = \":memory:\"\npolicy.allow_all = true\n[tls]\n{FILES}[auth.certificate]\ntrust_domains = \"a, b\""
        );
        let config = config(&file).unwrap();

        assert!(config.authentication.certificate.is_some());
        let clients = config.tls.unwrap().clients.unwrap();
        assert_eq!(clients.presence, server_tls::Presence::Required);
        assert_eq!(clients.crl_file, None);
    }

    #[test]
    fn keys_of_tls_that_miss_another_are_faults() {
        for (keys, missing) in [
            ("certificate_file = \"c\"", "tls.key_file is not"),
            ("key_file = \"k\"", "tls.certificate_file is not"),
            ("client_ca_file = \"a\"", "tls.certificate_file is not"),
            (
                "certificate_file = \"c\"\nkey_file = \"k\"\ncrl_file = \"l\"",
                "tls.client_ca_file is not",
            ),
            (
                "certificate_file = \"c\"\nkey_file = \"k\"\nclient_certificates = \"optional\"",
                "tls.client_ca_file is not",
            ),
            (
                &format!("{FILES}client_certificates = \"sometimes\""),
                "`required` or `optional`",
            ),
        ] {
            let faults = config(&format!("sandbox.enabled = true\n[tls]\n{keys}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{keys}: {faults:?}");
            assert!(faults[0].contains(missing), "{keys}: {faults:?}");
        }
    }

    #[test]
    fn a_certificate_names_nobody_where_none_is_asked_for() {
        let without =
            config("sandbox.enabled = true\nauth.certificate.dns_names = \"a.example\"").unwrap_err();
        let insecure = config(&format!(
            "insecure_no_auth = true\nstore = \":memory:\"\nauth.certificate.dns_names = \"a.example\"\n[tls]\n{FILES}"
        ))
        .unwrap_err();
        let wildcard = config(&format!(
            "store = \":memory:\"\nsandbox.enabled = true\nauth.certificate.dns_names = \"*.example\"\n[tls]\n{FILES}"
        ))
        .unwrap_err();

        assert!(without[0].contains("tls.client_ca_file"), "{without:?}");
        assert!(insecure[0].contains("exclude each other"), "{insecure:?}");
        assert!(
            wildcard[0].contains("auth.certificate.dns_names has `*.example`"),
            "{wildcard:?}"
        );
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
