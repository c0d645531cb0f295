//! Every test runs in virtual time against a scripted RAM and a store in a map; the clock of the records is virtual too.

mod answered;
mod fixture;
mod memory;
mod paced;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use self::fixture::{Accept, Create, Fixture, Input, Output, Read, Then};
use super::Settings;
use crate::{
    failure::{Advice, Effect, Failure, Reason},
    idempotency::{UpstreamToken, record::Record, sqlite::SqliteStore},
};

const SECOND: Duration = Duration::from_secs(1);
/// How long requests may leave, in milliseconds, by the default settings.
const WINDOW: u64 = 240_000;
/// How long after its first claim what RAM does not show was never made.
const SETTLED: u64 = WINDOW + 480_000;

fn refused() -> Then {
    Then::Fail(Failure::new(Reason::Throttling, "too many").advice(Advice::After(SECOND)))
}

fn unanswered() -> Then {
    Then::Fail(Failure::new(Reason::AwsTimeout, "no answer").effect(Effect::Unknown))
}

#[tokio::test(start_paused = true)]
async fn the_same_token_twice_executes_once_and_replays_the_first_answer() {
    let fixture = Fixture::new();

    let first = fixture.create("ci", "share", "token").await.unwrap();
    sleep(SECOND).await;
    let second = fixture.create("ci", "share", "token").await.unwrap();

    assert_eq!(fixture.ram.sent().len(), 1);
    assert_eq!(first.output, second.output);
    assert_eq!(first.output.client_token, "token");
    assert_eq!(first.replayed, None);
    assert_eq!(second.replayed, Some(fixture::START));
}

#[tokio::test(start_paused = true)]
async fn many_callers_at_once_join_one_execution() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, Then::Succeed);

    let calls = (0..50).map(|_| fixture.create("ci", "share", "token"));
    let answers = futures_util::future::join_all(calls).await;

    assert_eq!(fixture.ram.sent().len(), 1);
    for answer in answers {
        assert_eq!(answer.unwrap().output.arn, "arn:1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_used_for_another_request_is_refused_before_and_after_the_answer() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, Then::Succeed);
    let first = fixture.spawn("ci", "share", "token");
    sleep(SECOND / 2).await;

    let during = fixture.create("ci", "other", "token").await.unwrap_err();
    first.await.unwrap().unwrap();
    let after = fixture.create("ci", "other", "token").await.unwrap_err();

    for failure in [during, after] {
        assert_eq!(failure.why(), Reason::TokenMismatch);
        assert_eq!(failure.what_happened(), Effect::None);
        assert_eq!(failure.what_next(), Advice::Never);
        assert!(failure.message().starts_with("client_token: "), "{failure}");
    }
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_does_not_make_the_right_one_fail_while_it_is_looked_at() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();

    let (wrong, right) = tokio::join!(
        fixture.create("ci", "other", "token"),
        fixture.create("ci", "share", "token")
    );

    assert_eq!(wrong.unwrap_err().why(), Reason::TokenMismatch);
    assert_eq!(right.unwrap().output.arn, "arn:1");
}

#[tokio::test(start_paused = true)]
async fn an_execution_whose_caller_hangs_up_is_recorded_for_the_next() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, Then::Succeed);
    let call = fixture.spawn("ci", "share", "token");
    sleep(SECOND / 2).await;
    call.abort();
    sleep(SECOND).await;

    let answer = fixture.create("ci", "share", "token").await.unwrap();

    assert_eq!(answer.output.arn, "arn:1");
    assert!(answer.replayed.is_some());
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_callers_with_the_same_token_do_not_meet() {
    let fixture = Fixture::new();

    let one = fixture.create("one", "share", "token").await.unwrap();
    let two = fixture.create("two", "share", "token").await.unwrap();

    let sent = fixture.ram.sent();
    assert_ne!(one.output.arn, two.output.arn);
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0].token, sent[1].token);
    assert!(sent.iter().all(|sent| sent.token != "token"));
}

#[tokio::test(start_paused = true)]
async fn after_an_ambiguous_end_the_next_request_sends_the_same_token_in_the_same_window() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, unanswered());

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();
    assert_eq!(failure.why(), Reason::AwsTimeout);
    assert_eq!(failure.what_happened(), Effect::Unknown);
    assert_eq!(failure.what_next(), Advice::After(SECOND));
    assert!(matches!(fixture.record(), Some(Record::Unknown { .. })));

    let answer = fixture.create("ci", "share", "token").await.unwrap();
    let sent = fixture.ram.sent();
    assert_eq!(answer.output.arn, "arn:1");
    assert_eq!(sent[0].token, sent[1].token);
    assert_eq!(sent[0].window.unwrap().wall, fixture::START + 240_000);
    assert_eq!(sent[1].window.unwrap().wall, sent[0].window.unwrap().wall);
    assert_eq!(
        sent[1].window.unwrap().monotonic,
        sent[0].window.unwrap().monotonic
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_ram_leaves_no_record() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, refused());

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::Throttling);
    assert_eq!(failure.what_happened(), Effect::None);
    assert_eq!(fixture.record(), None);
    // Not even another request is held against the token: it stands for nothing.
    fixture.create("ci", "other", "token").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_takeover_is_in_doubt_so_that_a_refusal_does_not_settle_it() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - 20_000);
    let throttled = Failure::new(Reason::Throttling, "too many")
        .metadata("awsRequestId", "r-1")
        .metadata("attempts", "3");
    fixture.ram.next(SECOND, Then::Fail(throttled));

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::OutcomeUnknown);
    assert_eq!(failure.what_happened(), Effect::Unknown);
    assert_eq!(failure.what_next(), Advice::After(SECOND));
    assert_eq!(failure.get_metadata("cause"), Some("THROTTLING"));
    assert_eq!(failure.get_metadata("awsRequestId"), Some("r-1"));
    assert_eq!(failure.get_metadata("attempts"), Some("3"));
    assert!(matches!(
        fixture.record(),
        Some(Record::Unknown { first_sent, .. }) if first_sent == fixture::START - 20_000
    ));
}

#[tokio::test(start_paused = true)]
async fn past_the_window_what_ram_does_not_show_is_unknown_and_nothing_is_sent() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - WINDOW - 1);

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::OutcomeUnknown);
    assert_eq!(failure.what_happened(), Effect::Unknown);
    assert_eq!(failure.what_next(), Advice::After(30 * SECOND));
    assert_eq!(fixture.ram.looked_for().len(), 1);
    assert_eq!(fixture.ram.sent().len(), 0);
    assert!(matches!(fixture.record(), Some(Record::InFlight { .. })));
}

#[tokio::test(start_paused = true)]
async fn past_the_window_what_ram_shows_is_the_answer_and_is_recorded() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - WINDOW - 1);
    fixture.ram.shows(SECOND, Ok(Some("arn:found")));

    let found = fixture.create("ci", "share", "token").await.unwrap();
    let again = fixture.create("ci", "share", "token").await.unwrap();

    assert_eq!(found.output.arn, "arn:found");
    assert_eq!(found.output.client_token, "token");
    assert_eq!(found.replayed, Some(fixture::START + 1_000));
    assert_eq!((again.output, again.replayed), (found.output, found.replayed));
    let token = UpstreamToken::derive(&fixture.key("token"));
    assert_eq!(fixture.ram.looked_for(), [token.as_str()]);
    assert_eq!(fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_ram_does_not_show_long_after_the_window_is_executed_in_a_window_of_its_own() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - SETTLED);
    fixture.ram.shows(SECOND, Ok(None));
    fixture.ram.next(SECOND, refused());

    // Without doubt: a refusal says that nothing happened.
    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(
        (failure.why(), failure.what_happened()),
        (Reason::Throttling, Effect::None)
    );
    let sent = fixture.ram.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0].token,
        UpstreamToken::derive(&fixture.key("token")).as_str()
    );
    assert_eq!(sent[0].window.unwrap().wall, fixture::START + 1_000 + WINDOW);
    assert_eq!(fixture.record(), None);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_began_too_early_proves_nothing_when_it_ends_late() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - SETTLED + 1);
    fixture.ram.shows(10 * SECOND, Ok(None));

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::OutcomeUnknown);
    assert_eq!(fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_proves_nothing() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - SETTLED);
    let denied = Failure::new(Reason::AwsAccessDenied, "no");
    fixture.ram.shows(SECOND, Err(denied));
    fixture.ram.shows(3_600 * SECOND, Ok(None));

    let failed = fixture.create("ci", "share", "token").await.unwrap_err();
    let begun = Instant::now();
    let endless = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failed.why(), Reason::OutcomeUnknown);
    assert_eq!(failed.get_metadata("cause"), Some("AWS_ACCESS_DENIED"));
    assert_eq!(failed.what_next(), Advice::After(30 * SECOND));
    assert_eq!(endless.what_happened(), Effect::Unknown);
    assert_eq!(begun.elapsed(), fixture::PATIENCE);
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_marker_nobody_looks() {
    let fixture = Fixture::with(Settings {
        marker_tag: "".into(),
        ..Settings::default()
    });
    fixture.claimed_elsewhere("token", fixture::START - SETTLED);

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::OutcomeUnknown);
    assert!(matches!(failure.what_next(), Advice::After(_)));
    assert_eq!(fixture.ram.looked_for().len() + fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_was_introduced_later_finds_but_does_not_rule_out() {
    let before = Fixture::with(Settings {
        marker_tag: "".into(),
        ..Settings::default()
    });
    before.claimed_elsewhere("token", fixture::START - SETTLED);
    let after = before.configured(Settings::default());

    let absent = after.create("ci", "share", "token").await.unwrap_err();
    after.ram.shows(SECOND, Ok(Some("arn:found")));
    let found = after.create("ci", "share", "token").await.unwrap();

    assert_eq!(absent.why(), Reason::OutcomeUnknown);
    assert_eq!(found.output.arn, "arn:found");
    assert_eq!(after.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_miss_a_share_one_executes() {
    let fixture = Fixture::new();
    let other = fixture.replica();
    fixture.claimed_elsewhere("token", fixture::START - SETTLED);
    fixture.ram.shows(SECOND, Ok(None));
    fixture.ram.shows(SECOND, Ok(None));
    fixture.ram.next(SECOND, Then::Succeed);

    let (one, two) = tokio::join!(
        fixture.create("ci", "share", "token"),
        other.create("ci", "share", "token")
    );

    assert_eq!(one.unwrap().output, two.unwrap().output);
    assert_eq!(fixture.ram.looked_for().len(), 2);
    assert_eq!(fixture.ram.sent().len(), 1);
}

/// The clock jumps while an execution runs: what it sends, and what others decide meanwhile and afterwards.
async fn a_jump_in_mid_call(jump: i64) {
    let fixture = Fixture::new();
    let other = fixture.replica();
    fixture.ram.next(20 * SECOND, unanswered());
    let running = fixture.spawn("ci", "share", "token");
    sleep(SECOND).await;
    let window = fixture.ram.sent()[0].window.unwrap();

    fixture.move_clock(jump);

    // The lease looks over, or far from it: on the word of this clock nothing is taken over, and nothing has expired.
    sleep(16 * SECOND).await;
    let meanwhile = other.spawn("ci", "share", "token");
    let first = running.await.unwrap().unwrap_err();
    let meanwhile = meanwhile.await.unwrap().unwrap_err();
    let afterwards = fixture.create("ci", "share", "token").await.unwrap_err();
    let another = other.create("ci", "other", "token").await.unwrap_err();

    assert_eq!(first.what_happened(), Effect::Unknown, "{jump}");
    for failure in [meanwhile, afterwards] {
        assert_eq!(failure.what_happened(), Effect::Unknown, "{jump}: {failure:?}");
    }
    assert_eq!(another.why(), Reason::TokenMismatch, "{jump}");
    assert_eq!(fixture.ram.sent().len(), 1, "{jump}");
    assert_eq!(fixture.ram.looked_for().len(), 0, "{jump}");
    // What runs stays within its window by the clock that did not jump.
    assert!(window.monotonic <= Instant::now() + Duration::from_millis(WINDOW));

    // After as long as RAM remembers a token, the clock is trusted again: the list of shares has the last word.
    sleep(Duration::from_secs(2 * 3_600)).await;
    fixture.ram.shows(SECOND, Ok(Some("arn:1")));
    let settled = fixture.create("ci", "share", "token").await;
    if jump > 24 * 3_600_000 {
        // The record is older than its ttl by this clock, and void.
        assert_eq!(settled.unwrap().replayed, None, "{jump}");
    } else {
        assert_eq!(settled.unwrap().output.arn, "arn:1", "{jump}");
        assert_eq!(fixture.ram.sent().len(), 1, "{jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_in_mid_call_takes_nothing_over_and_expires_nothing() {
    for jump in [-3_600_000, 25 * 3_600_000, 600_000] {
        a_jump_in_mid_call(jump).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_answer_is_replayed_by_a_clock_that_was_set_beyond_its_time() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "token").await.unwrap();

    fixture.move_clock(25 * 3_600_000);

    let replayed = fixture.create("ci", "share", "token").await.unwrap();
    assert_eq!(replayed.output.arn, "arn:1");
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_the_clock_was_set_nothing_is_taken_over() {
    let fixture = Fixture::new();
    fixture.claimed_elsewhere("token", fixture::START - 20_000);
    fixture.move_clock(60_000);

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::OutcomeUnknown);
    assert_eq!(fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_nothing_is_sent() {
    for operations_before in [0, 1] {
        let fixture = Fixture::new();
        fixture.store.fail(operations_before, 1);

        let failure = fixture.create("ci", "share", "token").await.unwrap_err();

        assert_eq!(failure.why(), Reason::StoreUnavailable);
        assert_eq!(failure.what_happened(), Effect::None);
        assert!(matches!(failure.what_next(), Advice::After(_)));
        assert_eq!(fixture.ram.sent().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_not_taken_for_none() {
    let fixture = Fixture::new();
    fixture.store.put(fixture.key("token"), "damaged".into());

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(failure.why(), Reason::StoreUnavailable);
    assert_eq!(fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_cannot_be_recorded_is_answered_and_recorded_later() {
    let fixture = Fixture::new();
    fixture.store.fail(2, 3);

    let answer = fixture.create("ci", "share", "token").await.unwrap();

    assert_eq!(answer.output.arn, "arn:1");
    assert!(matches!(fixture.record(), Some(Record::InFlight { .. })));
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert!(matches!(fixture.record(), Some(Record::Succeeded { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_cannot_be_recorded_does_not_say_that_nothing_happened() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, refused());
    fixture.store.fail(2, 3);

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(
        failure.what_happened(),
        Effect::Unknown,
        "another replica may have taken over and executed it"
    );
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(fixture.record(), None, "it is settled behind the answer");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_panics_leaves_its_record_claimed_and_nobody_waiting() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, Then::Panic);

    let calls = (0..3).map(|_| fixture.create("ci", "share", "token"));
    let answers = futures_util::future::join_all(calls).await;

    for answer in answers {
        let failure = answer.unwrap_err();
        assert_eq!(failure.why(), Reason::Internal);
        assert_eq!(failure.what_happened(), Effect::Unknown);
    }
    assert!(matches!(fixture.record(), Some(Record::InFlight { .. })));
    // Its lease runs out, and the next request repeats it under the same token.
    sleep(14 * SECOND).await;
    fixture.create("ci", "share", "token").await.unwrap();
    assert_eq!(fixture.ram.sent()[0].token, fixture.ram.sent()[1].token);
}

#[tokio::test(start_paused = true)]
async fn one_intent_has_only_so_many_waiters() {
    let fixture = Fixture::with(Settings {
        waiters_per_key: 2.try_into().unwrap(),
        ..Settings::default()
    });
    fixture.ram.next(SECOND, Then::Succeed);
    let waiting: Vec<_> = (0..3).map(|_| fixture.spawn("ci", "share", "token")).collect();
    sleep(SECOND / 4).await;

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();
    assert_eq!(failure.why(), Reason::InProgress);
    assert!(matches!(failure.what_next(), Advice::After(_)));

    // Who hangs up makes room.
    waiting[2].abort();
    sleep(SECOND / 4).await;
    fixture.create("ci", "share", "token").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_waiters_in_all() {
    let fixture = Fixture::with(Settings {
        waiters: 2.try_into().unwrap(),
        ..Settings::default()
    });
    fixture.ram.next(SECOND, Then::Succeed);
    fixture.ram.next(SECOND, Then::Succeed);
    for token in ["one", "one", "two", "two"] {
        fixture.spawn("ci", "share", token);
    }
    sleep(SECOND / 2).await;

    let joiner = fixture.create("ci", "share", "one").await.unwrap_err();
    let leader = fixture.create("ci", "share", "three").await;

    assert_eq!(joiner.why(), Reason::InProgress);
    assert!(leader.is_ok(), "who waits for their own execution takes no place");
    sleep(SECOND).await;
    fixture.create("ci", "share", "one").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_another_replica_is_waited_for_and_its_answer_replayed() {
    let fixture = Fixture::new();
    let other = fixture.replica();
    fixture.ram.next(3 * SECOND, Then::Succeed);
    let first = fixture.spawn("ci", "share", "token");
    sleep(SECOND).await;

    let second = other.create("ci", "share", "token").await.unwrap();

    assert_eq!(second.output, first.await.unwrap().unwrap().output);
    assert!(second.replayed.is_some());
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_another_replica_that_lives_past_the_deadline_is_in_progress() {
    let fixture = Fixture::with(Settings {
        grace: Duration::ZERO,
        lease: 60 * SECOND,
        ..Settings::default()
    });
    fixture.claimed_until("token", fixture::START, fixture::START + 60_000);
    let early = fixture.spawn("ci", "share", "token");
    sleep(SECOND).await;

    let late = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(early.await.unwrap().unwrap_err().what_happened(), Effect::Unknown);
    assert_eq!(late.why(), Reason::InProgress);
    assert_eq!(late.what_happened(), Effect::Unknown);
    assert_eq!(fixture.ram.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_two_replicas_to_end_answers_what_the_first_recorded() {
    let fixture = Fixture::new();
    let other = fixture.replica();
    // The first outlives its lease of 15 s; the second takes over and is done before it.
    fixture.ram.next(25 * SECOND, refused());
    let first = fixture.spawn("ci", "share", "token");
    sleep(16 * SECOND).await;

    let second = other.create("ci", "share", "token").await.unwrap();
    let first = first.await.unwrap().unwrap();

    assert_eq!(first.output, second.output);
    assert!(first.replayed.is_some());
    assert_eq!(fixture.ram.sent().len(), 2);
    assert_eq!(fixture.ram.sent()[0].token, fixture.ram.sent()[1].token);
    assert!(matches!(fixture.record(), Some(Record::Succeeded { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_refused_run_that_lost_its_claim_does_not_say_that_nothing_happened() {
    let fixture = Fixture::new();
    let other = fixture.replica();
    fixture.ram.next(18 * SECOND, refused());
    fixture.ram.next(SECOND, unanswered());
    let first = fixture.spawn("ci", "share", "token");
    sleep(16 * SECOND).await;

    other.create("ci", "share", "token").await.unwrap_err();
    let first = first.await.unwrap().unwrap_err();

    assert_eq!(first.why(), Reason::OutcomeUnknown);
    assert_eq!(first.what_happened(), Effect::Unknown);
    assert!(matches!(fixture.record(), Some(Record::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_lives_here_is_joined_although_its_lease_is_over() {
    let fixture = Fixture::new();
    fixture.ram.next(25 * SECOND, Then::Succeed);
    let first = fixture.spawn("ci", "share", "token");
    sleep(16 * SECOND).await;

    fixture.create("ci", "share", "token").await.unwrap();

    first.await.unwrap().unwrap();
    assert_eq!(fixture.ram.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_leaves_at_its_deadline_and_the_execution_a_grace_later() {
    let fixture = Fixture::new();
    fixture.ram.next(3_600 * SECOND, Then::Succeed);
    let start = Instant::now();

    let failure = fixture.create("ci", "share", "token").await.unwrap_err();

    assert_eq!(start.elapsed(), fixture::PATIENCE);
    assert_eq!(failure.why(), Reason::DeadlineExceeded);
    assert_eq!(failure.what_happened(), Effect::Unknown);
    assert!(matches!(fixture.record(), Some(Record::InFlight { .. })));
    assert_eq!(
        fixture.ram.sent()[0].deadline,
        start + fixture::PATIENCE + 30 * SECOND
    );
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(start.elapsed(), fixture::PATIENCE + 30 * SECOND);
    assert!(matches!(fixture.record(), Some(Record::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_finishes_and_replays_but_claims_nothing_new() {
    let fixture = Fixture::new();
    fixture.create("ci", "share", "done").await.unwrap();
    fixture.ram.next(SECOND, Then::Succeed);
    let running = fixture.spawn("ci", "share", "running");
    sleep(SECOND / 2).await;

    fixture.tracker.close();

    let new = fixture.create("ci", "share", "new").await.unwrap_err();
    let unnamed = fixture.create("ci", "share", "").await.unwrap_err();
    assert_eq!(new.why(), Reason::ShuttingDown);
    assert_eq!(new.what_happened(), Effect::None);
    assert_eq!(unnamed.why(), Reason::ShuttingDown);
    assert!(
        fixture
            .create("ci", "share", "done")
            .await
            .unwrap()
            .replayed
            .is_some()
    );
    running.await.unwrap().unwrap();
    assert_eq!(fixture.ram.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_token_gets_one_and_leaves_no_record() {
    let fixture = Fixture::new();

    let one = fixture.create("ci", "share", "").await.unwrap();
    let two = fixture.create("ci", "share", "").await.unwrap();

    assert_eq!(one.output.client_token.len(), 36);
    assert_ne!(one.output.client_token, two.output.client_token);
    assert_ne!(one.output.arn, two.output.arn);
    assert!(fixture.ram.sent()[0].window.is_some());
    assert_ne!(fixture.ram.sent()[0].token, one.output.client_token);
    assert_eq!(fixture.store.records(), []);
}

#[tokio::test(start_paused = true)]
async fn the_token_that_was_made_names_the_same_intent_when_it_comes_back() {
    let fixture = Fixture::new();
    let made = fixture
        .create("ci", "share", "")
        .await
        .unwrap()
        .output
        .client_token;

    fixture.create("ci", "share", &made).await.unwrap();

    assert_eq!(fixture.ram.sent()[0].token, fixture.ram.sent()[1].token);
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_token_returns_the_made_one_and_keeps_stock_clients_from_retrying() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, unanswered());
    fixture.ram.next(SECOND, Then::Panic);

    for why in [Reason::AwsTimeout, Reason::Internal] {
        let failure = fixture.create("ci", "share", "").await.unwrap_err();

        assert_eq!(failure.why(), why);
        assert_eq!(failure.get_metadata("clientToken").unwrap().len(), 36);
        let status = failure.to_status(None);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_token_goes_on_when_its_caller_hangs_up() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, Then::Succeed);
    let call = fixture.spawn("ci", "share", "");
    sleep(SECOND / 2).await;

    call.abort();
    sleep(SECOND).await;

    assert_eq!(fixture.ram.finished(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_can_be_required() {
    let fixture = Fixture::with(Settings {
        require_client_token: true,
        ..Settings::default()
    });

    let failure = fixture.create("ci", "share", "").await.unwrap_err();

    assert_eq!(failure.why(), Reason::InvalidRequest);
    assert!(failure.message().starts_with("client_token: "), "{failure}");
    assert_eq!(fixture.ram.sent().len(), 0);
    fixture.create("ci", "share", "token").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_malformed_token_is_refused_before_the_store_is_asked() {
    let fixture = Fixture::new();
    fixture.store.fail(0, 1);

    let failure = fixture.create("ci", "share", "tökén").await.unwrap_err();

    assert_eq!(failure.why(), Reason::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn a_record_keeps_no_token() {
    let fixture = Fixture::new();

    fixture.create("ci", "share", "token").await.unwrap();

    let Some(Record::Succeeded { reply, .. }) = fixture.record() else {
        panic!("it is not recorded")
    };
    let kept = <Output as prost::Message>::decode(reply).unwrap();
    assert_eq!((kept.arn.as_str(), kept.client_token.as_str()), ("arn:1", ""));
}

#[tokio::test(start_paused = true)]
async fn a_read_passes_through_and_may_be_sent_again() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, unanswered());

    let failure = fixture.call::<Read>("ci", Input::default()).await.unwrap_err();
    fixture.call::<Read>("ci", Input::default()).await.unwrap();

    let sent = fixture.ram.sent();
    assert!(sent[0].window.is_none());
    assert_eq!(sent[0].token, "");
    assert_eq!(failure.code(), tonic::Code::Unavailable);
    assert_eq!(fixture.store.records(), []);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_ram_cannot_recognise_goes_on_alone_and_is_not_to_be_repeated_blindly() {
    let fixture = Fixture::new();
    fixture.ram.next(SECOND, unanswered());
    fixture.ram.next(SECOND, Then::Succeed);

    let failure = fixture.call::<Accept>("ci", Input::default()).await.unwrap_err();
    let call = tokio::spawn(fixture.call::<Accept>("ci", Input::default()));
    sleep(SECOND / 2).await;
    call.abort();
    sleep(SECOND).await;

    assert_eq!(failure.code(), tonic::Code::Unknown);
    assert_eq!(fixture.ram.finished(), 1);
    assert_eq!(fixture.store.records(), []);
}

#[tokio::test]
async fn two_replicas_on_one_file_of_records_execute_once() {
    // Real time: the thread of SQLite does not stop for a paused clock.
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("store")).unwrap();
    let fixture = Fixture::on(Arc::new(store), Settings::default());
    let other = fixture.replica();
    fixture.ram.next(Duration::from_millis(20), Then::Succeed);

    let calls = (0..20).map(|n| {
        let replica = if n % 2 == 0 { &fixture } else { &other };
        replica.call::<Create>("ci", fixture::input("share", "token"))
    });
    let answers = futures_util::future::join_all(calls).await;

    assert_eq!(fixture.ram.sent().len(), 1);
    for answer in answers {
        assert_eq!(answer.unwrap().output.arn, "arn:1");
    }
}

#[tokio::test]
async fn after_a_crash_the_next_request_takes_over_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (path, image) = (directory.path().join("store"), directory.path().join("image"));
    let store = SqliteStore::open(&path).unwrap();
    let crashed = Fixture::on(Arc::new(store), Settings::default());
    crashed.ram.next(3_600 * SECOND, Then::Succeed);
    let call = tokio::spawn(crashed.call::<Create>("ci", fixture::input("share", "token")));
    while crashed.ram.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    // What a killed process leaves: its files as they are.
    std::fs::copy(&path, &image).unwrap();
    std::fs::copy(
        directory.path().join("store-wal"),
        directory.path().join("image-wal"),
    )
    .unwrap();

    let start = Instant::now();
    let restarted = crashed.restarted_on(Arc::new(SqliteStore::open(&image).unwrap()));
    let answer = restarted
        .call::<Create>("ci", fixture::input("share", "token"))
        .await
        .unwrap();

    let sent = restarted.ram.sent();
    assert!(
        start.elapsed() < Settings::default().lease / 2,
        "it waited for a lease that nobody holds"
    );
    assert_eq!(answer.output.arn, "arn:1");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].token, sent[1].token);
    assert_eq!(sent[0].window.unwrap().wall, sent[1].window.unwrap().wall);
    call.abort();
}
