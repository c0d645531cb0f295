//! The kinds of fault.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LONGEST_MS, check_headers, check_status};

/// What happens to a request.
///
/// "After execution" means: whatever the endpoint would have done is done, and whatever it would have answered is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Refuses before executing.
    Error(ErrorAnswer),
    /// Executes, then answers with an error.
    ErrorAfterExecution(ErrorAnswer),
    /// Closes the connection before executing, without a byte of an answer.
    Drop {},
    /// Executes, then closes the connection without a byte of an answer.
    DropAfterExecution {},
    /// Executes, sends the head of the answer with its full length and half of the body, then closes the connection.
    TruncateAfterExecution {},
    /// Sends any answer at all.
    Answer(RawAnswer),
    /// Waits, then goes on as if nothing had been. The work is done even if the client does not wait that long.
    Delay {
        /// Milliseconds, up to ten minutes.
        ms: u64,
        /// Waits between the work and the answer instead of before the work. Default false.
        #[serde(default)]
        after_execution: bool,
    },
    /// Executes and never answers. Ends when the client goes away or the endpoint is reset.
    HoldAfterExecution {},
    /// Executes and changes one place of the answer.
    Patch {
        /// A JSON pointer (RFC 6901) into the answer's body; the member need not exist, what holds it must.
        pointer: String,
        /// What to put there.
        value: Value,
    },
}

/// An error as a fault plan describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorAnswer {
    /// The exception's name, sent in the body and as `x-amzn-errortype`. Default: neither is sent.
    #[serde(default)]
    pub code: Option<String>,
    /// 200 to 599.
    pub http_status: u16,
    /// The exception's message. Default empty.
    #[serde(default)]
    pub message: String,
    /// More headers, or other values for those that are sent anyway.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sent in place of the JSON body. Without it and without a code the body is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Default `application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// Any answer, as a fault plan describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAnswer {
    /// 200 to 599. Default 200.
    #[serde(default = "ok")]
    pub http_status: u16,
    /// Default empty.
    #[serde(default)]
    pub body: String,
    /// Default `application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// More headers, or other values for those that are sent anyway.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Executes first. Default false.
    #[serde(default)]
    pub execute: bool,
}

const fn ok() -> u16 {
    200
}

impl Fault {
    /// An error with a code, such as `Fault::Error(Fault::code("ServerInternalException", 500))`.
    pub fn code(code: &str, http_status: u16) -> ErrorAnswer {
        ErrorAnswer {
            code: Some(code.to_owned()),
            http_status,
            ..ErrorAnswer::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Error(answer) | Self::ErrorAfterExecution(answer) => {
                check_status(answer.http_status)?;
                // Both become header values.
                let named = [("code", &answer.code), ("content_type", &answer.content_type)];
                for (member, value) in named {
                    check_value(member, value.as_deref())?;
                }
                check_headers(&answer.headers)
            }
            Self::Answer(answer) => {
                check_status(answer.http_status)?;
                check_value("content_type", answer.content_type.as_deref())?;
                check_headers(&answer.headers)
            }
            Self::Delay { ms, .. } if *ms > LONGEST_MS => {
                Err(format!("ms is {ms}; the most is {LONGEST_MS}"))
            }
            Self::Patch { pointer, .. } if !pointer.starts_with('/') => {
                Err(format!("pointer `{pointer}` does not begin with a slash"))
            }
            Self::Drop {}
            | Self::DropAfterExecution {}
            | Self::TruncateAfterExecution {}
            | Self::Delay { .. }
            | Self::HoldAfterExecution {}
            | Self::Patch { .. } => Ok(()),
        }
    }
}

fn check_value(member: &str, value: Option<&str>) -> Result<(), String> {
    match value.map(http::HeaderValue::from_str) {
        Some(Err(_)) => Err(format!("{member} cannot be sent in a header")),
        Some(Ok(_)) | None => Ok(()),
    }
}
