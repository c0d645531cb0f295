//! A client of ram-facade: the generated code, and the little that belongs around it.

use std::time::Duration;

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::{ErrorDetails, StatusExt};

/// The contract's messages and the client that tonic made of it.
pub mod v1 {
    tonic::include_proto!("ramfacade.v1");
}

use v1::{
    CreateResourceShareRequest, CreateResourceShareResponse,
    resource_share_service_client::ResourceShareServiceClient,
};

/// A client that sends its token with every call.
pub type Service = ResourceShareServiceClient<InterceptedService<Channel, Bearer>>;

// [connect]
/// Puts the token into the metadata of every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Where the service is: plaintext, or TLS with a private CA.
pub fn endpoint(address: &str, ca: Option<&str>) -> Result<Endpoint, tonic::transport::Error> {
    match ca {
        None => Endpoint::from_shared(format!("http://{address}")),
        Some(pem) => Endpoint::from_shared(format!("https://{address}"))?
            .tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))),
    }
}

/// A client that connects when it is first used.
///
/// # Errors
/// When the token has characters that metadata cannot carry.
pub fn connect(endpoint: &Endpoint, token: Option<&str>) -> Result<Service, Box<dyn std::error::Error>> {
    let token = token.map(|token| format!("Bearer {token}").parse()).transpose()?;
    Ok(ResourceShareServiceClient::with_interceptor(
        endpoint.connect_lazy(),
        Bearer(token),
    ))
}
// [/connect]

// [create]
/// What is tried again. tonic reads no service config; this says the same as retry-service-config.json.
pub struct Retry {
    pub codes: &'static [Code],
    pub attempts: u32,
    pub first_wait: Duration,
}

pub const RETRY: Retry = Retry {
    codes: &[Code::Unavailable],
    attempts: 4,
    first_wait: Duration::from_millis(200),
};

/// Creates the share within `limit`. The client token makes it safe to send the same request again.
pub async fn create(
    service: &Service,
    request: &mut CreateResourceShareRequest,
    limit: Duration,
    retry: &Retry,
) -> Result<CreateResourceShareResponse, Status> {
    if request.client_token.is_empty() {
        request.client_token = uuid::Uuid::new_v4().to_string();
    }
    let end = tokio::time::Instant::now() + limit;
    let mut wait = retry.first_wait;
    for attempt in 1.. {
        let mut call = Request::new(request.clone());
        call.set_timeout(end - tokio::time::Instant::now());
        let status = match service.clone().create(call).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        // The service says when to come back, and by a negative number not to.
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        if let Some(pushback) = pushback.and_then(|value| value.to_str().ok()?.parse::<i64>().ok()) {
            let Ok(milliseconds) = u64::try_from(pushback) else {
                return Err(status);
            };
            wait = Duration::from_millis(milliseconds);
        }
        let late = tokio::time::Instant::now() + wait >= end;
        if attempt >= retry.attempts || late || !retry.codes.contains(&status.code()) {
            return Err(status);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
    unreachable!("the last attempt returns")
}
// [/create]

// [refusal]
/// A failed call, with the typed details that a program acts on.
pub struct Refusal {
    pub code: Code,
    pub message: String,
    pub details: ErrorDetails,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            details: status.get_error_details(),
        }
    }
}

impl Refusal {
    pub fn reason(&self) -> &str {
        self.details.error_info().map_or("", |info| &info.reason)
    }

    /// The fields at fault, each with its rule.
    pub fn fields(&self) -> Vec<(&str, &str)> {
        let bad = self
            .details
            .bad_request()
            .map(|bad| bad.field_violations.as_slice());
        bad.unwrap_or_default()
            .iter()
            .map(|v| (v.field.as_str(), v.description.as_str()))
            .collect()
    }

    /// `None` when the service does not invite another try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.details.retry_info()?.retry_delay
    }
}
// [/refusal]

// [next]
/// Who has to do something: nobody yet, you, or whoever runs the service.
pub fn next_step(refusal: &Refusal) -> &'static str {
    if refusal.retry_after().is_some() {
        return "try again"; // the same request, with the same client token, after that time
    }
    match refusal.code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => "try again",
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => {
            "fix your request"
        }
        // Without a quota it is the request that is too large.
        Code::ResourceExhausted if refusal.details.quota_failure().is_none() => "fix your request",
        _ => "ask your administrator",
    }
}
// [/next]
