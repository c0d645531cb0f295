//! The checker of histories sees each way in which a history can be wrong, and none in one that is right.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::history::{Broken, Call, Heard, Intent, Share, check};

fn intent(token: &str) -> Intent {
    Intent {
        caller: "ci".to_owned(),
        token: token.to_owned(),
    }
}

fn call(payload: &str, begun: u64, ended: u64, heard: Heard) -> Call {
    Call {
        intent: intent("t"),
        payload: payload.to_owned(),
        replica: "1".to_owned(),
        begun,
        ended,
        heard,
    }
}

fn made(arn: &str) -> Heard {
    Heard::Made { arn: arn.to_owned() }
}

fn share(token: &str, payload: &str, arn: &str, made: u64) -> Share {
    Share {
        intent: intent(token),
        payload: payload.to_owned(),
        arn: arn.to_owned(),
        upstream: format!("upstream of {token}"),
        made,
    }
}

#[test]
fn a_history_of_crashes_and_retries_is_in_order() {
    let calls = [
        call("a", 0, 10, Heard::Unknown),
        call("b", 2, 3, Heard::Mismatch),
        call("a", 11, 12, Heard::TurnedAway),
        call("a", 13, 20, made("arn:1")),
        call("a", 21, 22, made("arn:1")),
        call("b", 21, 22, Heard::Mismatch),
    ];
    assert_eq!(check(&calls, &[share("t", "a", "arn:1", 5)]), []);
}

#[test]
fn a_refused_request_leaves_its_token_to_another() {
    let calls = [
        call("b", 0, 8, Heard::NotExecuted),
        call("a", 2, 3, Heard::Mismatch),
        call("a", 9, 20, made("arn:1")),
    ];
    assert_eq!(check(&calls, &[share("t", "a", "arn:1", 15)]), []);
}

#[test]
fn an_execution_whose_caller_heard_nothing_is_in_order() {
    assert_eq!(
        check(
            &[call("a", 0, 10, Heard::Unknown)],
            &[share("t", "a", "arn:1", 99)]
        ),
        []
    );
}

#[test]
fn a_second_share_is_seen() {
    let calls = [call("a", 0, 10, made("arn:1"))];
    let shares = [share("t", "a", "arn:1", 5), share("t", "a", "arn:2", 6)];
    assert_eq!(check(&calls, &shares), [Broken::SecondShare(intent("t"))]);
}

#[test]
fn a_second_arn_is_seen() {
    let calls = [call("a", 0, 10, made("arn:1")), call("a", 0, 10, made("arn:2"))];
    let shares = [share("t", "a", "arn:1", 5), share("t", "a", "arn:2", 6)];
    assert!(check(&calls, &shares).contains(&Broken::SecondArn(intent("t"))));
}

#[test]
fn an_ok_without_a_share_is_seen() {
    let calls = [call("a", 0, 10, made("arn:1"))];
    let broken = Broken::NoSuchShare(intent("t"), "arn:1".to_owned());
    assert_eq!(check(&calls, &[]), [broken]);
}

#[test]
fn an_ok_with_the_share_of_another_intent_or_request_or_of_the_future_is_seen() {
    let calls = [call("a", 0, 10, made("arn:1"))];
    let broken = Broken::NoSuchShare(intent("t"), "arn:1".to_owned());
    for other in [
        share("other", "a", "arn:1", 5),
        share("t", "b", "arn:1", 5),
        share("t", "a", "arn:1", 11),
    ] {
        assert!(
            check(&calls, std::slice::from_ref(&other)).contains(&broken),
            "{other:?}"
        );
    }
}

#[test]
fn an_upstream_token_of_two_intents_is_seen() {
    let mut other = share("other", "a", "arn:2", 5);
    other.upstream = "upstream of t".to_owned();
    let calls = [
        call("a", 0, 10, made("arn:1")),
        Call {
            intent: intent("other"),
            ..call("a", 0, 10, made("arn:2"))
        },
    ];
    let broken = Broken::SharedUpstreamToken(intent("t"), intent("other"));
    assert_eq!(check(&calls, &[share("t", "a", "arn:1", 5), other]), [broken]);
}

#[test]
fn two_payloads_under_a_token_are_seen() {
    let calls = [call("a", 0, 10, made("arn:1")), call("b", 0, 10, made("arn:2"))];
    let shares = [share("t", "a", "arn:1", 5), share("t", "b", "arn:2", 6)];
    assert!(check(&calls, &shares).contains(&Broken::SecondPayload(intent("t"))));
}

#[test]
fn a_share_of_which_everybody_heard_that_it_was_not_made_is_seen() {
    let broken = [Broken::ExecutedAllTheSame(intent("t"))];
    let shares = [share("t", "a", "arn:1", 5)];
    for heard in [Heard::NotExecuted, Heard::TurnedAway, Heard::Mismatch] {
        assert_eq!(
            check(&[call("a", 0, 10, heard.clone())], &shares),
            broken,
            "{heard:?}"
        );
    }
    assert_eq!(check(&[], &shares), broken, "nobody asked for it");
}

#[test]
fn a_late_execution_of_what_was_not_executed_is_seen() {
    let calls = [
        call("a", 0, 10, Heard::NotExecuted),
        call("a", 60, 70, made("arn:1")),
    ];
    assert_eq!(
        check(&calls, &[share("t", "a", "arn:1", 50)]),
        [Broken::ExecutedAllTheSame(intent("t"))]
    );
}

#[test]
fn not_executed_behind_the_execution_is_seen() {
    let calls = [
        call("a", 0, 10, Heard::Unknown),
        call("a", 11, 20, Heard::NotExecuted),
    ];
    assert_eq!(
        check(&calls, &[share("t", "a", "arn:1", 5)]),
        [Broken::ExecutedAllTheSame(intent("t"))]
    );
}

#[test]
fn a_token_refused_to_its_own_request_is_seen() {
    let calls = [
        call("a", 0, 10, made("arn:1")),
        call("a", 11, 20, Heard::Mismatch),
    ];
    assert_eq!(
        check(&calls, &[share("t", "a", "arn:1", 5)]),
        [Broken::OwnTokenRefused(intent("t"))]
    );
}
