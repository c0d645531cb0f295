//! Turns HTTP requests into jobs and their endings into HTTP answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Shared,
    answer::{Answer, AnswerBody, Closed},
    control,
    error::Refusal,
    operations::{self, Context, Operation},
    play::{Ending, Job, play},
    query, sts,
};

/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// Answers one request. An error closes the connection.
pub(super) async fn handle(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Closed> {
    let request_id = Uuid::new_v4();
    let (parts, body) = request.into_parts();
    let ending = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => route(&shared, &parts, body.to_bytes(), request_id).await,
        Err(error) if error.is::<LengthLimitError>() => {
            Ending::Whole(Answer::refusal(&Refusal::entity_too_large(BODY_LIMIT)))
        }
        // The client went away before it had said what it wanted.
        Err(_) => Ending::Close,
    };
    let (mut answer, cut) = match ending {
        Ending::Whole(answer) => (answer, false),
        Ending::Cut(answer) => (answer, true),
        Ending::Close => return Err(Closed),
        Ending::Hold(epoch) => {
            epoch.cancelled().await;
            return Err(Closed);
        }
    };
    tracing::debug!(method = %parts.method, path = parts.uri.path(), status = answer.status.as_u16(), %request_id, cut);
    answer.identify(&request_id.to_string());
    Ok(answer.into_response(cut))
}

/// What a request asks for.
enum Step {
    /// Nothing that could be executed.
    Answer(Answer),
    /// An operation.
    Play(Job),
}

async fn route(shared: &Arc<Shared>, parts: &Parts, body: Bytes, request_id: Uuid) -> Ending {
    let path = parts.uri.path();
    if let Some(command) = path.strip_prefix(control::PREFIX) {
        return Ending::Whole(control::answer(shared, &parts.method, command, &body));
    }
    // Whether the signature is right is not looked at: every client is this account.
    let signed = parts.headers.contains_key(header::AUTHORIZATION);
    let step = if path == "/" && parts.method == Method::POST {
        sts_job(shared, signed, &body, request_id)
    } else {
        match operations::find(&parts.method, path) {
            Some(operation) => ram_job(shared, operation, signed, parts, &body),
            None => Step::Answer(Answer::refusal(&Refusal::unknown_operation(
                parts.method.as_str(),
                path,
            ))),
        }
    };
    match step {
        Step::Answer(answer) => Ending::Whole(answer),
        Step::Play(job) => shared
            .tasks
            .spawn(play(shared.clone(), job))
            .await
            .unwrap_or(Ending::Close),
    }
}

fn sts_job(shared: &Arc<Shared>, signed: bool, body: &[u8], request_id: Uuid) -> Step {
    if !sts::asks_for_identity(body) {
        let message = "Of STS there is GetCallerIdentity only.";
        return Step::Answer(sts::error(400, "InvalidAction", message, request_id));
    }
    let epoch = shared.world().enter(sts::NAME);
    if !signed {
        let message = "Request is missing Authentication Token";
        return Step::Answer(sts::error(403, "MissingAuthenticationToken", message, request_id));
    }
    let settings = shared.settings.clone();
    let work = Box::new(move |_: &mut _, _| (sts::identity(&settings, request_id), true));
    Step::Play(Job {
        operation: sts::NAME,
        ram: false,
        epoch,
        work,
    })
}

fn ram_job(
    shared: &Arc<Shared>,
    operation: &'static Operation,
    signed: bool,
    parts: &Parts,
    body: &[u8],
) -> Step {
    let epoch = shared.world().enter(operation.name);
    if !signed {
        return Step::Answer(Answer::refusal(&Refusal::missing_authentication()));
    }
    let parameters = match operation.method {
        // Such an operation has its parameters in the query string and no body.
        Method::DELETE => Ok(query::parse(parts.uri.query().unwrap_or_default())),
        _ => parse(body),
    };
    let settings = shared.settings.clone();
    let work = Box::new(move |world: &mut _, now| {
        let context = Context {
            settings: &settings,
            now,
            token: None,
        };
        match parameters.and_then(|parameters| (operation.run)(parameters, &context, world)) {
            Ok(done) => (Answer::json(200, &done.answer), done.executed),
            Err(refusal) => (Answer::refusal(&refusal), false),
        }
    });
    Step::Play(Job {
        operation: operation.name,
        ram: true,
        epoch,
        work,
    })
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(parameters)) => Ok(parameters),
        Ok(_) => Err(Refusal::serialization("the body is not a JSON object")),
        Err(error) => Err(Refusal::serialization(format!("the body is not JSON: {error}"))),
    }
}
