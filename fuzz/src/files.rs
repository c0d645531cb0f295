//! The files that an operator writes. A faulty one gets its faults listed.

use std::{path::Path, sync::LazyLock};

use ram_facade::{
    auth::{
        cedar::{Cedar, LoadError, Source},
        policy::{Decision, Denial, Policy, Question},
        static_tokens::Table,
    },
    call::{Caller, Target},
    config::{Config, Sources},
    operation::Facts,
    operations,
    sandbox::FaultPlan,
};

/// The schema is parsed once.
static CEDAR: LazyLock<Cedar> = LazyLock::new(|| {
    let loaded = Cedar::of(Path::new("policies"), Vec::new(), operations::ALL);
    loaded.expect("no policy is a valid set of policies").0
});

/// Feeds one input.
pub fn feed(text: &str) {
    let _ = Config::read(Sources {
        file: Some(text.to_owned()),
        ..Sources::default()
    });
    if let Err(faults) = Table::parse(text) {
        assert!(!faults.is_empty());
    }
    let _ = FaultPlan::from_json(text);
    policies(text);
}

/// Policies that are taken over can be asked, and answer the same question in the same way.
fn policies(text: &str) {
    let source = Source {
        path: "policies.cedar".into(),
        text: text.to_owned(),
    };
    match CEDAR.replace(&[source]) {
        Ok(_warnings) => {}
        Err(LoadError::Invalid(faults)) => return assert!(!faults.is_empty()),
        Err(error) => panic!("{error}"),
    }
    let caller = Caller::new("issuer", "subject");
    let target = Target {
        partition: "aws".into(),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
    };
    let principals = ["444455556666".to_owned()];
    let question = Question {
        caller: &caller,
        operation: "CreateResourceShare",
        target: &target,
        facts: Facts {
            name: "share",
            principals: &principals,
            tags: vec![("team", "network")],
            ..Facts::default()
        },
    };
    let decision = CEDAR.decide(&question);
    assert_eq!(decision, CEDAR.decide(&question));
    if CEDAR.is_empty() {
        assert_eq!(decision, Decision::Deny(Denial::Unmentioned));
    }
}
