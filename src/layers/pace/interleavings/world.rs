//! Virtual time, and tasks that it knows of.
//!
//! A strict clock goes on only when nobody has anything to do, to the next moment at which somebody wanted to be woken.
//! So whatever happens late happens because nobody was told in time. A loose clock goes on whenever the scheduler likes:
//! every task may be late, and a timer may fire between any two steps.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    ops::Add,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::sync::point;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(Duration);

impl Instant {
    pub(super) fn now() -> Self {
        point();
        Self(WORLD.with_borrow(|world| world.now))
    }

    pub(super) fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    pub(super) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Since the beginning of the run.
    pub(super) fn time(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

thread_local! {
    /// All threads of a run are coroutines of one, and none is stopped while this is borrowed.
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Default)]
struct World {
    now: Duration,
    /// Who wants to be woken when, by the order in which they began to sleep.
    timers: BTreeMap<(Duration, u64), Waker>,
    sleeps: u64,
    /// Tasks that have not ended, and those of them that have something to do.
    live: usize,
    busy: usize,
    clock: Option<Waker>,
}

impl World {
    fn tell_clock() {
        let clock = WORLD.with_borrow_mut(|world| world.clock.take());
        if let Some(clock) = clock {
            clock.wake();
        }
    }
}

/// Forgets the run before.
pub(super) fn begin() {
    WORLD.set(World::default());
}

/// Ends at `until`, or as tokio's timer does at the next whole millisecond.
pub(super) fn sleep_until(until: Instant) -> Sleep {
    let millis = until.0.as_nanos().div_ceil(1_000_000);
    Sleep {
        until: Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)),
        number: None,
    }
}

pub(super) fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

pub(super) struct Sleep {
    until: Duration,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        point();
        let is_over = WORLD.with_borrow_mut(|world| {
            if world.now >= self.until {
                return true;
            }
            let number = *self.number.get_or_insert_with(|| {
                world.sleeps += 1;
                world.sleeps
            });
            world.timers.insert((self.until, number), cx.waker().clone());
            false
        });
        if is_over {
            return Poll::Ready(());
        }
        World::tell_clock();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let until = self.until;
            WORLD.with_borrow_mut(|world| world.timers.remove(&(until, number)));
        }
    }
}

/// Runs `task` on a thread of its own.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) -> shuttle::future::JoinHandle<()> {
    WORLD.with_borrow_mut(|world| {
        world.live += 1;
        world.busy += 1;
    });
    shuttle::future::spawn_local(Task {
        inner: Box::pin(task),
        state: Arc::default(),
    })
}

struct Task {
    inner: Pin<Box<dyn Future<Output = ()>>>,
    state: Arc<TaskState>,
}

#[derive(Default)]
struct TaskState(Mutex<Wakes>);

#[derive(Default)]
struct Wakes {
    is_idle: bool,
    was_woken: bool,
    thread: Option<Waker>,
}

impl Wake for TaskState {
    fn wake(self: Arc<Self>) {
        let mut wakes = self.0.lock().unwrap();
        wakes.was_woken = true;
        if std::mem::take(&mut wakes.is_idle) {
            WORLD.with_borrow_mut(|world| world.busy += 1);
        }
        if let Some(thread) = &wakes.thread {
            thread.wake_by_ref();
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut wakes = self.state.0.lock().unwrap();
            wakes.was_woken = false;
            wakes.thread = Some(cx.waker().clone());
            // The thread was woken by a lock that it has long had.
            if wakes.is_idle {
                return Poll::Pending;
            }
        }
        let waker = Waker::from(Arc::clone(&self.state));
        let ended = self.inner.as_mut().poll(&mut Context::from_waker(&waker));
        let mut wakes = self.state.0.lock().unwrap();
        wakes.is_idle = !wakes.was_woken || ended.is_ready();
        let is_quiet = WORLD.with_borrow_mut(|world| {
            world.live -= usize::from(ended.is_ready());
            world.busy -= usize::from(wakes.is_idle);
            world.busy == 0
        });
        if is_quiet {
            World::tell_clock();
        }
        ended
    }
}

/// Makes time pass until all tasks have ended. `look` sees each moment at which nobody has anything to do, with the moment
/// at which the next one will.
pub(super) async fn run_strict_clock(look: impl Fn(Instant)) {
    loop {
        wait_until(|world| world.busy == 0).await;
        if WORLD.with_borrow(|world| world.live == 0) {
            return;
        }
        let next = WORLD.with_borrow(|world| world.timers.keys().next().map(|(at, _)| *at));
        let next = next.expect("everybody waits, and nobody will ever be woken");
        look(Instant(next));
        let woken = WORLD.with_borrow_mut(|world| {
            world.now = next;
            let later = world.timers.split_off(&(next, u64::MAX));
            std::mem::replace(&mut world.timers, later)
        });
        woken.into_values().for_each(Waker::wake);
    }
}

/// Makes time pass at any moment, until all tasks have ended.
pub(super) async fn run_loose_clock() {
    loop {
        wait_until(|world| world.live == 0 || !world.timers.is_empty()).await;
        let next = WORLD.with_borrow_mut(|world| world.timers.pop_first());
        let Some(((next, _), woken)) = next else { return };
        WORLD.with_borrow_mut(|world| world.now = world.now.max(next));
        woken.wake();
        point();
    }
}

async fn wait_until(is_so: impl Fn(&World) -> bool) {
    poll_fn(|cx| {
        WORLD.with_borrow_mut(|world| {
            if is_so(world) {
                return Poll::Ready(());
            }
            world.clock = Some(cx.waker().clone());
            Poll::Pending
        })
    })
    .await;
}
