//! The rows: AWS error code, or HTTP status where there is none, to what it means.
//!
//! RAM's own codes are the exceptions of its API reference; the others stand in AWS's "Common Error Types".

use std::time::Duration;

use crate::failure::{Advice, Effect, Reason};

/// What a code means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) reason: Reason,
    pub(super) effect: Effect,
    pub(super) advice: Advice,
    pub(super) text: Text,
    pub(super) detail: Detail,
}

/// Whose words the caller reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// AWS's, or these when it has none.
    Aws(&'static str),
    /// Ours: AWS's would tell the caller of the facade's role and account.
    Fixed(&'static str),
}

/// Which typed detail of `google.rpc` comes along.
#[derive(Clone, Copy, Debug)]
pub(super) enum Detail {
    None,
    /// BadRequest on this field.
    Field(&'static str),
    /// BadRequest on the field whose value the text quotes.
    Located,
    /// QuotaFailure on the account.
    Quota,
    /// PreconditionFailure of this type.
    Precondition(&'static str),
    /// ResourceInfo of this type.
    Resource(&'static str),
}

const SOON: Advice = Advice::After(Duration::ZERO);

/// The caller's request is at fault: nothing happened, and the same request will fail again.
const fn refused(reason: Reason, detail: Detail) -> Row {
    Row {
        reason,
        effect: Effect::None,
        advice: Advice::Never,
        text: Text::Aws("RAM refuses the request"),
        detail,
    }
}

/// The facade or its surroundings are at fault, and RAM did nothing.
const fn ours(reason: Reason, advice: Advice, text: &'static str) -> Row {
    Row {
        reason,
        effect: Effect::None,
        advice,
        text: Text::Fixed(text),
        detail: Detail::None,
    }
}

/// The request arrived, and what became of it is open.
const fn open(reason: Reason, text: &'static str) -> Row {
    Row {
        reason,
        effect: Effect::Unknown,
        advice: SOON,
        text: Text::Fixed(text),
        detail: Detail::None,
    }
}

const THROTTLED: Row = Row {
    reason: Reason::Throttling,
    effect: Effect::None,
    advice: SOON,
    text: Text::Fixed("RAM's request rate for this account is used up; try again after the given delay"),
    detail: Detail::Quota,
};

const INTERNAL: &str = "RAM had an internal problem; send the request again with its client token";
const UNAVAILABLE: &str = "RAM is not available; send the request again with its client token";
const REJECTED: &str = "AWS does not accept the service's credentials; tell its operator";

/// The row of an AWS error code. `skewed` says that AWS's clock is far from ours.
pub(super) fn by_code(code: &str, status: u16, skewed: bool) -> Row {
    // Different front ends name the same error with and without the suffix.
    let name = code
        .strip_suffix("Exception")
        .or_else(|| code.strip_suffix("Error"))
        .unwrap_or(code);
    ram_exception(name)
        .or_else(|| common_error(name, skewed))
        .unwrap_or_else(|| match status {
            500.. => open(Reason::AwsInternalError, INTERNAL),
            // Whose fault it is cannot be told, so AWS's text stays in the log.
        _ => ours(
            Reason::AwsUnrecognizedError,
            Advice::Never,
            "AWS refused with an error that this service does not know; see awsErrorCode and ask its operator",
        ),
        })
}

/// RAM's 28 exceptions.
fn ram_exception(name: &str) -> Option<Row> {
    use Detail::{Field, Located, Precondition, Quota, Resource};
    Some(match name {
        "IdempotentParameterMismatch" => refused(Reason::RamTokenMismatch, Field("client_token")),
        "InvalidClientToken" => refused(Reason::InvalidClientToken, Field("client_token")),
        "InvalidParameter" => refused(Reason::InvalidParameter, Located),
        "MalformedArn" => refused(Reason::MalformedArn, Located),
        "MissingRequiredParameter" => refused(Reason::MissingRequiredParameter, Located),
        "InvalidPolicy" => refused(Reason::InvalidPolicy, Field("policy_template")),
        "MalformedPolicyTemplate" => refused(Reason::MalformedPolicyTemplate, Field("policy_template")),
        "InvalidResourceType" => refused(Reason::InvalidResourceType, Field("resource_type")),
        "InvalidNextToken" => refused(Reason::InvalidNextToken, Field("next_token")),
        "InvalidMaxResults" => refused(Reason::InvalidMaxResults, Field("max_results")),
        "TagPolicyViolation" => refused(Reason::TagPolicyViolation, Located),
        "TagLimitExceeded" => refused(Reason::TagLimitExceeded, Quota),
        "ResourceShareLimitExceeded" => refused(Reason::ResourceShareLimitExceeded, Quota),
        "PermissionLimitExceeded" => refused(Reason::PermissionLimitExceeded, Quota),
        "PermissionVersionsLimitExceeded" => refused(Reason::PermissionVersionsLimitExceeded, Quota),
        "UnknownResource" => refused(Reason::UnknownResource, Resource("ram.amazonaws.com/resource")),
        "ResourceArnNotFound" => refused(Reason::ResourceArnNotFound, Resource("arn")),
        "ResourceShareInvitationArnNotFound" => refused(
            Reason::InvitationArnNotFound,
            Resource("ram.amazonaws.com/resource-share-invitation"),
        ),
        "PermissionAlreadyExists" => refused(
            Reason::PermissionAlreadyExists,
            Resource("ram.amazonaws.com/permission"),
        ),
        "OperationNotPermitted" => refused(
            Reason::OperationNotPermitted,
            Precondition("OPERATION_NOT_PERMITTED"),
        ),
        "InvalidStateTransition" => refused(
            Reason::InvalidStateTransition,
            Precondition("RESOURCE_SHARE_STATE"),
        ),
        "ResourceShareInvitationAlreadyAccepted" => refused(
            Reason::InvitationAlreadyAccepted,
            Precondition("INVITATION_STATE"),
        ),
        "ResourceShareInvitationAlreadyRejected" => refused(
            Reason::InvitationAlreadyRejected,
            Precondition("INVITATION_STATE"),
        ),
        "ResourceShareInvitationExpired" => {
            refused(Reason::InvitationExpired, Precondition("INVITATION_STATE"))
        }
        "UnmatchedPolicyPermission" => refused(
            Reason::UnmatchedPolicyPermission,
            Precondition("MANAGED_PERMISSION"),
        ),
        "Throttling" => THROTTLED,
        "ServiceUnavailable" => open(Reason::ServiceUnavailable, UNAVAILABLE),
        "ServerInternal" => open(Reason::ServerInternal, INTERNAL),
        _ => return None,
    })
}

/// Errors that any AWS service can give, in no operation's model.
fn common_error(name: &str, skewed: bool) -> Option<Row> {
    Some(match name {
        "AccessDenied" | "NotAuthorized" | "UnauthorizedOperation" => ours(
            Reason::AwsAccessDenied,
            if skewed { Advice::Once } else { Advice::Never },
            "AWS denies this request to the service's role; ask its operator to allow it",
        ),
        // The SDK corrects its clock from the answer's Date, so that one more attempt is signed right.
        "RequestExpired" | "RequestTimeTooSkewed" => clock_skew(),
        "InvalidSignature" | "SignatureDoesNotMatch" if skewed => clock_skew(),
        "UnrecognizedClient"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "AuthFailure"
        | "OptInRequired" => ours(Reason::FacadeCredentialsRejected, Advice::Never, REJECTED),
        "ExpiredToken" | "TokenRefreshRequired" => ours(
            Reason::FacadeCredentialsExpired,
            Advice::Once,
            "the service's own credentials have expired; try again later",
        ),
        // Names under which AWS services throttle (aws-runtime, retries/classifiers.rs).
        "ThrottledException"
        | "Throttled"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequests"
        | "ProvisionedThroughputExceeded"
        | "TransactionInProgress"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "EC2Throttled" => THROTTLED,
        "RequestTimeout" | "RequestAborted" => open(
            Reason::AwsRequestTimeout,
            "AWS gave up reading the request; send it again with its client token",
        ),
        "Internal" | "InternalFailure" | "InternalServer" => open(Reason::ServerInternal, INTERNAL),
        "Validation" | "InvalidParameterValue" | "InvalidParameterCombination" => {
            refused(Reason::InvalidParameter, Detail::Located)
        }
        "Serialization" | "MalformedHttpRequest" | "InvalidQueryParameter" | "MalformedQueryString" => ours(
            Reason::AwsRequestRejected,
            Advice::Never,
            "AWS could not read the service's request; tell its operator",
        ),
        "RequestEntityTooLarge" => refused(Reason::AwsRequestTooLarge, Detail::Field("")),
        "UnknownOperation" => ours(
            Reason::AwsOperationUnknown,
            Advice::Never,
            "the AWS endpoint does not have this operation; tell the service's operator",
        ),
        _ => return None,
    })
}

fn clock_skew() -> Row {
    ours(
        Reason::FacadeClockSkew,
        Advice::Once,
        "AWS finds the service's clock too far off; try again, and tell its operator if it stays",
    )
}

/// The row of an answer that names no code.
pub(super) fn by_status(status: u16) -> Row {
    match status {
        200..=299 => Row {
            advice: Advice::Once,
            ..open(
                Reason::AwsResponseUnparsable,
                "RAM's answer cannot be read; send the request again with its client token",
            )
        },
        408 => open(
            Reason::AwsRequestTimeout,
            "AWS gave up reading the request; send it again with its client token",
        ),
        413 => refused(Reason::AwsRequestTooLarge, Detail::Field("")),
        429 => THROTTLED,
        502..=504 => open(Reason::AwsUnavailable, UNAVAILABLE),
        500.. => open(Reason::AwsInternalError, INTERNAL),
        _ => ours(
            Reason::AwsUnexpectedResponse,
            Advice::Never,
            "the endpoint does not answer as RAM does; tell the service's operator",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Domain;

    #[test]
    fn every_exception_of_ram_has_a_reason_of_its_own_name() {
        for reason in Reason::ALL.iter().filter(|r| r.row().domain == Domain::Ram) {
            let name: String = reason
                .row()
                .name
                .split('_')
                .flat_map(|word| {
                    word.chars()
                        .take(1)
                        .chain(word.chars().skip(1).map(|c| c.to_ascii_lowercase()))
                })
                .collect();

            let row = by_code(&format!("{name}Exception"), 400, false);

            assert_eq!(row.reason, *reason, "{name}");
        }
    }

    #[test]
    fn credential_errors_are_not_mistaken_for_the_callers_client_token() {
        assert_eq!(
            by_code("InvalidClientTokenId", 403, false).reason,
            Reason::FacadeCredentialsRejected
        );
        assert_eq!(
            by_code("InvalidClientTokenException", 400, false).reason,
            Reason::InvalidClientToken
        );
    }

    #[test]
    fn a_signature_error_is_a_clock_error_only_when_the_clocks_differ() {
        assert_eq!(
            by_code("InvalidSignatureException", 403, true).reason,
            Reason::FacadeClockSkew
        );
        assert_eq!(
            by_code("InvalidSignatureException", 403, false).reason,
            Reason::FacadeCredentialsRejected
        );
    }

    #[test]
    fn only_answers_that_may_follow_an_execution_leave_the_outcome_open() {
        for status in [200, 408, 500, 502, 503, 504] {
            assert_eq!(by_status(status).effect, Effect::Unknown, "{status}");
        }
        for status in [301, 400, 403, 404, 413, 429] {
            assert_eq!(by_status(status).effect, Effect::None, "{status}");
        }
        assert_eq!(by_code("Strange", 599, false).effect, Effect::Unknown);
        assert_eq!(by_code("Strange", 400, false).effect, Effect::None);
    }
}
