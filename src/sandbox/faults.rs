//! The fault plan: what goes wrong, when and how often.
//!
//! A plan is JSON (`docs/sandbox.md` shows each kind) or built in Rust. Unknown members are refused, so that a typing
//! mistake never makes a test pass.

mod armed;
mod bucket;
mod kinds;

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

pub(super) use self::armed::{Armed, Verdict};
pub use self::{
    bucket::RateLimit,
    kinds::{ErrorAnswer, Fault, RawAnswer},
};
use super::operations::OPERATIONS;

/// What shall go wrong. The default plan lets everything go well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultPlan {
    /// Where chance begins: the same plan and the same requests give the same faults. Default 0.
    pub seed: u64,
    /// Refuses requests with 429 `ThrottlingException` when they come too fast. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Milliseconds that every request to RAM waits before anything else. Default 0.
    pub latency_ms: u64,
    /// Tried in order; the first that applies decides, and those behind it do not see the request.
    pub rules: Vec<Rule>,
}

/// One thing that goes wrong, for some requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The operation, such as `CreateResourceShare`. Default: every RAM operation, but not `GetCallerIdentity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// How many matching requests pass before the rule begins. Default 0.
    #[serde(default)]
    pub skip: u64,
    /// For how many matching requests it lasts. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The chance that it applies to a request in that range, 0.0 to 1.0. Default 1.0.
    #[serde(default = "certain")]
    pub probability: f64,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// Applies `fault` to every request of `operation`.
    pub fn always(operation: &str, fault: Fault) -> Self {
        Self {
            operation: Some(operation.to_owned()),
            skip: 0,
            times: None,
            probability: certain(),
            fault,
        }
    }

    /// Applies `fault` to the next request of `operation` only.
    pub fn once(operation: &str, fault: Fault) -> Self {
        Self {
            times: Some(1),
            ..Self::always(operation, fault)
        }
    }
}

const fn certain() -> f64 {
    1.0
}

/// The longest wait that a plan can ask for: ten minutes.
const LONGEST_MS: u64 = 600_000;

impl FaultPlan {
    /// Reads a plan from JSON.
    ///
    /// # Errors
    /// A sentence that names the member at fault.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let plan: Self =
            serde_json::from_str(text).map_err(|error| format!("the fault plan cannot be read: {error}"))?;
        plan.check()?;
        Ok(plan)
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    /// A sentence that names the member at fault.
    pub fn check(&self) -> Result<(), String> {
        if self.latency_ms > LONGEST_MS {
            return Err(format!(
                "latency_ms is {}; the most is {LONGEST_MS}",
                self.latency_ms
            ));
        }
        if let Some(limit) = &self.rate_limit {
            limit.check().map_err(|fault| format!("rate_limit.{fault}"))?;
        }
        for (number, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|fault| format!("rules[{number}].{fault}"))?;
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        let known = |name: &str| name == super::sts::NAME || OPERATIONS.iter().any(|o| o.name == name);
        if let Some(name) = self.operation.as_deref().filter(|name| !known(name)) {
            let names: Vec<_> = OPERATIONS
                .iter()
                .map(|o| o.name)
                .chain([super::sts::NAME])
                .collect();
            return Err(format!(
                "operation `{name}` is unknown; expected one of {}",
                names.join(", ")
            ));
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!(
                "probability is {}; it ranges from 0.0 to 1.0",
                self.probability
            ));
        }
        self.fault.check().map_err(|fault| format!("fault.{fault}"))
    }
}

/// A status that a final answer can have.
fn check_status(status: u16) -> Result<(), String> {
    match StatusCode::from_u16(status) {
        Ok(_) if (200..=599).contains(&status) => Ok(()),
        _ => Err(format!("http_status is {status}; it ranges from 200 to 599")),
    }
}

/// Headers that can be sent, and do not say how the body is framed: `truncate_after_execution` is for that.
fn check_headers<'a>(headers: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<(), String> {
    for (name, value) in headers {
        let Ok(parsed) = HeaderName::try_from(name) else {
            return Err(format!("headers: `{name}` is not a header name"));
        };
        if [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
        ]
        .contains(&parsed)
        {
            return Err(format!("headers: `{name}` cannot be set"));
        }
        if HeaderValue::try_from(value).is_err() {
            return Err(format!("headers: the value of `{name}` cannot be sent"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(text: &str) -> String {
        FaultPlan::from_json(text).unwrap_err()
    }

    #[test]
    fn an_empty_plan_is_the_default_plan() {
        assert_eq!(FaultPlan::from_json("{}"), Ok(FaultPlan::default()));
    }

    #[test]
    fn a_plan_survives_being_written_and_read() {
        let text = r#"{"seed":1,"rate_limit":{"per_second":5.0,"burst":10.0,"refused_cost":0.5},"latency_ms":20,
            "rules":[{"operation":"CreateResourceShare","skip":1,"times":2,"probability":0.5,"fault":{"kind":"drop"}},
                     {"fault":{"kind":"error","code":null,"http_status":503,"body":"<html>","content_type":"text/html"}}]}"#;
        let plan = FaultPlan::from_json(text).unwrap();
        let written = serde_json::to_string(&plan).unwrap();
        assert_eq!(FaultPlan::from_json(&written), Ok(plan));
    }

    #[test]
    fn an_unknown_member_is_named_wherever_it_stands() {
        for text in [
            r#"{"rulez":[]}"#,
            r#"{"rate_limit":{"per_second":1,"rulez":1}}"#,
            r#"{"rules":[{"rulez":1,"fault":{"kind":"drop"}}]}"#,
            r#"{"rules":[{"fault":{"kind":"drop","rulez":1}}]}"#,
            r#"{"rules":[{"fault":{"kind":"delay","ms":1,"rulez":1}}]}"#,
            r#"{"rules":[{"fault":{"kind":"error","http_status":500,"rulez":1}}]}"#,
            r#"{"rules":[{"fault":{"kind":"rulez"}}]}"#,
        ] {
            assert!(fault_of(text).contains("`rulez`"), "{text}: {}", fault_of(text));
        }
    }

    #[test]
    fn values_out_of_range_are_named_with_their_place() {
        for (text, place) in [
            (r#"{"latency_ms":600001}"#, "latency_ms"),
            (r#"{"rate_limit":{"per_second":0}}"#, "rate_limit.per_second"),
            (
                r#"{"rules":[{"operation":"CreateShare","fault":{"kind":"drop"}}]}"#,
                "rules[0].operation",
            ),
            (
                r#"{"rules":[{"probability":1.5,"fault":{"kind":"drop"}}]}"#,
                "rules[0].probability",
            ),
            (
                r#"{"rules":[{"fault":{"kind":"error","http_status":101}}]}"#,
                "rules[0].fault.http_status",
            ),
            (
                r#"{"rules":[{"fault":{"kind":"answer","headers":{"content-length":"1"}}}]}"#,
                "rules[0].fault.headers",
            ),
            (
                r#"{"rules":[{"fault":{"kind":"patch","pointer":"name","value":1}}]}"#,
                "rules[0].fault.pointer",
            ),
            (
                r#"{"rules":[{"fault":{"kind":"delay","ms":600001}}]}"#,
                "rules[0].fault.ms",
            ),
        ] {
            assert!(fault_of(text).starts_with(place), "{text}: {}", fault_of(text));
        }
    }
}
