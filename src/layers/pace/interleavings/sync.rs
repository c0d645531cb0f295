//! The primitives of the pacer, each operation of which is a point at which another thread may run.
//!
//! The lock is shuttle's. What tasks are told by is tokio's own: its operations are atomic to each other, so it is enough
//! to stop before each. The time is virtual, and stands in `world`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use shuttle::sync::atomic::{AtomicBool, Ordering};

pub(super) use shuttle::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use super::world::{Instant, sleep_until};

/// Lets another thread run, if the scheduler chooses one.
pub(super) fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

#[derive(Debug)]
pub(super) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(super) fn new() -> Self {
        Self(tokio::sync::Notify::new())
    }

    pub(super) fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }

    pub(super) fn notified(&self) -> Stopping<Pin<Box<tokio::sync::futures::Notified<'_>>>> {
        point();
        Stopping(Box::pin(self.0.notified()))
    }
}

/// Stops before each poll.
pub(super) struct Stopping<F>(F);

impl<F: Future + Unpin> Future for Stopping<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        point();
        Pin::new(&mut self.0).poll(cx)
    }
}

pub(super) mod oneshot {
    use super::{Context, Future, Pin, Poll, point};

    use tokio::sync::oneshot::{
        self,
        error::{RecvError, TryRecvError},
    };

    pub(in super::super) struct Sender<T>(oneshot::Sender<T>);

    pub(in super::super) struct Receiver<T>(oneshot::Receiver<T>);

    pub(in super::super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(in super::super) fn send(self, value: T) -> Result<(), T> {
            point();
            self.0.send(value)
        }
    }

    impl<T> Receiver<T> {
        pub(in super::super) fn try_recv(&mut self) -> Result<T, TryRecvError> {
            point();
            self.0.try_recv()
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, RecvError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            point();
            Pin::new(&mut self.0).poll(cx)
        }
    }
}
