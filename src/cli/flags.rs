//! What stands on the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{operator::Name, server::tls::probe};

/// AWS Resource Access Manager as a gRPC service.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
pub(super) struct Policies {
    #[command(subcommand)]
    pub(super) command: PolicyCommand,
}

#[cfg(feature = "cedar")]
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
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
pub(super) struct Operate {
    #[command(subcommand)]
    pub(super) command: OperateCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum OperateCommand {
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
pub(super) struct StoreFile {
    /// The store: a SQLite file that no server has open, or the URL of the server that replicas share.
    #[arg(long, value_name = "FILE|URL")]
    pub(super) store: Option<String>,
    /// The file of the store's keys, if its records are sealed.
    #[arg(long, value_name = "FILE")]
    pub(super) store_key_file: Option<PathBuf>,
    /// The server's configuration file (TOML); also RAM_FACADE_CONFIG. It says how long records count, and, unless
    /// told here, where they are.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum StateFlag {
    InFlight,
    Unknown,
    Succeeded,
}

/// Which record is meant: by its name, or by what its caller sent.
#[derive(Debug, Args)]
pub(super) struct Which {
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
    pub(super) fn into_name(self) -> Name {
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
pub(super) struct Serve {
    /// Configuration file (TOML); also RAM_FACADE_CONFIG.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Use an embedded RAM instead of AWS's; without authentication, on loopback only.
    #[arg(long)]
    pub(super) sandbox: bool,
    /// Where gRPC is served [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// Where the embedded RAM listens [default: a free loopback port].
    #[arg(long, value_name = "ADDR")]
    pub(super) sandbox_listen: Option<String>,
    /// Another endpoint for RAM and STS.
    #[arg(long, value_name = "URL")]
    pub(super) ram_endpoint: Option<String>,
    /// Idempotency store: a file, redis://host:port, rediss://host:port, or `:memory:`.
    #[arg(long, value_name = "STORE")]
    pub(super) store: Option<String>,
    /// File with the SHA-256 of every bearer token and its caller's name.
    #[arg(long, value_name = "FILE")]
    pub(super) auth_tokens_file: Option<String>,
    /// File of the issuers whose JWT bearer tokens are accepted.
    #[arg(long, value_name = "FILE")]
    pub(super) auth_issuers_file: Option<String>,
    /// Cedar policies that say who may share what: a file, or a folder of *.cedar files.
    #[arg(long, value_name = "PATH")]
    pub(super) policy_file: Option<String>,
    /// Where the audit log goes: a file, or `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) audit_file: Option<String>,
    /// Serve everybody, on loopback only.
    #[arg(long)]
    pub(super) insecure_no_auth: bool,
    /// Form of the log lines: text or json.
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Alone {
    /// Where it listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,
    /// Fault plan to begin with (JSON; see docs/sandbox.md).
    #[arg(long, value_name = "FILE")]
    pub(super) faults: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) serve: Serve,
    /// Print the reference of all keys instead.
    #[arg(long)]
    pub(super) reference: bool,
}

#[derive(Debug, Args)]
pub(super) struct Health {
    /// The server's address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub(super) address: SocketAddr,
    /// The service to ask for; empty asks for the server.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(super) service: String,
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
    pub(super) fn tls(&self) -> Option<probe::Settings> {
        Some(probe::Settings {
            ca_file: self.ca_file.clone()?,
            server_name: self.server_name.clone(),
            identity: self.certificate_file.clone().zip(self.key_file.clone()),
        })
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
