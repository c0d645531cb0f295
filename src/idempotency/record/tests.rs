use super::*;

const TERMS: Terms = Terms {
    lease: 15_000,
    window: 240_000,
    settling: 480_000,
    marker: Some(MARKER),
    ttl: 86_400_000,
    max_reply: 1_000,
};
const MARKER: Marker = Marker::from_bytes([4; 8]);
const T0: UnixMillis = 1_700_000_000_000;
const OURS: Claim = Claim([1; 16]);
const OTHER: Claim = Claim([2; 16]);

fn asked() -> Fingerprint {
    Fingerprint::from_bytes([7; 32])
}

fn another() -> Fingerprint {
    Fingerprint::from_bytes([8; 32])
}

fn at(wall: UnixMillis) -> Now {
    Now { wall, steady: true }
}

fn set(wall: UnixMillis) -> Now {
    Now { wall, steady: false }
}

fn in_flight(claim: Claim) -> Record {
    Record::InFlight {
        fingerprint: asked(),
        claim,
        lease_until: T0 + TERMS.lease,
        first_sent: T0,
        marker: Some(MARKER),
    }
}

fn unknown() -> Record {
    Record::Unknown {
        fingerprint: asked(),
        first_sent: T0,
        marker: Some(MARKER),
    }
}

fn succeeded() -> Record {
    Record::Succeeded {
        fingerprint: asked(),
        reply: Bytes::from_static(b"arn"),
        recorded_at: T0,
        expires: T0 + TERMS.ttl,
    }
}

fn request(current: Option<&Record>, now: Now) -> Decision {
    on_request(current, asked(), OURS, now, &TERMS)
}

fn run(in_doubt: bool) -> Run {
    Run {
        fingerprint: asked(),
        claim: OURS,
        first_sent: T0,
        in_doubt,
        marker: Some(MARKER),
    }
}

fn end(current: Option<&Record>, run: &Run, ending: &Ending) -> Finish {
    on_end(current, run, ending, at(T0 + 5), &TERMS)
}

fn success() -> Ending {
    Ending::Succeeded {
        reply: Bytes::from_static(b"arn"),
    }
}

fn refused() -> Ending {
    Ending::Failed {
        may_have_executed: false,
    }
}

fn unanswered() -> Ending {
    Ending::Failed {
        may_have_executed: true,
    }
}

fn recorded_success() -> Finish {
    Finish::Put(Record::Succeeded {
        fingerprint: asked(),
        reply: Bytes::from_static(b"arn"),
        recorded_at: T0 + 5,
        expires: T0 + 5 + TERMS.ttl,
    })
}

#[test]
fn the_first_request_executes_without_doubt_and_its_time_starts_now() {
    assert_eq!(request(None, at(T0)), Decision::Execute(run(false)));
    assert_eq!(run(false).record(at(T0), &TERMS), in_flight(OURS));
}

#[test]
fn another_request_under_the_token_is_refused_in_every_state() {
    for record in [in_flight(OTHER), succeeded(), unknown()] {
        for now in [at(T0), at(T0 + 20_000), at(T0 + 300_000), set(T0)] {
            let decision = on_request(Some(&record), another(), OURS, now, &TERMS);
            assert_eq!(decision, Decision::Mismatch, "{record:?} {now:?}");
        }
    }
}

#[test]
fn a_request_waits_while_the_lease_lives() {
    assert_eq!(
        request(Some(&in_flight(OTHER)), at(T0 + TERMS.lease - 1)),
        Decision::Wait
    );
}

#[test]
fn after_the_lease_a_request_takes_over_in_doubt_and_keeps_the_first_time() {
    let decision = request(Some(&in_flight(OTHER)), at(T0 + TERMS.lease));

    assert_eq!(decision, Decision::Execute(run(true)));
    let Decision::Execute(run) = decision else {
        panic!()
    };
    assert_eq!(
        run.record(at(T0 + TERMS.lease), &TERMS),
        Record::InFlight {
            fingerprint: asked(),
            claim: OURS,
            lease_until: T0 + 2 * TERMS.lease,
            first_sent: T0,
            marker: Some(MARKER),
        }
    );
    assert_eq!(run.window_end(&TERMS), T0 + TERMS.window);
}

#[test]
fn a_lease_whose_owner_is_gone_is_over_at_once() {
    let mut record = in_flight(OTHER);

    record.end_lease();

    assert_eq!(request(Some(&record), at(T0)), Decision::Execute(run(true)));
}

#[test]
fn an_unknown_outcome_is_executed_again_at_once_in_doubt() {
    assert_eq!(request(Some(&unknown()), at(T0)), Decision::Execute(run(true)));
}

#[test]
fn the_window_ends_after_its_last_millisecond() {
    for record in [in_flight(OTHER), unknown()] {
        let last = request(Some(&record), at(T0 + TERMS.window));
        let late = request(Some(&record), at(T0 + TERMS.window + 1));

        assert_eq!(last, Decision::Execute(run(true)), "{record:?}");
        assert_eq!(late, Decision::Reconcile(run(true)), "{record:?}");
    }
}

#[test]
fn a_takeover_sends_another_tag_only_as_one_that_cannot_be_looked_for() {
    let other = Terms {
        marker: Some(Marker::from_bytes([5; 8])),
        ..TERMS
    };
    let without = Terms {
        marker: None,
        ..TERMS
    };
    for terms in [other, without] {
        let decision = on_request(Some(&unknown()), asked(), OURS, at(T0), &terms);
        let unmarked = Run {
            marker: None,
            ..run(true)
        };
        assert_eq!(decision, Decision::Execute(unmarked));
    }
}

fn absent(since: UnixMillis) -> Look {
    Look::Absent {
        marker: MARKER,
        since,
    }
}

/// When everything that was sent for an intent of `T0` has arrived, and RAM's list shows it.
const SETTLED: UnixMillis = T0 + TERMS.window + TERMS.settling;

#[test]
fn a_share_that_ram_lists_is_the_intents_own_whatever_the_clock_says() {
    for now in [at(T0 + 300_000), set(T0 + 300_000), at(SETTLED)] {
        assert_eq!(
            on_look(run(true), Look::Found, now, &TERMS),
            Seen::Adopt(run(true))
        );
    }
}

#[test]
fn an_absent_share_was_never_made_once_nothing_can_arrive_any_more() {
    let now = at(SETTLED + 5);
    let early = on_look(run(true), absent(SETTLED - 1), now, &TERMS);
    let late = on_look(run(true), absent(SETTLED), now, &TERMS);

    assert_eq!(early, Seen::Open);
    let anew = Run {
        first_sent: now.wall,
        ..run(false)
    };
    assert_eq!(late, Seen::Execute(anew));
}

#[test]
fn an_absence_proves_nothing_for_other_tags_for_none_or_by_a_clock_that_was_set() {
    let unmarked = Run {
        marker: None,
        ..run(true)
    };
    let other = Look::Absent {
        marker: Marker::from_bytes([5; 8]),
        since: SETTLED,
    };
    for (run, look, now) in [
        (unmarked, absent(SETTLED), at(SETTLED)),
        (run(true), other, at(SETTLED)),
        (run(true), absent(SETTLED), set(SETTLED)),
        (run(true), Look::Blind, at(SETTLED)),
    ] {
        assert_eq!(
            on_look(run, look, now, &TERMS),
            Seen::Open,
            "{run:?} {look:?} {now:?}"
        );
    }
}

#[test]
fn a_success_is_replayed_with_its_time() {
    let replay = Decision::Replay {
        reply: Bytes::from_static(b"arn"),
        recorded_at: T0,
    };
    assert_eq!(request(Some(&succeeded()), at(T0 + TERMS.ttl - 1)), replay);
}

#[test]
fn a_void_record_is_no_record_whatever_was_asked() {
    let now = at(T0 + TERMS.ttl);
    let fresh = Run {
        first_sent: now.wall,
        ..run(false)
    };
    for record in [in_flight(OTHER), succeeded(), unknown()] {
        assert_eq!(
            request(Some(&record), now),
            Decision::Execute(fresh),
            "{record:?}"
        );
        let other = on_request(Some(&record), another(), OURS, now, &TERMS);
        assert!(matches!(other, Decision::Execute(_)), "{record:?}");
    }
}

#[test]
fn on_the_word_of_a_clock_that_was_set_nothing_expires_and_nothing_is_taken_over() {
    let replayed = request(Some(&succeeded()), set(T0 + TERMS.ttl));
    assert!(matches!(replayed, Decision::Replay { .. }));
    for record in [in_flight(OTHER), unknown()] {
        for wall in [T0 + 20_000, T0 + 300_000, T0 + TERMS.ttl] {
            assert_eq!(
                request(Some(&record), set(wall)),
                Decision::Frozen,
                "{record:?} {wall}"
            );
        }
    }
}

#[test]
fn a_record_of_the_future_is_not_taken_over_since_its_age_is_unknown() {
    assert_eq!(
        request(Some(&unknown()), at(T0 - MAX_SKEW)),
        Decision::Execute(run(true))
    );
    assert_eq!(request(Some(&unknown()), at(T0 - MAX_SKEW - 1)), Decision::Frozen);
}

#[test]
fn a_success_is_recorded_whosever_claim_it_was() {
    for current in [
        None,
        Some(in_flight(OURS)),
        Some(in_flight(OTHER)),
        Some(unknown()),
    ] {
        for in_doubt in [false, true] {
            assert_eq!(
                end(current.as_ref(), &run(in_doubt), &success()),
                recorded_success(),
                "{current:?}"
            );
        }
    }
}

#[test]
fn a_recorded_success_never_changes() {
    for ending in [success(), refused(), unanswered()] {
        for in_doubt in [false, true] {
            assert_eq!(
                end(Some(&succeeded()), &run(in_doubt), &ending),
                Finish::Stale,
                "{ending:?}"
            );
        }
    }
}

#[test]
fn a_refusal_without_doubt_leaves_no_record() {
    assert_eq!(
        end(Some(&in_flight(OURS)), &run(false), &refused()),
        Finish::Delete
    );
}

#[test]
fn a_missing_answer_leaves_the_outcome_unknown() {
    assert_eq!(
        end(Some(&in_flight(OURS)), &run(false), &unanswered()),
        Finish::Put(unknown())
    );
}

#[test]
fn a_refusal_does_not_end_the_doubt_of_a_takeover() {
    assert_eq!(
        end(Some(&in_flight(OURS)), &run(true), &refused()),
        Finish::Put(unknown())
    );
}

#[test]
fn a_failure_under_a_stale_claim_changes_nothing() {
    for current in [None, Some(in_flight(OTHER)), Some(unknown())] {
        for ending in [refused(), unanswered()] {
            for in_doubt in [false, true] {
                assert_eq!(
                    end(current.as_ref(), &run(in_doubt), &ending),
                    Finish::Stale,
                    "{current:?}"
                );
            }
        }
    }
}

#[test]
fn the_end_of_a_run_never_touches_the_record_of_another_request() {
    for current in [in_flight(OURS), succeeded(), unknown()] {
        let foreign = Run {
            fingerprint: another(),
            ..run(false)
        };
        for ending in [success(), refused(), unanswered()] {
            assert_eq!(
                end(Some(&current), &foreign, &ending),
                Finish::Stale,
                "{current:?}"
            );
        }
    }
}

#[test]
fn a_reply_too_large_to_keep_is_asked_for_again() {
    let ending = |length| Ending::Succeeded {
        reply: Bytes::from(vec![0; length]),
    };
    let current = in_flight(OURS);

    assert!(matches!(
        end(Some(&current), &run(false), &ending(1_000)),
        Finish::Put(Record::Succeeded { .. })
    ));
    assert_eq!(
        end(Some(&current), &run(false), &ending(1_001)),
        Finish::Put(unknown())
    );
}

#[test]
fn open_records_expire_a_ttl_after_the_first_claim() {
    assert_eq!(in_flight(OURS).expires(&TERMS), T0 + TERMS.ttl);
    assert_eq!(unknown().expires(&TERMS), T0 + TERMS.ttl);
    assert_eq!(succeeded().expires(&TERMS), T0 + TERMS.ttl);
}

#[test]
fn a_record_comes_back_from_its_bytes() {
    for record in [in_flight(OURS), succeeded(), unknown()] {
        assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    }
}

#[test]
fn a_record_is_hardly_larger_than_its_reply() {
    let reply = Bytes::from(vec![7; 128 * 1024]);
    let record = Record::Succeeded {
        fingerprint: asked(),
        reply: reply.clone(),
        recorded_at: UnixMillis::MAX,
        expires: UnixMillis::MAX,
    };

    assert!(record.encode().len() <= reply.len() + Record::OVERHEAD);
}

#[test]
fn every_flipped_bit_of_a_record_is_noticed() {
    let bytes = succeeded().encode();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 1 << bit;
            assert!(Record::decode(&flipped).is_err(), "byte {place}, bit {bit}");
        }
    }
    for length in 0..bytes.len() {
        assert!(Record::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn only_a_success_within_its_lease_is_answered_before_it_is_written() {
    let made = Ending::Succeeded {
        reply: Bytes::from_static(b"arn"),
    };
    let refused = Ending::Failed {
        may_have_executed: false,
    };
    let lease_over = T0 + TERMS.lease;

    assert!(answers_at_once(&in_flight(OURS), &made, at(lease_over - 1)));
    assert!(!answers_at_once(&in_flight(OURS), &made, at(lease_over)));
    assert!(!answers_at_once(&in_flight(OURS), &made, set(T0)));
    assert!(!answers_at_once(&in_flight(OURS), &refused, at(T0)));
    assert!(!answers_at_once(&unknown(), &made, at(T0)));
}

#[test]
fn the_bytes_of_a_record_are_pinned() {
    let bytes = succeeded().encode();

    // A release that cannot read these loses the records of the release before.
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let fingerprint = "07".repeat(32);
    assert_eq!(
        hex,
        format!("01521234cdda4a0b4e0a20{fingerprint}1a130a0361726e1080d095ffbc31188088afa8bd31")
    );
}

#[test]
fn a_record_of_a_release_that_knew_no_marker_is_read_as_one_without() {
    let unmarked = Record::Unknown {
        fingerprint: asked(),
        first_sent: T0,
        marker: None,
    };
    // As that release wrote it.
    let bytes = unmarked.encode();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        hex,
        format!("01a9232a8e400665da0a20{}22070880d095ffbc31", "07".repeat(32))
    );
    assert_eq!(Record::decode(&bytes).unwrap(), unmarked);
}

#[test]
fn debug_does_not_show_the_reply() {
    assert!(!format!("{:?}", succeeded()).contains("arn"));
}
