//! What policies may speak of: the schema, and a question in its words.

use std::{
    collections::{BTreeSet, HashMap},
    str::FromStr,
};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};

use crate::{
    auth::policy::{Denial, Question},
    call::{Attribute, Caller, Target},
    operation::{Facts, Sort},
    rules::{Arn, Principal},
};

/// The schema without its operations.
const TYPES: &str = include_str!("schema.cedarschema");
/// Where they go.
const OPERATIONS: &str = "    // OPERATIONS\n";

/// Attributes of a caller that have a name in the schema.
const NAMED: [&str; 3] = ["namespace", "service_account", "trust_domain"];

/// The schema as an operator reads it: the types, and an action for each of `operations`.
#[must_use]
pub fn schema(operations: &[Sort]) -> String {
    let mut actions = String::new();
    for Sort { name, reads_only } in operations {
        let group = if *reads_only { "Read" } else { "Write" };
        actions += &format!(
            "    action {name} in [{group}] appliesTo {{ principal: Caller, resource: Target, context: Facts }};\n"
        );
    }
    TYPES.replace(OPERATIONS, &actions)
}

/// The schema and what of every question is the same.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) schema: Schema,
    caller: EntityTypeName,
    target: EntityTypeName,
    actions: HashMap<&'static str, EntityUid>,
    /// The actions and their groups.
    constant: Entities,
}

impl Vocabulary {
    /// Fails on a schema that does not parse: a defect of this build, which a test keeps out.
    pub(super) fn new(operations: &[Sort]) -> Result<Self, String> {
        let (schema, _) = Schema::from_cedarschema_str(&schema(operations)).map_err(|e| e.to_string())?;
        let name = |text| EntityTypeName::from_str(text).map_err(|e| e.to_string());
        let action = name("RamFacade::Action")?;
        Ok(Self {
            caller: name("RamFacade::Caller")?,
            target: name("RamFacade::Target")?,
            actions: operations
                .iter()
                .map(|sort| (sort.name, uid(&action, sort.name)))
                .collect(),
            constant: schema.action_entities().map_err(|e| e.to_string())?,
            schema,
        })
    }

    /// Puts a question into the words of the schema.
    pub(super) fn request(&self, question: &Question<'_>) -> Result<(Request, Entities), Denial> {
        let context = context(&question.facts)?;
        let context = Context::from_pairs(context).map_err(faulty)?;
        let caller = self.caller(question.caller)?;
        let target = self.target(question.target)?;
        let Some(action) = self.actions.get(question.operation) else {
            // The list of operations and the schema are one; a caller must not profit if they ever are not.
            return Err(Denial::Unmentioned);
        };
        // What this file makes fits the schema, which every test and the fuzzer hold it to. In a release that would be
        // a third of what a question costs, and a policy that meets a stranger there cannot be evaluated, which denies.
        let schema = cfg!(debug_assertions).then_some(&self.schema);
        let request =
            Request::new(caller.uid(), action.clone(), target.uid(), context, schema).map_err(faulty)?;
        let entities = self
            .constant
            .clone()
            .add_entities([caller, target], schema)
            .map_err(faulty)?;
        Ok((request, entities))
    }

    fn caller(&self, caller: &Caller) -> Result<Entity, Denial> {
        let mut attributes = vec![
            ("issuer", caller.issuer()),
            ("subject", caller.subject()),
            ("proof", caller.proof().name()),
        ];
        for name in NAMED {
            if let Some([one]) = caller.attributes().get(name).map(Attribute::texts) {
                attributes.push((name, one.as_str()));
            }
        }
        let tags = caller
            .attributes()
            .iter()
            .map(|(name, value)| (name.clone(), set(value.texts().iter().map(String::as_str))));
        Entity::new_with_tags(
            uid(&self.caller, &caller_id(caller)),
            attributes.into_iter().map(pair),
            [],
            tags,
        )
        .map_err(faulty)
    }

    fn target(&self, target: &Target) -> Result<Entity, Denial> {
        let attributes = [
            ("partition", target.partition.as_str()),
            ("account", &target.account),
            ("region", &target.region),
        ];
        let id = format!("{}/{}", target.account, target.region);
        Entity::new(
            uid(&self.target, &id),
            attributes.into_iter().map(pair).collect(),
            [].into(),
        )
        .map_err(faulty)
    }
}

/// `issuer/subject`, in which the first slash always ends the issuer: issuers are often URLs, and no subject of one may
/// be taken for a caller of another.
fn caller_id(caller: &Caller) -> String {
    let issuer = caller.issuer().replace('%', "%25").replace('/', "%2F");
    format!("{issuer}/{}", caller.subject())
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn pair((name, value): (&str, &str)) -> (String, RestrictedExpression) {
    (name.to_owned(), text(value))
}

fn set<'a>(texts: impl IntoIterator<Item = &'a str>) -> RestrictedExpression {
    // Each text once, for what is a set of a hundred ARNs' accounts has one member.
    let texts: BTreeSet<_> = texts.into_iter().collect();
    RestrictedExpression::new_set(texts.into_iter().map(text))
}

fn record<const N: usize>(fields: [(&str, RestrictedExpression); N]) -> Result<RestrictedExpression, Denial> {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).map_err(faulty)
}

/// A question that does not fit the schema: a defect of this file, and no reason to let anybody in.
fn faulty(error: impl std::error::Error + 'static) -> Denial {
    Denial::Faulty {
        errors: vec![("schema".into(), crate::failure::chain(&error))],
    }
}

/// The context: the schema's `Facts`.
fn context(facts: &Facts<'_>) -> Result<Vec<(String, RestrictedExpression)>, Denial> {
    let tags = facts
        .tags
        .iter()
        .map(|(key, value)| record([("key", text(key)), ("value", text(value))]))
        .collect::<Result<Vec<_>, _>>()?;
    let fields = [
        ("name", text(facts.name)),
        ("resources", resources(facts.resource_arns)?),
        ("principals", principals(facts.principals)?),
        ("sources", set(facts.sources.iter().map(String::as_str))),
        (
            "allow_external_principals",
            RestrictedExpression::new_bool(facts.allow_external_principals),
        ),
        (
            "retain_sharing_on_account_leave_organization",
            RestrictedExpression::new_bool(facts.retain_on_leave),
        ),
        ("tags", RestrictedExpression::new_set(tags)),
        ("tag_keys", set(facts.tags.iter().map(|(key, _)| *key))),
        ("permissions", permissions(facts.permission_arns)?),
    ];
    Ok(fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

/// Takes every text apart, or says which cannot be.
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

fn resources(arns: &[String]) -> Result<RestrictedExpression, Denial> {
    let parts = parsed("resource_arns", arns, |text| {
        let arn = Arn::parse(text)?;
        Ok((arn, arn.split()?))
    })?;
    let types: Vec<_> = parts
        .iter()
        .map(|(arn, resource)| format!("{}:{}", arn.service, resource.kind))
        .collect();
    record([
        ("arns", set(arns.iter().map(String::as_str))),
        ("partitions", set(parts.iter().map(|(arn, _)| arn.partition))),
        ("services", set(parts.iter().map(|(arn, _)| arn.service))),
        ("regions", set(parts.iter().map(|(arn, _)| arn.region))),
        ("accounts", set(parts.iter().map(|(arn, _)| arn.account))),
        ("types", set(types.iter().map(String::as_str))),
        ("ids", set(parts.iter().map(|(_, resource)| resource.id))),
    ])
}

fn principals(names: &[String]) -> Result<RestrictedExpression, Denial> {
    let parts = parsed("principals", names, Principal::parse)?;
    let services = parts.iter().filter(|p| p.kind == crate::rules::Kind::Service);
    record([
        ("names", set(names.iter().map(String::as_str))),
        ("kinds", set(parts.iter().map(|p| p.kind.name()))),
        ("parties", set(parts.iter().map(|p| p.party))),
        ("partitions", set(parts.iter().filter_map(|p| p.partition))),
        ("accounts", set(parts.iter().filter_map(|p| p.account))),
        ("organizations", set(parts.iter().filter_map(|p| p.organization))),
        ("organizational_units", set(parts.iter().filter_map(|p| p.unit))),
        ("services", set(services.map(|p| p.party))),
    ])
}

fn permissions(arns: &[String]) -> Result<RestrictedExpression, Denial> {
    let parts = parsed("permission_arns", arns, |text| {
        let arn = Arn::parse(text)?;
        arn.split()?;
        Ok(arn)
    })?;
    record([
        ("arns", set(arns.iter().map(String::as_str))),
        ("accounts", set(parts.iter().map(|arn| arn.account))),
    ])
}
