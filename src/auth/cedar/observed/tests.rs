use std::{path::Path, sync::LazyLock};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    auth::{
        cedar::{Cedar, Source, digest},
        policy::Question,
    },
    call::{Caller, Target},
    operation::{Facts, Sort},
};

const CREATE: Sort = Sort {
    name: "CreateResourceShare",
    reads_only: false,
};

fn cedar() -> Cedar {
    let (cedar, _) = Cedar::of(Path::new("policies"), Vec::new(), &[CREATE]).unwrap();
    cedar
}

/// Puts other policies in force.
fn set(cedar: &Cedar, text: &str) {
    let source = Source {
        path: "a.cedar".into(),
        text: text.to_owned(),
    };
    if let Err(error) = cedar.replace(&[source]) {
        panic!("{error}\n{text}");
    }
}

fn when(condition: &str) -> String {
    format!("permit (principal, action, resource) when {{ {condition} }};")
}

fn names(observed: &Observed) -> Vec<String> {
    let each = observed.0.iter();
    each.map(|a| {
        a.record
            .map_or(a.name.to_owned(), |record| format!("{record}.{}", a.name))
    })
    .collect()
}

fn observed(cedar: &Cedar, policies: &str) -> Vec<String> {
    set(cedar, policies);
    names(&cedar.in_force.load().observed)
}

fn everything() -> Vec<String> {
    names(&Observed::everything())
}

#[test]
fn what_policies_look_at_is_found_however_they_write_it() {
    let cedar = cedar();
    for (condition, expected) in [
        (
            r#"principal.subject == "name" && resource.account == "sources""#,
            "",
        ),
        (r#"context.name like "a*""#, "name"),
        ("context\n .\tname == principal.subject", "name"),
        (r#"!(context has name)"#, "name"),
        (
            r#"principal has namespace && principal.namespace == context.name"#,
            "name",
        ),
        (r#"principal.subject == "context.name" "#, "name"),
        ("context has resources.accounts", "resources.accounts"),
        ("context.permissions has accounts", "permissions.accounts"),
        ("context has permissions", "permissions.arns permissions.accounts"),
        (
            "[resource.account].containsAll(context.resources.accounts)",
            "resources.accounts",
        ),
        (
            r#"context.principals.kinds.contains("role") || context.principals.accounts.isEmpty()"#,
            "principals.kinds principals.accounts",
        ),
        (
            r#"if context.allow_external_principals then context.sources == ["a"] else context.tag_keys.contains(context.name)"#,
            "name sources allow_external_principals tag_keys",
        ),
        (
            r#"[context.permissions].contains({arns: ["a"], accounts: ["b"]})"#,
            "permissions.arns permissions.accounts",
        ),
        (
            r#"(if context.allow_external_principals then context.permissions else {arns: ["a"], accounts: ["b"]}).arns.contains("a")"#,
            "allow_external_principals permissions.arns permissions.accounts",
        ),
        (
            "context.permissions // of context.name, too\n .accounts == context.sources",
            "name sources permissions.arns permissions.accounts",
        ),
        (r#"principal.hasTag(context.name)"#, "name"),
    ] {
        assert_eq!(
            observed(&cedar, &when(condition)).join(" "),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn every_policy_counts_and_so_does_what_it_is_unless() {
    let policies = r#"permit (principal, action, resource) when { context.name == "a" } when { context.sources == ["a"] };
        forbid (principal, action, resource) unless { context.tag_keys.contains("team") };"#;

    assert_eq!(observed(&cedar(), policies), ["name", "sources", "tag_keys"]);
    assert!(observed(&cedar(), "permit (principal, action, resource);").is_empty());
}

#[test]
fn whatever_else_is_done_with_the_context_looks_at_everything() {
    let cedar = cedar();
    for condition in [
        "[context] == [context]",
        "(if context.allow_external_principals then context else context).name == \"a\"",
        "{a: context}.a.name == \"a\"",
        "(context).name == \"a\"",
        "context[\"name\"] == \"a\"",
        "context has \"name\"",
        "context // .sources\n.name == \"a\"",
        "context.sources.contains // comment\n (\"a\")",
        "principal.subject == \"context\"",
        "principal.subject == \"context.unknown\"",
    ] {
        assert_eq!(observed(&cedar, &when(condition)), everything(), "{condition}");
    }
}

#[test]
fn a_policy_may_be_as_long_as_cedar_takes_it() {
    let many = vec![r#"context.name == "a""#; 200].join(" || ");

    assert_eq!(observed(&cedar(), &when(&many)), ["name"]);
}

/// Conditions of every kind, each about other attributes.
const CONDITIONS: &[&str] = &[
    "true",
    r#"context.name like "a*""#,
    r#"context has name && context.name == "b""#,
    "context has resources.accounts",
    r#"context . resources["ids"].contains("subnet-1")"#,
    r#"context["name"] == "b""#,
    r#"context.resources has ids && context.resources.ids.contains("subnet-1")"#,
    "[resource.account].containsAll(context.resources.accounts)",
    "[resource.partition].containsAll(context.resources.partitions)",
    r#"context.resources.types == ["ec2:subnet"]"#,
    r#"context.resources.services.contains("ram") || context.resources.regions.isEmpty()"#,
    r#"["account", "role"].containsAll(context.principals.kinds)"#,
    r#"context.principals.parties.contains("444455556666")"#,
    r#"context.principals.names == context.sources"#,
    "context.allow_external_principals",
    "!context.retain_sharing_on_account_leave_organization",
    r#"context.tags.contains({key: "a", value: context.name})"#,
    r#"context.tag_keys.containsAny(["a", "b"])"#,
    r#"context.permissions == {arns: ["arn:aws:ram::aws:permission/P"], accounts: ["aws"]}"#,
    r#"(if context.allow_external_principals then context else context).name == "a""#,
    "(if context.sources.isEmpty() then 9223372036854775807 else 0) + 1 > 0",
    "principal.hasTag(context.name)",
];

fn policy() -> impl Strategy<Value = String> {
    let condition = vec((select(CONDITIONS), select(vec!["&&", "||"])), 1..4).prop_map(|parts| {
        let (mut all, mut between) = (String::new(), "");
        for (part, next) in parts {
            all = format!("({all}{between} ({part}))").replace("( (", "((");
            between = next;
        }
        all
    });
    let effect = select(vec!["permit", "forbid"]);
    (effect, select(vec!["when", "unless"]), condition).prop_map(|(effect, clause, condition)| {
        format!("{effect} (principal, action, resource) {clause} {{ {condition} }};\n")
    })
}

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    vec(select(of).prop_map(str::to_owned), 0..3)
}

/// The schema is parsed once.
static CEDAR: LazyLock<Cedar> = LazyLock::new(cedar);

proptest! {
    #[test]
    fn what_no_policy_looks_at_changes_no_decision(
        policies in vec(policy(), 0..4),
        name in select(vec!["a", "b", "ab"]),
        resource_arns in some(&["arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-1", "arn:aws-cn:ram::444455556666:share/s"]),
        principals in some(&["444455556666", "arn:aws:iam::444455556666:role/a", "a.amazonaws.com"]),
        permission_arns in some(&["arn:aws:ram::aws:permission/P", "arn:aws:ram::444455556666:permission/Q"]),
        sources in some(&["444455556666", "111122223333"]),
        tags in vec((select(vec!["a", "c"]), select(vec!["a", "b"])), 0..2),
        allow_external_principals: bool,
        retain_on_leave: bool,
    ) {
        let cedar = &*CEDAR;
        set(cedar, &policies.concat());
        let (caller, target) = (Caller::new("issuer", "subject"), Target {
            partition: "aws".into(),
            account: "111122223333".into(),
            region: "eu-west-1".into(),
        });
        let facts = Facts {
            name, allow_external_principals, retain_on_leave, tags,
            resource_arns: &resource_arns, principals: &principals, permission_arns: &permission_arns, sources: &sources,
        };
        let question = Question { caller: &caller, operation: CREATE.name, target: &target, facts };
        let parts = Parts::of(&question.facts).unwrap();
        let (in_force, vocabulary) = (cedar.in_force.load(), &cedar.vocabulary);
        let asker = cedar.askers.of(&digest::asker(&caller, &target), vocabulary, &caller, &target).unwrap();
        let decide = |observed: &Observed, schema| {
            cedar.evaluate(CREATE.name, &asker, &observed.of(&parts), &in_force.policies, schema)
        };

        let sliced = decide(&in_force.observed, None);

        prop_assert_eq!(&sliced, &decide(&Observed::everything(), Some(&vocabulary.schema)));
        prop_assert!(sliced.is_ok(), "{:?}", sliced);
    }
}
