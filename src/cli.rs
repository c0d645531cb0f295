//! The command line: `serve`, `sandbox`, `check-config`, `healthcheck`, `idempotency`, `policy`.
//!
//! Exit codes: 0 after a drain, 2 for bad usage or configuration, 1 for the rest. `policy explain` ends with 0 for a permit
//! and with 1 for a denial.

mod flags;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "cedar")]
use crate::policy_tool;
use crate::{
    config::{self, Config, Fault, Sources, reference},
    failure::chain,
    operator::{Records, Refused, State, Verdict},
    sandbox::{FaultPlan, Sandbox, Settings},
    server::{self, Server, StartError, connections::Drained, health},
    telemetry,
};

#[cfg(feature = "cedar")]
use flags::PolicyCommand;
use flags::{Alone, Cli, Command, OperateCommand, Serve, StateFlag, StoreFile};

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
