use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use super::*;
use crate::{
    auth::policy::{Decision, Denial},
    call::{Caller, Proof, Target},
    failure::{Failure, Reason},
    idempotency::{Key, Scope},
    operation::Facts,
};

const NOON: u64 = 1_795_435_200_123;

struct Scene {
    caller: Caller,
    target: Target,
    intent: Key,
}

impl Scene {
    fn new() -> Self {
        let caller = Caller::new("static-token", "network-team").proven_by(Proof::StaticToken);
        let target = Target {
            partition: "aws".into(),
            account: "111122223333".into(),
            region: "eu-west-1".into(),
        };
        let intent = Key::of(&Scope {
            caller: &caller,
            target: &target,
            operation: "CreateResourceShare",
            client_token: "order-4711",
        });
        Self {
            caller,
            target,
            intent,
        }
    }

    fn line<'a>(&'a self, event: Event<'a>) -> Line<'a> {
        let about = About {
            request_id: Some("0b6e4b2e-5f0c-4c3a-9a51-0d1c3d4e5f60"),
            operation: "CreateResourceShare",
            caller: &self.caller,
            target: &self.target,
            intent: Some(&self.intent),
            validate_only: false,
        };
        Line::new(NOON, about, event)
    }
}

fn text(line: &Line<'_>) -> String {
    String::from_utf8(line.to_bytes()).unwrap()
}

#[test]
fn the_lines_are_those_of_the_documentation() {
    let scene = Scene::new();
    let arns = ["arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-0a1b2c3d4e5f60718".to_owned()];
    let principals = ["444455556666".to_owned()];
    let facts = Facts {
        name: "network-prod",
        resource_arns: &arns,
        principals: &principals,
        allow_external_principals: true,
        tags: vec![("team", "network")],
        ..Facts::default()
    };
    let share = "arn:aws:ram:eu-west-1:111122223333:resource-share/23e76dc0-3bd1-4b21-bf90-80f8d14c5d59";
    let permit = Decision::Permit {
        by: vec!["network-team-shares".into()],
    };
    let deny = Decision::Deny(Denial::Forbidden {
        by: vec!["no-external-principals".into()],
    });
    let refused = Failure::new(Reason::Throttling, "too many").metadata("awsRequestId", "6f1c0a52-example");
    let lines = [
        scene.line(Event::Decision(Decided::new(&permit, &facts))),
        scene.line(Event::Outcome(Outcome::answered(Some(share), true))),
        scene.line(Event::Decision(Decided::new(&deny, &facts))),
        scene.line(Event::Outcome(Outcome::failed(&refused))),
        scene.line(Event::Outcome(Outcome::abandoned())),
    ];

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md");
    let page = fs::read_to_string(page).unwrap();
    for line in lines {
        assert!(
            page.contains(&text(&line)),
            "docs/audit.md lacks\n{}",
            text(&line)
        );
    }
}

#[test]
fn hostile_values_stay_within_their_line() {
    let scene = Scene::new();
    let name = "a\n{\"event\":\"decision\",\"decision\":\"permit\"}\r\u{2028}\u{0}";
    let facts = Facts {
        name,
        ..Facts::default()
    };

    let line = text(&scene.line(Event::Decision(Decided::new(
        &Decision::Deny(Denial::Unmentioned),
        &facts,
    ))));

    assert_eq!(line.matches('\n').count(), 1);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["request"]["name"], name);
    assert_eq!(json["decision"], "deny");
}

fn file(path: &std::path::Path) -> Audit {
    Audit::start(&Settings {
        sink: Some(Sink::File(path.to_owned())),
        required: true,
    })
    .unwrap()
}

fn outcome(scene: &Scene) -> Line<'_> {
    scene.line(Event::Outcome(Outcome::abandoned()))
}

#[tokio::test]
async fn the_file_is_private_and_grows_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let scene = Scene::new();

    for _ in 0..2 {
        let audit = file(&path);
        audit.note(&outcome(&scene));
        audit.flush(Duration::from_secs(5)).await;
    }

    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_line_that_is_waited_for_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (audit, scene) = (file(&path), Scene::new());

    audit.note_for_certain(&outcome(&scene)).await.unwrap();

    assert_eq!(fs::read_to_string(&path).unwrap(), text(&outcome(&scene)));
}

#[tokio::test]
async fn a_full_disk_loses_lines_counts_them_and_tells_who_waits() {
    // Every write to it fails with ENOSPC.
    let (audit, scene) = (file("/dev/full".as_ref()), Scene::new());

    audit.note(&outcome(&scene));
    let waited = audit.note_for_certain(&outcome(&scene)).await;

    assert_eq!(waited, Err(NotWritten));
    assert_eq!(audit.lost(), 2);
}

#[tokio::test]
async fn a_disk_that_hangs_costs_bounded_memory_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    // Keeps the other end open and never reads it.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (audit, scene) = (file(&path), Scene::new());
    let large = "x".repeat(200_000);
    let facts = Facts {
        name: &large,
        ..Facts::default()
    };
    let permit = Decision::Permit { by: Vec::new() };

    for _ in 0..60 {
        audit.note(&scene.line(Event::Decision(Decided::new(&permit, &facts))));
    }

    // 8 MiB wait, in lines of 200 kB.
    assert!((10..60).contains(&audit.lost()), "{}", audit.lost());
}

#[tokio::test]
async fn a_rotated_file_is_made_anew_and_a_lost_folder_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("audit.jsonl");
    let (audit, scene) = (file(&path), Scene::new());
    let writer = audit.writer.as_ref().unwrap();
    audit.note_for_certain(&outcome(&scene)).await.unwrap();

    let rotated = logs.join("audit.jsonl.1");
    fs::rename(&path, &rotated).unwrap();
    writer.reopen();
    audit.note_for_certain(&outcome(&scene)).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 1);

    let moved = folder.path().join("moved");
    fs::rename(&logs, &moved).unwrap();
    writer.reopen();
    audit.note_for_certain(&outcome(&scene)).await.unwrap();
    let old = fs::read_to_string(moved.join("audit.jsonl")).unwrap();
    assert_eq!(old.lines().count(), 2);
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = folder.path().join("nowhere/audit.jsonl");

    let error = Audit::start(&Settings {
        sink: Some(Sink::File(path.clone())),
        required: false,
    })
    .unwrap_err();

    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}
