//! Proves who calls.
//!
//! # Where it stands
//! Inside `deadline`, since an authenticator may wait for somebody, and outside tonic: nothing of a stranger is
//! decoded. Health checks need no credential, reflection does.
//!
//! # On failure
//! What the authenticator says, as a rule `CREDENTIALS_MISSING` or `CREDENTIALS_INVALID`, effect none. Two
//! `authorization` headers are invalid, because two readers could pick different ones. So is everything on a connection
//! whose client certificate is not good any more, whatever the credential: a client that came now would not get in.
//!
//! # When the caller goes away
//! The authenticator's future is dropped.
//!
//! # What it leaves behind
//! [`Caller`] in the request's extensions and `caller` on the current span. It takes away the
//! credential, which nobody inside needs, and every header by which a client could pretend to be somebody.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, header, request::Parts};
use tower::{Layer, Service};

use crate::{
    auth::{Authenticator, Evidence, peer::Withdrawn},
    call::Caller,
    failure::{Failure, Reason},
    layers::wire::{self, Answering, Handler, Request, Response},
};

/// Makes [`Authenticate`].
#[derive(Clone)]
pub struct AuthenticateLayer {
    authenticator: Arc<dyn Authenticator>,
}

impl AuthenticateLayer {
    /// Asks `authenticator` about every call.
    #[must_use]
    pub fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate {
            inner,
            authenticator: Arc::clone(&self.authenticator),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    authenticator: Arc<dyn Authenticator>,
}

impl<S: Handler> Service<Request> for Authenticate<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if wire::is_health_check(request.uri().path()) {
            strip(request.headers_mut());
            return Box::pin(self.inner.call(request));
        }

        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let authenticator = Arc::clone(&self.authenticator);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            match prove(authenticator.as_ref(), &mut head).await {
                Ok(caller) => {
                    tracing::Span::current().record("caller", tracing::field::display(&caller));
                    strip(&mut head.headers);
                    head.extensions.insert(caller);
                    ready.call(Request::from_parts(head, body)).await
                }
                Err(failure) => Ok(wire::refuse(&failure, wire::request_id(&head.headers).as_ref())),
            }
        })
    }
}

async fn prove(authenticator: &dyn Authenticator, head: &mut Parts) -> Result<Caller, Failure> {
    if head.extensions.get::<Withdrawn>().is_some() {
        return Err(Failure::new(
            Reason::CredentialsInvalid,
            "the client certificate of this connection is not valid any more; connect with a current one",
        ));
    }
    let headers = &mut head.headers;
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(Failure::new(
            Reason::CredentialsInvalid,
            "two `authorization` headers; send one",
        ));
    }
    // A sensitive value shows as `Sensitive` when somebody prints the headers.
    if let Some(credential) = headers.get_mut(header::AUTHORIZATION) {
        credential.set_sensitive(true);
    }
    let evidence = Evidence {
        headers,
        peer: head.extensions.get(),
    };
    authenticator.authenticate(evidence).await
}

/// Removes the credential and what only this process or a proxy that it trusts may say.
fn strip(headers: &mut HeaderMap) {
    let identity: Vec<HeaderName> = headers
        .keys()
        .filter(|name| says_who(name.as_str()))
        .cloned()
        .collect();
    for name in identity {
        headers.remove(name);
    }
}

fn says_who(name: &str) -> bool {
    name == "authorization" || name == "x-forwarded-client-cert" || name.starts_with("x-ram-facade-")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;
    use http::HeaderValue;
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::wire::testing::{prompt, read, request, request_to};

    /// Knows the one credential `good`, and keeps how the headers it saw print.
    #[derive(Default)]
    struct Scripted {
        printed: Mutex<String>,
    }

    impl Authenticator for Scripted {
        fn authenticate<'a>(&'a self, evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
            *self.printed.lock().unwrap() = format!("{:?}", evidence.headers);
            let good = evidence
                .headers
                .get(header::AUTHORIZATION)
                .is_some_and(|value| value == "good");
            Box::pin(async move {
                // A real one may wait; the answer must not depend on being there at once.
                tokio::task::yield_now().await;
                if good {
                    Ok(Caller::new("test", "alice"))
                } else {
                    Err(Failure::new(Reason::CredentialsMissing, "no credential"))
                }
            })
        }
    }

    fn with(credentials: &[&'static str]) -> Request {
        let mut request = request();
        for credential in credentials {
            request
                .headers_mut()
                .append(header::AUTHORIZATION, HeaderValue::from_static(credential));
        }
        request
    }

    fn layer() -> AuthenticateLayer {
        AuthenticateLayer::new(Arc::new(Scripted::default()))
    }

    #[tokio::test]
    async fn a_proven_caller_stands_in_the_extensions() {
        let (service, seen) = prompt();
        let mut request = with(&["good"]);
        request.extensions_mut().insert(Caller::new("test", "mallory"));

        layer().layer(service).oneshot(request).await.unwrap();

        assert_eq!(seen.last().extensions.get(), Some(&Caller::new("test", "alice")));
    }

    #[tokio::test]
    async fn a_stranger_is_refused_before_anything_is_called() {
        let (service, seen) = prompt();

        let response = layer().layer(service).oneshot(with(&[])).await.unwrap();

        let (code, reason, details) = read(&response);
        assert_eq!(
            (code, reason.as_str()),
            (Code::Unauthenticated, "CREDENTIALS_MISSING")
        );
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test]
    async fn two_credentials_are_refused_even_when_both_are_good() {
        let (service, seen) = prompt();

        let response = layer()
            .layer(service)
            .oneshot(with(&["good", "good"]))
            .await
            .unwrap();

        assert_eq!(read(&response).1, "CREDENTIALS_INVALID");
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test]
    async fn nothing_is_good_on_a_connection_whose_certificate_is_withdrawn() {
        let (service, seen) = prompt();
        let mut request = with(&["good"]);
        request.extensions_mut().insert(Withdrawn);

        let response = layer().layer(service).oneshot(request).await.unwrap();

        assert_eq!(read(&response).1, "CREDENTIALS_INVALID");
        assert_eq!(seen.calls(), 0);
    }

    #[tokio::test]
    async fn the_credential_and_claimed_identities_do_not_reach_the_inside() {
        let (service, seen) = prompt();
        let mut request = with(&["good"]);
        for name in [
            "x-forwarded-client-cert",
            "x-ram-facade-caller",
            "x-ram-facade-id",
            "traceparent",
        ] {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static("mallory"));
        }

        layer().layer(service).oneshot(request).await.unwrap();

        let headers = seen.last().headers;
        let left: Vec<_> = headers
            .iter()
            .filter(|(_, value)| *value == "mallory" || *value == "good")
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(left, ["traceparent"]);
    }

    #[tokio::test]
    async fn the_credential_does_not_print() {
        let (service, _) = prompt();
        let authenticator = Arc::new(Scripted::default());
        let layer = AuthenticateLayer::new(Arc::clone(&authenticator) as Arc<dyn Authenticator>);

        layer.layer(service).oneshot(with(&["good"])).await.unwrap();

        let printed = authenticator.printed.lock().unwrap().clone();
        assert!(
            printed.contains("Sensitive") && !printed.contains("good"),
            "{printed}"
        );
    }

    #[tokio::test]
    async fn health_checks_need_no_credential_and_pass_none_on() {
        let (service, seen) = prompt();
        let mut request = request_to("/grpc.health.v1.Health/Check");
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, HeaderValue::from_static("bad"));

        layer().layer(service).oneshot(request).await.unwrap();

        assert!(!seen.last().headers.contains_key(header::AUTHORIZATION));
    }

    #[tokio::test]
    async fn reflection_and_paths_like_health_need_a_credential() {
        for path in [
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.Healthy/Check",
            "//grpc.health.v1.Health/Check",
        ] {
            let (service, seen) = prompt();

            let response = layer().layer(service).oneshot(request_to(path)).await.unwrap();

            assert_eq!(read(&response).0, Code::Unauthenticated, "{path}");
            assert_eq!(seen.calls(), 0);
        }
    }
}
