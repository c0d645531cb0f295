//! The pacer under thousands of interleavings of threads, with calls dropped at any of their awaits.
//!
//! `pacer.rs` is compiled a second time, with the lock of [shuttle](https://docs.rs/shuttle) and a virtual clock in place of
//! `sync`: what runs here is the file that runs in production, not a copy. Threads are stopped at every operation on the
//! lock, a channel, the notification and the clock, and a seeded scheduler says who goes on. Shuttle does not go into
//! tokio's channel and notification, whose operations are taken as atomic, and knows no weak memory order.
//!
//! A waiter that also sleeps never hangs, so that a lost wake-up is only seen by the time: under the strict clock nothing
//! is late unless somebody was not told.
//!
//! The three tests run 10,000 interleavings each. A failure prints its seed:
//! `SHUTTLE_RANDOM_SEED=N cargo test --lib interleavings::NAME` begins with it.

// As a file it is `super::pacer`; here it sees the primitives below.
#[path = "pacer.rs"]
#[allow(
    clippy::duplicate_mod,
    dead_code,
    unreachable_pub,
    reason = "the same file with other primitives, and this is not its public face"
)]
mod pacer;
mod sync;
mod world;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use shuttle::{
    Config, Runner,
    future::block_on,
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

use super::{Metrics, Settings, rate};
use crate::{
    call::Caller,
    pacing::{Asking, End, Refusal},
};

use pacer::{Pacer, Permit};
use world::{Instant, sleep};

/// A timer of tokio is late by less than this.
const TICK: Duration = Duration::from_millis(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn draw(range: std::ops::Range<u64>) -> u64 {
    thread_rng().gen_range(range)
}

/// Few different moments, so that much happens at the same one.
fn tenths(range: std::ops::Range<u64>) -> Duration {
    ms(100 * draw(range))
}

fn is_drawn(one_in: u64) -> bool {
    draw(0..one_in) == 0
}

fn caller(number: u64) -> Caller {
    Caller::new("test", number.to_string())
}

/// Runs `scenario` under `schedules` interleavings drawn at random and as many of priorities that change at three moments,
/// which finds what needs few but certain switches (Burckhardt et al., ASPLOS 2010).
#[expect(clippy::print_stdout, reason = "the output of a test is shown when it fails")]
fn explore(schedules: usize, scenario: fn()) {
    let seed = fastrand::u64(..);
    run(RandomScheduler::new_from_seed(seed, schedules), scenario);
    // Shuttle names the seed of a random one only.
    println!("without a seed below, it was SHUTTLE_RANDOM_SEED={seed}");
    run(PctScheduler::new_from_seed(seed, 4, schedules), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 0x2_0000;
    Runner::new(scheduler, config).run(move || {
        world::begin();
        // The pacer draws which requests a failing RAM is spared.
        fastrand::seed(draw(0..u64::MAX));
        scenario();
    });
}

/// Awaits `future` until it is ready, or drops it at one of its awaits: after so many polls, or at a moment of the clock.
/// What the clock says is looked at before or after what the future says, so that some leave who were just told.
async fn or_leave<T>(future: impl Future<Output = T>, polls: u64, after: Duration) -> Option<T> {
    let mut future = pin!(future);
    let mut time = pin!(sleep(after));
    let is_hasty = is_drawn(2);
    let mut polled = 0;
    poll_fn(|cx| {
        let is_over = is_hasty && time.as_mut().poll(cx).is_ready();
        if is_over || polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        if polled == polls || time.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Runs the tasks of a scenario to their end, and the clock with them.
fn play(pacer: &Pacer, is_strict: bool) {
    let watched = pacer.clone();
    let look = move |next: Instant| {
        if watched.metrics().queued.get() > 0 {
            let due = watched.next();
            assert!(
                next <= due + TICK,
                "somebody's turn comes at {due:?}, and nobody looks before {next:?}"
            );
        }
    };
    block_on(async {
        if is_strict {
            world::run_strict_clock(look).await;
        } else {
            world::run_loose_clock().await;
        }
    });
    assert_eq!(pacer.metrics().queued.get(), 0, "somebody is left in the queue");
}

/// Everybody asks at once. Whatever some do with their place or their permit, those who use theirs leave at the rate: no
/// right is lost, and none is used twice.
fn everybody_asks_at_once() {
    const INTERVAL: u64 = 500;
    let pacer = Pacer::new(Settings {
        rate: rate::Settings {
            initial: 2.0,
            min: 2.0,
            max: 2.0,
        },
        max_wait: ms(60_000),
        ..Settings::default()
    });
    let left = Rc::new(RefCell::new(Vec::new()));
    for number in 0..draw(2..6) {
        let (pacer, left) = (pacer.clone(), Rc::clone(&left));
        let polls = if is_drawn(3) { draw(1..5) } else { u64::MAX };
        // Often the very moment of somebody's turn.
        let patience = if is_drawn(2) {
            INTERVAL * draw(1..5)
        } else {
            60_000
        };
        world::spawn(async move {
            let deadline = Instant::now() + ms(60_000);
            let caller = caller(number % 3);
            let permit = pacer.acquire(&caller, deadline, Asking::First);
            let Some(permit) = or_leave(permit, polls, ms(patience)).await else {
                return;
            };
            let permit = permit.expect("there is room and time for all");
            if is_drawn(4) {
                return;
            }
            let under_way = permit.leave();
            if is_drawn(4) {
                return under_way.was_not_sent();
            }
            left.borrow_mut().push(Instant::now().time());
            under_way.ended(End::Accepted(ms(1)));
        });
    }
    play(&pacer, true);
    for (place, &at) in (0..).zip(left.borrow().iter()) {
        let turn = ms(INTERVAL * place);
        assert!(
            at + TICK >= turn && at <= turn + TICK + ms(place),
            "who is {place} in order has its turn at {turn:?}; they left at {:?}",
            left.borrow()
        );
    }
}

/// Callers come, leave at any moment, and RAM accepts, throttles, asks for pauses and fails.
fn anything_happens(is_strict: bool) {
    let initial = draw(1..5) as f64;
    let pacer = Pacer::new(Settings {
        rate: rate::Settings {
            initial,
            min: 0.5,
            max: 8.0,
        },
        max_wait: tenths(5..100),
        max_queued_per_caller: std::num::NonZeroUsize::new(2).unwrap(),
        max_queued: std::num::NonZeroUsize::new(3).unwrap(),
    });
    for number in 0..draw(2..6) {
        let pacer = pacer.clone();
        world::spawn(async move {
            for _ in 0..draw(1..4) {
                if is_drawn(2) {
                    sleep(tenths(0..10)).await;
                }
                send(&pacer, &caller(number % 3), is_strict).await;
            }
        });
    }
    play(&pacer, is_strict);
}

/// One request, as the layer sends it.
async fn send(pacer: &Pacer, caller: &Caller, is_strict: bool) {
    let deadline = Instant::now() + tenths(1..60);
    let mut asking = if is_drawn(5) { Asking::Again } else { Asking::First };
    loop {
        let last = deadline.max(Instant::now()) + TICK;
        let answer = ask(pacer, caller, deadline, asking).await;
        if is_strict && answer.is_some() {
            let now = Instant::now();
            assert!(now <= last, "answered at {now:?}, of use until {deadline:?}");
        }
        let Some(Ok(permit)) = answer else { return };
        if is_drawn(3) {
            sleep(tenths(0..4)).await;
        }
        if is_drawn(5) {
            return;
        }
        let under_way = permit.leave();
        let took = tenths(0..5);
        sleep(took).await;
        match draw(0..12) {
            0 => return,
            1 => return under_way.was_not_sent(),
            2 => return under_way.ended(End::Failed),
            3..6 => {
                let pause = is_drawn(2).then(|| tenths(0..40));
                under_way.ended(End::Throttled(pause));
                asking = Asking::Throttled;
            }
            _ => return under_way.ended(End::Accepted(took)),
        }
    }
}

async fn ask(
    pacer: &Pacer,
    caller: &Caller,
    deadline: Instant,
    asking: Asking,
) -> Option<Result<Permit, Refusal>> {
    let polls = if is_drawn(4) { draw(1..5) } else { u64::MAX };
    let patience = if is_drawn(4) { tenths(0..20) } else { ms(600_000) };
    or_leave(pacer.acquire(caller, deadline, asking), polls, patience).await
}

#[test]
fn no_right_is_lost_or_used_twice_whoever_leaves_when() {
    explore(5_000, everybody_asks_at_once);
}

#[test]
fn nobody_has_its_turn_late_and_everybody_an_answer_by_its_deadline() {
    explore(5_000, || anything_happens(true));
}

#[test]
fn nobody_waits_forever_when_every_task_may_be_late() {
    explore(5_000, || anything_happens(false));
}
