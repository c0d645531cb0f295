//! The command line: `serve`, `sandbox`, `check-config`, `healthcheck`, `idempotency`, `policy`.
//!
//! Exit codes: 0 after a drain, 2 for bad usage or configuration, 1 for the rest. `policy explain` ends with 0 for a permit
//! and with 1 for a denial.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "cedar")]
use crate::policy_tool;
use crate::{
    config::{self, Config, Fault, Sources, reference},
    failure::chain,
    operator::{Name, Records, Refused, State, Verdict},
    sandbox::{FaultPlan, Sandbox, Settings},
    server::{self, Server, StartError, connections::Drained, health, tls::probe},
    telemetry,
};

/// AWS Resource Access Manager as a gRPC service.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC.
    Serve(Serve),
    /// Serve the embedded RAM alone, for SDKs and tools.
    Sandbox(Alone),
    /// Check the configuration that `serve` would use, and report every fault.
    CheckConfig(Check),
    /// Ask a running server for its health; exit code 0 when it serves.
    Healthcheck(Health),
    /// Look at the records of a stopped server, and settle one by hand.
    Idempotency(Operate),
    /// Check policies, and ask them without a server.
    #[cfg(feature = "cedar")]
    Policy(Policies),
}

#[cfg(feature = "cedar")]
#[derive(Debug, Args)]
struct Policies {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[cfg(feature = "cedar")]
#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check policies together, as the server would; exit code 2 when there are faults.
    Check {
        /// Files, or folders of *.cedar files.
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
    },
    /// Say what policies decide about a request, and which ones; exit code 0 for a permit, 1 for a denial.
    Explain {
        /// A file, or a folder of *.cedar files.
        #[arg(long, value_name = "PATH")]
        policy: PathBuf,
        /// The request (JSON; see docs/policy.md).
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// Another caller than the file's.
        #[arg(long, value_name = "ISSUER/SUBJECT")]
        caller: Option<String>,
        /// What proved the caller's name: static-token, certificate, jwt or nothing.
        #[arg(long, value_name = "PROOF")]
        proof: Option<String>,
        /// What the verifier knows about the caller besides; may stand several times.
        #[arg(long, value_name = "NAME=VALUE")]
        attribute: Vec<String>,
    },
    /// Print the schema that policies are written against.
    Schema,
}

#[derive(Debug, Args)]
struct Operate {
    #[command(subcommand)]
    command: OperateCommand,
}

#[derive(Debug, Subcommand)]
enum OperateCommand {
    /// List records: name, state and age.
    List {
        #[command(flatten)]
        file: StoreFile,
        /// Only records in this state.
        #[arg(long, value_enum)]
        state: Option<StateFlag>,
        /// Most records to list.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show one record.
    Show {
        #[command(flatten)]
        file: StoreFile,
        #[command(flatten)]
        which: Which,
    },
    /// Settle a record whose outcome is open, after a look at the account.
    #[command(group = clap::ArgGroup::new("verdict").required(true))]
    Resolve {
        #[command(flatten)]
        file: StoreFile,
        #[command(flatten)]
        which: Which,
        /// It made this share: requests under its token are answered with the ARN.
        #[arg(long, value_name = "ARN", group = "verdict")]
        succeeded_arn: Option<String>,
        /// It made nothing: the next request under its token executes.
        #[arg(long, group = "verdict")]
        forget: bool,
        /// Do it; without, nothing is changed.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct StoreFile {
    /// The store: a SQLite file that no server has open, or the URL of the server that replicas share.
    #[arg(long, value_name = "FILE|URL")]
    store: Option<String>,
    /// The file of the store's keys, if its records are sealed.
    #[arg(long, value_name = "FILE")]
    store_key_file: Option<PathBuf>,
    /// The server's configuration file (TOML); also RAM_FACADE_CONFIG. It says how long records count, and, unless
    /// told here, where they are.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl StoreFile {
    async fn open(self) -> Result<Records, End> {
        let flags = self.store.map(|store| ("store", store)).into_iter().collect();
        let sources = Sources::with_environment(flags, config_file(self.config.as_ref())?);
        let (store, settings) = config::records(sources).map_err(End::faults)?;
        let key_file = self.store_key_file.as_deref();
        match store {
            Some(config::Store::File(path)) => Ok(Records::in_file(&path, key_file, settings)?),
            Some(config::Store::Redis(server)) => {
                Ok(Box::pin(Records::on_server(&server, key_file, settings)).await?)
            }
            Some(config::Store::Memory) | None => Err(End::Usage(vec![
                "say which records are meant: --store FILE, or --store redis://host:port".to_owned(),
            ])),
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StateFlag {
    InFlight,
    Unknown,
    Succeeded,
}

/// Which record is meant: by its name, or by what its caller sent.
#[derive(Debug, Args)]
struct Which {
    /// The 8 hex digits that `list` and the log show.
    #[arg(
        value_name = "NAME",
        required_unless_present = "token",
        conflicts_with = "token"
    )]
    name: Option<String>,
    /// The caller's token.
    #[arg(long, value_name = "TOKEN", requires_all = ["caller", "account", "region"])]
    token: Option<String>,
    /// The caller, as the log names it: `issuer/name`, or the name of a bearer token.
    #[arg(long, value_name = "CALLER")]
    caller: Option<String>,
    /// Who vouches for the caller, if that is a URL: --caller is then the name alone.
    #[arg(long, value_name = "ISSUER", requires = "caller")]
    issuer: Option<String>,
    /// Account of the facade's credentials.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Region of the facade.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Partition of the account.
    #[arg(long, value_name = "PARTITION", default_value = "aws")]
    partition: String,
    /// AWS's name of the operation.
    #[arg(long, value_name = "NAME", default_value = "CreateResourceShare")]
    operation: String,
}

impl Which {
    fn into_name(self) -> Name {
        let Some(client_token) = self.token else {
            return Name::Digits(self.name.unwrap_or_default());
        };
        let caller = self.caller.unwrap_or_default();
        let named = match &self.issuer {
            Some(issuer) => (issuer.as_str(), caller.as_str()),
            None => issuer_and_subject(&caller),
        };
        Name::intent(
            named,
            [
                self.partition,
                self.account.unwrap_or_default(),
                self.region.unwrap_or_default(),
            ],
            self.operation,
            client_token,
        )
    }
}

/// Takes a caller apart as the log prints it. A SPIFFE id's issuer is its trust domain, which has slashes of its own.
fn issuer_and_subject(caller: &str) -> (&str, &str) {
    let trust_domain = caller
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'));
    match trust_domain {
        Some((_, path)) => (
            caller.get(..caller.len() - path.len() - 1).unwrap_or_default(),
            path,
        ),
        None => caller.split_once('/').unwrap_or(("static-token", caller)),
    }
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file (TOML); also RAM_FACADE_CONFIG.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use an embedded RAM instead of AWS's; without authentication, on loopback only.
    #[arg(long)]
    sandbox: bool,
    /// Where gRPC is served [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where the embedded RAM listens [default: a free loopback port].
    #[arg(long, value_name = "ADDR")]
    sandbox_listen: Option<String>,
    /// Another endpoint for RAM and STS.
    #[arg(long, value_name = "URL")]
    ram_endpoint: Option<String>,
    /// Idempotency store: a file, redis://host:port, rediss://host:port, or `:memory:`.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// File with the SHA-256 of every bearer token and its caller's name.
    #[arg(long, value_name = "FILE")]
    auth_tokens_file: Option<String>,
    /// File of the issuers whose JWT bearer tokens are accepted.
    #[arg(long, value_name = "FILE")]
    auth_issuers_file: Option<String>,
    /// Cedar policies that say who may share what: a file, or a folder of *.cedar files.
    #[arg(long, value_name = "PATH")]
    policy_file: Option<String>,
    /// Where the audit log goes: a file, or `-` for standard output.
    #[arg(long, value_name = "FILE")]
    audit_file: Option<String>,
    /// Serve everybody, on loopback only.
    #[arg(long)]
    insecure_no_auth: bool,
    /// Form of the log lines: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Debug, Args)]
struct Alone {
    /// Where it listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Fault plan to begin with (JSON; see docs/sandbox.md).
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    serve: Serve,
    /// Print the reference of all keys instead.
    #[arg(long)]
    reference: bool,
}

#[derive(Debug, Args)]
struct Health {
    /// The server's address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    address: SocketAddr,
    /// The service to ask for; empty asks for the server.
    #[arg(long, value_name = "NAME", default_value = "")]
    service: String,
    /// Speak TLS, and believe the authorities in this file (PEM).
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The name that the server's certificate must have [default: the IP address].
    #[arg(long, value_name = "NAME", requires = "ca_file")]
    server_name: Option<String>,
    /// Own certificate (PEM), for a server that requires one.
    #[arg(long, value_name = "FILE", requires_all = ["ca_file", "key_file"])]
    certificate_file: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
}

impl Health {
    fn tls(&self) -> Option<probe::Settings> {
        Some(probe::Settings {
            ca_file: self.ca_file.clone()?,
            server_name: self.server_name.clone(),
            identity: self.certificate_file.clone().zip(self.key_file.clone()),
        })
    }
}

/// Why a command ends with an exit code other than 0.
enum End {
    /// Bad usage or configuration.
    Usage(Vec<String>),
    /// Anything else.
    Failed(String),
    /// Everything was said; the answer is no.
    #[cfg(feature = "cedar")]
    No,
}

impl End {
    fn faults(faults: Vec<Fault>) -> Self {
        Self::Usage(faults.into_iter().map(|Fault(text)| text).collect())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Refused> for End {
    fn from(error: Refused) -> Self {
        match error {
            Refused::NoName(_) | Refused::NoShare(_) | Refused::Missing(_) => {
                Self::Usage(vec![error.to_string()])
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<StartError> for End {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Tokens(_)
            | StartError::Issuers(_)
            | StartError::Keys(_)
            | StartError::Tls(_)
            | StartError::Policy(_)
            | StartError::Audit(_) => Self::Usage(vec![chain(&error)]),
            StartError::SharedStore(ref why) if why.is_in_the_settings() => Self::Usage(vec![chain(&error)]),
            StartError::Listen(..)
            | StartError::Ram(_)
            | StartError::Store(_)
            | StartError::SharedStore(_)
            | StartError::Contract(_) => Self::Failed(chain(&error)),
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return report(End::from(error)),
    };
    runtime
        .block_on(run(command))
        .map_or_else(report, |()| ExitCode::SUCCESS)
}

fn report(end: End) -> ExitCode {
    let mut err = io::stderr().lock();
    match end {
        End::Usage(faults) => {
            for fault in faults {
                let _ = writeln!(err, "error: {fault}");
            }
            ExitCode::from(2)
        }
        #[cfg(feature = "cedar")]
        End::No => ExitCode::from(1),
        End::Failed(why) => {
            let _ = writeln!(err, "error: {why}");
            ExitCode::from(1)
        }
    }
}

fn say(line: &str) {
    // A closed standard output is no reason to stop serving.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

async fn run(command: Command) -> Result<(), End> {
    match command {
        Command::Serve(flags) => Box::pin(serve(read_config(&flags)?)).await,
        Command::Sandbox(flags) => sandbox(flags).await,
        Command::CheckConfig(flags) if flags.reference => {
            let _ = write!(io::stdout().lock(), "{}", reference());
            Ok(())
        }
        Command::CheckConfig(flags) => {
            let config = read_config(&flags.serve)?;
            let faults = server::check(&config);
            if !faults.is_empty() {
                return Err(End::Usage(faults));
            }
            say("the configuration is valid");
            Ok(())
        }
        Command::Healthcheck(flags) => {
            health::ask(flags.address, flags.tls().as_ref(), &flags.service)
                .await
                .map_err(End::Failed)?;
            say("SERVING");
            Ok(())
        }
        Command::Idempotency(flags) => operate(flags.command).await,
        #[cfg(feature = "cedar")]
        Command::Policy(flags) => policy(flags.command),
    }
}

async fn operate(command: OperateCommand) -> Result<(), End> {
    telemetry::start(&telemetry::Settings::default());
    match command {
        OperateCommand::List { file, state, limit } => {
            let state = state.map(|state| match state {
                StateFlag::InFlight => State::InFlight,
                StateFlag::Unknown => State::Unknown,
                StateFlag::Succeeded => State::Succeeded,
            });
            let lines = file.open().await?.list(state, limit).await?;
            lines.iter().for_each(|line| say(line));
        }
        OperateCommand::Show { file, which } => {
            let lines = file.open().await?.show(&which.into_name()).await?;
            lines.iter().for_each(|line| say(line));
        }
        OperateCommand::Resolve {
            file,
            which,
            succeeded_arn,
            forget: _,
            yes,
        } => {
            let name = which.into_name();
            let records = file.open().await?;
            if !yes {
                records.show(&name).await?.iter().for_each(|line| say(line));
                return Err(End::Usage(vec![
                    "nothing was changed; say --yes to settle this record".to_owned(),
                ]));
            }
            let verdict = succeeded_arn.map_or(Verdict::Forget, |arn| Verdict::Succeeded { arn });
            say(&records.resolve(&name, &verdict).await?);
        }
    }
    Ok(())
}

#[cfg(feature = "cedar")]
fn policy(command: PolicyCommand) -> Result<(), End> {
    match command {
        PolicyCommand::Check { paths } => {
            let lines = policy_tool::check(&paths).map_err(End::Usage)?;
            lines.iter().for_each(|line| say(line));
        }
        PolicyCommand::Explain {
            policy,
            request,
            caller,
            proof,
            attribute,
        } => {
            let who = policy_tool::Who {
                caller,
                proof,
                attributes: attribute,
            };
            let explained = policy_tool::explain(&policy, &request, &who).map_err(End::Usage)?;
            explained.lines.iter().for_each(|line| say(line));
            if !explained.permit {
                return Err(End::No);
            }
        }
        PolicyCommand::Schema => {
            let _ = write!(io::stdout().lock(), "{}", policy_tool::schema());
        }
    }
    Ok(())
}

/// The text of the configuration file, the one that is named or the environment's, if there is one.
fn config_file(named: Option<&PathBuf>) -> Result<Option<String>, End> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line and the environment are read here"
    )]
    let file = named
        .cloned()
        .or_else(|| std::env::var_os("RAM_FACADE_CONFIG").map(PathBuf::from));
    let read = |path: PathBuf| {
        fs::read_to_string(&path)
            .map_err(|e| End::Usage(vec![format!("cannot read the file {}: {e}", path.display())]))
    };
    file.map(read).transpose()
}

fn read_config(flags: &Serve) -> Result<Config, End> {
    let file = config_file(flags.config.as_ref())?;
    let switch = |on: bool| on.then(|| "true".to_owned());
    let given = [
        ("listen", flags.listen.clone()),
        ("store", flags.store.clone()),
        ("insecure_no_auth", switch(flags.insecure_no_auth)),
        ("auth.tokens_file", flags.auth_tokens_file.clone()),
        ("auth.issuers_file", flags.auth_issuers_file.clone()),
        ("policy.file", flags.policy_file.clone()),
        ("audit.file", flags.audit_file.clone()),
        ("sandbox.enabled", switch(flags.sandbox)),
        ("sandbox.listen", flags.sandbox_listen.clone()),
        ("ram.endpoint", flags.ram_endpoint.clone()),
        ("log.format", flags.log_format.clone()),
    ];
    let flags: BTreeMap<_, _> = given
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    Config::read(Sources::with_environment(flags, file)).map_err(End::faults)
}

async fn serve(config: Config) -> Result<(), End> {
    telemetry::start(&config.log);
    let mut stop = StopSignals::listen()?;
    let server = tokio::select! {
        server = Server::start(config) => server?,
        () = stop.first() => return Ok(()),
    };
    if let Some(sandbox) = server.sandbox() {
        say(&format!("sandbox listening on {}", sandbox.url()));
    }
    say(&format!("listening on {}", server.address()));
    if server.sandbox().is_some() {
        say("try:");
        say(&format!(
            "  grpcurl -plaintext -d '{{\"name\": \"demo\", \"client_token\": \"first-share\"}}' {} \
             ramfacade.v1.ResourceShareService/Create",
            server.address()
        ));
    }

    stop.first().await;
    let drained = tokio::select! {
        drained = server.stop() => drained,
        () = stop.first() => return Err(End::Failed("stopped by a second signal before the drain ended".to_owned())),
    };
    match drained {
        Drained::Cleanly => Ok(()),
        // The deadline is part of the contract: what did not end within it was cut, as announced.
        Drained::Cut(connections) => {
            tracing::warn!(
                connections,
                "the drain deadline cut connections that were still open"
            );
            Ok(())
        }
    }
}

async fn sandbox(flags: Alone) -> Result<(), End> {
    telemetry::start(&telemetry::Settings::default());
    let faults = match flags.faults {
        Some(path) => fs::read_to_string(&path)
            .map_err(|e| e.to_string())
            .and_then(|text| FaultPlan::from_json(&text))
            .map_err(|e| End::Usage(vec![format!("{}: {e}", path.display())]))?,
        None => FaultPlan::default(),
    };
    if !flags.listen.ip().is_loopback() {
        return Err(End::Usage(vec![
            "--listen: the sandbox checks nobody and listens on loopback only".to_owned(),
        ]));
    }
    let mut stop = StopSignals::listen()?;
    let sandbox = Sandbox::start(
        flags.listen,
        Settings {
            faults,
            ..Settings::default()
        },
    )
    .await?;
    say(&format!("sandbox listening on {}", sandbox.url()));
    stop.first().await;
    sandbox.stop().await;
    Ok(())
}

/// SIGTERM, as supervisors send it, and SIGINT, as a terminal does.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_taken_apart_as_the_log_prints_it() {
        assert_eq!(issuer_and_subject("alice"), ("static-token", "alice"));
        assert_eq!(issuer_and_subject("dns-san/a.example"), ("dns-san", "a.example"));
        assert_eq!(
            issuer_and_subject("spiffe://td/ns/a/sa/b"),
            ("spiffe://td", "ns/a/sa/b")
        );
    }
}
