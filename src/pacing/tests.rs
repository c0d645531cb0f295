use proptest::prelude::*;

use super::*;

fn at(seconds: f64) -> Time {
    Duration::from_secs_f64(seconds)
}

const FAR: Time = Duration::from_secs(1_000_000);

/// A pacer that lets `per_second` through and does not search.
fn fixed(per_second: f64) -> Pacing<char> {
    Pacing::new(Settings {
        rate: rate::Settings {
            initial: per_second,
            min: per_second,
            max: per_second,
        },
        ..Settings::default()
    })
}

fn ask(pacing: &mut Pacing<char>, now: f64, caller: char) -> Answer {
    pacing.ask(at(now), &caller, FAR, Asking::First, 0.0)
}

fn ticket(answer: Answer) -> Ticket {
    match answer {
        Answer::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_leaves_at_once_or_in_its_turn() {
    let mut pacing = fixed(2.0);

    assert_eq!(ask(&mut pacing, 0.0, 'a'), Answer::Go);
    let first = ticket(ask(&mut pacing, 0.0, 'a'));
    let second = ticket(ask(&mut pacing, 0.0, 'a'));
    let other = ticket(ask(&mut pacing, 0.0, 'b'));

    assert_eq!(pacing.verdicts(at(0.4)), []);
    assert_eq!(pacing.next(at(0.4)).unwrap().as_millis(), 499);
    assert_eq!(pacing.verdicts(at(0.5)), [(first, Verdict::Go)]);
    assert_eq!(pacing.verdicts(at(1.0)), [(other, Verdict::Go)]);
    assert_eq!(pacing.verdicts(at(1.5)), [(second, Verdict::Go)]);
    assert_eq!(pacing.next(at(1.5)), None);
}

#[test]
fn a_request_whose_turn_comes_too_late_is_refused_with_the_time_it_would_take() {
    let mut pacing = fixed(2.0);
    let _ = ask(&mut pacing, 0.0, 'a');
    for _ in 0..4 {
        ticket(ask(&mut pacing, 0.0, 'a'));
    }

    let Answer::Refuse(refusal) = ask(&mut pacing, 0.0, 'a') else {
        panic!("it was let in")
    };
    assert_eq!(refusal.why, Why::TooLate);
    assert_eq!(refusal.wait.as_millis(), 2_499);
    assert!(
        matches!(ask(&mut pacing, 0.0, 'b'), Answer::Wait(_)),
        "another's turn comes sooner"
    );
    let soon = pacing.ask(at(0.0), &'c', at(0.3), Asking::First, 0.0);
    assert!(
        matches!(soon, Answer::Refuse(r) if r.why == Why::TooLate),
        "{soon:?}"
    );
}

#[test]
fn only_new_requests_are_turned_away_for_the_longest_wait() {
    let mut pacing = fixed(0.2);
    let _ = ask(&mut pacing, 0.0, 'a');

    assert!(matches!(ask(&mut pacing, 0.0, 'a'), Answer::Refuse(_)));
    for asking in [Asking::Again, Asking::Throttled] {
        let answer = pacing.ask(at(0.0), &'a', FAR, asking, 0.0);
        assert!(matches!(answer, Answer::Wait(_)), "{answer:?}");
    }
}

#[test]
fn who_cannot_meet_its_deadline_any_more_is_refused_and_the_next_goes() {
    let mut pacing = fixed(1.0);
    let _ = ask(&mut pacing, 0.0, 'a');
    let late = ticket(pacing.ask(at(0.0), &'a', at(1.5), Asking::First, 0.0));
    let next = ticket(pacing.ask(at(0.0), &'a', FAR, Asking::First, 0.0));

    pacing.ended(at(0.0), End::Throttled(Some(at(5.0))), false);
    let verdicts = pacing.verdicts(at(6.1));

    assert!(
        matches!(verdicts[0], (t, Verdict::Refuse(r)) if t == late && r.why == Why::TooLate),
        "{verdicts:?}"
    );
    assert_eq!(verdicts[1], (next, Verdict::Go));
}

#[test]
fn a_full_queue_sheds_the_newest_of_whoever_queues_most() {
    let mut pacing = Pacing::new(Settings {
        max_wait: FAR,
        max_queued: const { std::num::NonZeroUsize::new(3).unwrap() },
        max_queued_per_caller: const { std::num::NonZeroUsize::new(3).unwrap() },
        ..Settings::default()
    });
    let _ = ask(&mut pacing, 0.0, 'a');
    let tickets: Vec<_> = (0..3).map(|_| ticket(ask(&mut pacing, 0.0, 'a'))).collect();

    let own = ask(&mut pacing, 0.0, 'a');
    assert!(
        matches!(own, Answer::Refuse(r) if r.why == Why::QueueFull),
        "{own:?}"
    );
    assert!(matches!(ask(&mut pacing, 0.0, 'b'), Answer::Wait(_)));

    let verdicts = pacing.verdicts(at(0.0));
    assert!(
        matches!(verdicts[..], [(t, Verdict::Refuse(r))] if t == tickets[2] && r.why == Why::QueueFull),
        "{verdicts:?}"
    );
    assert_eq!(pacing.queued(), 3);
}

#[test]
fn a_right_that_was_not_used_goes_to_the_next() {
    let mut pacing = fixed(1.0);
    assert_eq!(ask(&mut pacing, 0.0, 'a'), Answer::Go);
    let next = ticket(ask(&mut pacing, 0.0, 'b'));

    pacing.give_back(at(0.1));

    assert_eq!(pacing.verdicts(at(0.1)), [(next, Verdict::Go)]);
}

#[test]
fn who_leaves_the_queue_holds_nobody_up() {
    let mut pacing = fixed(1.0);
    let _ = ask(&mut pacing, 0.0, 'a');
    let gone = ticket(ask(&mut pacing, 0.0, 'a'));
    let next = ticket(ask(&mut pacing, 0.0, 'b'));

    assert!(pacing.leave(gone));
    assert!(!pacing.leave(gone));

    assert_eq!(pacing.verdicts(at(1.0)), [(next, Verdict::Go)]);
}

#[test]
fn a_ram_that_fails_gets_probes_and_what_is_refused_may_come_back_in_five_seconds() {
    let mut pacing = fixed(10.0);
    for second in 0..60 {
        pacing.ended(at(f64::from(second)), End::Failed, false);
    }

    assert_eq!(ask(&mut pacing, 60.0, 'a'), Answer::Go, "a probe");
    let refused = ask(&mut pacing, 61.0, 'a');
    assert!(
        matches!(refused, Answer::Refuse(r) if r.why == Why::UpstreamFailing && r.wait == at(5.0)),
        "{refused:?}"
    );
    assert_eq!(pacing.regime(at(61.0)), Regime::Failing);
}

#[test]
fn the_regime_says_what_the_pacer_is_about() {
    let mut pacing = Pacing::<char>::new(Settings::default());
    assert_eq!(pacing.regime(at(1.0)), Regime::SlowStart);

    pacing.ended(at(2.0), End::Throttled(Some(at(3.0))), false);

    assert_eq!(pacing.regime(at(4.0)), Regime::Paused);
    assert_eq!(pacing.regime(at(6.0)), Regime::Throttled);
    assert_eq!(pacing.regime(at(63.0)), Regime::Steady);
}

proptest! {
    /// Whatever callers do, everyone who waits gets exactly one verdict, and nobody leaves faster than the rate.
    #[test]
    fn every_ticket_gets_one_verdict_and_the_rate_is_kept(
        steps in prop::collection::vec((0_u8..8, prop::sample::select(vec!['a', 'b', 'c']), 0_u64..2_000), 1..200),
    ) {
        let mut pacing = fixed(4.0);
        let mut waiting = std::collections::BTreeSet::new();
        let mut now = Time::ZERO;
        let mut gone = 0_u32;
        for (kind, caller, pass) in steps {
            match kind {
                0..=4 => match pacing.ask(now, &caller, now + at(3.0), Asking::First, 0.5) {
                    Answer::Go => gone += 1,
                    Answer::Wait(ticket) => prop_assert!(waiting.insert(ticket)),
                    Answer::Refuse(_) => {}
                },
                5 => if let Some(&ticket) = waiting.iter().next() {
                    prop_assert!(pacing.leave(ticket));
                    waiting.remove(&ticket);
                },
                _ => now += Duration::from_millis(pass),
            }
            for (ticket, verdict) in pacing.verdicts(now) {
                prop_assert!(waiting.remove(&ticket), "a second verdict");
                gone += u32::from(verdict == Verdict::Go);
            }
            prop_assert_eq!(waiting.len(), pacing.queued());
            prop_assert!(f64::from(gone) <= 1.0 + 4.0 * now.as_secs_f64() + 1e-3);
        }
        pacing.verdicts(now + FAR);
        let mut rest = 0;
        for _ in 0..waiting.len() {
            now += FAR;
            rest += pacing.verdicts(now).len();
        }
        prop_assert!(pacing.queued() == 0 && rest <= waiting.len());
    }
}
