use std::collections::BTreeSet;

use super::*;
use crate::{
    auth::cedar::{attributes, observed::Observed},
    call::{Attribute, Proof},
    operation::Facts,
};

#[test]
fn whatever_a_policy_can_see_makes_another_question() {
    let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let (one, other) = (list(&["a", "b"]), list(&["ab"]));
    let (arns, accounts) = (list(&["arn:aws:ram::aws:permission/P"]), list(&["444455556666"]));
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
            resource_arns: &arns,
            ..none.clone()
        },
        Facts {
            principals: &accounts,
            ..none.clone()
        },
        Facts {
            permission_arns: &arns,
            ..none.clone()
        },
        Facts {
            sources: &one,
            ..none.clone()
        },
        Facts {
            sources: &other,
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
                    let parts = attributes::Parts::of(facts).unwrap();
                    let view = Observed::everything().of(&parts);
                    let digest = || question(&asker(caller, target), operation, &view);
                    digests.insert(digest());
                    assert_eq!(digest(), digest());
                }
            }
        }
    }

    assert_eq!(digests.len(), callers.len() * targets.len() * 2 * facts.len());
}
