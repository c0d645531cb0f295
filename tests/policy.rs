//! Who may share what: the ready-made policies, the server that asks them, and the two commands.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "cedar")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::{
    Facade, Process, Refusal, arn, command, connect, refusal, request,
    secrets::{ALPHA, BETA, token_line},
    until,
};
use prost::Message;
use ram_facade::{
    auth::{
        cedar::{self, Cedar, Source},
        policy::{Decision, Denial, Policy, Question},
    },
    call::{Caller, Proof, Target},
    config::{Config, Sources},
    operations,
    pb::v1::{CreateResourceShareRequest, CreateResourceShareResponse, ListResourceTypesRequest, Tag},
    server::Server,
};
use tonic::{Code, Request, Response, Status, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SUBNET: &str = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-0a1b2c3d4e5f60718";
const OTHERS: &str = "arn:aws:ec2:us-east-1:999900001111:subnet/subnet-0a1b2c3d4e5f60718";
const OPEN: &str = "@id(\"open\") permit (principal, action, resource);";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies")
}

// ---- the ready-made policies ----

/// A request that all ready-made policies together let `network-team` make.
fn good() -> CreateResourceShareRequest {
    let tag = |key: &str, value: &str| Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    CreateResourceShareRequest {
        name: "network-prod".to_owned(),
        resource_arns: vec![SUBNET.to_owned()],
        principals: vec!["444455556666".to_owned()],
        allow_external_principals: Some(false),
        tags: vec![tag("team", "network"), tag("stage", "prod")],
        permission_arns: vec!["arn:aws:ram::aws:permission/AWSRAMDefaultPermissionSubnet".to_owned()],
        ..CreateResourceShareRequest::default()
    }
}

/// What the policies say to `caller`, past validation: a policy must hold by itself.
fn decide(policies: &Cedar, caller: &str, operation: &'static str, request: &[u8]) -> Decision {
    let target = Target {
        partition: "aws".to_owned(),
        account: "111122223333".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let caller = Caller::new("static-token", caller).proven_by(Proof::StaticToken);
    let mut decision = None;
    operations::describe(operation, request, &mut |_, facts| {
        decision = Some(policies.decide(&Question {
            caller: &caller,
            operation,
            target: &target,
            facts,
        }));
    })
    .unwrap();
    decision.expect("it is an operation")
}

fn create(policies: &Cedar, caller: &str, request: &CreateResourceShareRequest) -> Decision {
    decide(policies, caller, "CreateResourceShare", &request.encode_to_vec())
}

/// One example, beside a policy that permits everything: what is denied, the example denies.
fn guard(name: &str) -> Cedar {
    let mut sources = cedar::read(&examples().join(name)).unwrap();
    sources.push(Source {
        path: "open.cedar".into(),
        text: OPEN.to_owned(),
    });
    Cedar::of(&examples(), sources, operations::ALL).unwrap().0
}

fn alone(name: &str) -> Cedar {
    Cedar::load(&examples().join(name), operations::ALL).unwrap()
}

fn is_permitted(decision: &Decision) -> bool {
    matches!(decision, Decision::Permit { .. })
}

fn changed(change: impl FnOnce(&mut CreateResourceShareRequest)) -> CreateResourceShareRequest {
    let mut request = good();
    change(&mut request);
    request
}

/// Asserts that the guard permits the good request and denies each of `bad` by the policy `id`.
fn denies(guard: &Cedar, id: &str, bad: impl IntoIterator<Item = CreateResourceShareRequest>) {
    assert!(is_permitted(&create(guard, "anybody", &good())));
    for request in bad {
        let expected = Decision::Deny(Denial::Forbidden { by: vec![id.into()] });
        assert_eq!(create(guard, "anybody", &request), expected, "{request:?}");
    }
}

#[test]
fn every_example_loads_alone_and_all_load_together() {
    let mut count = 0;
    for file in fs::read_dir(examples()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "cedar") {
            let policies = Cedar::load(&path, operations::ALL).unwrap();
            assert!(!policies.is_empty(), "{path:?}");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("// "), "{path:?} says nothing about itself");
            count += 1;
        }
    }
    assert_eq!(count, 8);

    let together = Cedar::load(&examples(), operations::ALL).unwrap();
    assert_eq!(
        create(&together, "network-team", &good()),
        Decision::Permit {
            by: vec!["network-team-shares".into()]
        }
    );
    assert_eq!(
        create(&together, "stranger", &good()),
        Decision::Deny(Denial::Unmentioned)
    );
}

#[test]
fn own_account_forbids_what_another_account_or_partition_owns() {
    let one_of_a_hundred = changed(|r| {
        r.resource_arns = (0..99).map(|i| format!("{SUBNET}{i}")).collect();
        r.resource_arns.insert(57, OTHERS.to_owned());
    });
    denies(
        &guard("own-account.cedar"),
        "own-account-only",
        [
            changed(|r| r.resource_arns = vec![OTHERS.to_owned()]),
            one_of_a_hundred,
            changed(|r| r.resource_arns = vec![SUBNET.replace("arn:aws:", "arn:aws-cn:")]),
            changed(|r| r.resource_arns = vec!["arn:aws:s3:::bucket".to_owned()]),
            changed(|r| r.resource_arns = vec!["arn:aws:ec2:us-east-1:aws:subnet/x".to_owned()]),
        ],
    );
}

#[test]
fn tricks_with_arns_never_pass_own_account() {
    let guard = guard("own-account.cedar");
    for trick in [
        "arn:aws-cn:ec2:us-east-1:111122223333:subnet/s",
        "arn:aws:ec2:us-east-1::subnet/s",
        "arn:aws:ec2:us-east-1:11112222333:subnet/s",
        "arn:aws:ec2:us-east-1:1111222233334:subnet/s",
        "arn:aws:ec2:us-east-1:１１１１２２２２３３３３:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333:subnet/*",
        "arn:aws:ec2:us-east-1:*:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333:subnet/s?",
        "arn:aws:ec2:us-east-1:111122223333:subnet/s ",
        "arn:aws:ec2:us-east-1:111122223333:subnet/s\n",
        "arn:aws:ec2:us-east-1:111122223333\u{200b}:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333:subnet/%73",
        "arn:aws:ec2:us-east-1:%31%31%31%31:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333:subnet/../s",
        "arn:aws:EC2:us-east-1:111122223333:subnet/s",
        "ARN:aws:ec2:us-east-1:111122223333:subnet/s",
        "arn:aws:ec2:us-east-1:999900001111:111122223333:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333:999900001111:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333::subnet/s",
        "arn:aws:ec2::us-east-1:111122223333:subnet/s",
        "arn:aws:ec2:us-east-1:111122223333:ѕubnet/s",
        "arn:aws:ec2:us-east-1:111122223333:",
        " arn:aws:ec2:us-east-1:111122223333:subnet/s",
        "111122223333",
        "",
    ] {
        let decision = create(
            &guard,
            "anybody",
            &changed(|r| r.resource_arns = vec![trick.to_owned()]),
        );
        assert!(!is_permitted(&decision), "{trick:?}: {decision:?}");
    }
    let huge = changed(|r| r.resource_arns = vec![format!("{SUBNET}{}", "x".repeat(5_000_000))]);
    assert!(!is_permitted(&create(&guard, "anybody", &huge)));
}

#[test]
fn own_region_forbids_what_is_elsewhere_and_lets_global_resources_be_shared_at_home() {
    let guard = guard("own-region.cedar");
    let global = changed(|r| {
        r.resource_arns
            .push("arn:aws:networkmanager::111122223333:core-network/core-network-1".to_owned());
    });

    assert!(is_permitted(&create(&guard, "anybody", &global)));
    denies(
        &guard,
        "own-region-only",
        [changed(|r| {
            r.resource_arns.push(SUBNET.replace("us-east-1", "us-east-2"))
        })],
    );
}

#[test]
fn external_principals_are_forbidden_also_where_the_flag_is_left_out() {
    denies(
        &guard("no-external-principals.cedar"),
        "no-external-principals",
        [
            changed(|r| r.allow_external_principals = Some(true)),
            changed(|r| r.allow_external_principals = None),
        ],
    );
}

#[test]
fn known_parties_know_every_kind_of_principal() {
    let guard = guard("known-parties.cedar");
    let to = |principal: &str| changed(|r| r.principals = vec![principal.to_owned()]);

    for known in [
        "777788889999",
        "arn:aws:iam::444455556666:role/deploy",
        "arn:aws:iam::444455556666:user/jo",
        "arn:aws:iam::444455556666:root",
        "arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-cdefgh34",
    ] {
        assert!(is_permitted(&create(&guard, "anybody", &to(known))), "{known}");
    }
    let strangers = [
        "999900001111",
        "111122223333",
        "arn:aws:iam::999900001111:role/deploy",
        "arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5",
        "arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-cdefgh35",
        "pca-connector-ad.amazonaws.com",
    ];
    denies(&guard, "known-parties-only", strangers.map(to));
    let one_among_known = changed(|r| r.principals.push("999900001111".to_owned()));
    denies(&guard, "known-parties-only", [one_among_known]);
}

#[test]
fn tags_are_required_and_reserved() {
    let guard = guard("tags.cedar");
    let with = |key: &str, value: &str| {
        changed(|r| {
            r.tags.push(Tag {
                key: key.to_owned(),
                value: value.to_owned(),
            });
        })
    };
    let without = |key: &str| changed(|r| r.tags.retain(|t| t.key != key));

    denies(
        &guard,
        "team-and-stage-required",
        [
            without("team"),
            without("stage"),
            changed(|r| r.tags[1].value = "staging".to_owned()),
            changed(|r| r.tags[0].key = "Team".to_owned()),
        ],
    );
    denies(
        &guard,
        "cost-tags-reserved",
        [with("cost-center", "1"), with("billing-code", "")],
    );
}

#[test]
fn permissions_are_those_that_were_reviewed() {
    let guard = guard("permissions.cedar");
    let permission = |arn: &str| changed(|r| r.permission_arns.push(arn.to_owned()));

    assert!(is_permitted(&create(
        &guard,
        "anybody",
        &changed(|r| r.permission_arns.clear())
    )));
    denies(
        &guard,
        "reviewed-permissions-only",
        [
            permission("arn:aws:ram::aws:permission/AWSRAMDefaultPermissionsRDSCluster"),
            permission("arn:aws:ram:us-east-1:111122223333:permission/AWSRAMDefaultPermissionSubnet"),
        ],
    );
}

#[test]
fn each_caller_has_its_own_prefix() {
    let policies = alone("name-prefix.cedar");
    let named = |caller, name: &str| create(&policies, caller, &changed(|r| r.name = name.to_owned()));

    assert!(is_permitted(&named("network-team", "network-x")));
    assert!(is_permitted(&named("dns-team", "dns-x")));
    for (caller, name) in [
        ("network-team", "dns-x"),
        ("network-team", "Network-x"),
        ("network-team", "my network-x"),
        ("dns-team", "network-x"),
        ("network-teams", "network-x"),
    ] {
        assert_eq!(
            named(caller, name),
            Decision::Deny(Denial::Unmentioned),
            "{caller} {name}"
        );
    }
}

#[test]
fn a_caller_who_may_read_may_not_write() {
    let policies = alone("read-only.cedar");

    for operation in operations::ALL {
        let decision = decide(&policies, "auditor", operation.name, &[]);
        assert_eq!(is_permitted(&decision), operation.reads_only, "{operation:?}");
        assert!(!is_permitted(&decide(&policies, "anybody", operation.name, &[])));
    }
}

// ---- the server ----

fn token_file() -> String {
    token_line(ALPHA, "network-team") + &token_line(BETA, "stranger")
}

struct Guarded {
    facade: Facade,
    folder: tempfile::TempDir,
}

impl Guarded {
    /// A facade before which stand these policies.
    async fn start(policies: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokens"), token_file()).unwrap();
        let policy = folder.path().join("p.cedar");
        fs::write(&policy, policies).unwrap();
        let facade = Facade::with(&[
            ("auth.tokens_file", common::path(&folder.path().join("tokens"))),
            ("policy.file", common::path(&policy)),
            // Some of the tests send as fast as they can.
            ("limits.per_second", "0"),
        ])
        .await;
        Self { facade, folder }
    }

    async fn examples() -> Self {
        let all = cedar::read(&examples()).unwrap();
        let texts: Vec<_> = all.iter().map(|s| s.text.as_str()).collect();
        Self::start(&texts.join("\n")).await
    }

    async fn call(
        &self,
        token: &str,
        request: CreateResourceShareRequest,
    ) -> Result<Response<CreateResourceShareResponse>, Status> {
        let mut client = self.facade.client.clone();
        client.create(bearer(token, request)).await
    }

    async fn denied(&self, token: &str, request: CreateResourceShareRequest) -> Refusal {
        let refusal = refusal(&self.call(token, request).await.unwrap_err());
        assert_eq!(
            (refusal.code, refusal.reason.as_str(), refusal.domain.as_str()),
            (Code::PermissionDenied, "NOT_PERMITTED", "ram-facade")
        );
        assert_eq!(refusal.metadata["outcome"], "not_executed");
        refusal
    }

    fn write(&self, policies: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, policies).unwrap();
        fs::rename(new, self.folder.path().join("p.cedar")).unwrap();
    }

    async fn policy_is(&self, status: ServingStatus) -> bool {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.facade.server.address())).unwrap();
        let mut health = HealthClient::new(endpoint.connect().await.unwrap());
        let request = HealthCheckRequest {
            service: "ram-facade.policy".to_owned(),
        };
        health.check(request).await.unwrap().into_inner().status() == status
    }
}

fn bearer<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn under(token: &str) -> CreateResourceShareRequest {
    changed(|r| r.client_token = token.to_owned())
}

#[tokio::test]
async fn a_denied_call_names_the_policies_leaves_no_record_and_reaches_no_ram() {
    let guarded = Guarded::examples().await;
    let mut bad = under("intent-1");
    bad.resource_arns = vec![OTHERS.to_owned()];
    bad.allow_external_principals = None;

    let refusal = guarded.denied(ALPHA, bad).await;
    assert_eq!(
        refusal.message,
        "`static-token/network-team` may not call ram:CreateResourceShare: forbidden by policies \
         `no-external-principals`, `own-account-only`; ask the operator for it"
    );
    assert_eq!(
        refusal.metadata["policyIds"],
        "no-external-principals,own-account-only"
    );
    let stranger = guarded.denied(BETA, under("intent-1")).await;
    assert!(stranger.message.contains("no policy permits it"), "{stranger:?}");
    assert!(!stranger.metadata.contains_key("policyIds"));
    assert_eq!(guarded.facade.requested(), 0);

    // Had the denied call left a record, its token would now stand for another request.
    guarded.call(ALPHA, under("intent-1")).await.unwrap();
    assert_eq!(guarded.facade.created(), 1);
}

#[tokio::test]
async fn reads_are_asked_about_like_writes() {
    let guarded = Guarded::examples().await;
    let mut client = guarded.facade.client.clone();

    let status = client
        .list_resource_types(bearer(ALPHA, ListResourceTypesRequest::default()))
        .await
        .unwrap_err();

    assert_eq!(refusal(&status).reason, "NOT_PERMITTED");
    assert_eq!(
        guarded.facade.sandbox().stats().requests_of("ListResourceTypes"),
        0
    );
}

#[tokio::test]
async fn validate_only_takes_the_same_decision_and_asks_no_ram() {
    let guarded = Guarded::examples().await;
    let dry = |request: CreateResourceShareRequest| CreateResourceShareRequest {
        validate_only: true,
        ..request
    };

    guarded.call(ALPHA, dry(under("t"))).await.unwrap();
    let mut bad = under("t");
    bad.resource_arns = vec![OTHERS.to_owned()];
    let dry_refusal = guarded.denied(ALPHA, dry(bad.clone())).await;
    assert_eq!(guarded.facade.requested(), 0);
    assert_eq!(dry_refusal.message, guarded.denied(ALPHA, bad).await.message);
}

#[tokio::test]
async fn what_cannot_be_taken_apart_is_denied_by_field_and_rule() {
    let guarded = Guarded::start(OPEN).await;
    let mut odd = under("t");
    odd.resource_arns.push(format!("{SUBNET}%2f"));

    let refusal = guarded.denied(ALPHA, odd).await;

    assert!(
        refusal
            .message
            .contains("resource_arns[1] has a percent sign; ARNs have no escapes"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_caller_whose_right_is_gone_cannot_read_a_stored_answer() {
    let guarded = Guarded::start(OPEN).await;
    let first = guarded.call(ALPHA, under("t")).await.unwrap();
    let again = guarded.call(ALPHA, under("t")).await.unwrap();
    assert_eq!(arn(&first), arn(&again));

    guarded.write("forbid (principal, action, resource);");
    until("the new policy is in force", async || {
        guarded.call(ALPHA, under("t")).await.is_err()
    })
    .await;

    let refusal = guarded.denied(ALPHA, under("t")).await;
    assert!(!format!("{refusal:?}").contains(&arn(&first)));
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_denies_and_keeps_its_fault_to_the_log() {
    let guarded = Guarded::start(
        "permit (principal, action, resource);\n@id(\"sum\") forbid (principal, action, resource)\n\
         when { 9223372036854775807 + 1 > 0 };",
    )
    .await;

    let refusal = guarded.denied(ALPHA, under("t")).await;

    assert!(
        refusal.message.contains("policy `sum` could not be evaluated"),
        "{refusal:?}"
    );
    assert!(!format!("{refusal:?}").contains("overflow"));
}

#[tokio::test]
async fn policies_reread_under_load_fail_no_call() {
    let guarded = Guarded::start(OPEN).await;
    let calls = async {
        for i in 0..200 {
            guarded.call(ALPHA, under(&format!("t{}", i % 7))).await.unwrap();
        }
    };
    let changes = async {
        for i in 0..40 {
            // Every second one is not valid.
            guarded.write(&format!(
                "{OPEN}\n{}",
                if i % 2 == 0 { "permit" } else { "// fine" }
            ));
            send_hangup();
            tokio::task::yield_now().await;
        }
    };

    tokio::join!(calls, changes);

    guarded.write("forbid (principal, action, resource);");
    until("the last policy is in force", async || {
        send_hangup();
        guarded.call(ALPHA, under("t0")).await.is_err()
    })
    .await;
}

/// To this process: every server in it reads its files again.
fn send_hangup() {
    common::send_signal(std::process::id(), "-HUP");
}

#[tokio::test]
async fn an_invalid_set_keeps_the_old_one_and_the_named_service_says_so() {
    let guarded = Guarded::start(OPEN).await;
    assert!(guarded.policy_is(ServingStatus::Serving).await);

    guarded.write("permit (principal, action resource);");
    until("the health service tells", async || {
        send_hangup();
        guarded.policy_is(ServingStatus::NotServing).await
    })
    .await;
    guarded.call(ALPHA, under("t")).await.unwrap();

    guarded.write(OPEN);
    until("it is mended", async || {
        send_hangup();
        guarded.policy_is(ServingStatus::Serving).await
    })
    .await;
}

#[tokio::test]
async fn a_server_does_not_start_with_policies_that_are_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    for (text, fault) in [
        ("permit (principal, action resource);", "p.cedar:1:27: "),
        (
            "permit (principal == RamFacade::User::\"x\", action, resource);",
            "RamFacade::User",
        ),
        (
            "permit (principal, action, resource) when { context.owner == \"x\" };",
            "owner",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let config = Config::read(Sources {
            flags: BTreeMap::from([
                ("sandbox.enabled", "true".to_owned()),
                ("listen", "127.0.0.1:0".to_owned()),
                ("policy.file", common::path(&file).to_owned()),
            ]),
            ..Sources::default()
        })
        .unwrap();
        assert!(ram_facade::server::check(&config)[0].contains(fault));

        let Err(error) = Server::start(config).await else {
            panic!("it started with {text}")
        };

        assert!(error.to_string().contains(fault), "{error}");
    }
}

#[tokio::test]
async fn an_empty_file_denies_everything() {
    let guarded = Guarded::start("").await;

    let refusal = guarded.denied(ALPHA, under("t")).await;

    assert!(refusal.message.contains("no policy permits it"), "{refusal:?}");
}

#[test]
fn serve_refuses_to_start_without_a_word_on_policies() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, token_file()).unwrap();
    let serve = [
        "serve",
        "--store",
        ":memory:",
        "--auth-tokens-file",
        common::path(&tokens),
    ];

    let output = common::output(&mut command(&serve, &[]));

    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no policy: set policy.file"), "{said}");
}

#[tokio::test]
async fn a_process_serves_by_its_policies() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.cedar");
    fs::write(
        &policy,
        "permit (principal, action, resource) when { context.name == \"demo\" };",
    )
    .unwrap();
    let process = Process::start(
        &[
            "serve",
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--policy-file",
            common::path(&policy),
        ],
        &[],
    );
    let mut client = connect(process.address()).await;

    client.create(request("demo", "a")).await.unwrap();
    let status = client.create(request("other", "b")).await.unwrap_err();

    assert_eq!(status.code(), Code::PermissionDenied);
}

// ---- the commands ----

/// Runs a command where the README's reader stands, and returns its exit code and what it says.
fn run(arguments: &[&str]) -> (i32, String) {
    let output = common::output(command(arguments, &[]).current_dir(env!("CARGO_MANIFEST_DIR")));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

const EXPLAIN: [&str; 6] = [
    "policy",
    "explain",
    "--policy",
    "examples/policies",
    "--request",
    "examples/policies/request.json",
];

#[test]
fn explain_says_who_decided_and_ends_with_the_answer() {
    let (code, said) = run(&EXPLAIN);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        said,
        "PERMIT: `static-token/network-team` calls CreateResourceShare\n  permitted by `network-team-shares`\n"
    );

    let (code, said) = run(&[&EXPLAIN[..], &["--caller", "static-token/stranger"]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("DENY") && said.contains("no policy permits it"),
        "{said}"
    );
}

#[test]
fn explain_knows_what_the_command_line_says_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.cedar");
    fs::write(
        &policy,
        "permit (principal, action, resource) when {\n\
         principal.proof == \"jwt\" && principal.issuer == \"https://idp.example/a\" && principal.subject == \"ci\" &&\n\
         principal has namespace && principal.namespace == \"net\" &&\n\
         principal.hasTag(\"groups\") && principal.getTag(\"groups\") == [\"a\", \"b\"] };",
    )
    .unwrap();
    let explain = |proof| {
        run(&[
            "policy",
            "explain",
            "--policy",
            common::path(&policy),
            "--request",
            "examples/policies/request.json",
            "--caller",
            "https:%2F%2Fidp.example%2Fa/ci",
            "--proof",
            proof,
            "--attribute",
            "namespace=net",
            "--attribute",
            "groups=a",
            "--attribute",
            "groups=b",
        ])
    };

    assert_eq!(explain("jwt").0, 0, "{}", explain("jwt").1);
    assert_eq!(explain("certificate").0, 1);
    assert_eq!(explain("magic").0, 2);
}

#[test]
fn a_request_that_is_none_is_a_fault_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request.json");
    for (request, fault) in [
        ("{", "EOF"),
        (
            r#"{"caller": "a/b", "target": "111122223333/us-east-1", "operation": "Create", "request": {}}"#,
            "operation must be one of CreateResourceShare, ListResourceTypes",
        ),
        (
            r#"{"caller": "a", "target": "111122223333/us-east-1", "operation": "CreateResourceShare", "request": {}}"#,
            "issuer/subject",
        ),
        (
            r#"{"caller": "a/b", "target": "us-east-1", "operation": "CreateResourceShare", "request": {}}"#,
            "ACCOUNT/REGION",
        ),
        (
            r#"{"caller": "a/b", "target": "111122223333/us-east-1", "operation": "CreateResourceShare",
                "request": {"nmae": ""}}"#,
            "request has no member `nmae`",
        ),
        (
            r#"{"caller": "a/b", "target": "111122223333/us-east-1", "operation": "CreateResourceShare",
                "request": {"name": "x", "resource_arns": ["subnet"]}}"#,
            "request.resource_arns[0]: must have the form",
        ),
    ] {
        fs::write(&file, request).unwrap();
        let (code, said) = run(&[
            "policy",
            "explain",
            "--policy",
            "examples/policies",
            "--request",
            common::path(&file),
        ]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(fault), "{fault} in {said}");
    }
}

#[test]
fn check_names_every_fault_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(
        &file,
        "permit (principal, action, resource)\nwhen { context.nmae == \"x\" };\n\
         forbid (principal, action == RamFacade::Action::\"Share\", resource);\n",
    )
    .unwrap();

    let (code, said) = run(&["policy", "check", common::path(&file)]);

    assert_eq!(code, 2, "{said}");
    for place in ["p.cedar:2:8: ", "p.cedar:3:"] {
        assert!(said.contains(place), "{place} in {said}");
    }
    assert!(
        run(&["policy", "check", "nowhere.cedar"])
            .1
            .contains("cannot read `nowhere.cedar`")
    );
}

#[test]
fn the_schema_that_is_printed_lists_every_operation() {
    let (code, said) = run(&["policy", "schema"]);

    assert_eq!(code, 0);
    for operation in operations::ALL {
        assert!(
            said.contains(&format!("action {} in [", operation.name)),
            "{said}"
        );
    }
}

/// The blocks behind `<!-- session:policy -->`, run as they stand there.
#[test]
fn the_sessions_in_the_documentation_go_as_shown() {
    for page in ["README.md", "docs/policy.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let block = text
            .split("<!-- session:policy -->\n```console\n")
            .nth(1)
            .unwrap_or_else(|| panic!("{page} has no session"))
            .split("```")
            .next()
            .unwrap();
        let mut commands = 0;
        for step in block.split("$ ram-facade ").skip(1) {
            let (line, shown) = step.split_once('\n').unwrap();
            let arguments: Vec<_> = line.split(' ').collect();
            assert_eq!(run(&arguments).1.trim(), shown.trim(), "{page}: {line}");
            commands += 1;
        }
        assert!(commands >= 2, "{page}");
    }
}
