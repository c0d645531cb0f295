//! A model of RAM behind the SDK's HTTP client, in virtual time: a token bucket, a latency, and what a refusal costs.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use tokio::time::{Instant, sleep};

/// How RAM behaves.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Requests a second that it accepts, from each of these times (in seconds) on.
    pub caps: &'static [(f64, f64)],
    /// Most requests that it accepts at once after it was idle.
    pub burst: f64,
    /// What a refused request takes from the bucket: 0 for a refusal that is free.
    pub refusal_cost: f64,
    /// Seconds between which it answers 500.
    pub outage: Option<(f64, f64)>,
    /// Requests a second of another program in the account, which takes its share whatever we do.
    pub foreign: f64,
}

/// What became of the requests that arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Executed, whether or not somebody still waited for the answer.
    pub accepted: u64,
    /// Refused because of the rate.
    pub throttled: u64,
    /// Answered 500.
    pub failed: u64,
}

/// RAM, as all replicas and the foreign program share it.
#[derive(Clone)]
pub struct Upstream {
    model: Model,
    began: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    as_of: f64,
    counts: Counts,
}

enum Verdict {
    Accept,
    Throttle,
    Fail,
}

impl Upstream {
    /// A RAM that nobody has called for a while.
    pub fn new(model: Model) -> Self {
        let upstream = Self {
            model,
            began: Instant::now(),
            state: Arc::new(Mutex::new(State {
                tokens: model.burst,
                as_of: 0.0,
                counts: Counts::default(),
            })),
        };
        if model.foreign > 0.0 {
            let other = upstream.clone();
            tokio::spawn(async move {
                loop {
                    sleep(Duration::from_secs_f64(1.0 / model.foreign)).await;
                    let _ = other.take();
                }
            });
        }
        upstream
    }

    /// What became of the requests so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    fn cap(&self, now: f64) -> f64 {
        let steps = self.model.caps.iter().rev();
        steps
            .clone()
            .find(|(from, _)| *from <= now)
            .map_or(0.0, |(_, cap)| *cap)
    }

    /// Takes a token if there is one.
    fn take(&self) -> bool {
        let now = self.began.elapsed().as_secs_f64();
        let mut state = self.lock();
        let earned = (now - state.as_of) * self.cap(now);
        state.tokens = (state.tokens + earned).min(self.model.burst);
        state.as_of = now;
        let has = state.tokens >= 1.0;
        let cost = if has { 1.0 } else { self.model.refusal_cost };
        state.tokens = (state.tokens - cost).max(0.0);
        has
    }

    fn verdict(&self) -> Verdict {
        let now = self.began.elapsed().as_secs_f64();
        if self
            .model
            .outage
            .is_some_and(|(from, to)| (from..to).contains(&now))
        {
            self.lock().counts.failed += 1;
            return Verdict::Fail;
        }
        let has = self.take();
        let counts = &mut self.lock().counts;
        if has {
            counts.accepted += 1;
            Verdict::Accept
        } else {
            counts.throttled += 1;
            Verdict::Throttle
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

const SHARE: &str = r#"{"resourceShare": {"name": "x", "owningAccountId": "111122223333", "status": "ACTIVE",
    "resourceShareArn": "arn:aws:ram:us-east-1:111122223333:resource-share/27d09b4b-5e12-41d1-a4f2-19dedEXAMPLE"}}"#;

impl HttpConnector for Upstream {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let upstream = self.clone();
        HttpConnectorFuture::new(async move {
            let verdict = upstream.verdict();
            // A refusal comes from the front end; work takes 60 to 240 ms.
            let took = match verdict {
                Verdict::Throttle => 5,
                Verdict::Accept | Verdict::Fail => fastrand::u64(60..=240),
            };
            sleep(Duration::from_millis(took)).await;
            Ok(match verdict {
                Verdict::Accept => response(200, None, SHARE),
                Verdict::Throttle => response(
                    429,
                    Some("ThrottlingException"),
                    r#"{"message": "Rate exceeded"}"#,
                ),
                Verdict::Fail => response(500, Some("ServerInternalException"), r#"{"message": "no"}"#),
            })
        })
    }
}

fn response(status: u16, error: Option<&'static str>, body: &'static str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    if let Some(error) = error {
        response.headers_mut().insert("x-amzn-errortype", error);
    }
    response
}

impl HttpClient for Upstream {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl From<Upstream> for SharedHttpClient {
    fn from(upstream: Upstream) -> Self {
        Self::new(upstream)
    }
}
