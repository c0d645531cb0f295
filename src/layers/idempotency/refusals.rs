//! The failures that this layer adds, each with its sentence for the caller.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use tonic_types::FieldViolation;

use crate::failure::{Advice, Effect, Failure, Reason};

const CLIENT_TOKEN: &str = "client_token";
/// Soon: whoever asks again under a token gets the answer, or the next attempt.
const SOON: Advice = Advice::After(Duration::from_secs(1));
/// When only time or an operator can tell what happened.
const LATER: Advice = Advice::After(Duration::from_secs(30));

/// How the caller may ask again for something that may have been executed.
#[derive(Clone, Copy)]
pub(super) enum Again {
    /// At any time: it is recorded under their token.
    WithToken,
    /// Only when RAM does not show the result: there is no token under which RAM would recognise it.
    AfterALook,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithToken => "send the request again with the same client_token",
            Self::AfterALook => "look for its result in RAM before you send the request again",
        })
    }
}

pub(super) fn token_missing() -> Failure {
    let rule = "is required; choose one for each share that you want, for instance a UUID";
    Failure::invalid(
        Reason::InvalidRequest,
        vec![FieldViolation::new(CLIENT_TOKEN, rule)],
    )
}

pub(super) fn token_malformed(rule: &str) -> Failure {
    Failure::invalid(
        Reason::InvalidRequest,
        vec![FieldViolation::new(CLIENT_TOKEN, rule)],
    )
}

pub(super) fn mismatch() -> Failure {
    let rule = "was used before with other parameters; send them again as they were, or choose a new token";
    Failure::invalid(
        Reason::TokenMismatch,
        vec![FieldViolation::new(CLIENT_TOKEN, rule)],
    )
}

pub(super) fn too_many_waiters() -> Failure {
    Failure::new(
        Reason::InProgress,
        "too many callers wait for this client_token already; try again later",
    )
    .advice(SOON)
}

pub(super) fn in_progress_elsewhere() -> Failure {
    Failure::new(
        Reason::InProgress,
        "this request is being executed by another replica; send it again with the same client_token",
    )
    .effect(Effect::Unknown)
    .advice(SOON)
}

pub(super) fn store_unavailable() -> Failure {
    Failure::new(
        Reason::StoreUnavailable,
        "the request cannot be recorded right now, so nothing was sent to RAM; send it again",
    )
    .advice(SOON)
}

pub(super) fn shutting_down() -> Failure {
    Failure::new(
        Reason::ShuttingDown,
        "this server is shutting down; send the request again to another",
    )
    .advice(SOON)
}

/// The caller's time is over, the execution's is not.
pub(super) fn still_running(again: Again) -> Failure {
    Failure::new(
        Reason::DeadlineExceeded,
        format!("the deadline passed before RAM's answer; {again}"),
    )
    .effect(Effect::Unknown)
    .advice(SOON)
}

/// The execution's time is over.
pub(super) fn gave_up(again: Again) -> Failure {
    Failure::new(
        Reason::OutcomeUnknown,
        format!("RAM did not answer in time and may have executed the request; {again}"),
    )
    .effect(Effect::Unknown)
    .advice(SOON)
}

pub(super) fn too_old_to_repeat() -> Failure {
    Failure::new(
        Reason::OutcomeUnknown,
        "an earlier attempt may have executed this request, and it is too long ago to be repeated safely; look for \
         the result in RAM, or ask the operator to settle the client_token",
    )
    .effect(Effect::Unknown)
    .advice(LATER)
}

/// RAM's list does not show it, and that proves nothing yet.
pub(super) fn not_found_yet() -> Failure {
    Failure::new(
        Reason::OutcomeUnknown,
        "an earlier attempt may have executed this request, and RAM does not show its share yet; send the request again \
         later with the same client_token",
    )
    .effect(Effect::Unknown)
    .advice(LATER)
}

/// RAM's list could not be read.
pub(super) fn cannot_look(cause: &Failure) -> Failure {
    Failure::new(
        Reason::OutcomeUnknown,
        "an earlier attempt may have executed this request, and RAM could not be asked for its share; send the request \
         again later with the same client_token",
    )
    .effect(Effect::Unknown)
    .advice(LATER)
    .metadata("cause", cause.why().row().name)
}

pub(super) fn clock_jumped() -> Failure {
    Failure::new(
        Reason::OutcomeUnknown,
        "an earlier attempt may have executed this request, and the server's clock was set since; send it again \
         later with the same client_token",
    )
    .effect(Effect::Unknown)
    .advice(LATER)
}

/// The execution ended without an answer: a defect.
pub(super) fn broke_off(again: Again) -> Failure {
    Failure::new(
        Reason::Internal,
        format!("the server failed while it executed the request; {again}"),
    )
    .effect(Effect::Unknown)
    .advice(SOON)
}

/// The record is whole, but not an answer of this operation: a defect.
pub(super) fn unreadable(error: prost::DecodeError) -> Failure {
    Failure::new(
        Reason::Internal,
        "the recorded answer cannot be read; look for its result in RAM",
    )
    .effect(Effect::Unknown)
    .source(Arc::new(error) as Arc<dyn Error + Send + Sync>)
}

/// Makes the last failure of an execution that may have taken effect say so.
pub(super) fn open(failure: Failure) -> Failure {
    let failure = failure.in_doubt();
    match failure.what_next() {
        Advice::After(_) => failure,
        Advice::Never | Advice::Once => failure.advice(SOON),
    }
}
