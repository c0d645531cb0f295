//! What tests of the call ring share: operations of each kind, and calls that policy permitted.

use std::{future::ready, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic_types::FieldViolation;
use tower::{Layer, ServiceExt, service_fn};

use super::{Errand, Execution, Permitted, authorize::AuthorizeLayer};
use crate::{
    auth::policy::EveryCaller,
    call::{Call, Caller, Target},
    failure::Failure,
    idempotency::UpstreamToken,
    operation::{Facts, Operation, Repeat},
};

/// What an operation of a test names in its signature, and never uses.
pub(crate) use crate::ram::Ram;

/// An operation that repeats as its parameter says: `t` with a token, `s` safely, `n` never.
pub(crate) struct Op<const REPEAT: char>;

impl<const REPEAT: char> Operation for Op<REPEAT> {
    const NAME: &'static str = "Test";
    const ACTION: &'static str = "ram:Test";
    const REPEAT: Repeat = match REPEAT {
        't' => Repeat::WithToken,
        's' => Repeat::Safe,
        _ => Repeat::Never,
    };
    type Input = String;
    type Output = String;

    fn validate(_: &String) -> Vec<FieldViolation> {
        Vec::new()
    }

    fn describe(_: &String) -> Facts<'_> {
        Facts::default()
    }

    async fn send(_: &Ram, _: &String, _: &UpstreamToken) -> Result<String, Failure> {
        panic!("tests put a scripted RAM in its place")
    }
}

/// An execution whose caller waits for `patience` and which may go on for 30 s more.
pub(crate) async fn execution<const REPEAT: char>(patience: Duration) -> Execution<Op<REPEAT>> {
    let deadline = Instant::now() + patience;
    let target = Target {
        partition: "aws".to_owned(),
        account: "111122223333".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let call = Call {
        caller: Caller::new("test", "a"),
        target: Arc::new(target),
        request_id: None,
        deadline,
        input: Arc::default(),
    };
    // The only way to a `Permitted` leads through policy, also in tests.
    let permitted = AuthorizeLayer::new(Arc::new(EveryCaller))
        .layer(service_fn(|permitted: Permitted<Op<REPEAT>>| {
            ready(Ok::<_, Failure>(permitted))
        }))
        .oneshot(call)
        .await
        .unwrap();
    Execution {
        permitted,
        errand: Errand::Send,
        token: UpstreamToken::none(),
        deadline: deadline + Duration::from_secs(30),
        window: None,
        admission: super::Admission::Ask,
    }
}
