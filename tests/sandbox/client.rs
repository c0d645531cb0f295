//! A sandbox, a client for it, and what most tests do with both.

use std::{fmt::Debug, time::Duration};

use aws_sdk_ram::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::create_resource_share::{
        CreateResourceShareError, CreateResourceShareOutput, builders::CreateResourceShareFluentBuilder,
    },
};
use ram_facade::sandbox::{FaultPlan, Rule, Sandbox, Settings};

pub(crate) const CREATE: &str = "CreateResourceShare";
pub(crate) const SUBNET: &str = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-1";
pub(crate) const MEMBER: &str = "444455556666";
pub(crate) const OUTSIDER: &str = "999999999999";
pub(crate) const SERVICE: &str = "pca-connector-ad.amazonaws.com";

pub(crate) type CreateError = SdkError<CreateResourceShareError>;

/// Associations settle at once, so that no test waits for them.
pub(crate) fn settings() -> Settings {
    Settings {
        settle: Duration::ZERO,
        ..Settings::default()
    }
}

pub(crate) async fn start() -> (Sandbox, Client) {
    start_with(settings()).await
}

pub(crate) async fn start_with(settings: Settings) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), settings)
        .await
        .unwrap();
    let client = client_for(&sandbox);
    (sandbox, client)
}

pub(crate) fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")
}

/// A client that sends each request once.
pub(crate) fn client_for(sandbox: &Sandbox) -> Client {
    client_with(sandbox, TimeoutConfig::builder().build())
}

pub(crate) fn client_with(sandbox: &Sandbox, timeouts: TimeoutConfig) -> Client {
    let config = aws_sdk_ram::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials())
        .endpoint_url(sandbox.url())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}

/// A request for a share with a name and nothing else.
pub(crate) fn named(client: &Client) -> CreateResourceShareFluentBuilder {
    client.create_resource_share().name("share")
}

pub(crate) async fn create(client: &Client) -> String {
    arn_of(&named(client).send().await.unwrap())
}

pub(crate) fn arn_of(output: &CreateResourceShareOutput) -> String {
    output
        .resource_share()
        .unwrap()
        .resource_share_arn()
        .unwrap()
        .to_owned()
}

/// The code of an answer that must be an error.
pub(crate) fn code<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> String {
    let error = result.expect_err("the request must be refused");
    let service = error
        .as_service_error()
        .unwrap_or_else(|| panic!("not an answer of the service: {error:?}"));
    service.code().unwrap_or_default().to_owned()
}

pub(crate) fn plan(rules: Vec<Rule>) -> FaultPlan {
    FaultPlan {
        rules,
        ..FaultPlan::default()
    }
}

/// Requests, executions and live shares.
pub(crate) fn counts(sandbox: &Sandbox) -> (u64, u64, u64) {
    let stats = sandbox.stats();
    (
        stats.requests_of(CREATE),
        stats.executions_of(CREATE),
        stats.live_shares,
    )
}

/// Waits until `condition` holds. The limit is for a test that fails.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), polled)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
