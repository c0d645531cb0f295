//! An outcome that stayed open is settled by what RAM lists, and nothing leaves when its time is over: through the real
//! SDK, against the sandbox.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};
use common::{Facade, arn, refusal, request};
use ram_facade::{
    call::{Caller, Target},
    clock::{Window, wall_now},
    failure::{Effect, Failure, Reason},
    idempotency::{
        Fingerprint, Key, Marker, Scope, UpstreamToken,
        record::{Record, Terms},
        sqlite::SqliteStore,
        store::{Change, Store},
    },
    layers::idempotency::Settings,
    operation::Operation,
    operations::create_resource_share::CreateResourceShare,
    pb::v1::{CreateResourceShareRequest, Tag},
    ram::{self, Ram, guard},
    sandbox::{self, Sandbox},
};
use tokio::time::Instant;
use tonic::Code;

const MARKER: &str = "ram-facade:request";
const MINUTE: u64 = 60_000;

fn key(token: &str) -> Key {
    Key::of(&Scope {
        caller: &Caller::new("none", "anonymous"),
        target: &Target {
            partition: "aws".to_owned(),
            account: "111122223333".to_owned(),
            region: "us-east-1".to_owned(),
        },
        operation: CreateResourceShare::NAME,
        client_token: token,
    })
}

/// A store in which a request was sent so many milliseconds ago, and its outcome stayed open.
async fn open_since(milliseconds: u64, request: &CreateResourceShareRequest) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("idempotency.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    let record = Record::Unknown {
        fingerprint: Fingerprint::of(|out| CreateResourceShare::canonical(request, out)),
        first_sent: wall_now() - milliseconds,
        marker: Marker::of(MARKER),
    };
    let terms: Terms = Settings::default().terms();
    let change = Change::Put {
        record: record.encode(),
        expires: record.expires(&terms),
    };
    store
        .compare_and_swap(key(&request.client_token), None, change)
        .await
        .unwrap();
    (directory, path)
}

async fn sdk(url: &str, credentials: impl ProvideCredentials + 'static) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .load()
        .await
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "test")
}

/// Makes the share of `token` past the facade, as a request of its own that nobody heard of again.
async fn made_in_ram(facade: &Facade, token: &str) -> String {
    let config = sdk(&facade.sandbox().url(), credentials()).await;
    let upstream = UpstreamToken::derive(&key(token));
    let tag = |key: &str, value: &str| aws_sdk_ram::types::Tag::builder().key(key).value(value).build();
    let share = aws_sdk_ram::Client::new(&config)
        .create_resource_share()
        .name("demo")
        .client_token(upstream.as_str())
        .tags(tag(MARKER, upstream.as_str()))
        .tags(tag("team", "network"))
        .send()
        .await
        .unwrap();
    share.resource_share.unwrap().resource_share_arn.unwrap()
}

fn demo() -> CreateResourceShareRequest {
    CreateResourceShareRequest {
        tags: vec![Tag {
            key: "team".to_owned(),
            value: "network".to_owned(),
        }],
        ..request("demo", "token-1")
    }
}

#[tokio::test]
async fn a_share_that_ram_lists_settles_an_outcome_that_stayed_open() {
    let (_directory, path) = open_since(5 * MINUTE, &demo()).await;
    let facade = Facade::with(&[("store", common::path(&path))]).await;
    let made = made_in_ram(&facade, "token-1").await;

    let found = facade.create(demo()).await.unwrap();
    let again = facade.create(demo()).await.unwrap();

    for answer in [&found, &again] {
        assert_eq!(arn(answer), made);
        assert_eq!(answer.metadata().get("idempotency-replayed").unwrap(), "true");
        assert_eq!(
            answer.get_ref().resource_share.as_ref().unwrap().tags,
            demo().tags
        );
    }
    assert_eq!((facade.created(), facade.requested()), (1, 1), "only its own");
}

#[tokio::test]
async fn a_share_that_ram_does_not_list_is_made_once_its_request_cannot_arrive_any_more() {
    let (_directory, path) = open_since(12 * MINUTE, &demo()).await;
    let facade = Facade::with(&[("store", common::path(&path))]).await;

    let made = facade.create(demo()).await.unwrap();
    let again = facade.create(demo()).await.unwrap();

    assert!(made.metadata().get("idempotency-replayed").is_none());
    assert_eq!(arn(&made), arn(&again));
    assert_eq!(facade.created(), 1);
}

#[tokio::test]
async fn before_that_or_when_ram_cannot_be_asked_the_outcome_stays_open() {
    for (age, faults) in [
        (11 * MINUTE, "{}"),
        (
            12 * MINUTE,
            r#"{"rules": [{"operation": "GetResourceShares",
                "fault": {"kind": "error", "code": "AccessDeniedException", "http_status": 403}}]}"#,
        ),
        (
            12 * MINUTE,
            r#"{"rules": [{"operation": "GetResourceShares",
                "fault": {"kind": "answer", "http_status": 200, "body": "{}", "execute": false}}]}"#,
        ),
    ] {
        let (_directory, path) = open_since(age, &demo()).await;
        let facade = Facade::with(&[("store", common::path(&path))]).await;
        facade.faults(faults);

        let refused = refusal(&facade.create(demo()).await.unwrap_err());

        assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
        assert_eq!(refused.reason, "OUTCOME_UNKNOWN");
        assert_eq!(refused.metadata["outcome"], "unknown");
        assert!(refused.details.retry_info().is_some());
        assert_eq!(facade.requested(), 0);
    }
}

#[tokio::test]
async fn every_share_carries_the_marker_and_its_caller_does_not_see_it() {
    let facade = Facade::start().await;

    let named = facade.create(demo()).await.unwrap();
    let unnamed = facade.create(request("demo", "")).await.unwrap();

    assert_eq!(named.get_ref().resource_share.as_ref().unwrap().tags, demo().tags);
    assert_eq!(unnamed.get_ref().resource_share.as_ref().unwrap().tags, []);
    let config = sdk(&facade.sandbox().url(), credentials()).await;
    for (answer, token) in [(&named, "token-1"), (&unnamed, &unnamed.get_ref().client_token)] {
        let filter = aws_sdk_ram::types::TagFilter::builder()
            .tag_key(MARKER)
            .tag_values(UpstreamToken::derive(&key(token)).as_str())
            .build();
        let listed = aws_sdk_ram::Client::new(&config)
            .get_resource_shares()
            .resource_owner(aws_sdk_ram::types::ResourceOwner::SelfValue)
            .tag_filters(filter)
            .send()
            .await
            .unwrap();
        let arns: Vec<_> = listed
            .resource_shares()
            .iter()
            .map(|share| share.resource_share_arn().unwrap())
            .collect();
        assert_eq!(arns, [arn(answer)]);
    }
}

#[tokio::test]
async fn the_marker_takes_one_of_the_fifty_tags_and_its_key_is_taken() {
    let tagged = |count: u32| CreateResourceShareRequest {
        tags: (0..count)
            .map(|n| Tag {
                key: format!("k{n}"),
                value: String::new(),
            })
            .collect(),
        ..request("demo", "")
    };
    let mut taken = tagged(1);
    MARKER.clone_into(&mut taken.tags[0].key);
    let marked = Facade::start().await;
    let unmarked = Facade::with(&[("idempotency.marker_tag", "")]).await;

    for (request, field) in [(tagged(50), "tags"), (taken.clone(), "tags[0].key")] {
        let refused = refusal(&marked.create(request).await.unwrap_err());
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "INVALID_REQUEST")
        );
        let violations = &refused.details.bad_request().unwrap().field_violations;
        assert_eq!((violations.len(), violations[0].field.as_str()), (1, field));
    }
    assert_eq!(marked.requested(), 0);
    marked.create(tagged(49)).await.unwrap();
    for request in [tagged(50), taken] {
        let made = unmarked.create(request.clone()).await.unwrap();
        assert_eq!(
            made.get_ref().resource_share.as_ref().unwrap().tags.len(),
            request.tags.len()
        );
    }
}

/// What `find` makes of RAM's answers, one for each page, and the bodies of its requests.
async fn found_in(pages: &[&str]) -> (Result<Option<String>, Failure>, Vec<String>) {
    use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
    use aws_smithy_types::body::SdkBody;

    let token = UpstreamToken::derive(&key("token-1"));
    let events = pages.iter().map(|page| {
        let body = page.replace("TOKEN", token.as_str());
        let request = http::Request::builder()
            .uri("http://ram.test")
            .body(SdkBody::empty());
        let answer = http::Response::builder().status(200).body(SdkBody::from(body));
        ReplayEvent::new(request.unwrap(), answer.unwrap())
    });
    let http = StaticReplayClient::new(events.collect());
    let config = sdk("http://ram.test", credentials()).await;
    let config = config.into_builder().http_client(http.clone()).build();
    let settings = ram::Settings {
        account: Some("111122223333".to_owned()),
        ..ram::Settings::default()
    };
    let ram = Ram::with_sdk_config(&config, &settings)
        .await
        .unwrap()
        .marked(MARKER.into());

    let found = guard::within(None, CreateResourceShare::find(&ram, &token)).await;

    let found = found.map(|output| output.map(|output| output.resource_share.unwrap().resource_share_arn));
    let asked = http
        .actual_requests()
        .map(|request| String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap());
    (found, asked.collect())
}

const TAGGED: &str = r#""tags": [{"key": "ram-facade:request", "value": "TOKEN"}]"#;

#[tokio::test]
async fn an_empty_page_is_not_the_end_of_the_list() {
    let last =
        format!(r#"{{"resourceShares": [{{"resourceShareArn": "arn:1", "status": "DELETING", {TAGGED}}}]}}"#);
    let pages = [r#"{"resourceShares": [], "nextToken": "page-2"}"#, last.as_str()];

    let (found, asked) = found_in(&pages).await;

    assert_eq!(found.unwrap().as_deref(), Some("arn:1"));
    assert!(
        asked[0].contains("SELF") && asked[0].contains(MARKER),
        "{asked:?}"
    );
    assert!(asked[1].contains("page-2"), "{asked:?}");
    let (nothing, _) = found_in(&[r#"{"resourceShares": []}"#]).await;
    assert_eq!(nothing.unwrap(), None);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_question_is_an_error() {
    for page in [
        "{}",
        r#"{"resourceShares": [{"resourceShareArn": "arn:1"}]}"#,
        r#"{"resourceShares": [{"resourceShareArn": "arn:1", "tags": [{"key": "ram-facade:request", "value": "x"}]}]}"#,
        &format!(r#"{{"resourceShares": [{{{TAGGED}}}]}}"#),
    ] {
        let (found, _) = found_in(&[page]).await;
        assert!(found.is_err(), "{page}");
    }
}

#[tokio::test]
async fn of_copies_of_the_tag_the_oldest_share_is_the_intents_own() {
    let share = |arn: &str, created: u32| {
        format!(r#"{{"resourceShareArn": "{arn}", "creationTime": {created}, {TAGGED}}}"#)
    };
    let page = format!(
        r#"{{"resourceShares": [{}, {}]}}"#,
        share("arn:copy", 20),
        share("arn:first", 10)
    );

    let (found, _) = found_in(&[&page]).await;

    assert_eq!(found.unwrap().as_deref(), Some("arn:first"));
}

/// Credentials that take their time: so much passes between the attempt's look at the clock and the signature.
#[derive(Debug)]
struct Slow {
    by: Duration,
    asked: Arc<AtomicU32>,
}

impl ProvideCredentials for Slow {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.by).await;
            Ok(credentials())
        })
    }
}

/// Sends one request whose signature takes 1.5 s, within a window that begins then. Returns its end, and how many requests
/// arrived.
async fn delayed(window: impl FnOnce() -> Option<Window>) -> (Result<(), Failure>, u64) {
    let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), sandbox::Settings::default())
        .await
        .unwrap();
    let asked = Arc::default();
    let slow = Slow {
        by: Duration::from_millis(1_500),
        asked: Arc::clone(&asked),
    };
    let settings = ram::Settings {
        account: Some("111122223333".to_owned()),
        ..ram::Settings::default()
    };
    let ram = Ram::with_sdk_config(&sdk(&sandbox.url(), slow).await, &settings)
        .await
        .unwrap();
    let token = UpstreamToken::derive(&key("token-1"));
    let window = window();
    assert!(
        window.is_none_or(|window| window.is_open()),
        "it is open at first"
    );

    let sent = guard::within(window, CreateResourceShare::send(&ram, &demo(), &token)).await;

    assert_eq!(asked.load(Ordering::SeqCst), 1, "it was on its way");
    let arrived = sandbox.stats().requests.values().sum();
    (sent.map(drop), arrived)
}

#[tokio::test]
async fn a_request_that_is_signed_after_its_time_does_not_leave() {
    let far = Duration::from_secs(3_600);
    let (wall, wall_arrived) = delayed(|| {
        Some(Window {
            wall: wall_now() + 1_000,
            monotonic: Instant::now() + far,
        })
    })
    .await;
    let (monotonic, monotonic_arrived) = delayed(|| {
        Some(Window {
            wall: u64::MAX,
            monotonic: Instant::now() + Duration::from_secs(1),
        })
    })
    .await;

    for failure in [wall.unwrap_err(), monotonic.unwrap_err()] {
        assert_eq!(
            (failure.why(), failure.what_happened()),
            (Reason::DeadlineExceeded, Effect::None),
            "{failure:?}"
        );
    }
    assert_eq!((wall_arrived, monotonic_arrived), (0, 0));
    let (sent, arrived) = delayed(|| None).await;
    assert_eq!((sent.is_ok(), arrived), (true, 1));
}
