//! The table from what RAM or the way to it answered to a [`Failure`], for every operation.
//!
//! It goes by the error *code*, not by the SDK's error variant: AWS's common errors (access denied, expired
//! credentials, throttling under other names) are in no operation's model and would all look alike. How far the request
//! got decides the [`Effect`]; where that is not certain, it is unknown.

mod codes;

use std::{error::Error, sync::Arc, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ram::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::{DateTime, date_time::Format};
use tonic_types::FieldViolation;

use crate::{
    call::Target,
    clock,
    failure::{Advice, Effect, Failure, Reason},
};

use super::guard::Closed;
use codes::{Detail, Row, Text};

/// Longest pause that an answer may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Most characters of RAM's own text that reach the caller.
const MAX_TEXT: usize = 1024;

/// A value of the request and the field it stands in, to trace RAM's message to the field that caused it.
pub type Place<'a> = (String, &'a str);

/// Converts an SDK error of any operation. `places` are the values of the request that RAM's message may quote.
#[must_use]
pub fn failure<E>(error: SdkError<E, HttpResponse>, target: &Target, places: &[Place<'_>]) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let request_id = error.request_id().map(ToOwned::to_owned);
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let code = error_code(&error);

    let mut failure = match &error {
        SdkError::ConstructionFailure(_) => misconfigured(),
        SdkError::TimeoutError(_) => timed_out(),
        SdkError::DispatchFailure(dispatch) => match dispatch.as_connector_error() {
            Some(connector) => not_answered(connector),
            None => misconfigured(),
        },
        SdkError::ResponseError(_) => open(
            Reason::AwsResponseIncomplete,
            "RAM's answer broke off; send the request again with its client token",
        ),
        SdkError::ServiceError(context) => {
            let row = match &code {
                Some(code) => codes::by_code(code, status.unwrap_or(0), is_skewed(context.raw())),
                None => codes::by_status(status.unwrap_or(0)),
            };
            answered(
                &row,
                context.err().message(),
                pause(context.raw()),
                target,
                places,
            )
        }
        _ => Failure::new(Reason::Internal, "internal error").effect(Effect::Unknown),
    };

    if let Some(code) = code {
        failure = failure.metadata("awsErrorCode", code);
    }
    if let Some(id) = request_id {
        failure = failure.metadata("awsRequestId", id);
    }
    if let Some(status) = status {
        failure = failure.metadata("httpStatus", status.to_string());
    }
    failure.source(Arc::new(error) as Arc<dyn Error + Send + Sync>)
}

/// The answer was a success, but lacks the result that its operation promises.
#[must_use]
pub fn empty_answer(request_id: Option<&str>) -> Failure {
    let failure = Failure::new(
        Reason::AwsResponseEmpty,
        "RAM answered success without a result; send the request again with its client token",
    )
    .effect(Effect::Unknown)
    .advice(Advice::Once);
    match request_id {
        Some(id) => failure.metadata("awsRequestId", id).metadata("httpStatus", "200"),
        None => failure,
    }
}

/// The error code: from the body, or from the header where the body could not be parsed.
fn error_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let parsed = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let header = || {
        error
            .raw_response()
            .and_then(|raw| raw.headers().get("x-amzn-errortype"))
    };
    let code = parsed.or_else(header)?;
    // Forms seen on the wire: `Code`, `Code:http://...`, `com.amazon...#Code`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code).trim();
    (!code.is_empty()).then(|| code.to_owned())
}

/// A failure whose outcome is open and that may be tried again at once.
fn open(reason: Reason, message: &str) -> Failure {
    Failure::new(reason, message)
        .effect(Effect::Unknown)
        .advice(Advice::After(Duration::ZERO))
}

fn timed_out() -> Failure {
    open(
        Reason::AwsTimeout,
        "RAM did not answer in time; send the request again with its client token",
    )
}

fn misconfigured() -> Failure {
    let message = "the service's credentials, Region or endpoint are not set up; tell its operator";
    Failure::new(Reason::FacadeMisconfigured, message)
}

/// No answer came: says why, and whether the request can have left.
fn not_answered(error: &ConnectorError) -> Failure {
    // Signed, and stopped in front of the wire.
    if find::<Closed>(error).is_some() {
        let message = "the time in which this request may be sent is over; try again with the same client token and \
                       more time";
        return Failure::new(Reason::DeadlineExceeded, message);
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        return match credentials {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                misconfigured()
            }
            // `Unhandled` as well: a container's credential endpoint that refuses connections comes as that.
            _ => no_credentials_now(),
        };
    }
    // Certainly not sent: the connection was never made.
    if find::<hyper_util::client::legacy::Error>(error).is_some_and(|e| e.is_connect()) {
        let message = "no connection to RAM; try again later";
        return Failure::new(Reason::AwsUnreachable, message).advice(Advice::After(Duration::ZERO));
    }
    if error.is_timeout() {
        return timed_out();
    }
    if error.is_io() {
        let message = "the connection to RAM failed; send the request again with its client token";
        return open(Reason::AwsUnreachable, message);
    }
    if error.is_other() && error.as_other().is_some() {
        let message =
            "the connection closed before RAM's answer; send the request again with its client token";
        return open(Reason::AwsConnectionLost, message);
    }
    // The identity cache reports its own time-out as text only (aws-smithy-runtime, identity/cache/lazy.rs).
    if crate::failure::chain(error).contains("identity resolver timed out") {
        return no_credentials_now();
    }
    misconfigured()
}

fn no_credentials_now() -> Failure {
    let message = "the service's own credentials cannot be had right now; try again later";
    Failure::new(Reason::FacadeCredentialsUnavailable, message).advice(Advice::After(Duration::ZERO))
}

/// Finds an error of type `T` among the causes of `error`.
fn find<T: Error + 'static>(error: &ConnectorError) -> Option<&T> {
    std::iter::successors(error.source(), |&e| e.source()).find_map(|e| e.downcast_ref())
}

/// RAM answered with an error: fills in what the row asks for.
fn answered(
    row: &Row,
    aws_text: Option<&str>,
    pause: Option<Duration>,
    target: &Target,
    places: &[Place<'_>],
) -> Failure {
    let text = match row.text {
        Text::Fixed(text) => text.to_owned(),
        Text::Aws(otherwise) => aws_text
            .filter(|t| !t.trim().is_empty())
            .map_or_else(|| otherwise.to_owned(), clean),
    };
    let advice = match (row.advice, pause) {
        (Advice::After(_), Some(pause)) => Advice::After(pause),
        (advice, _) => advice,
    };
    let failure = Failure::new(row.reason, text.clone())
        .effect(row.effect)
        .advice(advice);
    match row.detail {
        Detail::None => failure,
        Detail::Field(field) => failure.details(|d| {
            d.set_bad_request(vec![FieldViolation::new(field, text)]);
        }),
        Detail::Located => {
            let field = locate(&text, places)
                .map(|(field, _)| field.clone())
                .unwrap_or_default();
            failure.details(|d| {
                d.set_bad_request(vec![FieldViolation::new(field, text)]);
            })
        }
        Detail::Quota => failure.details(|d| {
            let subject = format!("aws-account:{}/{}", target.account, target.region);
            d.add_quota_failure_violation(subject, text);
            if matches!(row.advice, Advice::Never) {
                d.add_help_link(
                    "AWS RAM quotas",
                    "https://docs.aws.amazon.com/ram/latest/userguide/service-quotas.html",
                );
            }
        }),
        Detail::Precondition(kind) => failure.details(|d| {
            let subject = format!("aws-account:{}", target.account);
            d.add_precondition_failure_violation(kind, subject, text);
            d.add_help_link("Troubleshooting AWS RAM", TROUBLESHOOTING);
        }),
        Detail::Resource(kind) => failure.details(|d| {
            let name = locate(&text, places)
                .map(|(_, value)| (*value).to_owned())
                .unwrap_or_default();
            d.set_resource_info(kind, name, "", text);
            d.add_help_link("Troubleshooting AWS RAM", TROUBLESHOOTING);
        }),
    }
}

const TROUBLESHOOTING: &str = "https://docs.aws.amazon.com/ram/latest/userguide/troubleshooting.html";

/// The one place whose value RAM's text quotes; none when several fit, because a wrong field is worse than no field.
fn locate<'a, 'b>(text: &str, places: &'b [Place<'a>]) -> Option<&'b Place<'a>> {
    let mut hits = places
        .iter()
        .filter(|(_, value)| !value.is_empty() && text.contains(value));
    let hit = hits.next()?;
    hits.next().is_none().then_some(hit)
}

/// RAM's text without control characters, cut to [`MAX_TEXT`].
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// The pause that the answer asks for: `x-amz-retry-after` in milliseconds, else `Retry-After` in seconds.
fn pause(raw: &HttpResponse) -> Option<Duration> {
    let number = |name: &str| raw.headers().get(name).and_then(|v| v.trim().parse::<u64>().ok());
    let pause = number("x-amz-retry-after")
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))?;
    Some(pause.min(MAX_PAUSE))
}

/// Whether the answer's `Date` is over 4 minutes from our clock. SigV4 tolerates 5, and the SDK signs the next request
/// with the corrected time.
fn is_skewed(raw: &HttpResponse) -> bool {
    let Some(date) = raw.headers().get("date") else {
        return false;
    };
    let Ok(theirs) = DateTime::from_str(date, Format::HttpDate) else {
        return false;
    };
    let ours = i64::try_from(clock::wall_now() / 1000).unwrap_or(i64::MAX);
    theirs.secs().abs_diff(ours) > 240
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_named_only_when_one_value_fits() {
        let places = vec![
            ("resource_arns[0]".to_owned(), "arn:x"),
            ("resource_arns[1]".to_owned(), "arn:y"),
        ];

        assert_eq!(locate("bad arn:y", &places).unwrap().0, "resource_arns[1]");
        assert!(locate("bad arn:x and arn:y", &places).is_none());
        assert!(locate("bad", &places).is_none());
    }

    #[test]
    fn text_from_aws_loses_control_characters_and_excess() {
        assert_eq!(clean("a\r\nb\u{7f}"), "ab");
        assert_eq!(clean(&"x".repeat(5000)).len(), MAX_TEXT);
    }
}
