//! What of a request policies may look at: the schema's `Facts`, attribute by attribute.

use std::borrow::Cow;

use crate::{
    auth::policy::Denial,
    operation::Facts,
    rules::{Arn, Kind, Principal, Resource},
};

/// A request whose ARNs and principals are taken apart.
pub(super) struct Parts<'a> {
    facts: &'a Facts<'a>,
    resources: Vec<(Arn<'a>, Resource<'a>)>,
    principals: Vec<Principal<'a>>,
    permissions: Vec<(Arn<'a>, Resource<'a>)>,
}

impl<'a> Parts<'a> {
    /// Takes everything apart, whatever the policies in force look at, or says which text cannot be: such a request is
    /// denied by any policies.
    pub(super) fn of(facts: &'a Facts<'a>) -> Result<Self, Denial> {
        Ok(Self {
            resources: parsed("resource_arns", facts.resource_arns, arn)?,
            principals: parsed("principals", facts.principals, Principal::parse)?,
            permissions: parsed("permission_arns", facts.permission_arns, arn)?,
            facts,
        })
    }
}

fn arn(text: &str) -> Result<(Arn<'_>, Resource<'_>), &'static str> {
    let arn = Arn::parse(text)?;
    Ok((arn, arn.split()?))
}

fn parsed<'a, T>(
    field: &str,
    texts: &'a [String],
    parse: impl Fn(&'a str) -> Result<T, &'static str>,
) -> Result<Vec<T>, Denial> {
    let each = texts.iter().enumerate().map(|(i, text)| {
        parse(text).map_err(|rule| Denial::Unreadable {
            field: format!("{field}[{i}]"),
            rule,
        })
    });
    each.collect()
}

/// What an attribute of one request is.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Text(&'a str),
    /// Sorted, each text once, for what is a set of a hundred ARNs' accounts has one member.
    Texts(Vec<Cow<'a, str>>),
    /// Keys with their values.
    Tags(&'a [(&'a str, &'a str)]),
}

/// One attribute of the context.
#[derive(Debug)]
pub(super) struct Attribute {
    /// The record that it is in, if it is in one.
    pub(super) record: Option<&'static str>,
    pub(super) name: &'static str,
    pub(super) value: Read,
}

type Read = for<'a> fn(&Parts<'a>) -> Value<'a>;

/// All of them, as in the schema.
pub(super) static ATTRIBUTES: [Attribute; 23] = [
    alone("name", |p| Value::Text(p.facts.name)),
    within("resources", "arns", |p| all(p.facts.resource_arns)),
    within("resources", "partitions", |p| {
        set(p.resources.iter().map(|(arn, _)| arn.partition))
    }),
    within("resources", "services", |p| {
        set(p.resources.iter().map(|(arn, _)| arn.service))
    }),
    within("resources", "regions", |p| {
        set(p.resources.iter().map(|(arn, _)| arn.region))
    }),
    within("resources", "accounts", |p| {
        set(p.resources.iter().map(|(arn, _)| arn.account))
    }),
    within("resources", "types", |p| {
        let types = p.resources.iter();
        set(types.map(|(arn, resource)| format!("{}:{}", arn.service, resource.kind)))
    }),
    within("resources", "ids", |p| {
        set(p.resources.iter().map(|(_, resource)| resource.id))
    }),
    within("principals", "names", |p| all(p.facts.principals)),
    within("principals", "kinds", |p| {
        set(p.principals.iter().map(|p| p.kind.name()))
    }),
    within("principals", "parties", |p| {
        set(p.principals.iter().map(|p| p.party))
    }),
    within("principals", "partitions", |p| {
        set(p.principals.iter().filter_map(|p| p.partition))
    }),
    within("principals", "accounts", |p| {
        set(p.principals.iter().filter_map(|p| p.account))
    }),
    within("principals", "organizations", |p| {
        set(p.principals.iter().filter_map(|p| p.organization))
    }),
    within("principals", "organizational_units", |p| {
        set(p.principals.iter().filter_map(|p| p.unit))
    }),
    within("principals", "services", |p| {
        let services = p.principals.iter().filter(|p| p.kind == Kind::Service);
        set(services.map(|p| p.party))
    }),
    alone("sources", |p| all(p.facts.sources)),
    alone("allow_external_principals", |p| {
        Value::Bool(p.facts.allow_external_principals)
    }),
    alone("retain_sharing_on_account_leave_organization", |p| {
        Value::Bool(p.facts.retain_on_leave)
    }),
    alone("tags", |p| Value::Tags(&p.facts.tags)),
    alone("tag_keys", |p| set(p.facts.tags.iter().map(|(key, _)| *key))),
    within("permissions", "arns", |p| all(p.facts.permission_arns)),
    within("permissions", "accounts", |p| {
        set(p.permissions.iter().map(|(arn, _)| arn.account))
    }),
];

const fn alone(name: &'static str, value: Read) -> Attribute {
    Attribute {
        record: None,
        name,
        value,
    }
}

const fn within(record: &'static str, name: &'static str, value: Read) -> Attribute {
    Attribute {
        record: Some(record),
        name,
        value,
    }
}

fn all(texts: &[String]) -> Value<'_> {
    set(texts.iter().map(String::as_str))
}

fn set<'a, T: Into<Cow<'a, str>>>(texts: impl Iterator<Item = T>) -> Value<'a> {
    let mut texts: Vec<_> = texts.map(Into::into).collect();
    texts.sort_unstable();
    texts.dedup();
    Value::Texts(texts)
}
