//! What an exploration may leave out, because the shortest way to a broken promise does not need it.
//!
//! Three arguments, each of which holds for any promise that is checked at a step, as all of them are:
//!
//! * **Nothing gained.** A step to a state that can do no more than the state before it: whatever can still go wrong
//!   afterwards could have gone wrong without it, and sooner. [`gains_nothing`] compares the two. A crash is such a step:
//!   an executor that never moves again needs no step to do so. So is a late request that is lost, a caller that is told
//!   "unknown", or a store that gives no answer where the executor might as well have waited for it.
//! * **No difference.** What no rule will ever look at again is forgotten: [`forget`].
//! * **Nothing to wait for.** A step that only its executor can see, and that stands before all else that it can do, may be
//!   taken at once: it commutes with everything that others do meanwhile, and an executor that would have stopped for ever
//!   before it can as well stop behind it. [`hurries`] finds such an executor.
//!
//! `model.rs` explores a world that is small enough with and without all this, and every mutant as well.

use super::state::{End, Executor, Expected, MEMORY, Pc, Rec, Run, SIGNATURE, Slot, State, Tick, WINDOW};

/// Whether `after` can do nothing that `before`, one step earlier, cannot.
pub(super) fn gains_nothing(before: &State, after: &State) -> bool {
    let same_world = before.now == after.now
        && before.record == after.record
        && before.share == after.share
        && before.lost == after.lost
        && before.open == after.open;
    if !same_world {
        return false;
    }
    let executors = || before.executors.iter().zip(&after.executors);
    // A request on its way can do the same whether its sender waits for it or not.
    let under_way = |payload: usize, age: usize| {
        let sent = |(was, is): (&Executor, &Executor)| {
            was != is && usize::from(was.payload) == payload && is_sent_since(was, age)
        };
        before.late[payload][age] > 0 || executors().any(sent)
    };
    let no_more_late = (0..2).all(|payload| {
        (0..=usize::from(SIGNATURE)).all(|age| after.late[payload][age] == 0 || under_way(payload, age))
    });
    no_more_late && executors().all(|(was, is)| was == is || does_no_more(was, is))
}

fn is_sent_since(executor: &Executor, age: usize) -> bool {
    matches!(executor.pc, Pc::Run { slot: Slot::Sent(since), .. } if usize::from(since) == age)
}

/// Whether an executor that is at `is` can do nothing that it could not do at `was`.
fn does_no_more(was: &Executor, is: &Executor) -> bool {
    match (was.pc, is.pc) {
        (_, Pc::Gone) => true,
        // The write that nobody waits for any more, and the one that is waited for: the same, but that its answer is
        // checked as well.
        (
            Pc::Claim {
                run,
                over,
                anew,
                behind: false,
            },
            is,
        ) => {
            is == Pc::Claim {
                run,
                over,
                anew,
                behind: true,
            }
        }
        (
            Pc::Finish {
                run,
                end,
                write,
                over,
                behind: false,
            },
            is,
        ) => {
            let behind = true;
            is == Pc::Finish {
                run,
                end,
                write,
                over,
                behind,
            } || is == Pc::Look { run, end, behind }
        }
        // Looks at the record until somebody has answered; so it does if it begins later.
        (
            Pc::Look {
                end: End::Failed { .. },
                behind: false,
                ..
            },
            Pc::Poll,
        ) => true,
        _ => false,
    }
}

/// Forgets what makes no difference any more. `sends` is how many requests a run may send, and `late` whether it may after
/// its window, as some mutants do.
pub(super) fn forget(state: &mut State, sends: u8, late: bool) {
    let now = state.now;
    if state.lost {
        // The claim that stood for the first send is forgotten, and what follows is not held against it.
        state.open = None;
    }
    if let Some(share) = &mut state.share
        && !share.token_known
    {
        share.at = 0;
    }
    for payload in 0..2 {
        let requests = &mut state.late[payload];
        // The youngest can do what the others can, and for longer. RAM executes one of them at most while it remembers
        // the token, and that is longer than the others have.
        let youngest = requests.iter().position(|&n| n > 0);
        *requests = [0; SIGNATURE as usize + 1];
        let Some(age) = youngest else { continue };
        let has_until = now + SIGNATURE - Tick::try_from(age).expect("ages are small");
        let recognised = state.share.is_some_and(|share| {
            usize::from(share.payload) == payload && share.token_known && has_until <= share.at + MEMORY
        });
        if !recognised {
            requests[age] = 1;
        }
    }
    for executor in &mut state.executors {
        forget_in(&mut executor.pc, now, sends, late);
    }
    if let Rec::InFlight { owner, .. } = &mut state.record
        && let Some(executor) = state.executors.get(usize::from(*owner))
        // Its end is a fact, whoever holds the claim.
        && matches!(executor.pc, Pc::Finish { end: End::Succeeded, .. } | Pc::Look { end: End::Succeeded, .. })
    {
        *owner = super::state::NOBODY;
    }
}

fn forget_in(pc: &mut Pc, now: Tick, most: u8, late: bool) {
    match pc {
        Pc::Run {
            run,
            sends,
            unanswered,
            ..
        } => {
            // The one is what the other makes of the end.
            run.in_doubt |= *unanswered;
            *unanswered = false;
            if !late && now > run.first_sent + WINDOW {
                *sends = most;
            }
        }
        Pc::Finish { run, end, .. } | Pc::Look { run, end, .. } => match end {
            End::Succeeded => {
                *run = Run {
                    first_sent: 0,
                    in_doubt: false,
                }
            }
            End::Failed { may_have_executed } => {
                run.in_doubt |= *may_have_executed;
                *may_have_executed = run.in_doubt;
                if !run.in_doubt {
                    run.first_sent = 0;
                }
            }
        },
        _ => {}
    }
}

/// The executor, if there is one, whose next steps only it can see.
pub(super) fn hurries(state: &State, sends: u8) -> Option<usize> {
    state.executors.iter().position(|executor| match executor.pc {
        Pc::Run {
            slot: Slot::Stale | Slot::Done | Slot::Refused,
            ..
        } => true,
        // There is nothing left but to give up.
        Pc::Run {
            slot: Slot::Empty,
            sends: sent,
            ..
        } => sent >= sends,
        // Its swap cannot succeed any more.
        Pc::Finish {
            over: Expected::Version(false),
            ..
        }
        | Pc::Claim {
            over: Expected::Version(false),
            ..
        } => true,
        _ => false,
    })
}
