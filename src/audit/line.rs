//! The form of a line. Fields are added, never renamed and never given another meaning.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    auth::policy::Decision,
    call::{Caller, Target},
    clock::{self, UnixMillis},
    failure::{Domain, Failure, code_name},
    operation::Facts,
};

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    operation: &'static str,
    caller: Who<'a>,
    target: Where<'a>,
    /// First 12 hex digits of the idempotency key; the first 8 are the record's name in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<String>,
    validate_only: bool,
    #[serde(flatten)]
    rest: Event<'a>,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Event<'a> {
    /// Policy has spoken.
    Decision(Decided<'a>),
    /// The caller got an answer, or went away.
    Outcome(Outcome<'a>),
}

#[derive(Clone, Debug, Serialize)]
struct Who<'a> {
    issuer: &'a str,
    subject: &'a str,
    proof: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Where<'a> {
    partition: &'a str,
    account: &'a str,
    region: &'a str,
}

/// What policy said, and about what.
#[derive(Clone, Debug, Serialize)]
pub struct Decided<'a> {
    decision: &'static str,
    policies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    request: Asked<'a>,
}

#[derive(Clone, Debug, Serialize)]
struct Asked<'a> {
    name: &'a str,
    resource_arns: &'a [String],
    principals: &'a [String],
    allow_external_principals: bool,
    retain_sharing_on_account_leave_organization: bool,
    tags: BTreeMap<&'a str, &'a str>,
    permission_arns: &'a [String],
    sources: &'a [String],
}

impl<'a> Decided<'a> {
    /// A decision about these facts.
    #[must_use]
    pub fn new(decision: &Decision, facts: &Facts<'a>) -> Self {
        let (word, by, why) = match decision {
            Decision::Permit { by } => ("permit", by.clone(), None),
            Decision::Deny(denial) => ("deny", denial.policies(), Some(denial.to_string())),
        };
        Self {
            decision: word,
            policies: by.iter().map(ToString::to_string).collect(),
            why,
            request: Asked {
                name: facts.name,
                resource_arns: facts.resource_arns,
                principals: facts.principals,
                allow_external_principals: facts.allow_external_principals,
                retain_sharing_on_account_leave_organization: facts.retain_on_leave,
                tags: facts.tags.iter().copied().collect(),
                permission_arns: facts.permission_arns,
                sources: facts.sources,
            },
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'static str>,
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_request_id: Option<&'a str>,
}

impl<'a> Outcome<'a> {
    /// The caller got an answer about this share, if it was about one.
    #[must_use]
    pub fn answered(share_arn: Option<&'a str>, replayed: bool) -> Self {
        Self {
            code: "OK",
            reason: None,
            domain: None,
            replayed,
            share_arn: share_arn.filter(|arn| !arn.is_empty()),
            aws_request_id: None,
        }
    }

    /// The caller got an error.
    #[must_use]
    pub fn failed(failure: &'a Failure) -> Self {
        let row = failure.why().row();
        Self {
            code: code_name(failure.code()),
            reason: Some(row.name),
            domain: Some(row.domain.as_str()),
            replayed: false,
            share_arn: None,
            aws_request_id: failure.get_metadata("awsRequestId"),
        }
    }

    /// The caller went away before there was an answer. What had begun goes on.
    #[must_use]
    pub fn abandoned() -> Self {
        Self {
            code: "CANCELLED",
            reason: Some("CALLER_GONE"),
            domain: Some(Domain::Facade.as_str()),
            replayed: false,
            share_arn: None,
            aws_request_id: None,
        }
    }
}

/// The call that lines are about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The facade's id of the request.
    pub request_id: Option<&'a str>,
    /// AWS's name of the operation.
    pub operation: &'static str,
    /// Who calls.
    pub caller: &'a Caller,
    /// Where it acts.
    pub target: &'a Target,
    /// Names the intent, if the caller named it.
    pub intent: Option<&'a crate::idempotency::Key>,
    /// Whether the caller only asks.
    pub validate_only: bool,
}

impl<'a> Line<'a> {
    /// A line about a call, at the time `now`.
    #[must_use]
    pub fn new(now: UnixMillis, about: About<'a>, event: Event<'a>) -> Self {
        Self {
            time: with_milliseconds(now),
            event: match event {
                Event::Decision(_) => "decision",
                Event::Outcome(_) => "outcome",
            },
            request_id: about.request_id,
            operation: about.operation,
            caller: Who {
                issuer: about.caller.issuer(),
                subject: about.caller.subject(),
                proof: about.caller.proof().name(),
            },
            target: Where {
                partition: &about.target.partition,
                account: &about.target.account,
                region: &about.target.region,
            },
            intent: about.intent.map(|key| {
                let head = key.as_bytes().iter().take(6);
                head.map(|byte| format!("{byte:02x}")).collect()
            }),
            validate_only: about.validate_only,
            rest: event,
        }
    }

    /// The line as it is written, with its end.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Only maps whose keys are no text, and writers that fail, make this an error.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// With three digits of the second, always, so that lines sort as text.
fn with_milliseconds(time: UnixMillis) -> String {
    let whole = clock::rfc3339(time);
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), time % 1_000)
}
