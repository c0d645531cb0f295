use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use serde_json::json;

use super::{
    super::issuer::{SigningKey, jwks},
    *,
};

/// Answers as told, after a while, and counts.
#[derive(Clone, Default)]
struct Scripted(Arc<Script>);

#[derive(Default)]
struct Script {
    fetches: AtomicUsize,
    /// `None` fails.
    body: Mutex<Option<String>>,
    delay: Mutex<Duration>,
}

impl Scripted {
    fn publish(&self, keys: &[&SigningKey]) {
        *self.0.body.lock().unwrap() = Some(jwks(keys));
    }

    fn fail(&self) {
        *self.0.body.lock().unwrap() = None;
    }

    fn take(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }

    fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }
}

impl Source for Scripted {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            self.0.fetches.fetch_add(1, Ordering::SeqCst);
            // What is answered is what was so when the question came.
            let body = self.0.body.lock().unwrap().clone();
            let delay = *self.0.delay.lock().unwrap();
            sleep(delay).await;
            body.map(String::into_bytes).ok_or(FetchError::TooLarge)
        })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(600)
    }
}

fn running(source: &Scripted) -> Arc<KeyRing> {
    let ring = Arc::new(KeyRing::new(
        "test",
        Box::new(source.clone()),
        None,
        Fetches::default(),
    ));
    tokio::spawn(Arc::clone(&ring).run(CancellationToken::new()));
    ring
}

async fn ready(keys: &[&SigningKey]) -> (Arc<KeyRing>, Scripted) {
    let source = Scripted::default();
    source.publish(keys);
    let ring = running(&source);
    ring.ready().await;
    (ring, source)
}

async fn verify(ring: &KeyRing, token: &str) -> Result<(), Refused> {
    let token = Token::parse(token.as_bytes()).ok().unwrap();
    ring.verify(&token).await.map(|_digest| ())
}

fn of(key: &SigningKey) -> String {
    key.token(&json!({}))
}

fn with_kid(key: &SigningKey, kid: &str) -> String {
    key.sign(&json!({"alg": key.algorithm, "kid": kid}).to_string(), "{}")
}

fn is_wrong(result: Result<(), Refused>) -> bool {
    matches!(result, Err(Refused::Wrong(_)))
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_the_first_token_names_it() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let (ring, source) = ready(&[&old]).await;
    source.publish(&[&old, &new]);

    assert_eq!(verify(&ring, &of(&new)).await, Ok(()));
    assert_eq!(verify(&ring, &of(&old)).await, Ok(()));
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_key_ids_in_five_minutes_cause_ten_fetches() {
    let key = SigningKey::p256("k");
    let (ring, source) = ready(&[&key]).await;
    for n in 0..10_000 {
        assert!(
            verify(&ring, &with_kid(&key, &format!("random-{n}")))
                .await
                .is_err()
        );
        tokio::time::advance(Duration::from_millis(30)).await;
    }

    // One at the start and one in each 30 seconds.
    let fetches = source.fetches();
    assert!((9..=11).contains(&fetches), "{fetches} fetches");
    assert!(ring.asked().absent.len() <= MAX_ABSENT);
    assert_eq!(verify(&ring, &of(&key)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn all_who_miss_a_key_wait_for_one_fetch() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let (ring, source) = ready(&[&old]).await;
    source.publish(&[&new]);
    source.take(Duration::from_secs(2));

    let token = of(&new);
    let waiting = join_all((0..100).map(|_| verify(&ring, &token))).await;

    assert!(waiting.iter().all(Result::is_ok));
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_stop_the_fetch_that_others_wait_for() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let (ring, source) = ready(&[&old]).await;
    source.publish(&[&new]);
    source.take(Duration::from_secs(2));
    let token = of(&new);
    let first = timeout(Duration::from_secs(1), verify(&ring, &token)).await;
    assert!(first.is_err());

    assert_eq!(verify(&ring, &token).await, Ok(()));
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_id_that_was_looked_for_in_vain_is_wrong_without_another_look_for_a_minute() {
    let key = SigningKey::p256("k");
    let (ring, source) = ready(&[&key]).await;
    let unknown = with_kid(&key, "unknown");
    assert!(is_wrong(verify(&ring, &unknown).await));
    assert_eq!(source.fetches(), 2);

    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(is_wrong(verify(&ring, &unknown).await));
    assert_eq!(source.fetches(), 2);

    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(is_wrong(verify(&ring, &unknown).await));
    assert_eq!(source.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_be_new_but_cannot_be_fetched_yet_is_worth_a_retry() {
    let (key, new) = (SigningKey::p256("k"), SigningKey::p256("new"));
    let (ring, source) = ready(&[&key]).await;
    assert!(is_wrong(verify(&ring, &with_kid(&key, "somebody-else's")).await));
    source.publish(&[&key, &new]);
    tokio::time::advance(Duration::from_secs(10)).await;

    let Err(Refused::NoKeys(delay)) = verify(&ring, &of(&new)).await else {
        panic!("nothing says that the issuer has no such key");
    };

    assert_eq!(delay, Duration::from_secs(20));
    tokio::time::advance(delay).await;
    assert_eq!(verify(&ring, &of(&new)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_came_during_a_fetch_is_not_called_wrong_for_what_that_fetch_lacks() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let (ring, source) = ready(&[&old]).await;
    source.take(Duration::from_secs(2));
    let (other, rotated) = (with_kid(&old, "random"), of(&new));
    let early = verify(&ring, &other);
    let late = async {
        sleep(Duration::from_secs(1)).await;
        source.publish(&[&new]);
        verify(&ring, &rotated).await
    };

    let (early, late) = tokio::join!(early, late);

    assert!(is_wrong(early));
    assert!(matches!(late, Err(Refused::NoKeys(_))), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_every_ten_minutes_give_or_take_one() {
    let key = SigningKey::p256("k");
    let (_ring, source) = ready(&[&key]).await;

    sleep(Duration::from_secs(24 * 3_600)).await;

    let per_day = source.fetches();
    assert!((131..=161).contains(&per_day), "{per_day} fetches in a day");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_changes_nothing_and_is_repeated_less_and_less_often() {
    let key = SigningKey::p256("k");
    let (ring, source) = ready(&[&key]).await;
    source.fail();

    sleep(Duration::from_secs(3_600)).await;

    assert_eq!(verify(&ring, &of(&key)).await, Ok(()));
    let in_an_hour = source.fetches();
    assert!((50..=75).contains(&in_an_hour), "{in_an_hour} fetches");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_left_the_set_verifies_nothing_any_more() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let (ring, source) = ready(&[&old]).await;
    let before = ring.digest();
    source.publish(&[&new]);

    sleep(Duration::from_secs(661)).await;

    assert_ne!(ring.digest(), before);
    assert!(is_wrong(verify(&ring, &of(&old)).await));
}

#[tokio::test(start_paused = true)]
async fn until_the_first_success_tokens_are_worth_a_retry_and_then_they_are_good() {
    let key = SigningKey::p256("k");
    let source = Scripted::default();
    let ring = running(&source);
    assert!(matches!(verify(&ring, &of(&key)).await, Err(Refused::NoKeys(_))));
    assert!(ring.ready().now_or_never().is_none());

    source.publish(&[&key]);
    ring.ready().await;

    assert_eq!(verify(&ring, &of(&key)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_first_callers_wait_for_the_first_fetch() {
    let key = SigningKey::p256("k");
    let source = Scripted::default();
    source.publish(&[&key]);
    source.take(Duration::from_secs(3));
    let ring = running(&source);

    assert_eq!(verify(&ring, &of(&key)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_nothing_is_given_up_after_five_seconds() {
    let key = SigningKey::p256("k");
    let source = Scripted::default();
    source.publish(&[&key]);
    source.take(Duration::from_secs(3_600));
    let ring = running(&source);
    let began = Instant::now();

    assert!(matches!(verify(&ring, &of(&key)).await, Err(Refused::NoKeys(_))));
    assert_eq!(began.elapsed(), FETCH_LIMIT);
}
