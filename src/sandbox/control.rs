//! The control requests under `/_sandbox/`: counts, shares, fault plan, reset. They need no signature.

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Shared, answer::Answer, faults::FaultPlan};

/// Where control requests live.
pub(super) const PREFIX: &str = "/_sandbox/";

/// Answers a control request.
pub(super) fn answer(shared: &Shared, method: &Method, command: &str, body: &[u8]) -> Answer {
    match (method.as_str(), command) {
        ("GET", "stats") => document(&shared.stats()),
        ("GET", "shares") => Answer::json(200, &shared.made()),
        ("GET", "faults") => document(&shared.plan()),
        ("PUT", "faults") => match read_plan(body) {
            Ok(plan) => {
                shared.set_faults(plan);
                Answer::json(200, &json!({}))
            }
            Err(message) => refusal(400, &message),
        },
        ("POST", "reset") => {
            shared.reset();
            Answer::json(200, &json!({}))
        }
        (_, "stats" | "shares" | "faults" | "reset") => {
            refusal(405, &format!("{method} is not for {PREFIX}{command}"))
        }
        _ => refusal(
            404,
            "there are GET stats, GET shares, GET and PUT faults, and POST reset",
        ),
    }
}

fn read_plan(body: &[u8]) -> Result<FaultPlan, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the fault plan is not UTF-8".to_owned())?;
    FaultPlan::from_json(text)
}

fn document(value: &impl Serialize) -> Answer {
    Answer::json(200, &serde_json::to_value(value).unwrap_or(Value::Null))
}

fn refusal(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message }))
}
