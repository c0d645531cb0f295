//! What policies say, without a server: `policy check` and `policy explain`.
//!
//! The code that decides is the server's own.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use tonic_types::FieldViolation;

use crate::{
    auth::{
        cedar::{self, Cedar, LoadError},
        policy::{Decision, Denial, Policy, PolicyId, Question},
    },
    call::{Attribute, Caller, Proof, Target},
    failure::chain,
    operation::Facts,
    operations,
    pb::json,
    rules,
};

/// The schema that policies are written against.
#[must_use]
pub fn schema() -> String {
    cedar::schema(operations::ALL)
}

/// Checks the policies at `paths` as one set, as if they stood in one folder: a sentence that says how many there are, and
/// the warnings.
///
/// # Errors
/// Every fault, each with its place.
pub fn check(paths: &[impl AsRef<Path>]) -> Result<Vec<String>, Vec<String>> {
    let mut sources = Vec::new();
    for path in paths {
        sources.extend(cedar::read(path.as_ref()).map_err(|e| vec![chain(&e)])?);
    }
    let files = sources.len();
    let (policies, warnings) =
        Cedar::of(Path::new(""), sources, operations::ALL).map_err(|error| match error {
            LoadError::Invalid(faults) => faults.iter().map(ToString::to_string).collect(),
            other => vec![chain(&other)],
        })?;
    let mut lines: Vec<_> = warnings.iter().map(|w| format!("warning: {w}")).collect();
    lines.push(format!("{} policies in {files} files are valid", policies.len()));
    Ok(lines)
}

/// A request file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    caller: Option<String>,
    proof: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, OneOrMore>,
    target: String,
    #[serde(default = "aws")]
    partition: String,
    operation: String,
    request: Value,
}

fn aws() -> String {
    "aws".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// What the command line says of the caller; it goes before the file.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// `issuer/subject`.
    pub caller: Option<String>,
    /// What proved it.
    pub proof: Option<String>,
    /// `name=value`; a name that stands more than once has all its values.
    pub attributes: Vec<String>,
}

/// What policy says, in words, and whether that is a permit.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Whether the call would go on.
    pub permit: bool,
    /// For the operator.
    pub lines: Vec<String>,
}

/// Says what the policies at `policies` decide about the request in the file `request`.
///
/// # Errors
/// What is wrong with the policies, the file or the request: no decision was made.
pub fn explain(policies: &Path, request: &Path, who: &Who) -> Result<Explained, Vec<String>> {
    let policies = match Cedar::load(policies, operations::ALL) {
        Ok(policies) => policies,
        Err(LoadError::Invalid(faults)) => return Err(faults.iter().map(ToString::to_string).collect()),
        Err(other) => return Err(vec![chain(&other)]),
    };
    let in_file = |fault: String| vec![format!("{}: {fault}", request.display())];
    let text = fs::read_to_string(request).map_err(|e| in_file(e.to_string()))?;
    let file: File = serde_json::from_str(&text).map_err(|e| in_file(e.to_string()))?;
    let caller = caller(&file, who).map_err(in_file)?;
    let target = target(&file).map_err(in_file)?;
    let operation = operations::ALL.iter().find(|sort| sort.name == file.operation);
    let Some(operation) = operation.map(|sort| sort.name) else {
        let names: Vec<_> = operations::ALL.iter().map(|sort| sort.name).collect();
        return Err(in_file(format!("operation must be one of {}", names.join(", "))));
    };
    // The contract names every request message after its operation.
    let bytes = json::encode(&format!("{operation}Request"), &file.request).map_err(in_file)?;

    let mut explained = Err(Vec::new());
    let mut look = |violations: Vec<FieldViolation>, facts: Facts<'_>| {
        explained = if violations.is_empty() {
            let decision = policies.decide(&Question {
                caller: &caller,
                operation,
                target: &target,
                facts,
            });
            Ok(in_words(&decision, &caller, operation))
        } else {
            Err(violations
                .iter()
                .map(|v| format!("{}: request.{}: {}", request.display(), v.field, v.description))
                .collect())
        };
    };
    operations::describe(operation, &bytes, &mut look).map_err(|e| in_file(e.to_string()))?;
    explained
}

fn caller(file: &File, who: &Who) -> Result<Caller, String> {
    let name = who.caller.as_ref().or(file.caller.as_ref());
    let name = name.ok_or("caller is missing; give issuer/subject here or by --caller")?;
    let (issuer, subject) = name
        .split_once('/')
        .filter(|(issuer, subject)| !issuer.is_empty() && !subject.is_empty())
        .ok_or("the caller must have the form issuer/subject")?;
    let issuer = issuer.replace("%2F", "/").replace("%25", "%");

    let proof = match who.proof.as_ref().or(file.proof.as_ref()) {
        None => Proof::Nothing,
        Some(name) => Proof::ALL
            .into_iter()
            .find(|proof| proof.name() == name)
            .ok_or_else(|| {
                let names = Proof::ALL.map(Proof::name);
                format!("the proof must be one of {}", names.join(", "))
            })?,
    };
    let mut caller = Caller::new(issuer, subject).proven_by(proof);

    for (name, value) in &file.attributes {
        caller = caller.with(
            name,
            match value {
                OneOrMore::One(text) => Attribute::Text(text.clone()),
                OneOrMore::More(texts) => Attribute::Texts(texts.clone()),
            },
        );
    }
    let mut given: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pair in &who.attributes {
        let (name, value) = pair
            .split_once('=')
            .ok_or("an attribute must have the form name=value")?;
        given.entry(name).or_default().push(value.to_owned());
    }
    for (name, values) in given {
        caller = caller.with(
            name,
            match <[String; 1]>::try_from(values) {
                Ok([one]) => Attribute::Text(one),
                Err(more) => Attribute::Texts(more),
            },
        );
    }
    Ok(caller)
}

fn target(file: &File) -> Result<Target, String> {
    let (account, region) = file
        .target
        .split_once('/')
        .filter(|(account, region)| rules::is_account(account) && !region.is_empty())
        .ok_or("target must have the form ACCOUNT/REGION, for instance 111122223333/eu-west-1")?;
    Ok(Target {
        partition: file.partition.clone(),
        account: account.to_owned(),
        region: region.to_owned(),
    })
}

fn in_words(decision: &Decision, caller: &Caller, operation: &str) -> Explained {
    let of = |word: &str| format!("{word}: `{caller}` calls {operation}");
    let each = |how: &str, ids: &[PolicyId]| ids.iter().map(|id| format!("  {how} `{id}`")).collect();
    let (word, mut lines): (&str, Vec<String>) = match decision {
        Decision::Permit { by } => ("PERMIT", each("permitted by", by)),
        Decision::Deny(Denial::Forbidden { by }) => ("DENY", each("forbidden by", by)),
        Decision::Deny(Denial::Faulty { errors }) => (
            "DENY",
            errors
                .iter()
                .map(|(id, error)| format!("  could not evaluate `{id}`: {error}"))
                .collect(),
        ),
        Decision::Deny(other) => ("DENY", vec![format!("  {other}")]),
    };
    lines.insert(0, of(word));
    Explained {
        permit: matches!(decision, Decision::Permit { .. }),
        lines,
    }
}
