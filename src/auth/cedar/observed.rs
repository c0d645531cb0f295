//! Which attributes of a request the policies look at. What no policy looks at decides nothing: it is neither put into
//! Cedar's words nor makes another question.
//!
//! Most sets of policies look at two or three of the attributes. They are found in the policies' JSON form, in which every
//! use of the request is the variable `context`. `context.resources.accounts` and `context has name` are one attribute,
//! `context.resources` by itself is all of that record, and whatever else is done with `context` looks at everything:
//! what is not understood costs time and leaves nothing out.

use cedar_policy::PolicySet;
use serde_json::Value as Json;

use super::attributes::{ATTRIBUTES, Attribute, Parts, Value};

/// What policies see of one request: attributes with their values.
pub(super) type View<'a> = Vec<(&'static Attribute, Value<'a>)>;

/// The attributes that some policies look at, in the order of [`ATTRIBUTES`].
#[derive(Debug)]
pub(super) struct Observed(Vec<&'static Attribute>);

impl Observed {
    /// Those that `policies` look at.
    pub(super) fn by(policies: &PolicySet) -> Self {
        let mut paths = Vec::new();
        for policy in policies.policies() {
            match policy.to_json() {
                Ok(json) => find(&json, &mut paths),
                Err(_) => return Self::everything(),
            }
        }
        Self::below(&paths)
    }

    /// Those that `paths` lead to: everything, if one of them leads nowhere that is known.
    fn below(paths: &[Vec<String>]) -> Self {
        let is_known = |path: &Vec<String>| ATTRIBUTES.iter().any(|a| is_part(a, path));
        if !paths.iter().all(is_known) {
            return Self::everything();
        }
        let is_seen = |attribute: &&Attribute| paths.iter().any(|path| is_part(attribute, path));
        Self(ATTRIBUTES.iter().filter(is_seen).collect())
    }

    /// All that there are.
    pub(super) fn everything() -> Self {
        Self(ATTRIBUTES.iter().collect())
    }

    /// What the policies see of a request.
    pub(super) fn of<'a>(&self, parts: &Parts<'a>) -> View<'a> {
        let each = self.0.iter();
        each.map(|&attribute| (attribute, (attribute.value)(parts)))
            .collect()
    }
}

/// Whether whoever looks at `path` sees the attribute: the path is its own, or that of the record it is in, or the whole
/// context's, which is empty.
fn is_part(attribute: &Attribute, path: &[String]) -> bool {
    let own = attribute.record.into_iter().chain([attribute.name]);
    own.take(path.len()).eq(path)
}

/// Collects every path that something in `node` reads.
fn find(node: &Json, paths: &mut Vec<Vec<String>>) {
    if let Some(path) = path(node) {
        return paths.push(path);
    }
    match node {
        Json::Array(items) => items.iter().for_each(|item| find(item, paths)),
        // Nothing is passed over by its name: a policy may write a record whose fields are named like operators.
        Json::Object(fields) => fields.values().for_each(|field| find(field, paths)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// The path of a node that is `context`, an attribute below it, or the question whether that exists (Cedar's reference,
/// "JSON policy format": `Var`, `.` and `has`). Nodes of any other form are none, and what is in them is looked at.
fn path(node: &Json) -> Option<Vec<String>> {
    if node.get("Var").and_then(Json::as_str) == Some("context") {
        return Some(Vec::new());
    }
    let access = node.get(".").or_else(|| node.get("has"))?;
    let mut path = path(access.get("left")?)?;
    match access.get("attr")? {
        Json::String(name) => path.push(name.clone()),
        // `context has resources.accounts`
        Json::Array(names) => {
            for name in names {
                path.push(name.as_str()?.to_owned());
            }
        }
        _ => return None,
    }
    Some(path)
}

#[cfg(test)]
mod tests;
