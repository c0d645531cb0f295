//! One resource share and what is associated with it, and how both are shown.
//!
//! Nothing runs in the background: an association's status follows from when it began and what time it is now.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::clock::Moment;

/// A resource share.
#[derive(Debug)]
pub(crate) struct Share {
    /// Its place in the order of creation.
    pub(crate) number: u64,
    pub(crate) arn: String,
    pub(crate) name: String,
    /// The client token that it was made under.
    pub(crate) client_token: Option<String>,
    pub(crate) allow_external: bool,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) permissions: Vec<String>,
    /// `resourceShareConfiguration` as it was given.
    pub(crate) configuration: Option<Value>,
    pub(crate) associations: Vec<Association>,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    pub(crate) deleted: Option<Moment>,
}

/// What kind of thing is associated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Principal,
    Resource,
    Source,
}

impl Kind {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Principal => "PRINCIPAL",
            Self::Resource => "RESOURCE",
            Self::Source => "SOURCE",
        }
    }
}

/// A principal, resource or source that belongs to a share, or did.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) entity: String,
    /// Belongs to an account outside of the organization, which would have to accept an invitation first.
    pub(crate) external: bool,
    pub(crate) created: Moment,
    pub(crate) ended: Option<Moment>,
}

impl Association {
    /// What it is, apart from its state. A share has at most one current association of a key.
    pub(crate) fn key(&self) -> (Kind, String) {
        (self.kind, self.entity.clone())
    }

    /// The status at `now`, when a change takes `settle` to come into force.
    pub(crate) fn status(&self, now: Moment, settle: Duration) -> &'static str {
        match self.ended {
            Some(ended) if now.since(ended) >= settle => "DISASSOCIATED",
            Some(_) => "DISASSOCIATING",
            // Nobody accepts invitations here.
            None if self.external => "ASSOCIATING",
            None if now.since(self.created) >= settle => "ASSOCIATED",
            None => "ASSOCIATING",
        }
    }

    /// The members of a `ResourceShareAssociation`.
    pub(crate) fn view(&self, share: &Share, now: Moment, settle: Duration) -> Value {
        let status = self.status(now, settle);
        let since = self.ended.unwrap_or(self.created);
        let settled = if matches!(status, "ASSOCIATED" | "DISASSOCIATED") {
            settle
        } else {
            Duration::ZERO
        };
        json!({
            "resourceShareArn": share.arn,
            "resourceShareName": share.name,
            "associatedEntity": self.entity,
            "associationType": self.kind.name(),
            "status": status,
            "creationTime": self.created.epoch_seconds(Duration::ZERO),
            "lastUpdatedTime": since.epoch_seconds(settled),
            "external": self.external,
        })
    }
}

impl Share {
    /// An active share with nothing in it.
    pub(crate) fn new(number: u64, arn: String, name: String, now: Moment) -> Self {
        Self {
            number,
            arn,
            name,
            client_token: None,
            allow_external: true,
            tags: BTreeMap::new(),
            permissions: Vec::new(),
            configuration: None,
            associations: Vec::new(),
            created: now,
            updated: now,
            deleted: None,
        }
    }

    /// The status on the wire.
    pub(crate) fn status(&self) -> &'static str {
        if self.deleted.is_some() {
            "DELETED"
        } else {
            "ACTIVE"
        }
    }

    /// What a test needs to tell whose share it is.
    pub(crate) fn made(&self) -> Value {
        json!({
            "resourceShareArn": self.arn,
            "name": self.name,
            "clientToken": self.client_token,
            "status": self.status(),
            "creationTime": self.created.epoch_seconds(Duration::ZERO),
        })
    }

    /// The associations that nobody has ended.
    pub(crate) fn current(&self, kind: Kind) -> impl Iterator<Item = &Association> {
        self.associations
            .iter()
            .filter(move |a| a.kind == kind && a.ended.is_none())
    }

    /// The same associations, whatever their kind, that `wanted` names.
    pub(crate) fn current_among(
        &self,
        wanted: &HashSet<(Kind, String)>,
    ) -> impl Iterator<Item = &Association> {
        self.associations
            .iter()
            .filter(|a| a.ended.is_none() && wanted.contains(&a.key()))
    }

    /// Ends everything.
    pub(crate) fn delete(&mut self, now: Moment) {
        self.deleted = Some(now);
        self.updated = now;
        for association in self.associations.iter_mut().filter(|a| a.ended.is_none()) {
            association.ended = Some(now);
        }
    }

    /// The members of a `ResourceShare`.
    pub(crate) fn view(&self, account: &str) -> Value {
        let tags: Vec<_> = self
            .tags
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": value }))
            .collect();
        let mut view = Map::from_iter([
            ("resourceShareArn".to_owned(), json!(self.arn)),
            ("name".to_owned(), json!(self.name)),
            ("owningAccountId".to_owned(), json!(account)),
            ("allowExternalPrincipals".to_owned(), json!(self.allow_external)),
            ("status".to_owned(), json!(self.status())),
            ("tags".to_owned(), json!(tags)),
            (
                "creationTime".to_owned(),
                json!(self.created.epoch_seconds(Duration::ZERO)),
            ),
            (
                "lastUpdatedTime".to_owned(),
                json!(self.updated.epoch_seconds(Duration::ZERO)),
            ),
            ("featureSet".to_owned(), json!("STANDARD")),
        ]);
        if let Some(configuration) = &self.configuration {
            view.insert("resourceShareConfiguration".to_owned(), configuration.clone());
        }
        Value::Object(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(200);

    fn association(external: bool, now: Moment) -> Association {
        let entity = "444455556666".to_owned();
        Association {
            number: 1,
            kind: Kind::Principal,
            entity,
            external,
            created: now,
            ended: None,
        }
    }

    #[test]
    fn an_association_comes_into_force_when_it_has_settled() {
        let now = Moment::now();
        let association = association(false, now);
        assert_eq!(association.status(now, SETTLE), "ASSOCIATING");
        assert_eq!(association.status(now.later(SETTLE), SETTLE), "ASSOCIATED");
        assert_eq!(association.status(now, Duration::ZERO), "ASSOCIATED");
    }

    #[test]
    fn an_external_principal_waits_for_ever() {
        let now = Moment::now();
        assert_eq!(
            association(true, now).status(now.later(SETTLE * 1000), SETTLE),
            "ASSOCIATING"
        );
    }

    #[test]
    fn a_deleted_share_lets_its_associations_go() {
        let now = Moment::now();
        let mut share = Share::new(1, "arn".to_owned(), "name".to_owned(), now);
        share.associations.push(association(false, now));
        share.delete(now);
        let ended = &share.associations[0];
        assert_eq!(ended.status(now, SETTLE), "DISASSOCIATING");
        assert_eq!(ended.status(now.later(SETTLE), SETTLE), "DISASSOCIATED");
        assert_eq!(
            (share.status(), share.current(Kind::Principal).count()),
            ("DELETED", 0)
        );
    }
}
