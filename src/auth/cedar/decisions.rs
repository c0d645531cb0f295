//! Decisions that were taken before: the same question has the same answer until the policies change.
//!
//! To evaluate costs a hundred microseconds and more, since the question is put into Cedar's words first; a repetition,
//! which is what a replay is, costs one hash. Everything that a policy can see goes into that hash, each part with its
//! length, so that two questions are never taken for one.

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{
    auth::policy::{Decision, Question},
    operation::Facts,
};

/// Most decisions that are remembered, at some 300 bytes each. More questions than that only cost evaluations.
const MOST: u64 = 10_000;

/// The decisions of one set of policies. Another set begins with none.
#[derive(Debug)]
pub(super) struct Decisions(Cache<[u8; 32], Decision>);

impl Decisions {
    /// Knows none.
    pub(super) fn new() -> Self {
        Self(Cache::new(MOST))
    }

    /// The answer to `question`: the one of last time, or what `decide` says.
    pub(super) fn of(&self, question: &Question<'_>, decide: impl FnOnce() -> Decision) -> Decision {
        let digest = digest(question);
        if let Some(known) = self.0.get(&digest) {
            return known;
        }
        let decision = decide();
        self.0.insert(digest, decision.clone());
        decision
    }
}

fn digest(question: &Question<'_>) -> [u8; 32] {
    let Question {
        caller,
        operation,
        target,
        facts,
    } = question;
    let Facts {
        name,
        resource_arns,
        principals,
        allow_external_principals,
        retain_on_leave,
        tags,
        permission_arns,
        sources,
    } = facts;
    let mut hash = Parts(Sha256::new());
    for part in [
        caller.issuer(),
        caller.subject(),
        caller.proof().name(),
        operation,
    ] {
        hash.text(part);
    }
    hash.length(caller.attributes().len());
    for (name, value) in caller.attributes() {
        hash.text(name);
        hash.texts(value.texts());
    }
    for part in [&target.partition, &target.account, &target.region] {
        hash.text(part);
    }
    hash.text(name);
    for list in [resource_arns, principals, permission_arns, sources] {
        hash.texts(list);
    }
    hash.length(tags.len());
    for (key, value) in tags {
        hash.text(key);
        hash.text(value);
    }
    hash.0
        .update([u8::from(*allow_external_principals), u8::from(*retain_on_leave)]);
    hash.0.finalize().into()
}

struct Parts(Sha256);

impl Parts {
    fn length(&mut self, length: usize) {
        self.0.update(length.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text);
    }

    fn texts(&mut self, texts: &[String]) {
        self.length(texts.len());
        for text in texts {
            self.text(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::call::{Attribute, Caller, Proof, Target};

    #[test]
    fn whatever_a_policy_can_see_makes_another_question() {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        let (one, other) = (list(&["a", "b"]), list(&["ab"]));
        let alice = Caller::new("issuer", "alice");
        let group = |value| alice.clone().with("groups", value);
        let callers = [
            alice.clone(),
            Caller::new("issuera", "lice"),
            alice.clone().proven_by(Proof::Jwt),
            group(Attribute::Texts(one.clone())),
            group(Attribute::Texts(other.clone())),
            alice.clone().with("group", Attribute::Texts(one.clone())),
        ];
        let none = Facts::default();
        let facts = [
            Facts {
                name: "a",
                ..none.clone()
            },
            Facts {
                resource_arns: &one,
                ..none.clone()
            },
            Facts {
                resource_arns: &other,
                ..none.clone()
            },
            Facts {
                principals: &one,
                ..none.clone()
            },
            Facts {
                permission_arns: &one,
                ..none.clone()
            },
            Facts {
                sources: &one,
                ..none.clone()
            },
            Facts {
                allow_external_principals: true,
                ..none.clone()
            },
            Facts {
                retain_on_leave: true,
                ..none.clone()
            },
            Facts {
                tags: vec![("a", "b")],
                ..none.clone()
            },
            Facts {
                tags: vec![("ab", "")],
                ..none.clone()
            },
            none,
        ];
        let targets = ["1", "2"].map(|account| Target {
            partition: "aws".to_owned(),
            account: account.to_owned(),
            region: "r".to_owned(),
        });

        let mut digests = BTreeSet::new();
        for caller in &callers {
            for target in &targets {
                for operation in ["Create", "List"] {
                    for facts in &facts {
                        let question = Question {
                            caller,
                            operation,
                            target,
                            facts: facts.clone(),
                        };
                        digests.insert(digest(&question));
                        assert_eq!(digest(&question), digest(&question));
                    }
                }
            }
        }

        assert_eq!(digests.len(), callers.len() * targets.len() * 2 * facts.len());
    }

    #[test]
    fn the_same_question_is_decided_once() {
        let (caller, decisions) = (Caller::new("issuer", "alice"), Decisions::new());
        let target = Target {
            partition: "aws".to_owned(),
            account: "1".to_owned(),
            region: "r".to_owned(),
        };
        let question = Question {
            caller: &caller,
            operation: "Create",
            target: &target,
            facts: Facts::default(),
        };
        let permit = Decision::Permit { by: vec!["p".into()] };

        let first = decisions.of(&question, || permit.clone());
        let second = decisions.of(&question, || panic!("decided again"));

        assert_eq!((&first, &second), (&permit, &permit));
    }
}
