//! Why a call failed, what RAM may have done, and what to do next: the three things that every layer decides by.
//!
//! A [`Failure`] becomes a [`Status`] in one place, [`Failure::to_status`]. The codes are rows of
//! [`reason`]; RAM's error codes become reasons in `ram::error`.

pub mod reason;

use std::{collections::HashMap, error::Error, fmt, sync::Arc, time::Duration};

use tonic::{Code, Status, metadata::MetadataMap, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

pub use reason::{Domain, Reason};

/// What RAM may have done when the call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Certainly nothing: it was not sent, or RAM refused it.
    None,
    /// Perhaps everything: it was sent, and no answer says what became of it.
    Unknown,
}

/// Whether the same request may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It would fail again.
    Never,
    /// One more attempt may help, further ones will not.
    Once,
    /// It may succeed, no earlier than this from now. Zero leaves the time to the retrying side.
    After(Duration),
}

/// Why a call failed. Cloning is cheap enough for every caller that joined it.
#[derive(Clone)]
pub struct Failure {
    parts: Box<Parts>,
}

#[derive(Clone)]
struct Parts {
    reason: Reason,
    effect: Effect,
    advice: Advice,
    /// False when the caller has no token under which it could send the request again.
    resendable: bool,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without effect that is not worth trying again, unless told otherwise.
    ///
    /// `message` is for the caller: lower case, no full stop, their input in backticks, the next step at the end.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            parts: Box::new(Parts {
                reason,
                effect: Effect::None,
                advice: Advice::Never,
                resendable: true,
                message: message.into(),
                metadata: HashMap::new(),
                details: ErrorDetails::new(),
                source: None,
            }),
        }
    }

    /// A request whose fields break rules: the message names the first, the details all of them.
    #[must_use]
    pub fn invalid(reason: Reason, violations: Vec<FieldViolation>) -> Self {
        let message = match violations.as_slice() {
            [] => "the request is not valid".to_owned(),
            [only] => format!("{}: {}", only.field, only.description),
            [first, rest @ ..] => {
                format!(
                    "{}: {}; and {} more, see BadRequest",
                    first.field,
                    first.description,
                    rest.len()
                )
            }
        };
        let mut failure = Self::new(reason, message);
        failure.parts.details.set_bad_request(violations);
        failure
    }

    /// Says what RAM may have done.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.parts.effect = effect;
        self
    }

    /// Says whether to try again.
    #[must_use]
    pub fn advice(mut self, advice: Advice) -> Self {
        self.parts.advice = advice;
        self
    }

    /// Adds an entry to `ErrorInfo.metadata`.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl Into<String>) -> Self {
        self.parts.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Keeps the cause for the log. It never reaches the caller.
    #[must_use]
    pub fn source(mut self, source: impl Into<Arc<dyn Error + Send + Sync>>) -> Self {
        self.parts.source = Some(source.into());
        self
    }

    /// Adds typed details of `google.rpc`.
    #[must_use]
    pub fn details(mut self, add: impl FnOnce(&mut ErrorDetails)) -> Self {
        add(&mut self.parts.details);
        self
    }

    /// Says that the caller cannot send this request again under a token, so that stock clients do not do it for them.
    #[must_use]
    pub fn not_resendable(mut self) -> Self {
        self.parts.resendable = false;
        self
    }

    /// An earlier attempt may have taken effect: a later refusal does not settle that, and becomes `OUTCOME_UNKNOWN`
    /// with its reason as `cause`. A failure that leaves the outcome open by itself stays what it is.
    #[must_use]
    pub fn in_doubt(mut self) -> Self {
        if self.parts.effect == Effect::Unknown {
            return self;
        }
        let cause = self.parts.reason.row().name;
        self.parts.reason = Reason::OutcomeUnknown;
        self.parts.effect = Effect::Unknown;
        self.parts.advice = Advice::After(DOUBT_RETRY_DELAY);
        self.parts.message = format!(
            "an earlier attempt may have taken effect, and the last one ended with {cause}; send the request again \
             with its client token"
        );
        self.parts.details = ErrorDetails::new();
        self.metadata("cause", cause)
    }

    /// Why it failed.
    #[must_use]
    pub fn why(&self) -> Reason {
        self.parts.reason
    }

    /// What RAM may have done.
    #[must_use]
    pub fn what_happened(&self) -> Effect {
        self.parts.effect
    }

    /// Whether to try again.
    #[must_use]
    pub fn what_next(&self) -> Advice {
        self.parts.advice
    }

    /// The sentence for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.parts.message
    }

    /// The entry of `ErrorInfo.metadata` under `key`.
    #[must_use]
    pub fn get_metadata(&self, key: &str) -> Option<&str> {
        self.parts.metadata.get(key).map(String::as_str)
    }

    /// The cause, for the log.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.parts.source.as_deref()
    }

    /// The gRPC code: the reason's, but UNKNOWN where UNAVAILABLE would make a stock client send an open write again
    /// without a token (AIP-194 lets clients retry UNAVAILABLE by themselves).
    #[must_use]
    pub fn code(&self) -> Code {
        match self.parts.reason.row().code {
            Code::Unavailable if self.is_open_without_token() => Code::Unknown,
            code => code,
        }
    }

    fn is_open_without_token(&self) -> bool {
        self.parts.effect == Effect::Unknown && !self.parts.resendable
    }

    /// How long the caller should wait before it tries again, if that is worthwhile and safe.
    fn retry_delay(&self) -> Option<Duration> {
        match self.parts.advice {
            Advice::After(delay) if !self.is_open_without_token() => Some(delay.max(MIN_RETRY_DELAY)),
            // Worth one more attempt of ours; the caller is invited where its client would retry anyway.
            Advice::Once if self.code() == Code::Unavailable => Some(DOUBT_RETRY_DELAY),
            Advice::After(_) | Advice::Once | Advice::Never => None,
        }
    }

    /// Converts to the gRPC status with its typed details. `request_id` is the facade's own id of the request.
    #[must_use]
    pub fn to_status(&self, request_id: Option<&str>) -> Status {
        let parts = &self.parts;
        let row = parts.reason.row();

        let mut metadata = parts.metadata.clone();
        let outcome = match parts.effect {
            Effect::None => "not_executed",
            Effect::Unknown => "unknown",
        };
        metadata.insert("outcome".to_owned(), outcome.to_owned());
        if self.is_open_without_token() {
            metadata.insert("retrySafe".to_owned(), "false".to_owned());
        }

        let mut details = parts.details.clone();
        details.set_error_info(row.name, row.domain.as_str(), metadata);
        if let Some(id) = request_id {
            details.set_request_info(id, "");
        }
        let delay = self.retry_delay();
        if delay.is_some() {
            details.set_retry_info(delay);
        }

        let mut headers = MetadataMap::new();
        // gRFC A6: clients with a retry policy wait this long; a negative number keeps them from retrying.
        let pushback = match delay {
            Some(delay) => Some(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
            None if self.is_open_without_token() => Some(-1),
            None => None,
        };
        if let Some(milliseconds) = pushback {
            headers.insert("grpc-retry-pushback-ms", MetadataValue::from(milliseconds));
        }
        Status::with_error_details_and_metadata(self.code(), parts.message.clone(), details, headers)
    }
}

/// How long to wait before an open outcome is asked about again.
const DOUBT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Least delay that a RetryInfo names. A reader that takes zero for "at once" would make a hot loop of it.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.parts;
        f.debug_struct("Failure")
            .field("reason", &parts.reason)
            .field("effect", &parts.effect)
            .field("advice", &parts.advice)
            .field("message", &parts.message)
            .field("metadata", &parts.metadata)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.message)
    }
}

impl Error for Failure {}

/// An error and its causes in one line; many texts alone, like the SDK's "dispatch failure", say nothing.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The code's name as the gRPC documents and OpenTelemetry's `rpc.response.status_code` write it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_reason_domain_outcome_and_request_id() {
        let status = Failure::new(Reason::Throttling, "too many")
            .advice(Advice::After(Duration::from_secs(2)))
            .metadata("attempts", "3")
            .to_status(Some("req-1"));

        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("THROTTLING", "ram.amazonaws.com")
        );
        assert_eq!(info.metadata["attempts"], "3");
        assert_eq!(info.metadata["outcome"], "not_executed");
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert_eq!(
            details.retry_info().unwrap().retry_delay,
            Some(Duration::from_secs(2))
        );
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "2000");
    }

    #[test]
    fn an_open_write_without_a_token_tells_stock_clients_not_to_retry() {
        let status = Failure::new(Reason::AwsTimeout, "no answer")
            .effect(Effect::Unknown)
            .advice(Advice::After(Duration::ZERO))
            .not_resendable()
            .to_status(None);

        let details = status.get_error_details();
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
        assert!(details.retry_info().is_none());
        assert_eq!(details.error_info().unwrap().metadata["retrySafe"], "false");
    }

    #[test]
    fn an_open_write_with_a_token_invites_a_retry() {
        let status = Failure::new(Reason::AwsTimeout, "no answer")
            .effect(Effect::Unknown)
            .advice(Advice::After(Duration::ZERO))
            .to_status(None);

        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            status.get_error_details().retry_info().unwrap().retry_delay,
            Some(MIN_RETRY_DELAY)
        );
    }

    #[test]
    fn the_cause_never_reaches_the_caller() {
        let failure =
            Failure::new(Reason::Internal, "internal error")
                .source(Arc::from(Box::<dyn Error + Send + Sync>::from("Credential=AKIA")));

        let status = failure.to_status(None);

        assert!(failure.cause().is_some());
        assert!(!format!("{status:?}{failure:?}{failure}").contains("AKIA"));
    }
}
