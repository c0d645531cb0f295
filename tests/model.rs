//! Visits every state that `idempotency/record.rs` can bring about between several executors, a store, RAM and a network
//! that all misbehave, and holds each against the promises.
//!
//! `record.rs` itself is called, not a copy: `model/machine.rs` hands its values over. What surrounds it in the product,
//! `layers/idempotency/leader.rs`, is mirrored step by step in `model/driver.rs`:
//!
//! | `leader.rs` | step of the model |
//! |---|---|
//! | `settle`: `self.shared.clock.read()` | `Start`: reads the clock, at any time between being there and loading. Any time may pass before the next step, here and below |
//! | `settle`: `self.load()` | the same step: the record as it is now; its lease may be over whatever the clock says, as after `writer_gone` or with clocks that differ |
//! | `settle`: `record::on_request(..)` | the same call, with the time that was read before the load |
//! | `Decision::Wait` | back to `Start`, for the pauses between looks; giving up is the same as a crash |
//! | `Decision::Replay`, `Mismatch`, `Frozen` | answers; an OK is held against RAM |
//! | `look`: `find(..)` | `List`: RAM's list may miss what was made this moment; the look counts from the time that was read before the load |
//! | `look`: `record::on_look(..)` | `Listed`: the same call, with a clock that is read anew; a look that fails is the same as a crash |
//! | `adopt` | `Look` with a success, below |
//! | `settle`: `self.put(version, &claimed)` | `Claim`: done, a conflict, acknowledged and lost, or without an answer and then done late or never |
//! | `execute`: `execute(token, window)` | `Run`: the layers `retry` and `attempt`; sends while `run.window_end(..)` allows it. RAM receives at once, late or never, recognises, executes, refuses or throttles; its answer arrives, comes too late or is lost |
//! | `execute`: `timeout_at(self.deadline, execution)` | `Run`: is cut off by the execution's deadline |
//! | `conclude`: `record::answers_at_once(..)` | the same call, with a lease that is alive or over: an OK is held against RAM, and `Finish` goes on `behind` |
//! | `conclude`: `self.finish(known, ..)` | `Finish`: `record::on_end` on the record that the claim wrote, then the swap |
//! | `finish`: a conflict, `self.load()` | `Look`: `record::on_end` on what is there |
//! | `conclude`: the arm `Err(error)`, `finish_behind` | `Finish` and `Look` with `behind`: answered already, with the write under way or still to come |
//! | `answer_from(..)` | `answer_from`, `Poll`: what becomes of the run that took the claim |
//! | the process is killed | crashes, at every step |
//!
//! Besides: two minutes pass, down to the last moment at which something is still allowed; RAM forgets a token at any time
//! after its ten minutes; the store loses everything, or one write that it acknowledged, once.
//!
//! Left out: what happens in one process, where callers join an execution (`live.rs`); the end of a record's life after a
//! day; clocks that jump, which freeze takeovers.
//!
//! The mutants are mistakes of the driver, or of a call into `record.rs`. Each must be found, or the model proves nothing.
//!
//! Two executors are explored with every step there is. Between three the steps are too many; `model/reduce.rs` says which
//! of them the shortest way to a broken promise does not need, and why. Every mutant is caught both ways.
//!
//! `cargo test` explores small worlds to their end and the large one to a limit; `make model` goes to the end of all, with
//! two sends for each executor:
//!
//! | world | states | transitions |
//! |---|---|---|
//! | two executors | 7,375,067 | 54,870,832 |
//! | two executors, two payloads | 13,485,734 | 96,996,911 |
//! | three executors, reduced | 11,160,824 | 43,869,267 |
//! | three executors, two payloads, reduced | 20,959,494 | 73,376,361 |
//!
//! That takes three to four minutes of one processor, and 2 GB.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it prints what it explored, and how long that took"
)]

#[path = "model/driver.rs"]
mod driver;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/reduce.rs"]
mod reduce;
#[path = "model/state.rs"]
mod state;

use std::time::Instant;

use driver::{Invariant, Mutant, Settings};
use explore::{Report, explore};

/// Two executors with two sends each, one request, and everything that can go wrong.
const TWO: Settings = Settings {
    payloads: &[0, 0],
    sends: 2,
    // Past the end of the window, of RAM's memory and of the time after which a missing share proves something.
    horizon: 7,
    store_errors: true,
    store_loss: true,
    reduced: false,
    mutant: None,
};

/// One send each.
const SMALL: Settings = Settings { sends: 1, ..TWO };

/// Three executors with two sends each: only without what can show nothing new is there an end to it.
const THREE: Settings = Settings {
    payloads: &[0, 0, 0],
    reduced: true,
    ..TWO
};

/// The same, and one of them has another request under the token.
const THREE_OF_TWO_KINDS: Settings = Settings {
    payloads: &[0, 0, 1],
    ..THREE
};

fn holds(name: &str, settings: &Settings, most: usize) -> Report {
    let begun = Instant::now();
    let report = explore(settings, most);
    println!(
        "{name}: {} states, {} transitions, up to {} steps from the start, {}, {:.1} s",
        report.states,
        report.transitions,
        report.depth,
        if report.complete {
            "all that there are"
        } else {
            "cut off there"
        },
        begun.elapsed().as_secs_f32()
    );
    if let Some(broken) = &report.broken {
        panic!("{name}: {:?} is broken:\n{}", broken.invariant, broken.trace);
    }
    report
}

/// Holds a mutant against the promises, with every step and without those that are left out.
fn falls(mutant: Mutant, settings: Settings, to: Invariant) {
    for reduced in [false, true] {
        let settings = Settings {
            mutant: Some(mutant),
            reduced,
            ..settings
        };
        let report = explore(&settings, 2_000_000);
        let broken = report.broken.expect("the model does not see this mistake");
        println!(
            "{mutant:?}, reduced: {reduced}: {:?} after {} states\n{}",
            broken.invariant, report.states, broken.trace
        );
        assert_eq!(broken.invariant, to);
    }
}

const NO_LIMIT: usize = usize::MAX;

#[test]
fn the_promises_hold_between_two_executors() {
    let settings = Settings {
        store_errors: false,
        ..SMALL
    };
    assert!(holds("two executors, one send each", &settings, NO_LIMIT).complete);
}

#[test]
fn the_promises_hold_between_two_executors_without_what_is_left_out() {
    let reduced = Settings {
        reduced: true,
        ..SMALL
    };
    assert!(holds("two executors, one send each, reduced", &reduced, NO_LIMIT).complete);
}

#[test]
fn the_promises_hold_between_two_requests_under_one_token() {
    let settings = Settings {
        payloads: &[0, 1],
        store_errors: false,
        ..SMALL
    };
    assert!(holds("two executors, two payloads", &settings, NO_LIMIT).complete);
}

#[test]
fn the_promises_hold_between_three_executors_as_far_as_there_is_time() {
    holds("three executors", &THREE, 150_000);
    holds("three executors, two payloads", &THREE_OF_TWO_KINDS, 150_000);
}

#[test]
#[ignore = "takes minutes and 2 GB: make model"]
fn the_promises_hold_all_the_way() {
    assert!(holds("two executors, two sends each", &TWO, NO_LIMIT).complete);
    let two_kinds = Settings {
        payloads: &[0, 1],
        ..TWO
    };
    assert!(
        holds(
            "two executors, two payloads, two sends each",
            &two_kinds,
            NO_LIMIT
        )
        .complete
    );
    assert!(holds("three executors", &THREE, NO_LIMIT).complete);
    assert!(holds("three executors, two payloads", &THREE_OF_TWO_KINDS, NO_LIMIT).complete);
}

/// Where a mistake shows without a store that fails.
const QUIET: Settings = Settings {
    store_errors: false,
    store_loss: false,
    ..TWO
};

#[test]
fn a_random_token_for_each_attempt_is_caught() {
    falls(Mutant::RandomToken, QUIET, Invariant::I1OneShare);
}

#[test]
fn a_finish_that_does_not_look_at_the_claim_is_caught() {
    falls(Mutant::UnfencedFinish, QUIET, Invariant::I3NotExecutedIsTrue);
}

#[test]
fn a_time_out_that_removes_the_record_is_caught() {
    falls(Mutant::DeleteOnTimeout, QUIET, Invariant::I3NotExecutedIsTrue);
}

#[test]
fn a_failure_that_is_answered_before_its_end_is_written_is_caught() {
    falls(
        Mutant::FailureAnsweredAtOnce,
        QUIET,
        Invariant::I3NotExecutedIsTrue,
    );
}

#[test]
fn a_refusal_that_ends_the_doubt_is_caught() {
    falls(Mutant::RefusalEndsDoubt, QUIET, Invariant::I3NotExecutedIsTrue);
}

#[test]
fn a_takeover_without_doubt_is_caught() {
    falls(
        Mutant::TakeoverWithoutDoubt,
        QUIET,
        Invariant::I3NotExecutedIsTrue,
    );
}

#[test]
fn a_takeover_with_a_window_of_its_own_is_caught() {
    falls(
        Mutant::TakeoverWithNewFirstSent,
        QUIET,
        Invariant::I5NothingLeavesLate,
    );
}

#[test]
fn a_takeover_after_the_window_is_caught() {
    falls(
        Mutant::TakeoverAfterTheWindow,
        QUIET,
        Invariant::I5NothingLeavesLate,
    );
}

#[test]
fn a_send_after_the_window_is_caught() {
    falls(Mutant::SendAfterTheWindow, QUIET, Invariant::I5NothingLeavesLate);
}

#[test]
fn a_look_for_a_tag_that_nothing_carries_is_caught() {
    let settings = Settings { sends: 1, ..QUIET };
    falls(
        Mutant::ReconcileWithoutMarker,
        settings,
        Invariant::I3NotExecutedIsTrue,
    );
}

#[test]
fn a_look_too_soon_is_caught() {
    let settings = Settings { sends: 1, ..QUIET };
    falls(Mutant::ReconcileTooSoon, settings, Invariant::I3NotExecutedIsTrue);
}

#[test]
fn a_claim_that_is_trusted_while_the_store_is_down_is_caught() {
    let settings = Settings {
        store_errors: true,
        ..QUIET
    };
    falls(
        Mutant::ClaimTrustedWithoutStore,
        settings,
        Invariant::I3NotExecutedIsTrue,
    );
}
