//! Who finds out who calls: the verifiers that the configuration asks for, as one.

use std::{path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::{
    auth::{
        Authenticator,
        anonymous::Anonymous,
        certificate::Certificate,
        jwt::Jwt,
        one_of::OneOf,
        static_tokens::{self, StaticTokens},
    },
    config::Authentication,
    failure::chain,
};

/// Who finds out who calls, and what of it has to get ready first.
pub(super) struct Verifiers {
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) issuers: Option<Arc<Jwt>>,
}

/// Reads the files of the verifiers and keeps them current until `stop` is cancelled.
pub(super) fn start(how: &Authentication, stop: &CancellationToken) -> Result<Verifiers, StartError> {
    if how.is_off() {
        tracing::warn!("no authentication: every process on this machine may call as `none/anonymous`");
        return Ok(Verifiers {
            authenticator: Arc::new(Anonymous::default()),
            issuers: None,
        });
    }
    let mut verifiers = OneOf::default();
    if let Some(path) = &how.tokens_file {
        verifiers.tokens = Some(static_tokens(path, stop)?);
    }
    let mut issuers = None;
    if let Some(path) = &how.issuers_file {
        let jwt = Arc::new(Jwt::load(path)?);
        jwt.keep_current(stop);
        let fetching = jwt.fetch_on_hangup(stop.clone());
        super::watch(fetching, "the issuers' keys are not fetched on SIGHUP");
        verifiers.jwt = Some(Arc::clone(&jwt) as Arc<dyn Authenticator>);
        issuers = Some(jwt);
    }
    if let Some(settings) = &how.certificate {
        verifiers.certificate = Some(Arc::new(Certificate::new(settings.clone())));
    }
    Ok(Verifiers {
        authenticator: Arc::new(verifiers),
        issuers,
    })
}

fn static_tokens(path: &Path, stop: &CancellationToken) -> Result<Arc<dyn Authenticator>, StartError> {
    let settings = static_tokens::Settings::new(path);
    let tokens = Arc::new(StaticTokens::load(settings.path)?);
    let watching = Arc::clone(&tokens).watch(settings.poll_interval, stop.clone());
    super::watch(watching, "the token file is not watched: changes need a restart");
    Ok(tokens)
}

/// Says what is wrong with the files of the verifiers.
pub(super) fn check(how: &Authentication) -> Vec<String> {
    let tokens = how
        .tokens_file
        .as_ref()
        .and_then(|path| StaticTokens::load(path).err());
    let issuers = how.issuers_file.as_ref().and_then(|path| Jwt::load(path).err());
    tokens
        .map(|e| chain(&e))
        .into_iter()
        .chain(issuers.map(|e| chain(&e)))
        .collect()
}
