//! Everything that can happen next, as `layers/idempotency/leader.rs` drives `record.rs`, and what must never happen.

use super::{
    machine::{self, Decision, Seen},
    reduce,
    state::{
        End, Executor, Expected, MEMORY, NOBODY, Payload, Pc, Rec, Run, SIGNATURE, Share, Slot, State, Tick,
        WINDOW, Write,
    },
};

/// What an exploration covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The executors' payloads, one for each.
    pub(crate) payloads: &'static [Payload],
    /// Most requests that one run sends.
    pub(crate) sends: u8,
    /// The last tick.
    pub(crate) horizon: Tick,
    /// Whether the store may fail, with the write done or not, and answer late.
    pub(crate) store_errors: bool,
    /// Whether the store may lose everything, or one acknowledged write, once.
    pub(crate) store_loss: bool,
    /// Whether to leave out what can show nothing new.
    pub(crate) reduced: bool,
    /// A deliberate mistake.
    pub(crate) mutant: Option<Mutant>,
}

/// Mistakes that the rules are there to prevent. None of them is in the product: each bends a call into `record.rs`, or
/// what is done with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Each attempt has a client token of its own.
    RandomToken,
    /// The end of a run is written whoever holds the claim.
    UnfencedFinish,
    /// An attempt that timed out removes the record.
    DeleteOnTimeout,
    /// A refusal or a throttle is taken for news about the attempts before it.
    RefusalEndsDoubt,
    /// A takeover starts as if nobody had sent anything.
    TakeoverWithoutDoubt,
    /// A takeover starts a window of its own.
    TakeoverWithNewFirstSent,
    /// A takeover after the window sends again.
    TakeoverAfterTheWindow,
    /// A request leaves although the window has closed since its claim.
    SendAfterTheWindow,
    /// After the window the list is asked for a tag that the requests do not carry.
    ReconcileWithoutMarker,
    /// A share that the list does not show was never made, however early one looks.
    ReconcileTooSoon,
    /// A run whose end cannot be written answers as if its claim were still its own.
    ClaimTrustedWithoutStore,
    /// A failure is answered before its end is written.
    FailureAnsweredAtOnce,
}

impl Mutant {
    /// Whether requests leave after their window by this mistake itself.
    fn sends_late(self) -> bool {
        matches!(self, Self::SendAfterTheWindow | Self::TakeoverAfterTheWindow)
    }
}

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// At most one share, also after a store loss while RAM remembers.
    I1OneShare,
    /// Every OK names that share.
    I2OneAnswer,
    /// "Not executed" is true, and stays true of what was sent before.
    I3NotExecutedIsTrue,
    /// A recorded success never changes.
    I4SuccessStays,
    /// No request leaves after the window.
    I5NothingLeavesLate,
    /// Another request under the token is never sent while one is open.
    I6OnePayload,
}

/// One thing that happens, and to which executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) who: Option<usize>,
    pub(crate) what: &'static str,
}

/// What a step leads to.
pub(crate) type Next = (Step, Result<State, Invariant>);

/// Where the steps from one state are gathered.
pub(crate) struct Driver<'a> {
    settings: &'a Settings,
    from: &'a State,
    out: &'a mut Vec<Next>,
}

/// Writes everything that can happen in `from` to `out`.
pub(crate) fn steps(settings: &Settings, from: &State, out: &mut Vec<Next>) {
    let mut driver = Driver { settings, from, out };
    if settings.reduced
        && let Some(who) = reduce::hurries(from, settings.sends)
    {
        driver.executor(who);
    } else {
        driver.time();
        driver.ram_and_network();
        driver.loss();
        for who in 0..from.executors.len() {
            driver.executor(who);
        }
    }
    if settings.reduced {
        let late = settings.mutant.is_some_and(Mutant::sends_late);
        out.retain_mut(|(_, outcome)| match outcome {
            Ok(next) => {
                reduce::forget(next, settings.sends, late);
                !reduce::gains_nothing(from, next)
            }
            Err(_) => true,
        });
    }
}

impl Driver<'_> {
    fn is(&self, mutant: Mutant) -> bool {
        self.settings.mutant == Some(mutant)
    }

    fn push(&mut self, who: Option<usize>, what: &'static str, next: Result<State, Invariant>) {
        self.out.push((Step { who, what }, next));
    }

    /// The executor goes on as `pc`, and nothing else changes.
    fn goes_on(&mut self, who: usize, what: &'static str, pc: Pc) {
        let mut next = self.from.clone();
        next.executors[who].pc = pc;
        self.push(Some(who), what, Ok(next));
    }

    fn time(&mut self) {
        if self.from.now < self.settings.horizon {
            let mut next = self.from.clone();
            next.tick();
            self.push(None, "two minutes pass", Ok(next));
        }
        if let Some(share) = self.from.share
            && share.token_known
            && self.from.now - share.at > MEMORY
        {
            let mut next = self.from.clone();
            next.share = Some(Share {
                token_known: false,
                ..share
            });
            self.push(None, "RAM forgets the token", Ok(next));
        }
    }

    /// Requests that nobody waits for any more. One that is refused, or that RAM recognises, is as good as lost: it changes
    /// nothing and nobody hears of it.
    fn ram_and_network(&mut self) {
        for payload in [0_u8, 1] {
            for age in 0..=SIGNATURE {
                let count = self.from.late[usize::from(payload)][usize::from(age)];
                if count == 0 {
                    continue;
                }
                let mut lost = self.from.clone();
                lost.late[usize::from(payload)][usize::from(age)] -= 1;
                if !self.recognises() {
                    let mut executed = lost.clone();
                    if let Some(outcome) = executes(&mut executed, payload) {
                        let what = "a late request arrives, and RAM executes it";
                        self.push(None, what, outcome.map(|()| executed));
                    }
                }
                self.push(None, "a late request is lost", Ok(lost));
            }
        }
    }

    /// Whether RAM knows the token of the request that just arrived.
    fn recognises(&self) -> bool {
        !self.is(Mutant::RandomToken) && self.from.share.is_some_and(|share| share.token_known)
    }

    fn loss(&mut self) {
        if self.settings.store_loss && !self.from.lost && self.from.record != Rec::Absent {
            let mut next = self.from.clone();
            next.lost = true;
            next.write(Rec::Absent);
            self.push(None, "the store is lost", Ok(next));
        }
    }

    fn executor(&mut self, who: usize) {
        let Executor { payload, pc } = self.from.executors[who];
        match pc {
            Pc::Gone => return,
            Pc::Start { since } => {
                for at in since..=self.from.now {
                    self.load(who, payload, at);
                }
            }
            Pc::Claim {
                run,
                over,
                anew,
                behind,
            } => self.claim(who, payload, run, over, anew, behind),
            Pc::List { run, since, over } => self.list(who, payload, run, since, over),
            Pc::Listed {
                run,
                since,
                found,
                over,
            } => self.listed(who, payload, run, since, found, over),
            Pc::Run {
                run,
                sends,
                unanswered,
                slot,
                fresh,
            } => self.run(who, payload, run, sends, unanswered, slot, fresh),
            Pc::Finish {
                run,
                end,
                write,
                over,
                behind,
            } => self.finish(who, payload, run, end, write, over, behind),
            Pc::Look { run, end, behind } => self.look(who, payload, run, end, behind),
            Pc::Poll => self.answer_from(
                who,
                payload,
                self.from.record,
                End::Failed {
                    may_have_executed: true,
                },
            ),
        }
        self.crash(who, payload);
    }

    fn crash(&mut self, who: usize, payload: Payload) {
        let mut next = self.from.clone();
        if let Pc::Run {
            slot: Slot::Sent(age),
            ..
        } = next.executors[who].pc
        {
            next.late[usize::from(payload)][usize::from(age)] += 1;
        }
        next.executors[who].pc = Pc::Gone;
        self.push(Some(who), "crashes", Ok(next));
    }

    /// `Leader::settle`: the next turn of its loop.
    fn again(&self) -> Pc {
        Pc::Start { since: self.from.now }
    }

    /// `Leader::settle` from `self.load()` to the decision. The clock was read at `at`: any time may pass in between.
    fn load(&mut self, who: usize, payload: Payload, at: Tick) {
        let seen = self.from.record;
        let views: &[bool] = if matches!(seen, Rec::InFlight { .. }) {
            &[false, true]
        } else {
            &[false]
        };
        for &lease_over in views {
            let decision = machine::on_request(seen, lease_over, payload, name(who), at);
            self.decided(who, payload, at, decision);
        }
    }

    fn decided(&mut self, who: usize, payload: Payload, at: Tick, decision: Decision) {
        let over = self.from.expected();
        match decision {
            Decision::Execute(mut run) => {
                let takeover = run.in_doubt;
                if takeover && self.is(Mutant::TakeoverWithoutDoubt) {
                    run.in_doubt = false;
                }
                if takeover && self.is(Mutant::TakeoverWithNewFirstSent) {
                    run.first_sent = at;
                }
                let what = if takeover {
                    "decides to take over"
                } else {
                    "decides to execute"
                };
                self.goes_on(who, what, claim(run, over));
            }
            Decision::Wait => {
                self.goes_on(who, "sees a lease that is alive, and waits", self.again());
            }
            Decision::Replay => self.answers_ok(who, payload, "replays the recorded answer"),
            Decision::Mismatch => {
                self.goes_on(who, "answers that the token stands for another request", Pc::Gone)
            }
            Decision::Reconcile(run) if self.is(Mutant::TakeoverAfterTheWindow) => {
                self.goes_on(who, "decides to take over, too late", claim(run, over));
            }
            Decision::Reconcile(run) => {
                // `Leader::look`: the time that was read before the load is when the look began.
                let since = at;
                self.goes_on(
                    who,
                    "decides to ask for RAM's list",
                    Pc::List { run, since, over },
                );
            }
            Decision::Frozen => self.goes_on(who, "answers that its clock cannot tell", Pc::Gone),
        }
    }

    /// RAM's list of shares, by the marker tag. What was made this very moment may not be listed yet.
    fn list(&mut self, who: usize, payload: Payload, run: Run, since: Tick, over: Expected) {
        let listed = |found| Pc::Listed {
            run,
            since,
            found,
            over,
        };
        let share = self
            .from
            .share
            .filter(|share| share.payload == payload && !self.is(Mutant::ReconcileWithoutMarker));
        if share.is_some() {
            self.goes_on(who, "finds its share in RAM's list", listed(true));
        }
        if share.is_none_or(|share| share.at == self.from.now) {
            self.goes_on(who, "misses its share in RAM's list", listed(false));
        }
    }

    /// `record::on_look` on what the list shows, and what it decides.
    fn listed(&mut self, who: usize, payload: Payload, run: Run, since: Tick, found: bool, over: Expected) {
        let since = if self.is(Mutant::ReconcileTooSoon) {
            Tick::MAX
        } else {
            since
        };
        match machine::on_look(run, payload, name(who), found, since, self.from.now) {
            Seen::Open => self.goes_on(who, "answers that the outcome is unknown", Pc::Gone),
            Seen::Execute(run) => {
                let pc = Pc::Claim {
                    run,
                    over,
                    anew: true,
                    behind: false,
                };
                self.goes_on(who, "decides that it was never executed, and to execute", pc);
            }
            // `Leader::adopt`: `finish` begins with a look at the record.
            Seen::Adopt(run) => {
                let pc = Pc::Look {
                    run,
                    end: End::Succeeded,
                    behind: false,
                };
                self.goes_on(who, "decides that the share is its own", pc);
            }
        }
    }

    /// `Leader::settle`: `self.put(version, &claimed)`.
    fn claim(&mut self, who: usize, payload: Payload, run: Run, over: Expected, anew: bool, behind: bool) {
        let claimed = |fresh| Pc::Run {
            run,
            sends: 0,
            unanswered: false,
            slot: Slot::Empty,
            fresh,
        };
        if self.from.matches(over) {
            let mut next = self.from.clone();
            let record = machine::claimed(run, payload, name(who), self.from.now);
            let kept = put(&mut next, record);
            next.executors[who].pc = if behind { Pc::Gone } else { claimed(true) };
            if anew {
                next.open = None;
            }
            let what = if behind {
                "its claim is written after all"
            } else {
                "claims"
            };
            self.push(Some(who), what, kept.map(|()| next));
            if self.settings.store_loss && !self.from.lost && !behind {
                let mut next = self.from.clone();
                next.lost = true;
                next.executors[who].pc = claimed(false);
                self.push(
                    Some(who),
                    "claims, and the store loses the claim that it acknowledged",
                    Ok(next),
                );
            }
        } else if !behind {
            self.goes_on(who, "finds the record changed, and begins again", self.again());
        }
        if self.settings.store_errors && !behind {
            let pc = Pc::Claim {
                run,
                over,
                anew,
                behind: true,
            };
            self.goes_on(
                who,
                "gets no answer from the store, and answers that nothing was sent",
                pc,
            );
        }
    }

    /// `execute(token, window)`: the layers `retry` and `attempt`.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of one state")]
    fn run(
        &mut self,
        who: usize,
        payload: Payload,
        run: Run,
        sends: u8,
        unanswered: bool,
        slot: Slot,
        fresh: bool,
    ) {
        let with = |run, unanswered, slot| Pc::Run {
            run,
            sends,
            unanswered,
            slot,
            fresh,
        };
        match slot {
            Slot::Empty => {
                if sends < self.settings.sends {
                    self.send(who, payload, run, sends, unanswered, fresh);
                }
                // The budget, the deadline, a refusal that is final, or the end of the window.
                let end = End::Failed {
                    may_have_executed: unanswered,
                };
                self.ends(who, payload, run, end, fresh, "gives up");
                if !unanswered && sends == 0 {
                    let end = End::Failed {
                        may_have_executed: true,
                    };
                    self.ends(
                        who,
                        payload,
                        run,
                        end,
                        fresh,
                        "is cut off by the execution's deadline",
                    );
                }
            }
            Slot::Sent(age) => {
                self.ram_receives(
                    who,
                    payload,
                    with(run, unanswered, Slot::Done),
                    with(run, unanswered, Slot::Refused),
                );
                let mut next = self.from.clone();
                next.late[usize::from(payload)][usize::from(age)] += 1;
                self.unanswered(who, next, run, sends, fresh, "stops waiting for an answer");
            }
            Slot::Stale => self.unanswered(
                who,
                self.from.clone(),
                run,
                sends,
                fresh,
                "stops waiting for an answer",
            ),
            Slot::Done => {
                self.ends(who, payload, run, End::Succeeded, fresh, "hears of RAM's success");
                self.unanswered(who, self.from.clone(), run, sends, fresh, "loses RAM's answer");
            }
            Slot::Refused => {
                let heard = if self.is(Mutant::RefusalEndsDoubt) {
                    let certain = Run {
                        in_doubt: false,
                        ..run
                    };
                    with(certain, false, Slot::Empty)
                } else {
                    with(run, unanswered, Slot::Empty)
                };
                self.goes_on(who, "hears that RAM refused or throttled", heard);
                self.unanswered(who, self.from.clone(), run, sends, fresh, "loses RAM's answer");
            }
        }
    }

    fn send(&mut self, who: usize, payload: Payload, run: Run, sends: u8, unanswered: bool, fresh: bool) {
        let now = self.from.now;
        let late = self.settings.mutant.is_some_and(Mutant::sends_late);
        if !late && !machine::may_leave(run, payload, name(who), now) {
            return;
        }
        let mut next = self.from.clone();
        next.executors[who].pc = Pc::Run {
            run,
            sends: sends + 1,
            unanswered,
            slot: Slot::Sent(0),
            fresh,
        };
        let (first, theirs) = *next.open.get_or_insert((now, payload));
        let outcome = if self.from.lost {
            // The claim that stood for the first send is forgotten.
            Ok(next)
        } else if theirs != payload {
            Err(Invariant::I6OnePayload)
        } else if now - first > WINDOW {
            Err(Invariant::I5NothingLeavesLate)
        } else {
            Ok(next)
        };
        self.push(Some(who), "sends", outcome);
    }

    fn ram_receives(&mut self, who: usize, payload: Payload, done: Pc, refused: Pc) {
        self.goes_on(who, "is refused or throttled by RAM", refused);
        if self.recognises() {
            if self.from.share.is_some_and(|share| share.payload == payload) {
                self.goes_on(
                    who,
                    "is recognised by RAM, which answers with the share that it made",
                    done,
                );
            }
            // With another payload RAM refuses, which stands above.
        } else {
            let mut next = self.from.clone();
            next.executors[who].pc = done;
            if let Some(outcome) = executes(&mut next, payload) {
                self.push(Some(who), "is executed by RAM", outcome.map(|()| next));
            }
        }
    }

    fn unanswered(
        &mut self,
        who: usize,
        mut next: State,
        run: Run,
        sends: u8,
        fresh: bool,
        what: &'static str,
    ) {
        if self.is(Mutant::DeleteOnTimeout) {
            next.write(Rec::Absent);
            next.executors[who].pc = Pc::Gone;
            let truth = not_executed(&next, self.from.executors[who].payload);
            return self.push(
                Some(who),
                "times out, removes the record, says not executed",
                truth.map(|()| next),
            );
        }
        next.executors[who].pc = Pc::Run {
            run,
            sends,
            unanswered: true,
            slot: Slot::Empty,
            fresh,
        };
        self.push(Some(who), what, Ok(next));
    }

    /// `Leader::conclude`: answers at once where it may. `finish(known, ..)` begins with the record that the claim wrote.
    fn ends(&mut self, who: usize, payload: Payload, run: Run, end: End, fresh: bool, what: &'static str) {
        let known = machine::claimed(run, payload, name(who), self.from.now);
        let Some(write) = machine::on_end(known, run, payload, name(who), end, self.from.now) else {
            return;
        };
        for lease_over in [false, true] {
            let behind = machine::answers_at_once(known, lease_over, end, self.from.now)
                || self.is(Mutant::FailureAnsweredAtOnce);
            let mut next = self.from.clone();
            next.executors[who].pc = Pc::Finish {
                run,
                end,
                write,
                over: Expected::Version(fresh),
                behind,
            };
            let told = if behind {
                answer(&next, payload, run, end)
            } else {
                Ok(())
            };
            self.push(Some(who), what, told.map(|()| next));
        }
    }

    /// `Leader::finish`: the swap.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of one state")]
    fn finish(
        &mut self,
        who: usize,
        payload: Payload,
        run: Run,
        end: End,
        write: Write,
        over: Expected,
        behind: bool,
    ) {
        if self.from.matches(over) {
            let mut next = self.from.clone();
            let kept = match write {
                Write::Put(record) => put(&mut next, record),
                Write::Delete => {
                    next.open = None;
                    put(&mut next, Rec::Absent)
                }
            };
            next.executors[who].pc = Pc::Gone;
            let told = if behind {
                Ok(())
            } else {
                answer(&next, payload, run, end)
            };
            self.push(
                Some(who),
                "writes its end, and answers",
                kept.and(told).map(|()| next),
            );
            if self.settings.store_loss && !self.from.lost {
                let mut next = self.from.clone();
                next.lost = true;
                next.executors[who].pc = Pc::Gone;
                self.push(
                    Some(who),
                    "writes its end, which the store acknowledges and loses",
                    Ok(next),
                );
            }
        } else {
            let pc = Pc::Look { run, end, behind };
            self.goes_on(who, "finds the record changed", pc);
        }
        if self.settings.store_errors && !behind {
            let told = answer_unwritten(self.settings, self.from, payload, run, end);
            let behind = true;
            for pc in [
                Pc::Finish {
                    run,
                    end,
                    write,
                    over,
                    behind,
                },
                Pc::Look { run, end, behind },
            ] {
                let mut next = self.from.clone();
                next.executors[who].pc = pc;
                let what = "gets no answer from the store, answers, and writes behind";
                self.push(Some(who), what, told.map(|()| next));
            }
        }
    }

    /// `Leader::finish`: `self.load()`, and `record::on_end` on what it found.
    fn look(&mut self, who: usize, payload: Payload, run: Run, end: End, behind: bool) {
        let seen = self.from.record;
        let owner = match seen {
            Rec::InFlight { owner, .. } if self.is(Mutant::UnfencedFinish) => owner,
            _ => name(who),
        };
        match machine::on_end(seen, run, payload, owner, end, self.from.now) {
            Some(write) => {
                let pc = Pc::Finish {
                    run,
                    end,
                    write,
                    over: self.from.expected(),
                    behind,
                };
                self.goes_on(who, "looks at the record, and decides what to write", pc);
            }
            None if behind => self.goes_on(who, "finds that the record is another's", Pc::Gone),
            None => self.answer_from(who, payload, seen, end),
        }
    }

    /// `Leader::answer_from`.
    fn answer_from(&mut self, who: usize, payload: Payload, seen: Rec, end: End) {
        let failed = matches!(end, End::Failed { .. });
        match seen {
            Rec::Succeeded { payload: theirs } if theirs == payload => {
                self.answers_ok(who, payload, "answers with another run's success");
            }
            Rec::InFlight { payload: theirs, .. } if failed && theirs == payload => {
                self.goes_on(who, "waits for the run that replaced it", Pc::Poll);
                self.goes_on(who, "answers that the outcome is unknown", Pc::Gone);
            }
            _ if failed => self.goes_on(who, "answers that the outcome is unknown", Pc::Gone),
            _ => self.answers_ok(who, payload, "answers with its own success"),
        }
    }

    fn answers_ok(&mut self, who: usize, payload: Payload, what: &'static str) {
        let mut next = self.from.clone();
        next.executors[who].pc = Pc::Gone;
        let truth = names_the_share(&next, payload);
        self.push(Some(who), what, truth.map(|()| next));
    }
}

fn name(who: usize) -> u8 {
    u8::try_from(who).unwrap_or(NOBODY)
}

fn claim(run: Run, over: Expected) -> Pc {
    Pc::Claim {
        run,
        over,
        anew: false,
        behind: false,
    }
}

/// Changes the record, which a recorded success must not be.
fn put(state: &mut State, record: Rec) -> Result<(), Invariant> {
    if matches!(state.record, Rec::Succeeded { .. }) {
        return Err(Invariant::I4SuccessStays);
    }
    state.write(record);
    Ok(())
}

/// RAM makes a share. `None` where nothing was promised: the store was lost, and RAM has forgotten the token since.
fn executes(state: &mut State, payload: Payload) -> Option<Result<(), Invariant>> {
    match state.share {
        None => {
            state.share = Some(Share {
                payload,
                at: state.now,
                token_known: true,
            });
            Some(Ok(()))
        }
        Some(first) if state.lost && state.now - first.at > MEMORY => None,
        Some(_) => Some(Err(Invariant::I1OneShare)),
    }
}

/// What a run tells its caller once its end is written.
fn answer(state: &State, payload: Payload, run: Run, end: End) -> Result<(), Invariant> {
    match end {
        End::Succeeded => names_the_share(state, payload),
        End::Failed { .. } if machine::is_open_after(run, end) => Ok(()),
        End::Failed { .. } => not_executed(state, payload),
    }
}

/// What a run tells its caller when its end cannot be written.
///
/// A failure is open then: whether its claim was still its own is what the store would have said.
fn answer_unwritten(
    settings: &Settings,
    state: &State,
    payload: Payload,
    run: Run,
    end: End,
) -> Result<(), Invariant> {
    match end {
        End::Failed { .. } if settings.mutant != Some(Mutant::ClaimTrustedWithoutStore) => Ok(()),
        End::Failed { .. } | End::Succeeded => answer(state, payload, run, end),
    }
}

fn names_the_share(state: &State, payload: Payload) -> Result<(), Invariant> {
    match state.share {
        Some(share) if share.payload == payload => Ok(()),
        _ => Err(Invariant::I2OneAnswer),
    }
}

/// Whether "not executed" is true: there is no share of the request, and none can come of what was sent.
fn not_executed(state: &State, payload: Payload) -> Result<(), Invariant> {
    let made = state.share.is_some_and(|share| share.payload == payload);
    if !state.lost && (made || state.is_under_way(payload)) {
        return Err(Invariant::I3NotExecutedIsTrue);
    }
    Ok(())
}
