use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    call::{Attribute, Caller, Proof, Target},
    operation::Facts,
};

const OPERATIONS: &[Sort] = &[
    Sort {
        name: "CreateResourceShare",
        reads_only: false,
    },
    Sort {
        name: "ListResourceTypes",
        reads_only: true,
    },
];

fn source(name: &str, text: &str) -> Source {
    Source {
        path: name.into(),
        text: text.to_owned(),
    }
}

fn cedar(text: &str) -> Cedar {
    let sources = vec![source("a.cedar", text)];
    Cedar::of(Path::new("a.cedar"), sources, OPERATIONS).unwrap().0
}

fn faults(text: &str) -> Vec<String> {
    match Cedar::of(Path::new("a.cedar"), vec![source("a.cedar", text)], OPERATIONS) {
        Err(LoadError::Invalid(faults)) => faults.iter().map(Fault::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    Cedar::of(Path::new("a.cedar"), vec![source("a.cedar", text)], OPERATIONS)
        .unwrap()
        .1
}

fn target() -> Target {
    Target {
        partition: "aws".into(),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
    }
}

fn ask(cedar: &Cedar, caller: &Caller, facts: Facts<'_>) -> Decision {
    cedar.decide(&Question {
        caller,
        operation: "CreateResourceShare",
        target: &target(),
        facts,
    })
}

fn permits(condition: &str, caller: &Caller, facts: Facts<'_>) -> bool {
    let cedar = cedar(&format!(
        "permit (principal, action, resource) when {{ {condition} }};"
    ));
    matches!(ask(&cedar, caller, facts), Decision::Permit { .. })
}

fn ci() -> Caller {
    Caller::new("static-token", "ci")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn a_decision_names_the_policies_that_it_comes_from() {
    let cedar = cedar(
        r#"@id("open") permit (principal, action, resource);
           permit (principal, action, resource) when { context.name == "a" };
           @id("closed") forbid (principal, action, resource) when { context.name == "b" };"#,
    );
    let named = |name| {
        let facts = Facts {
            name,
            ..Facts::default()
        };
        ask(&cedar, &ci(), facts)
    };

    let by = |ids: &[&str]| ids.iter().map(|&id| id.into()).collect();
    assert_eq!(
        named("a"),
        Decision::Permit {
            by: by(&["a.cedar:policy1", "open"])
        }
    );
    assert_eq!(
        named("b"),
        Decision::Deny(Denial::Forbidden { by: by(&["closed"]) })
    );
}

#[test]
fn what_no_policy_permits_is_denied() {
    assert_eq!(
        ask(&cedar(""), &ci(), Facts::default()),
        Decision::Deny(Denial::Unmentioned)
    );
    assert_eq!(warnings(""), ["there is no policy: every call is denied"]);
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies_although_another_permits() {
    let cedar = cedar(
        r#"permit (principal, action, resource);
           @id("overflow") forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };"#,
    );

    let Decision::Deny(Denial::Faulty { errors }) = ask(&cedar, &ci(), Facts::default()) else {
        panic!("it went on")
    };

    assert_eq!(&*errors[0].0, "overflow");
    assert!(errors[0].1.contains("overflow"), "{errors:?}");
}

#[test]
fn the_schema_knows_what_a_verifier_knows() {
    let caller = Caller::new("k8s", "system/ci")
        .proven_by(Proof::Jwt)
        .with("namespace", Attribute::Text("network".into()))
        .with("trust_domain", Attribute::Texts(texts(&["one"])))
        .with("service_account", Attribute::Texts(texts(&["one", "two"])))
        .with("groups", Attribute::Texts(texts(&["a", "b"])));

    for condition in [
        r#"principal == RamFacade::Caller::"k8s/system/ci""#,
        r#"principal.issuer == "k8s" && principal.subject == "system/ci" && principal.proof == "jwt""#,
        r#"principal has namespace && principal.namespace == "network""#,
        r#"principal has trust_domain && principal.trust_domain == "one""#,
        "!(principal has service_account)",
        r#"principal.hasTag("groups") && principal.getTag("groups").contains("b")"#,
        r#"principal.hasTag("namespace") && principal.getTag("namespace") == ["network"]"#,
        r#"!principal.hasTag("other")"#,
        r#"resource == RamFacade::Target::"111122223333/eu-west-1" && resource.partition == "aws""#,
        r#"action in RamFacade::Action::"Write" && !(action in RamFacade::Action::"Read")"#,
    ] {
        assert!(permits(condition, &caller, Facts::default()), "{condition}");
    }
}

#[test]
fn the_context_has_every_part_of_the_request() {
    let resources = texts(&[
        "arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-1",
        "arn:aws-cn:sns:eu-west-2:444455556666:topic",
    ]);
    let principals = texts(&[
        "444455556666",
        "arn:aws:iam::777788889999:role/deploy",
        "arn:aws:organizations::111122223333:ou/o-a1/ou-b2",
        "arn:aws:organizations::111122223333:organization/o-c3",
        "x.amazonaws.com",
    ]);
    let permissions = texts(&["arn:aws:ram::aws:permission/P"]);
    let sources = texts(&["888899990000"]);

    for condition in [
        r#"context.name == "n""#,
        r#"context.resources.arns.contains("arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-1")"#,
        r#"context.resources.partitions == ["aws", "aws-cn"]"#,
        r#"context.resources.services == ["ec2", "sns"]"#,
        r#"context.resources.regions == ["eu-west-1", "eu-west-2"]"#,
        r#"context.resources.accounts == ["111122223333", "444455556666"]"#,
        r#"context.resources.types == ["ec2:subnet", "sns:"]"#,
        r#"context.resources.ids == ["subnet-1", "topic"]"#,
        r#"context.principals.names.contains("arn:aws:iam::777788889999:role/deploy")"#,
        r#"context.principals.kinds == ["account", "role", "organizational-unit", "organization", "service"]"#,
        r#"context.principals.parties == ["444455556666", "777788889999", "ou-b2", "o-c3", "x.amazonaws.com"]"#,
        r#"context.principals.partitions == ["aws"]"#,
        r#"context.principals.accounts == ["444455556666", "777788889999"]"#,
        r#"context.principals.organizations == ["o-a1", "o-c3"]"#,
        r#"context.principals.organizational_units == ["ou-b2"]"#,
        r#"context.principals.services == ["x.amazonaws.com"]"#,
        r#"context.sources == ["888899990000"]"#,
        "context.allow_external_principals && context.retain_sharing_on_account_leave_organization",
        r#"context.tags == [{key: "k", value: "v"}] && context.tag_keys == ["k"]"#,
        r#"context.permissions.arns == ["arn:aws:ram::aws:permission/P"] && context.permissions.accounts == ["aws"]"#,
    ] {
        let facts = Facts {
            name: "n",
            resource_arns: &resources,
            principals: &principals,
            allow_external_principals: true,
            retain_on_leave: true,
            tags: vec![("k", "v")],
            permission_arns: &permissions,
            sources: &sources,
        };
        assert!(permits(condition, &ci(), facts), "{condition}");
    }
}

#[test]
fn a_subject_of_one_issuer_is_no_caller_of_another() {
    let policy = r#"principal == RamFacade::Caller::"https:%2F%2Fidp.example%2Fa/root""#;

    let meant = Caller::new("https://idp.example/a", "root");
    let posing = Caller::new("https://idp.example", "a/root");

    assert!(permits(policy, &meant, Facts::default()));
    assert!(!permits(policy, &posing, Facts::default()));
    let unescaped =
        r#"permit (principal == RamFacade::Caller::"https://idp.example/a/root", action, resource);"#;
    assert!(faults(unescaped)[0].contains("as %2F"), "{:?}", faults(unescaped));
}

#[test]
fn what_cannot_be_taken_apart_is_denied_with_field_and_rule() {
    let open = cedar("permit (principal, action, resource);");
    let denied = |facts| match ask(&open, &ci(), facts) {
        Decision::Deny(denial @ Denial::Unreadable { .. }) => denial.to_string(),
        other => panic!("{other:?}"),
    };
    let arns = texts(&[
        "arn:aws:ec2:eu-west-1:111122223333:subnet/s",
        "arn:aws:ec2:::x%2f",
    ]);
    let principals = texts(&["arn:aws:iam::1:role/x"]);

    assert_eq!(
        denied(Facts {
            resource_arns: &arns,
            ..Facts::default()
        }),
        "resource_arns[1] has a percent sign; ARNs have no escapes"
    );
    assert!(
        denied(Facts {
            permission_arns: &arns,
            ..Facts::default()
        })
        .starts_with("permission_arns[1] ")
    );
    assert!(
        denied(Facts {
            principals: &principals,
            ..Facts::default()
        })
        .starts_with("principals[0] ")
    );
}

#[test]
fn what_cannot_be_taken_apart_is_denied_also_where_no_policy_looks_at_it() {
    let blind = cedar(r#"permit (principal, action, resource) when { context.name == "a" };"#);
    let asked = |arns: &[String]| {
        let [resource_arns, principals, permission_arns] =
            [0, 1, 2].map(|i| if i < arns.len() { &arns[i..=i] } else { &[] });
        let facts = Facts {
            name: "a",
            resource_arns,
            principals,
            permission_arns,
            ..Facts::default()
        };
        ask(&blind, &ci(), facts)
    };
    let (arn, account) = ("arn:aws:ec2:eu-west-1:111122223333:subnet/s", "444455556666");

    assert!(matches!(asked(&[]), Decision::Permit { .. }));
    for (lists, at) in [
        (vec!["x"], "resource_arns[0]"),
        (vec![arn, "x"], "principals[0]"),
        (vec![arn, account, "x"], "permission_arns[0]"),
    ] {
        // Before anything is remembered and after.
        for _ in 0..2 {
            let Decision::Deny(Denial::Unreadable { field, .. }) = asked(&texts(&lists)) else {
                panic!("{lists:?} passed")
            };
            assert_eq!(field, at);
        }
        assert!(matches!(asked(&[]), Decision::Permit { .. }));
    }
}

#[test]
fn a_decision_is_remembered_for_all_questions_that_are_the_same_to_the_policies() {
    let guard = cedar("permit (principal, action, resource) when { context.resources.accounts.isEmpty() };");
    let remembered = || {
        let decisions = &guard.in_force.load().decisions;
        decisions.run_pending_tasks();
        decisions.entry_count()
    };
    let arns = texts(&["arn:aws:ec2:eu-west-1:111122223333:subnet/s"]);

    for name in ["a", "b", "c"] {
        let facts = Facts {
            name,
            ..Facts::default()
        };
        ask(&guard, &ci(), facts.clone());
        assert_eq!(remembered(), 1);
    }
    for sources in [&arns[..0], &arns[..]] {
        let facts = Facts {
            resource_arns: &arns,
            sources,
            ..Facts::default()
        };
        assert_eq!(ask(&guard, &ci(), facts), Decision::Deny(Denial::Unmentioned));
        assert_eq!(remembered(), 2);
    }
}

#[test]
fn who_asks_is_told_apart_by_all_that_is_known_of_them() {
    let cedar = cedar(
        r#"permit (principal, action, resource) when { principal.hasTag("groups") && principal.getTag("groups").contains("a") };"#,
    );
    let of_group = |group: &str| ci().with("groups", Attribute::Text(group.to_owned()));

    for _ in 0..2 {
        for (caller, permitted) in [(ci(), false), (of_group("a"), true), (of_group("b"), false)] {
            let decision = ask(&cedar, &caller, Facts::default());
            assert_eq!(
                matches!(decision, Decision::Permit { .. }),
                permitted,
                "{caller:?}"
            );
        }
    }
}

#[test]
fn an_operation_that_is_not_in_the_list_is_denied() {
    let open = cedar("permit (principal, action, resource);");

    let decision = open.decide(&Question {
        caller: &ci(),
        operation: "DeleteEverything",
        target: &target(),
        facts: Facts::default(),
    });

    assert_eq!(decision, Decision::Deny(Denial::Unmentioned));
}

#[test]
fn every_fault_has_its_place() {
    let syntax = faults("permit (principal, action, resource);\n\npermit (principal, action resource);");
    assert!(syntax[0].starts_with("a.cedar:3:27: "), "{syntax:?}");

    let mistaken = faults(
        "permit (principal == RamFacade::User::\"x\", action, resource);\n\
         permit (principal, action == RamFacade::Action::\"CreateShare\", resource);\n\
         permit (principal, action, resource) when {\n  context.nmae == \"x\"\n};\n\
         permit (principal, action, resource) when { context.name == 1 };",
    );
    for place in ["a.cedar:1:", "a.cedar:2:", "a.cedar:4:3:", "a.cedar:6:"] {
        assert!(
            mistaken.iter().any(|f| f.starts_with(place)),
            "{place} in {mistaken:#?}"
        );
    }
}

#[test]
fn what_is_valid_and_surely_not_meant_is_refused_too() {
    for (text, why) in [
        ("permit (principal == ?principal, action, resource);", "template"),
        (
            "@id(\"a\") permit (principal, action, resource); @id(\"a\") forbid (principal, action, resource);",
            "stands in a.cedar too",
        ),
        ("@id(\"a,b\") permit (principal, action, resource);", "is no name"),
        ("@id(\"\") permit (principal, action, resource);", "is no name"),
    ] {
        let faults = faults(text);
        assert!(faults[0].contains(why), "{faults:?}");
    }
}

#[test]
fn a_policy_that_permits_everything_or_nothing_is_warned_of() {
    let open = warnings("@id(\"open\") permit (principal, action, resource);");
    assert_eq!(open, ["a.cedar: policy `open` permits every caller everything"]);

    let never = warnings("permit (principal, action, resource) when { context.name like \"a\" && false };");
    assert!(never[0].starts_with("a.cedar:1:"), "{never:?}");
}

#[test]
fn the_schema_says_what_each_operation_is() {
    let schema = schema(OPERATIONS);

    assert!(
        schema.contains("action CreateResourceShare in [Write] appliesTo"),
        "{schema}"
    );
    assert!(
        schema.contains("action ListResourceTypes in [Read] appliesTo"),
        "{schema}"
    );
    assert!(!schema.contains("OPERATIONS"), "{schema}");
}

struct Watched {
    folder: tempfile::TempDir,
    cedar: Arc<Cedar>,
    current: channel::Receiver<bool>,
    stop: CancellationToken,
}

impl Watched {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.cedar"),
            "permit (principal, action, resource);",
        )
        .unwrap();
        let cedar = Arc::new(Cedar::load(folder.path(), OPERATIONS).unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(
            Arc::clone(&cedar)
                .watch(Duration::from_millis(5), stop.clone())
                .unwrap(),
        );
        Self {
            folder,
            current: cedar.is_current(),
            cedar,
            stop,
        }
    }

    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join("a.cedar")).unwrap();
    }

    fn permits(&self) -> bool {
        matches!(ask(&self.cedar, &ci(), Facts::default()), Decision::Permit { .. })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn policies_that_are_not_valid_change_nothing_and_say_so_until_they_are_mended() {
    let mut watched = Watched::start();

    watched.write("forbid (principal action, resource);");
    watched.current.wait_for(|current| !current).await.unwrap();
    assert!(watched.permits());

    watched.write("forbid (principal, action, resource);");
    watched.current.wait_for(|current| *current).await.unwrap();
    assert!(!watched.permits());
}

#[tokio::test]
async fn the_old_policies_put_back_are_current_again() {
    let mut watched = Watched::start();

    fs::remove_dir_all(watched.folder.path()).unwrap();
    watched.current.wait_for(|current| !current).await.unwrap();
    fs::create_dir(watched.folder.path()).unwrap();
    watched.write("permit (principal, action, resource);");

    watched.current.wait_for(|current| *current).await.unwrap();
    assert!(watched.permits());
}

/// Not a limit that anybody promised; it keeps an accidental hundredfold from passing.
#[test]
fn a_decision_about_the_largest_request_takes_no_time_that_matters() {
    let cedar = cedar(
        &(0..50)
            .map(|i| format!("@id(\"p{i}\") forbid (principal, action, resource) unless {{ [resource.account].containsAll(context.resources.accounts) }};"))
            .collect::<String>(),
    );
    let arns: Vec<_> = (0..100)
        .map(|i| format!("arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-{i:017}"))
        .collect();
    #[expect(clippy::disallowed_methods, reason = "this measures real work")]
    let begin = Instant::now();
    for _ in 0..20 {
        let facts = Facts {
            resource_arns: &arns,
            ..Facts::default()
        };
        ask(&cedar, &ci(), facts);
    }
    let each = begin.elapsed() / 20;
    assert!(each < Duration::from_millis(200), "{each:?}");
}

proptest! {
    #[test]
    fn any_text_is_decided_on(name in ".*", text in ".*", arn in "arn:aws:[a-z]{1,3}:[a-z-]{0,9}:([0-9]{12})?:.{0,20}") {
        let open = cedar("permit (principal, action, resource);");
        let lists = [text, arn];

        let decision = ask(&open, &Caller::new(name.as_str(), name.as_str()).with(name.clone(), Attribute::Text(name.clone())), Facts {
            name: &name,
            resource_arns: &lists[1..],
            principals: &lists[..1],
            permission_arns: &lists[1..],
            tags: vec![(&name, &name)],
            ..Facts::default()
        });

        let fits = matches!(decision, Decision::Permit { .. } | Decision::Deny(Denial::Unreadable { .. }));
        prop_assert!(fits, "{decision:?}");
    }
}
