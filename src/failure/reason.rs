//! The table of reasons: one row for each `ErrorInfo.reason`, with the domain that decides it and its gRPC code.

use tonic::Code;

/// Who decided that a call fails; becomes `ErrorInfo.domain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// RAM refused: the reason is its exception's name.
    Ram,
    /// This service refused, or could not get RAM's answer.
    Facade,
}

impl Domain {
    /// The text of `ErrorInfo.domain`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ram => "ram.amazonaws.com",
            Self::Facade => "ram-facade",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Who decides.
    pub domain: Domain,
    /// The text of `ErrorInfo.reason`.
    pub name: &'static str,
    /// The gRPC status code.
    pub code: Code,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $domain:ident, $name:literal, $code:ident;)*) => {
        /// Why a call failed, as a program reads it. Each reason has a page in `docs/errors/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the reason's row.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row { domain: Domain::$domain, name: $name, code: Code::$code },)*
                }
            }
        }
    };
}

// RAM's rows are its 28 exceptions (API reference, "Errors" of each operation), named by the exception without its
// suffix. Codes follow google/rpc/code.proto; docs/adr/0003 argues the ones that could have gone another way.
reasons! {
    /// A client token was used before with other parameters, says RAM.
    RamTokenMismatch = Ram, "IDEMPOTENT_PARAMETER_MISMATCH", InvalidArgument;
    /// The client token is not valid.
    InvalidClientToken = Ram, "INVALID_CLIENT_TOKEN", InvalidArgument;
    /// A parameter is not valid.
    InvalidParameter = Ram, "INVALID_PARAMETER", InvalidArgument;
    /// An ARN has a wrong format.
    MalformedArn = Ram, "MALFORMED_ARN", InvalidArgument;
    /// A required parameter is missing.
    MissingRequiredParameter = Ram, "MISSING_REQUIRED_PARAMETER", InvalidArgument;
    /// A policy is not valid.
    InvalidPolicy = Ram, "INVALID_POLICY", InvalidArgument;
    /// A policy template is not valid.
    MalformedPolicyTemplate = Ram, "MALFORMED_POLICY_TEMPLATE", InvalidArgument;
    /// A resource type is not valid.
    InvalidResourceType = Ram, "INVALID_RESOURCE_TYPE", InvalidArgument;
    /// A page token is not one that RAM gave.
    InvalidNextToken = Ram, "INVALID_NEXT_TOKEN", InvalidArgument;
    /// A page size is out of range.
    InvalidMaxResults = Ram, "INVALID_MAX_RESULTS", InvalidArgument;
    /// A tag key is reserved or against the organization's tag policy.
    TagPolicyViolation = Ram, "TAG_POLICY_VIOLATION", InvalidArgument;
    /// The account has too many tags.
    TagLimitExceeded = Ram, "TAG_LIMIT_EXCEEDED", ResourceExhausted;
    /// The account has too many resource shares or associations.
    ResourceShareLimitExceeded = Ram, "RESOURCE_SHARE_LIMIT_EXCEEDED", ResourceExhausted;
    /// The account has too many managed permissions.
    PermissionLimitExceeded = Ram, "PERMISSION_LIMIT_EXCEEDED", ResourceExhausted;
    /// A managed permission has too many versions.
    PermissionVersionsLimitExceeded = Ram, "PERMISSION_VERSIONS_LIMIT_EXCEEDED", ResourceExhausted;
    /// A share, organization, organizational unit or permission was not found.
    UnknownResource = Ram, "UNKNOWN_RESOURCE", NotFound;
    /// The ARN of a resource was not found.
    ResourceArnNotFound = Ram, "RESOURCE_ARN_NOT_FOUND", NotFound;
    /// The ARN of an invitation was not found.
    InvitationArnNotFound = Ram, "RESOURCE_SHARE_INVITATION_ARN_NOT_FOUND", NotFound;
    /// A managed permission of this name exists.
    PermissionAlreadyExists = Ram, "PERMISSION_ALREADY_EXISTS", AlreadyExists;
    /// The state of the account, organization or share does not permit the operation.
    OperationNotPermitted = Ram, "OPERATION_NOT_PERMITTED", FailedPrecondition;
    /// The share's present state does not permit the operation.
    InvalidStateTransition = Ram, "INVALID_STATE_TRANSITION", FailedPrecondition;
    /// The invitation was accepted before.
    InvitationAlreadyAccepted = Ram, "RESOURCE_SHARE_INVITATION_ALREADY_ACCEPTED", FailedPrecondition;
    /// The invitation was rejected before.
    InvitationAlreadyRejected = Ram, "RESOURCE_SHARE_INVITATION_ALREADY_REJECTED", FailedPrecondition;
    /// The invitation is past its time.
    InvitationExpired = Ram, "RESOURCE_SHARE_INVITATION_EXPIRED", FailedPrecondition;
    /// No managed permission matches the resource's policy.
    UnmatchedPolicyPermission = Ram, "UNMATCHED_POLICY_PERMISSION", FailedPrecondition;
    /// RAM's request rate for the account is used up.
    Throttling = Ram, "THROTTLING", ResourceExhausted;
    /// RAM is not available.
    ServiceUnavailable = Ram, "SERVICE_UNAVAILABLE", Unavailable;
    /// RAM had an internal problem.
    ServerInternal = Ram, "SERVER_INTERNAL", Internal;

    /// Fields of the request break rules; each is in the BadRequest.
    InvalidRequest = Facade, "INVALID_REQUEST", InvalidArgument;
    /// The client token is on record for a different request.
    TokenMismatch = Facade, "IDEMPOTENT_PARAMETER_MISMATCH", InvalidArgument;
    /// Too many callers already wait for the same token.
    InProgress = Facade, "IN_PROGRESS", Aborted;
    /// An earlier attempt may or may not have taken effect.
    OutcomeUnknown = Facade, "OUTCOME_UNKNOWN", Unavailable;
    /// The idempotency store cannot be reached, so nothing was sent.
    StoreUnavailable = Facade, "IDEMPOTENCY_STORE_UNAVAILABLE", Unavailable;
    /// The audit log cannot be written, and it has to be before anything is changed.
    AuditUnavailable = Facade, "AUDIT_UNAVAILABLE", Unavailable;
    /// Policy does not let this caller do this.
    NotPermitted = Facade, "NOT_PERMITTED", PermissionDenied;
    /// The request carries no credential.
    CredentialsMissing = Facade, "CREDENTIALS_MISSING", Unauthenticated;
    /// The request's credential is not valid.
    CredentialsInvalid = Facade, "CREDENTIALS_INVALID", Unauthenticated;
    /// The request's credential was valid, and has expired.
    CredentialsExpired = Facade, "CREDENTIALS_EXPIRED", Unauthenticated;
    /// The keys that check the request's credential cannot be had.
    FacadeKeysUnavailable = Facade, "FACADE_KEYS_UNAVAILABLE", Unavailable;
    /// The caller sends more calls than it may.
    CallerRateLimited = Facade, "CALLER_RATE_LIMITED", ResourceExhausted;
    /// The caller has as many calls in flight as it may.
    CallerInFlightLimit = Facade, "CALLER_IN_FLIGHT_LIMIT", ResourceExhausted;
    /// The caller's deadline passed.
    DeadlineExceeded = Facade, "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// The `grpc-timeout` header is malformed.
    InvalidTimeout = Facade, "INVALID_TIMEOUT", InvalidArgument;
    /// The server has as many calls in flight as it may.
    Overloaded = Facade, "OVERLOADED", Unavailable;
    /// More requests wait than RAM's rate for the account lets through in time.
    RateLimitExceeded = Facade, "RATE_LIMIT_EXCEEDED", ResourceExhausted;
    /// RAM fails most requests, and is spared further ones.
    UpstreamUnhealthy = Facade, "UPSTREAM_UNHEALTHY", Unavailable;
    /// The server is draining.
    ShuttingDown = Facade, "SHUTTING_DOWN", Unavailable;
    /// The server does not have this method.
    MethodUnknown = Facade, "METHOD_UNKNOWN", Unimplemented;
    /// The message's encoding or compression is not supported.
    EncodingUnsupported = Facade, "ENCODING_UNSUPPORTED", Unimplemented;
    /// The message is larger than the server accepts.
    MessageTooLarge = Facade, "MESSAGE_TOO_LARGE", ResourceExhausted;
    /// The call's metadata is larger than the server accepts.
    MetadataTooLarge = Facade, "METADATA_TOO_LARGE", ResourceExhausted;
    /// The bytes are no gRPC message of the expected type.
    MalformedMessage = Facade, "MALFORMED_MESSAGE", Internal;
    /// A defect of the server.
    Internal = Facade, "INTERNAL", Internal;

    /// AWS denies the action to the facade's role.
    AwsAccessDenied = Facade, "AWS_ACCESS_DENIED", PermissionDenied;
    /// AWS does not accept the facade's credentials.
    FacadeCredentialsRejected = Facade, "FACADE_CREDENTIALS_REJECTED", Internal;
    /// The facade's credentials have expired.
    FacadeCredentialsExpired = Facade, "FACADE_CREDENTIALS_EXPIRED", Unavailable;
    /// The facade's credentials cannot be had right now.
    FacadeCredentialsUnavailable = Facade, "FACADE_CREDENTIALS_UNAVAILABLE", Unavailable;
    /// AWS refuses the facade's clock.
    FacadeClockSkew = Facade, "FACADE_CLOCK_SKEW", Unavailable;
    /// The facade's credentials, Region or endpoint are not set up.
    FacadeMisconfigured = Facade, "FACADE_MISCONFIGURED", Internal;
    /// AWS answered 5xx without a reason.
    AwsInternalError = Facade, "AWS_INTERNAL_ERROR", Internal;
    /// A gateway before RAM answered 502, 503 or 504.
    AwsUnavailable = Facade, "AWS_UNAVAILABLE", Unavailable;
    /// AWS gave up reading the request.
    AwsRequestTimeout = Facade, "AWS_REQUEST_TIMEOUT", Unavailable;
    /// AWS could not read the facade's request.
    AwsRequestRejected = Facade, "AWS_REQUEST_REJECTED", Internal;
    /// AWS finds the request too large.
    AwsRequestTooLarge = Facade, "REQUEST_TOO_LARGE", InvalidArgument;
    /// The endpoint does not have this operation.
    AwsOperationUnknown = Facade, "AWS_OPERATION_UNKNOWN", Unimplemented;
    /// The endpoint answers as RAM never would.
    AwsUnexpectedResponse = Facade, "AWS_UNEXPECTED_RESPONSE", Internal;
    /// RAM refused with a code that this build does not know.
    AwsUnrecognizedError = Facade, "AWS_UNRECOGNIZED_ERROR", Unknown;
    /// No connection to RAM.
    AwsUnreachable = Facade, "AWS_UNREACHABLE", Unavailable;
    /// The connection closed before the answer.
    AwsConnectionLost = Facade, "AWS_CONNECTION_LOST", Unavailable;
    /// RAM did not answer in time.
    AwsTimeout = Facade, "AWS_TIMEOUT", Unavailable;
    /// The answer broke off.
    AwsResponseIncomplete = Facade, "AWS_RESPONSE_INCOMPLETE", Unavailable;
    /// The answer of a success cannot be read.
    AwsResponseUnparsable = Facade, "AWS_RESPONSE_UNPARSABLE", Internal;
    /// The answer of a success lacks its result.
    AwsResponseEmpty = Facade, "AWS_RESPONSE_EMPTY", Internal;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_name_within_its_domain() {
        let mut seen = HashSet::new();
        for reason in Reason::ALL {
            let row = reason.row();
            assert!(seen.insert((row.domain, row.name)), "{} stands twice", row.name);
        }
    }

    #[test]
    fn names_have_the_form_that_error_info_asks_for() {
        // google/rpc/error_details.proto: at most 63 characters of [A-Z][A-Z0-9_]+[A-Z0-9].
        for reason in Reason::ALL {
            let name = reason.row().name;
            assert!(
                name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_uppercase()),
                "{name}"
            );
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
                "{name}"
            );
        }
    }

    #[test]
    fn every_reason_has_its_page() {
        for reason in Reason::ALL {
            let name = reason.row().name;
            let page = format!("{}/docs/errors/{name}.md", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{page}: {e}"));
            assert!(
                text.starts_with(&format!("# {name}\n")),
                "{page} does not open with its reason"
            );
        }
    }
}
