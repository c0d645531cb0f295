//! Which attributes of a request the policies look at. What no policy looks at decides nothing: it is neither put into
//! Cedar's words nor makes another question.
//!
//! Most sets of policies look at two or three of the attributes. They are found in the policies' text, where every use
//! of the request begins with the word `context`: `context.resources.accounts` and `context has name` are one attribute
//! each, `context.resources` followed by anything else is all of that record, and `context` followed by anything else is
//! everything. What is not understood costs time and leaves nothing out. The text is read from left to right, and not as
//! Cedar's tree, since to turn a long chain of `||` into that ends in an overflow of the stack.

use cedar_policy::{Policy, PolicySet};

use super::attributes::{ATTRIBUTES, Attribute, Parts, Value};

/// What policies see of one request: attributes with their values.
pub(super) type View<'a> = Vec<(&'static Attribute, Value<'a>)>;

/// The attributes that some policies look at, in the order of [`ATTRIBUTES`].
#[derive(Debug)]
pub(super) struct Observed(Vec<&'static Attribute>);

impl Observed {
    /// Those that `policies` look at.
    pub(super) fn by(policies: &PolicySet) -> Self {
        let texts: Option<Vec<_>> = policies.policies().map(Policy::to_cedar).collect();
        texts.map_or_else(Self::everything, |texts| {
            let paths: Vec<_> = texts.iter().flat_map(|text| paths(text)).collect();
            Self::below(&paths)
        })
    }

    /// Those that `paths` lead to: everything, if one of them leads nowhere that is known.
    fn below(paths: &[Vec<&str>]) -> Self {
        let is_known = |path: &Vec<&str>| ATTRIBUTES.iter().any(|a| is_part(a, path));
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
fn is_part(attribute: &Attribute, path: &[&str]) -> bool {
    let own = attribute.record.into_iter().chain([attribute.name]);
    own.take(path.len()).eq(path.iter().copied())
}

/// The path that each `context` of a policy's text leads to. The word may stand in a comment or in a quoted text, too,
/// which only adds something to look at.
fn paths(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.match_indices("context")
        .map(|(at, word)| path(text.split_at(at + word.len()).1))
}

/// Reads on behind `context` for as long as what follows is an attribute, or the question whether there is one.
fn path(mut rest: &str) -> Vec<&str> {
    let mut path = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(after) = rest.strip_prefix('.').or_else(|| rest.strip_prefix("has")) else {
            return path;
        };
        let after = after.trim_start();
        let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let (name, after) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        let is_method = after.trim_start().starts_with('(');
        if name.is_empty() || is_method {
            return path;
        }
        path.push(name);
        rest = after;
    }
}

#[cfg(test)]
mod tests;
