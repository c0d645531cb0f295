//! The one way to RAM: the AWS SDK's client, set up so that every decision about time and repetition is ours.

pub mod error;
pub mod guard;

use std::{error::Error, sync::Arc, time::Duration};

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_ram::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
};

use crate::{call::Target, failure::chain};

use guard::Guard;

/// How RAM is reached. Credentials, Region and endpoint that are not given here come from AWS's ordinary chain:
/// environment, profile files, container and instance metadata.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Endpoint of RAM and STS instead of AWS's own, as a URL. Default: AWS's endpoint for the Region.
    pub endpoint: Option<String>,
    /// Endpoint of STS alone. Default: `endpoint`.
    pub sts_endpoint: Option<String>,
    /// AWS Region. Default: from the ordinary chain.
    pub region: Option<String>,
    /// Account id of the facade's credentials, 12 digits. Default: asked of STS once, at start.
    pub account: Option<String>,
    /// Longest time to open a connection, 100 ms to 10 s. Default 1 s: within a Region it takes milliseconds.
    pub connect_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sts_endpoint: None,
            region: None,
            account: None,
            connect_timeout: Duration::from_secs(1),
        }
    }
}

/// RAM in one account and Region.
#[derive(Clone, Debug)]
pub struct Ram {
    /// The SDK's client. It makes one HTTP request per call.
    pub client: Client,
    /// Whose account and which Region it acts on.
    pub target: Arc<Target>,
    /// Key of the tag that new shares carry, with the token that RAM sees as its value. Empty for none.
    pub marker_tag: Arc<str>,
}

/// Why [`Ram::connect`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No Region is configured anywhere.
    #[error("no AWS Region: set `ram.region`, RAM_FACADE_RAM_REGION, AWS_REGION or a profile's region")]
    NoRegion,
    /// STS did not say which account the credentials belong to.
    #[error(
        "STS does not say whose credentials these are: {0}; check the credentials, or set `ram.account` \
         (RAM_FACADE_RAM_ACCOUNT) to the 12-digit account id"
    )]
    NoAccount(String),
}

impl Ram {
    /// Loads credentials and Region and learns the account.
    ///
    /// # Errors
    /// [`ConnectError::NoRegion`] without a Region, [`ConnectError::NoAccount`] when the account is not configured and
    /// STS cannot be asked.
    pub async fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Ok(name) = AppName::new("ram-facade") {
            loader = loader.app_name(name);
        }
        let sdk = loader.load().await;
        Self::with_sdk_config(&sdk, settings).await
    }

    /// The same with an SDK configuration that is already loaded.
    ///
    /// # Errors
    /// As [`Ram::connect`].
    pub async fn with_sdk_config(sdk: &SdkConfig, settings: &Settings) -> Result<Self, ConnectError> {
        let region = sdk.region().ok_or(ConnectError::NoRegion)?.to_string();
        let (partition, account) = match &settings.account {
            Some(account) => (partition_of(&region).to_owned(), account.clone()),
            None => ask_sts(sdk, settings)
                .await
                .map_err(|e| ConnectError::NoAccount(chain(e.as_ref())))?,
        };

        // On the service configuration, because AWS_MAX_ATTEMPTS and AWS_RETRY_MODE fill the shared one: two layers of
        // retries would multiply.
        let config = aws_sdk_ram::config::Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(settings.connect_timeout)
                    .build(),
            )
            .interceptor(Guard)
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            marker_tag: Arc::from(""),
            target: Arc::new(Target {
                partition,
                account,
                region,
            }),
        })
    }
}

impl Ram {
    /// The same RAM, whose new shares carry a tag with the key `marker_tag`.
    #[must_use]
    pub fn marked(self, marker_tag: Arc<str>) -> Self {
        Self { marker_tag, ..self }
    }
}

/// Asks STS for the partition and account of the credentials.
async fn ask_sts(
    sdk: &SdkConfig,
    settings: &Settings,
) -> Result<(String, String), Box<dyn Error + Send + Sync>> {
    let mut config = aws_sdk_sts::config::Builder::from(sdk).timeout_config(
        TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .operation_timeout(Duration::from_secs(10))
            .build(),
    );
    if let Some(endpoint) = &settings.sts_endpoint {
        config = config.endpoint_url(endpoint);
    }
    let identity = aws_sdk_sts::Client::from_conf(config.build())
        .get_caller_identity()
        .send()
        .await?;

    let account = identity
        .account()
        .ok_or("the answer names no account")?
        .to_owned();
    let partition = identity
        .arn()
        .and_then(|arn| arn.split(':').nth(1))
        .unwrap_or("aws")
        .to_owned();
    Ok((partition, account))
}

/// The partition that a Region belongs to, by the prefix of its name (AWS general reference, "Region names").
fn partition_of(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("eusc") => "aws-eusc",
        Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
        Some("us") if region.starts_with("us-iso-") => "aws-iso",
        Some("us") if region.starts_with("us-isob-") => "aws-iso-b",
        Some("us") if region.starts_with("us-isof-") => "aws-iso-f",
        Some("eu") if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_tells_its_partition() {
        assert_eq!(partition_of("eu-west-1"), "aws");
        assert_eq!(partition_of("cn-north-1"), "aws-cn");
        assert_eq!(partition_of("us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition_of("us-isob-east-1"), "aws-iso-b");
    }
}
