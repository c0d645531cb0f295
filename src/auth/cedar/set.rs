//! Texts become one set of policies, or a list of what is wrong with them.

use std::{collections::HashMap, fmt, path::PathBuf, str::FromStr};

use cedar_policy::{
    ActionConstraint, Effect, Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint, Schema,
    ValidationMode, Validator, ffi::DetailedError,
};

use super::files::Source;

/// Something that is wrong in a file, or looks so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what helps.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.text)
    }
}

/// What a parser or the validator said, in one line.
fn fault(source: &Source, error: &DetailedError) -> Fault {
    let place = error.source_locations.first().map(|label| label.loc.start);
    let mut text = error.message.clone();
    if let Some(label) = error.source_locations.first().and_then(|l| l.label.as_ref()) {
        text = format!("{text}: {label}");
    }
    if let Some(help) = &error.help {
        text = format!("{text}; {help}");
    }
    Fault {
        path: source.path.clone(),
        place: place.map(|offset| line_and_column(&source.text, offset)),
        text: text.replace('\n', " "),
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Policies that a server can use.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) policies: PolicySet,
    /// What is allowed, and perhaps not meant.
    pub(super) warnings: Vec<String>,
}

/// Parses and validates all `sources` together.
pub(super) fn load(sources: &[Source], schema: &Schema) -> Result<Set, Vec<Fault>> {
    let mut policies = PolicySet::new();
    let mut homes = HashMap::new();
    let mut faults = Vec::new();
    for source in sources {
        match parse(source) {
            Ok(parsed) => {
                for policy in parsed {
                    add(&mut policies, &mut homes, source, policy, &mut faults);
                }
            }
            Err(found) => faults.extend(found),
        }
    }

    let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    let home = |id: &PolicyId| homes.get(id).copied();
    faults.extend(
        result
            .validation_errors()
            .filter_map(|e| Some(fault(home(e.policy_id())?, &e.into()))),
    );
    if !faults.is_empty() {
        faults.sort_by(|a, b| (&a.path, a.place).cmp(&(&b.path, b.place)));
        return Err(faults);
    }

    let mut warnings: Vec<_> = result
        .validation_warnings()
        .filter_map(|w| Some(fault(home(w.policy_id())?, &w.into()).to_string()))
        .collect();
    let mut open: Vec<_> = policies.policies().filter(|p| permits_everything(p)).collect();
    open.sort_by_key(|p| p.id().clone());
    warnings.extend(open.iter().map(|policy| {
        let path = home(policy.id()).map(|s| s.path.display().to_string());
        format!(
            "{}: policy `{}` permits every caller everything",
            path.unwrap_or_default(),
            policy.id()
        )
    }));
    if policies.is_empty() {
        warnings.push("there is no policy: every call is denied".to_owned());
    }
    Ok(Set { policies, warnings })
}

/// The policies of one file, each under the name that an operator knows it by: its annotation `@id`, or the file's name
/// and its place in it.
fn parse(source: &Source) -> Result<Vec<Policy>, Vec<Fault>> {
    let set = PolicySet::from_str(&source.text).map_err(|errors| {
        errors
            .iter()
            .map(|error| fault(source, &error.into()))
            .collect::<Vec<_>>()
    })?;
    if set.num_of_templates() > 0 {
        return Err(vec![Fault {
            path: source.path.clone(),
            place: None,
            text: "has a template (`?principal` or `?resource`), which nothing fills in; write policies only"
                .to_owned(),
        }]);
    }
    let file = source
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut policies: Vec<_> = set
        .policies()
        .map(|policy| {
            let id = match policy.annotation("id") {
                Some(id) => id.to_owned(),
                None => format!("{file}:{}", policy.id()),
            };
            policy.new_id(PolicyId::new(id))
        })
        .collect();
    policies.sort_by_key(|p| p.id().clone());
    Ok(policies)
}

fn add<'a>(
    set: &mut PolicySet,
    homes: &mut HashMap<PolicyId, &'a Source>,
    source: &'a Source,
    policy: Policy,
    faults: &mut Vec<Fault>,
) {
    let id = policy.id().clone();
    let name: &str = id.as_ref();
    let mut complain = |text| {
        faults.push(Fault {
            path: source.path.clone(),
            place: None,
            text,
        });
    };
    if !is_name(name) {
        complain(format!(
            "the @id `{}` is no name; use 1 to 100 letters, digits and ` . _ : / -`",
            name.escape_debug()
        ));
    }
    for caller in policy.entity_literals() {
        let text: &str = caller.id().as_ref();
        if caller.type_name().to_string() == "RamFacade::Caller" && !is_caller(text) {
            complain(format!(
                "policy `{id}` names the caller `{}`, which no caller is: the form is ISSUER/SUBJECT with a slash of the \
                 issuer as %2F; or compare principal.issuer and principal.subject",
                text.escape_debug()
            ));
        }
    }
    if let Some(other) = homes.get(&id) {
        complain(format!(
            "policy `{id}` stands in {} too; give each an @id of its own",
            other.path.display()
        ));
    } else if let Err(error) = set.add(policy) {
        complain(error.to_string());
    } else {
        homes.insert(id, source);
    }
}

/// Names go into answers, metadata and logs, several in one line.
fn is_name(id: &str) -> bool {
    (1..=100).contains(&id.len())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | ':' | '/' | '-'))
}

/// Whether somebody may have this id: see `vocabulary::caller_id`. A URL that was written as it is shows by its colon.
fn is_caller(id: &str) -> bool {
    id.split_once('/')
        .is_some_and(|(issuer, subject)| !issuer.is_empty() && !issuer.ends_with(':') && !subject.is_empty())
}

fn permits_everything(policy: &Policy) -> bool {
    policy.effect() == Effect::Permit
        && !policy.has_non_scope_constraint()
        && matches!(policy.principal_constraint(), PrincipalConstraint::Any)
        && matches!(policy.action_constraint(), ActionConstraint::Any)
        && matches!(policy.resource_constraint(), ResourceConstraint::Any)
}
