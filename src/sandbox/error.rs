//! A refusal: the exception, the HTTP status and the sentence that the endpoint answers with.

use serde_json::{Value, json};

/// Why a request was not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The exception's name, as in the service model.
    pub(crate) code: &'static str,
    /// RAM answers nearly all of its exceptions with 400, so the status alone says little.
    pub(crate) status: u16,
    /// For people.
    pub(crate) message: String,
}

/// Names the constructors of the exceptions that RAM answers with 400.
macro_rules! bad_request {
    ($($constructor:ident => $code:literal),* $(,)?) => {
        impl Refusal {
            $(
                #[doc = concat!("`", $code, "`, HTTP 400.")]
                pub(crate) fn $constructor(message: impl Into<String>) -> Self {
                    Self { code: $code, status: 400, message: message.into() }
                }
            )*
        }
    };
}

bad_request! {
    idempotent_parameter_mismatch => "IdempotentParameterMismatchException",
    invalid_client_token => "InvalidClientTokenException",
    invalid_next_token => "InvalidNextTokenException",
    invalid_parameter => "InvalidParameterException",
    invalid_state_transition => "InvalidStateTransitionException",
    operation_not_permitted => "OperationNotPermittedException",
    serialization => "SerializationException",
    share_limit_exceeded => "ResourceShareLimitExceededException",
    tag_limit_exceeded => "TagLimitExceededException",
    tag_policy_violation => "TagPolicyViolationException",
    unknown_resource => "UnknownResourceException",
}

impl Refusal {
    /// `MalformedArnException`, naming the ARN that is at fault.
    pub(crate) fn malformed_arn(arn: &str) -> Self {
        let message = format!("The specified resource ARN {arn} is not valid. Verify the ARN and try again.");
        Self {
            code: "MalformedArnException",
            status: 400,
            message,
        }
    }

    /// `UnknownResourceException` for a share.
    pub(crate) fn unknown_share(arn: &str) -> Self {
        Self::unknown_resource(format!("ResourceShare {arn} could not be found."))
    }

    /// The answer to a path that is not one of the operations here.
    pub(crate) fn unknown_operation(method: &str, path: &str) -> Self {
        let message = format!("{method} {path} is not an operation of this endpoint");
        Self {
            code: "UnknownOperationException",
            status: 404,
            message,
        }
    }

    /// The answer to a request without a signature.
    pub(crate) fn missing_authentication() -> Self {
        Self {
            code: "MissingAuthenticationTokenException",
            status: 403,
            message: "Missing Authentication Token".to_owned(),
        }
    }

    /// The answer to a body over the limit.
    pub(crate) fn entity_too_large(limit: usize) -> Self {
        Self {
            code: "RequestEntityTooLargeException",
            status: 413,
            message: format!("the body is larger than {limit} bytes"),
        }
    }

    /// The answer of the rate limit.
    pub(crate) fn throttled() -> Self {
        Self {
            code: "ThrottlingException",
            status: 429,
            message: "Rate exceeded".to_owned(),
        }
    }

    /// A fault plan that names a place which the answer does not have: said aloud, so that no test passes by a typing mistake.
    pub(crate) fn fault_plan(message: impl Into<String>) -> Self {
        Self {
            code: "SandboxFaultPlanError",
            status: 500,
            message: message.into(),
        }
    }

    /// The JSON body: both members that clients look at.
    pub(crate) fn body(&self) -> Value {
        json!({ "__type": self.code, "message": self.message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_carries_the_code_and_the_message() {
        let body = Refusal::malformed_arn("arn:x").body();
        assert_eq!(body["__type"], "MalformedArnException");
        assert!(body["message"].as_str().unwrap().contains("arn:x"));
    }
}
