//! What callers asked and heard, what RAM executed, and whether the one fits the other.
//!
//! A share's name says whose intent and which request it was made for, so that the check does not rest on the derived
//! token that it is to prove.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use ram_facade::{clock::wall_now, pb::v1::CreateResourceShareRequest};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{Client, arn, http};

/// One intent: what at most one share may be made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Intent {
    pub caller: String,
    pub token: String,
}

/// What a caller heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// OK, with this ARN.
    Made { arn: String },
    /// The token stands for another request.
    Mismatch,
    /// The request was looked at, and was not executed.
    NotExecuted,
    /// The request was turned away before it was looked at; it says nothing about earlier ones.
    TurnedAway,
    /// Whatever it was, it may have been executed. Also no answer at all.
    Unknown,
}

impl Heard {
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Made { .. } | Self::Mismatch)
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub intent: Intent,
    /// Which request it was, of those under the token.
    pub payload: String,
    /// Which server was asked.
    pub replica: String,
    /// When it began and when its answer came, in milliseconds since the Unix epoch.
    pub begun: u64,
    pub ended: u64,
    pub heard: Heard,
}

/// One share that RAM made.
#[derive(Clone, Debug)]
pub struct Share {
    pub intent: Intent,
    pub payload: String,
    pub arn: String,
    /// The client token that RAM saw.
    pub upstream: String,
    /// In milliseconds since the Unix epoch.
    pub made: u64,
}

const BETWEEN: &str = "--";

/// The request with this payload for an intent.
pub fn request(intent: &Intent, payload: &str) -> CreateResourceShareRequest {
    super::request(
        &[intent.caller.as_str(), &intent.token, payload].join(BETWEEN),
        &intent.token,
    )
}

/// Every share that the sandbox remembers.
pub async fn shares(sandbox: &str) -> Vec<Share> {
    let body = http(sandbox, "GET", "/_sandbox/shares", "").await;
    let listed: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e} in {body}"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let shares = listed["shares"].as_array().expect("it is a list");
    let share = |share: &serde_json::Value| {
        let name = text(&share["name"]);
        let [caller, token, payload] = name.split(BETWEEN).collect::<Vec<_>>()[..] else {
            panic!("`{name}` is not the name of a recorded request");
        };
        let seconds = share["creationTime"].as_f64().expect("it has a time");
        Share {
            intent: Intent {
                caller: caller.to_owned(),
                token: token.to_owned(),
            },
            payload: payload.to_owned(),
            arn: text(&share["resourceShareArn"]),
            upstream: text(&share["clientToken"]),
            made: format!("{:.0}", (seconds * 1000.0).floor())
                .parse()
                .expect("it lies after 1970"),
        }
    };
    shares.iter().map(share).collect()
}

/// Writes calls down.
#[derive(Clone, Default)]
pub struct Recorder {
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recorder {
    /// Calls, and writes down what came of it. Dropped, it is a call whose caller hung up and heard nothing.
    pub async fn create(&self, client: &Client, replica: &str, intent: &Intent, payload: &str) -> Heard {
        let mut entry = Entry {
            calls: &self.calls,
            call: Call {
                intent: intent.clone(),
                payload: payload.to_owned(),
                replica: replica.to_owned(),
                begun: wall_now(),
                ended: 0,
                heard: Heard::Unknown,
            },
        };
        let answer = client.clone().create(request(intent, payload)).await;
        entry.call.heard = match &answer {
            Ok(made) => Heard::Made { arn: arn(made) },
            Err(status) => refusal(status),
        };
        entry.call.heard.clone()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

/// A call that is written down when it ends, however it does.
struct Entry<'a> {
    calls: &'a Mutex<Vec<Call>>,
    call: Call,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.call.ended = wall_now();
        self.calls.lock().unwrap().push(self.call.clone());
    }
}

/// What a refusal says of the intent.
pub fn refusal(status: &Status) -> Heard {
    let details = status.get_error_details();
    // The connection broke, or nobody listens: nothing is known.
    let Some(info) = details.error_info() else {
        return Heard::Unknown;
    };
    let outcome = info.metadata.get("outcome").map(String::as_str);
    match (info.reason.as_str(), outcome) {
        ("IDEMPOTENT_PARAMETER_MISMATCH", Some("not_executed")) => Heard::Mismatch,
        (
            "IDEMPOTENCY_STORE_UNAVAILABLE"
            | "SHUTTING_DOWN"
            | "OVERLOADED"
            | "IN_PROGRESS"
            | "DEADLINE_EXCEEDED",
            Some("not_executed"),
        ) => Heard::TurnedAway,
        (_, Some("not_executed")) => Heard::NotExecuted,
        _ => Heard::Unknown,
    }
}

/// A promise that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Two shares for one intent.
    SecondShare(Intent),
    /// Two OKs of an intent name different ARNs.
    SecondArn(Intent),
    /// An OK names what RAM never made for this very request.
    NoSuchShare(Intent, String),
    /// RAM saw one token for two intents.
    SharedUpstreamToken(Intent, Intent),
    /// A request was executed although its callers heard that it was not.
    ExecutedAllTheSame(Intent),
    /// A token was refused to the very request that it stands for.
    OwnTokenRefused(Intent),
    /// A request was executed after another one under its token had been.
    SecondPayload(Intent),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Everything in `calls` and `shares` that breaks a promise.
pub fn check(calls: &[Call], shares: &[Share]) -> Vec<Broken> {
    let mut made: BTreeMap<&Intent, Vec<&Share>> = BTreeMap::new();
    for share in shares {
        made.entry(&share.intent).or_default().push(share);
    }
    let mut asked: BTreeMap<&Intent, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        asked.entry(&call.intent).or_default().push(call);
    }
    let intents: BTreeSet<_> = made.keys().chain(asked.keys()).copied().collect();

    let mut broken = upstream_tokens(shares);
    for intent in intents {
        let made = made.get(intent).map_or(&[][..], Vec::as_slice);
        let asked = asked.get(intent).map_or(&[][..], Vec::as_slice);
        if made.len() > 1 {
            broken.push(Broken::SecondShare(intent.clone()));
        }
        if made.iter().any(|share| share.payload != made[0].payload) {
            broken.push(Broken::SecondPayload(intent.clone()));
        }
        answers(intent, asked, made, &mut broken);
        denials(intent, asked, made, &mut broken);
    }
    broken
}

/// An intent has an upstream token of its own. (That it has only one follows from its having one share.)
fn upstream_tokens(shares: &[Share]) -> Vec<Broken> {
    let mut first: BTreeMap<&str, &Intent> = BTreeMap::new();
    let foreign = shares.iter().filter_map(|share| {
        let owner = *first.entry(&share.upstream).or_insert(&share.intent);
        (*owner != share.intent).then(|| Broken::SharedUpstreamToken(owner.clone(), share.intent.clone()))
    });
    foreign.collect()
}

/// What callers heard of success.
fn answers(intent: &Intent, asked: &[&Call], made: &[&Share], broken: &mut Vec<Broken>) {
    let mut arns = BTreeSet::new();
    for call in asked {
        let Heard::Made { arn } = &call.heard else {
            continue;
        };
        arns.insert(arn);
        let is_it =
            |share: &&Share| share.arn == *arn && share.payload == call.payload && share.made <= call.ended;
        if !made.iter().any(is_it) {
            broken.push(Broken::NoSuchShare(intent.clone(), arn.clone()));
        }
    }
    if arns.len() > 1 {
        broken.push(Broken::SecondArn(intent.clone()));
    }
}

/// What callers heard of refusal.
fn denials(intent: &Intent, asked: &[&Call], made: &[&Share], broken: &mut Vec<Broken>) {
    for share in made {
        let mut its = asked.iter().filter(|call| call.payload == share.payload);
        // Somebody must have asked who was not told that nothing happened.
        let begun_before = |call: &&&Call| call.begun <= share.made;
        let denied = |call: &&Call| {
            matches!(
                call.heard,
                Heard::NotExecuted | Heard::TurnedAway | Heard::Mismatch
            )
        };
        let nobody = its.clone().filter(begun_before).all(denied);
        let told_after = its.any(|call| call.heard == Heard::NotExecuted && share.made < call.begun);
        if nobody || told_after {
            broken.push(Broken::ExecutedAllTheSame(intent.clone()));
        }
    }
    for refused in asked.iter().filter(|call| call.heard == Heard::Mismatch) {
        let knew = |call: &&Call| {
            matches!(call.heard, Heard::Made { .. })
                && call.payload == refused.payload
                && call.ended < refused.begun
        };
        if asked.iter().any(knew) {
            broken.push(Broken::OwnTokenRefused(intent.clone()));
        }
    }
}
