//! One credential per call: decides which verifier a call is for, and never asks a second one.
//!
//! With two credentials that name two callers, somebody would have to choose, and a proxy, a log and a policy could each
//! choose differently. A token that one verifier refused is not shown to another: it was meant for one of them.

use std::{future::ready, sync::Arc};

use futures_util::future::BoxFuture;
use http::{HeaderValue, header};

use crate::{
    auth::{Authenticator, Evidence, bearer::bearer_token, jwt::has_jwt_form},
    call::Caller,
    failure::{Failure, Reason},
};

/// The configured verifiers. Without any, nobody gets in.
#[derive(Clone, Default)]
pub struct OneOf {
    /// Asked about bearer tokens that have the form of a JWT.
    pub jwt: Option<Arc<dyn Authenticator>>,
    /// Asked about all other bearer tokens, and where `jwt` is not set about all.
    pub tokens: Option<Arc<dyn Authenticator>>,
    /// Asked about client certificates.
    pub certificate: Option<Arc<dyn Authenticator>>,
}

impl Authenticator for OneOf {
    fn authenticate<'a>(&'a self, evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
        match self.verifier(evidence) {
            Ok(verifier) => verifier.authenticate(evidence),
            Err(failure) => Box::pin(ready(Err(failure))),
        }
    }
}

impl OneOf {
    fn verifier(&self, evidence: Evidence<'_>) -> Result<&Arc<dyn Authenticator>, Failure> {
        let has_certificate = evidence.peer.is_some_and(|peer| peer.certificate.is_some());
        // One that nobody here verifies is no credential.
        let certificate = self.certificate.as_ref().filter(|_| has_certificate);
        match (evidence.headers.get(header::AUTHORIZATION), certificate) {
            (None, None) => Err(self.missing()),
            (None, Some(verifier)) => Ok(verifier),
            (Some(credential), None) => self.verifier_of(credential),
            (Some(_), Some(_)) => Err(Failure::new(
                Reason::CredentialsInvalid,
                "the call has two credentials, an `authorization` header and a client certificate; send one credential",
            )),
        }
    }

    /// Chooses by the token's form alone, so that everybody can tell from outside who will see it.
    fn verifier_of(&self, credential: &HeaderValue) -> Result<&Arc<dyn Authenticator>, Failure> {
        let token = bearer_token(credential.as_bytes()).ok_or_else(|| {
            Failure::new(
                Reason::CredentialsInvalid,
                "the credential is not valid; it must have the form `authorization: Bearer <token>`",
            )
        })?;
        match (&self.jwt, &self.tokens) {
            (Some(jwt), Some(_)) if has_jwt_form(token) => Ok(jwt),
            (_, Some(tokens)) => Ok(tokens),
            (Some(jwt), None) => Ok(jwt),
            (None, None) => Err(Failure::new(
                Reason::CredentialsInvalid,
                "the credential is not valid; this server accepts client certificates only",
            )),
        }
    }

    fn missing(&self) -> Failure {
        let message = match (&self.certificate, self.jwt.is_some() || self.tokens.is_some()) {
            (None, _) => return super::missing(),
            (Some(_), true) => {
                "the call carries no credential; send `authorization: Bearer <token>` or use a client certificate"
            }
            (Some(_), false) => "the connection has no client certificate; use one",
        };
        Failure::new(Reason::CredentialsMissing, message)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http::HeaderMap;

    use super::*;
    use crate::auth::peer::Peer;

    /// Takes everybody for the caller of its own name.
    struct Named(&'static str);

    impl Authenticator for Named {
        fn authenticate<'a>(&'a self, _evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
            Box::pin(ready(Ok(Caller::new("test", self.0))))
        }
    }

    /// Refuses everybody.
    struct Never;

    impl Authenticator for Never {
        fn authenticate<'a>(&'a self, _evidence: Evidence<'a>) -> BoxFuture<'a, Result<Caller, Failure>> {
            Box::pin(ready(Err(Failure::new(Reason::CredentialsInvalid, "never"))))
        }
    }

    const JWT: &str = "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln";

    fn named(name: &'static str) -> Option<Arc<dyn Authenticator>> {
        Some(Arc::new(Named(name)))
    }

    fn all() -> OneOf {
        OneOf {
            jwt: named("jwt"),
            tokens: named("tokens"),
            certificate: named("certificate"),
        }
    }

    /// Who answered, or the reason and message of the refusal.
    fn ask(one_of: &OneOf, authorization: Option<&str>, certificate: bool) -> String {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            certificate: certificate.then(|| Arc::from([1_u8].as_slice())),
        };
        let evidence = Evidence {
            headers: &headers,
            peer: Some(&peer),
        };
        match one_of.authenticate(evidence).now_or_never().unwrap() {
            Ok(caller) => caller.subject().to_owned(),
            Err(failure) => format!("{}: {failure}", failure.why().row().name),
        }
    }

    #[test]
    fn the_credential_that_is_there_decides_who_is_asked() {
        assert_eq!(ask(&all(), Some(JWT), false), "jwt");
        assert_eq!(ask(&all(), Some(&JWT.replace("Bearer", "bEaReR")), false), "jwt");
        assert_eq!(ask(&all(), Some("Bearer a-static-token=="), false), "tokens");
        assert_eq!(ask(&all(), Some("Bearer with.two.dots"), false), "tokens");
        assert_eq!(ask(&all(), None, true), "certificate");
    }

    #[test]
    fn two_credentials_are_refused_even_when_both_are_good() {
        for credential in [JWT, "Bearer token", "Basic x", ""] {
            let answer = ask(&all(), Some(credential), true);
            assert!(
                answer.starts_with("CREDENTIALS_INVALID") && answer.ends_with("send one credential"),
                "{credential}: {answer}"
            );
        }
    }

    #[test]
    fn a_certificate_that_nobody_verifies_counts_for_nothing() {
        let one_of = OneOf {
            certificate: None,
            ..all()
        };

        assert_eq!(ask(&one_of, Some(JWT), true), "jwt");
        assert!(ask(&one_of, None, true).starts_with("CREDENTIALS_MISSING"));
    }

    #[test]
    fn what_one_verifier_refused_is_not_shown_to_another() {
        let one_of = OneOf {
            jwt: Some(Arc::new(Never)),
            ..all()
        };

        assert_eq!(ask(&one_of, Some(JWT), false), "CREDENTIALS_INVALID: never");
    }

    #[test]
    fn the_only_verifier_of_tokens_sees_all_of_them() {
        let jwt_only = OneOf {
            tokens: None,
            ..all()
        };
        let tokens_only = OneOf { jwt: None, ..all() };

        assert_eq!(ask(&jwt_only, Some("Bearer static"), false), "jwt");
        assert_eq!(ask(&tokens_only, Some(JWT), false), "tokens");
    }

    #[test]
    fn whoever_sends_no_or_another_credential_is_told_what_to_send() {
        let certificates_only = OneOf {
            certificate: named("certificate"),
            ..OneOf::default()
        };
        for (one_of, credential, part) in [
            (
                all(),
                None,
                "CREDENTIALS_MISSING: the call carries no credential; send `authorization: Bearer <token>` or",
            ),
            (OneOf::default(), None, "CREDENTIALS_MISSING"),
            (
                certificates_only.clone(),
                None,
                "CREDENTIALS_MISSING: the connection has no client certificate",
            ),
            (
                certificates_only,
                Some("Bearer x"),
                "CREDENTIALS_INVALID: the credential is not valid; this server accepts",
            ),
            (OneOf::default(), Some("Bearer x"), "CREDENTIALS_INVALID"),
            (
                all(),
                Some("Basic dXNlcjpwYXNz"),
                "CREDENTIALS_INVALID: the credential is not valid; it must have the form",
            ),
            (
                all(),
                Some("Bearer  two-blanks"),
                "CREDENTIALS_INVALID: the credential is not valid; it must have the form",
            ),
            (
                all(),
                Some("Bearer"),
                "CREDENTIALS_INVALID: the credential is not valid; it must have the form",
            ),
        ] {
            let answer = ask(&one_of, credential, false);
            assert!(answer.starts_with(part), "{credential:?}: {answer}");
        }
    }
}
