//! What policies may speak of: the schema, and a question in its words.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use cedar_policy::{Context, Entities, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};

use super::attributes::{Attribute, Value};
use crate::{auth::policy::Denial, operation::Sort};

/// The schema without its operations.
const TYPES: &str = include_str!("schema.cedarschema");
/// Where they go.
const OPERATIONS: &str = "    // OPERATIONS\n";

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
    pub(super) caller: EntityTypeName,
    pub(super) target: EntityTypeName,
    actions: HashMap<&'static str, EntityUid>,
    /// The actions and their groups.
    pub(super) constant: Entities,
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

    /// The action of an operation. The list of operations and the schema are one; a caller must not profit if they ever
    /// are not.
    pub(super) fn action(&self, operation: &str) -> Result<&EntityUid, Denial> {
        self.actions.get(operation).ok_or(Denial::Unmentioned)
    }
}

pub(super) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

pub(super) fn pair(name: &str, value: &str) -> (String, RestrictedExpression) {
    (name.to_owned(), text(value))
}

pub(super) fn set<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(|item| text(item.as_ref())))
}

fn record(
    fields: impl IntoIterator<Item = (String, RestrictedExpression)>,
) -> Result<RestrictedExpression, Denial> {
    RestrictedExpression::new_record(fields).map_err(faulty)
}

/// The context of a question of which policies see `view`.
pub(super) fn context(view: &[(&Attribute, Value<'_>)]) -> Result<Context, Denial> {
    let mut fields = Vec::new();
    let mut records = BTreeMap::<_, Vec<_>>::new();
    for (attribute, value) in view {
        let place = match attribute.record {
            None => &mut fields,
            Some(record) => records.entry(record).or_default(),
        };
        place.push((attribute.name.to_owned(), expression(value)?));
    }
    for (name, members) in records {
        fields.push((name.to_owned(), record(members)?));
    }
    Context::from_pairs(fields).map_err(faulty)
}

fn expression(value: &Value<'_>) -> Result<RestrictedExpression, Denial> {
    Ok(match value {
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::Text(value) => text(value),
        Value::Texts(texts) => set(texts),
        Value::Tags(tags) => {
            let tag = |(key, value): &(&str, &str)| record([pair("key", key), pair("value", value)]);
            RestrictedExpression::new_set(tags.iter().map(tag).collect::<Result<Vec<_>, _>>()?)
        }
    })
}

/// A question that does not fit the schema: a defect of ours, and no reason to let anybody in.
pub(super) fn faulty(error: impl std::error::Error + 'static) -> Denial {
    Denial::Faulty {
        errors: vec![("schema".into(), crate::failure::chain(&error))],
    }
}
