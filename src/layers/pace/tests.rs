use std::{
    collections::VecDeque,
    future::ready,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use tokio::time::{Instant, advance};
use tower::service_fn;

use super::*;
use crate::{
    call::Caller,
    layers::testing::{Op, execution},
};

const LONG: Duration = Duration::from_secs(30);

/// A pacer that keeps to one rate.
fn fixed(per_second: f64) -> Pacer {
    Pacer::new(Settings {
        rate: rate::Settings {
            initial: per_second,
            min: per_second,
            max: per_second,
        },
        ..Settings::default()
    })
}

fn throttled(pause: Duration) -> Failure {
    Failure::new(Reason::Throttling, "slow down").advice(Advice::After(pause))
}

/// A RAM that answers as its script says, then with success, and notes when it was asked.
#[derive(Clone, Default)]
struct Script {
    failures: Arc<Mutex<VecDeque<Failure>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Script {
    fn fail(&self, failures: impl IntoIterator<Item = Failure>) {
        self.failures.lock().unwrap().extend(failures);
    }

    fn asked(&self) -> Vec<Instant> {
        self.asked.lock().unwrap().clone()
    }

    async fn run(&self, pacer: &Pacer, execution: Execution<Op<'t'>>) -> Result<String, Failure> {
        let script = self.clone();
        let ram = service_fn(move |_: Execution<Op<'t'>>| {
            script.asked.lock().unwrap().push(Instant::now());
            let failure = script.failures.lock().unwrap().pop_front();
            ready(failure.map_or(Ok("arn".to_owned()), Err))
        });
        PaceLayer::new(pacer.clone()).layer(ram).oneshot(execution).await
    }
}

fn delay(failure: &Failure) -> Duration {
    match failure.what_next() {
        Advice::After(delay) => delay,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_refused_as_soon_as_the_rate_falls_below_what_its_deadline_allows() {
    let pacer = fixed(1.0);
    let (caller, begun) = (Caller::new("test", "a"), Instant::now());
    let deadline = begun + Duration::from_secs(2);
    let under_way = pacer
        .acquire(&caller, deadline, Asking::First)
        .await
        .unwrap()
        .leave();

    let waits = pacer.acquire(&caller, deadline, Asking::First);
    let throttle = async {
        advance(Duration::from_millis(300)).await;
        under_way.ended(End::Throttled(Some(Duration::from_secs(20))));
    };
    let (refused, ()) = futures_util::future::join(waits, throttle).await;

    assert_eq!(refused.unwrap_err().why, Why::TooLate);
    assert_eq!(begun.elapsed().as_millis(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_back_during_a_pause_leaves_behind_it_with_no_further_wait() {
    let pacer = fixed(8.0);
    let (caller, begun) = (Caller::new("test", "a"), Instant::now());
    let ask = || pacer.acquire(&caller, begun + LONG, Asking::First);
    let (under_way, unused) = (ask().await.unwrap().leave(), ask().await.unwrap());

    let throttle = async {
        under_way.ended(End::Throttled(Some(Duration::from_secs(1))));
        advance(Duration::from_millis(300)).await;
        drop(unused);
    };
    let (permit, ()) = futures_util::future::join(ask(), throttle).await;

    let _ = permit.unwrap();
    assert_eq!(begun.elapsed().as_millis(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn requests_leave_at_the_rate() {
    let (pacer, ram) = (fixed(2.0), Script::default());
    let begun = Instant::now();

    let calls = (0..4).map(|_| async { ram.run(&pacer, execution(LONG).await).await });
    let answers = futures_util::future::join_all(calls).await;

    assert!(answers.iter().all(Result::is_ok));
    let left: Vec<_> = ram.asked().iter().map(|at| (*at - begun).as_millis()).collect();
    assert_eq!(left, [0, 500, 1_000, 1_500]);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_leave_in_time_is_refused_at_once_with_the_time_to_come_back() {
    let (pacer, ram) = (fixed(0.2), Script::default());
    ram.run(&pacer, execution(LONG).await).await.unwrap();
    let begun = Instant::now();

    let failure = ram.run(&pacer, execution(LONG).await).await.unwrap_err();

    assert_eq!(
        (failure.why(), failure.what_happened()),
        (Reason::RateLimitExceeded, Effect::None)
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let delay = delay(&failure);
    assert!(
        (Duration::from_millis(2_499)..Duration::from_millis(7_501)).contains(&delay),
        "{delay:?}"
    );
    let status = failure.to_status(None);
    assert_eq!(
        status
            .metadata()
            .get("grpc-retry-pushback-ms")
            .unwrap()
            .to_str()
            .unwrap(),
        delay.as_millis().to_string()
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_asks_again_by_itself_and_keeps_its_turn() {
    let (pacer, ram) = (fixed(2.0), Script::default());
    ram.fail([throttled(Duration::ZERO)]);
    let begun = Instant::now();

    let answer = ram.run(&pacer, execution(LONG).await).await;

    assert_eq!(answer.unwrap(), "arn");
    assert_eq!((ram.asked().len(), begun.elapsed().as_millis()), (2, 500));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_ram_asks_for_holds_up_everybody() {
    let (pacer, ram) = (fixed(10.0), Script::default());
    ram.fail([throttled(Duration::from_secs(5))]);
    let begun = Instant::now();

    let answer = ram.run(&pacer, execution(LONG).await).await;
    assert!(answer.is_ok());

    assert_eq!(begun.elapsed().as_millis(), 5_100);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_always_throttled_ends_with_rams_word_after_nine_tries() {
    let (pacer, ram) = (fixed(50.0), Script::default());
    ram.fail(std::iter::repeat_n(throttled(Duration::ZERO), 20));

    let failure = ram.run(&pacer, execution(LONG).await).await.unwrap_err();

    assert_eq!((failure.why(), ram.asked().len()), (Reason::Throttling, 9));
    assert_eq!(failure.get_metadata("throttles"), Some("9"));
    assert!(delay(&failure) >= Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_whose_next_turn_is_behind_its_deadline_ends_with_rams_word() {
    let (pacer, ram) = (fixed(1.0), Script::default());
    ram.fail([throttled(Duration::from_secs(20))]);

    let failure = ram
        .run(&pacer, execution(Duration::from_secs(10)).await)
        .await
        .unwrap_err();

    assert_eq!((failure.why(), ram.asked().len()), (Reason::Throttling, 1));
    assert!(delay(&failure) >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_the_queue_holds_nobody_up() {
    let pacer = fixed(1.0);
    let caller = Caller::new("test", "a");
    let deadline = Instant::now() + LONG;
    let first = pacer.acquire(&caller, deadline, Asking::First).await.unwrap();
    drop(first.leave());
    let mut gone = Box::pin(pacer.acquire(&caller, deadline, Asking::First));
    let mut next = Box::pin(pacer.acquire(&caller, deadline, Asking::First));
    assert!(gone.as_mut().now_or_never().is_none() && next.as_mut().now_or_never().is_none());

    drop(gone);
    advance(Duration::from_millis(1_001)).await;

    assert!(next.as_mut().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_while_its_caller_leaves_goes_to_the_next() {
    let pacer = fixed(1.0);
    let caller = Caller::new("test", "a");
    let deadline = Instant::now() + LONG;
    drop(
        pacer
            .acquire(&caller, deadline, Asking::First)
            .await
            .unwrap()
            .leave(),
    );
    let mut gone = Box::pin(pacer.acquire(&caller, deadline, Asking::First));
    let mut next = Box::pin(pacer.acquire(&caller, deadline, Asking::First));
    assert!(gone.as_mut().now_or_never().is_none() && next.as_mut().now_or_never().is_none());

    // The turn is given while nobody polls, and then its owner goes.
    advance(Duration::from_millis(1_001)).await;
    pacer
        .acquire(&caller, Instant::now(), Asking::First)
        .await
        .unwrap_err();
    drop(gone);

    assert!(next.as_mut().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_not_used_goes_to_the_next() {
    let pacer = fixed(1.0);
    let caller = Caller::new("test", "a");
    let deadline = Instant::now() + LONG;
    let unused = pacer.acquire(&caller, deadline, Asking::First).await.unwrap();
    let mut next = Box::pin(pacer.acquire(&caller, deadline, Asking::First));
    assert!(next.as_mut().now_or_never().is_none());

    drop(unused);

    assert!(next.as_mut().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_was_asked_for_before_is_used_and_no_other_is_taken() {
    let (pacer, ram) = (fixed(1.0), Script::default());
    let mut admitted = execution::<'t'>(LONG).await;
    let caller = admitted.permitted.call().caller.clone();
    let deadline = admitted.permitted.call().deadline;
    admitted.admission = Admission::Granted(pacer.acquire(&caller, deadline, Asking::First).await.unwrap());
    let begun = Instant::now();

    assert!(ram.run(&pacer, admitted).await.is_ok());

    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_is_shed_for_another_is_told() {
    let pacer = Pacer::new(Settings {
        max_queued: const { NonZeroUsize::new(2).unwrap() },
        ..Settings::default()
    });
    let deadline = Instant::now() + LONG;
    let (busy, light) = (Caller::new("test", "busy"), Caller::new("test", "light"));
    drop(
        pacer
            .acquire(&busy, deadline, Asking::First)
            .await
            .unwrap()
            .leave(),
    );
    let mut older = Box::pin(pacer.acquire(&busy, deadline, Asking::First));
    let mut newer = Box::pin(pacer.acquire(&busy, deadline, Asking::First));
    assert!(older.as_mut().now_or_never().is_none() && newer.as_mut().now_or_never().is_none());

    let mut other = Box::pin(pacer.acquire(&light, deadline, Asking::First));
    assert!(other.as_mut().now_or_never().is_none());

    let told = newer.as_mut().now_or_never().expect("it still waits");
    assert_eq!(told.unwrap_err().why, Why::QueueFull);
    assert!(older.as_mut().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_ram_that_fails_is_spared_with_a_word_that_stock_clients_obey() {
    let (pacer, ram) = (fixed(100.0), Script::default());
    ram.fail(std::iter::repeat_n(
        Failure::new(Reason::ServiceUnavailable, "down")
            .effect(Effect::Unknown)
            .advice(Advice::After(Duration::ZERO)),
        1_000,
    ));

    let mut spared = 0;
    for _ in 0..200 {
        let failure = ram.run(&pacer, execution(LONG).await).await.unwrap_err();
        if failure.why() == Reason::UpstreamUnhealthy {
            spared += 1;
            assert_eq!(failure.what_happened(), Effect::None);
            assert!(
                failure
                    .to_status(None)
                    .metadata()
                    .contains_key("grpc-retry-pushback-ms")
            );
        }
        advance(Duration::from_millis(100)).await;
    }

    assert!(spared > 100, "{spared}");
    assert!(ram.asked().len() >= 4, "no probes");
}
