//! Who asks, and where: the entities of a question.

use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid};
use moka::sync::Cache;

use super::{
    digest::Digest,
    vocabulary::{Vocabulary, faulty, pair, set, uid},
};
use crate::{
    auth::policy::Denial,
    call::{Attribute, Caller, Target},
};

/// Most askers that are remembered, at a few kilobytes each and more where much is known of a caller. More than these only
/// cost their making.
const MOST: u64 = 500;

/// Attributes of a caller that have a name in the schema.
const NAMED: [&str; 3] = ["namespace", "service_account", "trust_domain"];

/// A caller at a target in Cedar's words.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) caller: EntityUid,
    pub(super) target: EntityUid,
    /// Both, the actions and their groups.
    pub(super) entities: Entities,
}

impl Asker {
    fn new(vocabulary: &Vocabulary, caller: &Caller, target: &Target) -> Result<Self, Denial> {
        let caller = caller_entity(vocabulary, caller)?;
        let target = target_entity(vocabulary, target)?;
        // What this file makes fits the schema, which every test and the fuzzer hold it to.
        let schema = cfg!(debug_assertions).then_some(&vocabulary.schema);
        Ok(Self {
            caller: caller.uid(),
            target: target.uid(),
            entities: vocabulary
                .constant
                .clone()
                .add_entities([caller, target], schema)
                .map_err(faulty)?,
        })
    }
}

/// Those who asked before. Policies do not change what somebody is.
#[derive(Debug)]
pub(super) struct Askers(Cache<Digest, Arc<Asker>>);

impl Askers {
    /// Knows none.
    pub(super) fn new() -> Self {
        Self(Cache::new(MOST))
    }

    /// The asker whose name is `digest`, which covers all that `caller` and `target` are.
    pub(super) fn of(
        &self,
        digest: &Digest,
        vocabulary: &Vocabulary,
        caller: &Caller,
        target: &Target,
    ) -> Result<Arc<Asker>, Denial> {
        if let Some(known) = self.0.get(digest) {
            return Ok(known);
        }
        let asker = Arc::new(Asker::new(vocabulary, caller, target)?);
        self.0.insert(*digest, Arc::clone(&asker));
        Ok(asker)
    }
}

fn caller_entity(vocabulary: &Vocabulary, caller: &Caller) -> Result<Entity, Denial> {
    let mut attributes = vec![
        pair("issuer", caller.issuer()),
        pair("subject", caller.subject()),
        pair("proof", caller.proof().name()),
    ];
    for name in NAMED {
        if let Some([one]) = caller.attributes().get(name).map(Attribute::texts) {
            attributes.push(pair(name, one));
        }
    }
    let tags = caller.attributes().iter();
    Entity::new_with_tags(
        uid(&vocabulary.caller, &caller_id(caller)),
        attributes,
        [],
        tags.map(|(name, value)| (name.clone(), set(value.texts()))),
    )
    .map_err(faulty)
}

fn target_entity(vocabulary: &Vocabulary, target: &Target) -> Result<Entity, Denial> {
    let attributes = [
        pair("partition", &target.partition),
        pair("account", &target.account),
        pair("region", &target.region),
    ];
    let id = format!("{}/{}", target.account, target.region);
    Entity::new(uid(&vocabulary.target, &id), attributes.into(), [].into()).map_err(faulty)
}

/// `issuer/subject`, in which the first slash always ends the issuer: issuers are often URLs, and no subject of one may
/// be taken for a caller of another.
fn caller_id(caller: &Caller) -> String {
    let issuer = caller.issuer().replace('%', "%25").replace('/', "%2F");
    format!("{issuer}/{}", caller.subject())
}
