//! Answers a call that only wants to know whether it would be sent.
//!
//! # Where it stands
//! Inside `authorize`, so that the answer includes what policy says. Outside `idempotency`: nothing is claimed, and the
//! client token stays free for the request that is meant.
//!
//! # On failure
//! It adds none.
//!
//! # When the caller goes away
//! Nothing: it holds no state across an await.

use std::{
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use crate::{call::Answer, failure::Failure, layers::authorize::Permitted, operation::Operation};

/// Makes [`DryRun`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DryRunLayer;

impl<S> Layer<S> for DryRunLayer {
    type Service = DryRun<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DryRun { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct DryRun<S> {
    inner: S,
}

impl<Op, S> Service<Permitted<Op>> for DryRun<S>
where
    Op: Operation,
    S: Service<Permitted<Op>, Response = Answer<Op::Output>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Answer<Op::Output>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<Op::Output>, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, permitted: Permitted<Op>) -> Self::Future {
        let input = &permitted.call().input;
        if !Op::validate_only(input) {
            return Box::pin(self.inner.call(permitted));
        }
        let mut output = Op::Output::default();
        if let Some(token) = Op::client_token(input) {
            Op::set_client_token(&mut output, token);
        }
        Box::pin(ready(Ok(Answer::fresh(output))))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    use tokio::time::Instant;
    use tonic_types::FieldViolation;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::{
        auth::policy::EveryCaller,
        call::{Call, Caller, Target},
        idempotency::UpstreamToken,
        layers::{authorize::AuthorizeLayer, testing::Ram},
        operation::{Facts, Repeat},
    };

    #[derive(Clone, PartialEq, prost::Message)]
    struct Input {
        #[prost(bool, tag = "1")]
        validate_only: bool,
        #[prost(string, tag = "2")]
        client_token: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Output {
        #[prost(string, tag = "1")]
        client_token: String,
    }

    struct Create;

    impl Operation for Create {
        const NAME: &'static str = "Test";
        const ACTION: &'static str = "ram:Test";
        const REPEAT: Repeat = Repeat::WithToken;
        type Input = Input;
        type Output = Output;

        fn validate(_: &Input) -> Vec<FieldViolation> {
            Vec::new()
        }

        fn describe(_: &Input) -> Facts<'_> {
            Facts::default()
        }

        fn client_token(input: &Input) -> Option<&str> {
            Some(input.client_token.as_str()).filter(|token| !token.is_empty())
        }

        fn set_client_token(output: &mut Output, token: &str) {
            output.client_token = token.to_owned();
        }

        fn validate_only(input: &Input) -> bool {
            input.validate_only
        }

        async fn send(_: &Ram, _: &Input, _: &UpstreamToken) -> Result<Output, Failure> {
            panic!("nothing inside calls it")
        }
    }

    /// Answers with the output's token and how often the inside was called.
    async fn call(validate_only: bool, client_token: &str) -> (String, u32) {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let inner = service_fn(move |_: Permitted<Create>| {
            counted.fetch_add(1, Ordering::SeqCst);
            ready(Ok(Answer::fresh(Output {
                client_token: "from inside".into(),
            })))
        });
        let service = AuthorizeLayer::new(Arc::new(EveryCaller)).layer(DryRunLayer.layer(inner));
        let call = Call::<Create> {
            caller: Caller::new("test", "ci"),
            target: Arc::new(Target {
                partition: "aws".into(),
                account: "111122223333".into(),
                region: "eu-west-1".into(),
            }),
            request_id: None,
            deadline: Instant::now() + Duration::from_secs(1),
            input: Arc::new(Input {
                validate_only,
                client_token: client_token.to_owned(),
            }),
        };
        let answer = service.oneshot(call).await.unwrap();
        (answer.output.client_token, calls.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_call_that_only_asks_is_answered_with_its_own_token_and_goes_no_further() {
        assert_eq!(call(true, "token").await, ("token".to_owned(), 0));
        assert_eq!(call(true, "").await, (String::new(), 0));
    }

    #[tokio::test]
    async fn a_call_that_is_meant_goes_on() {
        assert_eq!(call(false, "token").await, ("from inside".to_owned(), 1));
    }
}
