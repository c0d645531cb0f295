//! Plays one request through: rate limit, latency, fault rule, execution, in that order.
//!
//! A request is played in a task of its own, so that a client that hangs up cannot stop what has begun.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    answer::Answer,
    clock::Moment,
    error::Refusal,
    faults::{Fault, Verdict},
    world::World,
};

/// What a request does when its time has come: an answer, and whether work was done for it.
pub(super) type Work = Box<dyn FnOnce(&mut World, Moment) -> (Answer, bool) + Send>;

/// A request that is understood, and not yet executed.
pub(super) struct Job {
    /// The operation's name, for the counts and the rules.
    pub(super) operation: &'static str,
    /// RAM has a rate limit and latency; STS has neither.
    pub(super) ram: bool,
    /// The epoch that the request was counted in.
    pub(super) epoch: CancellationToken,
    pub(super) work: Work,
}

/// How a request ends.
pub(super) enum Ending {
    /// With an answer.
    Whole(Answer),
    /// With the head and half of an answer.
    Cut(Answer),
    /// With a closed connection.
    Close,
    /// Not at all, until this ends.
    Hold(CancellationToken),
}

/// Plays `job`.
pub(super) async fn play(shared: std::sync::Arc<Shared>, job: Job) -> Ending {
    let (operation, epoch) = (job.operation, job.epoch.clone());
    let (latency, verdict) = judge(&shared, &job);
    if !wait(latency, &epoch).await {
        return Ending::Close;
    }
    let execute = || execute(&shared, job);
    let ending = match verdict {
        Verdict::Throttle => Some(Ending::Whole(Answer::refusal(&Refusal::throttled()))),
        Verdict::Pass => execute().map(Ending::Whole),
        Verdict::Fault(fault) => {
            tracing::debug!(operation, ?fault, "a rule of the fault plan applies");
            match fault {
                Fault::Error(error) => Some(Ending::Whole(Answer::fault(&error))),
                Fault::ErrorAfterExecution(error) => execute().map(|_| Ending::Whole(Answer::fault(&error))),
                Fault::Drop {} => Some(Ending::Close),
                Fault::DropAfterExecution {} => execute().map(|_| Ending::Close),
                Fault::TruncateAfterExecution {} => execute().map(Ending::Cut),
                Fault::Answer(raw) if raw.execute => execute().map(|_| Ending::Whole(Answer::raw(&raw))),
                Fault::Answer(raw) => Some(Ending::Whole(Answer::raw(&raw))),
                Fault::Delay {
                    ms,
                    after_execution: true,
                } => {
                    let answer = execute();
                    wait(Duration::from_millis(ms), &epoch).await;
                    answer.map(Ending::Whole)
                }
                Fault::Delay {
                    ms,
                    after_execution: false,
                } => {
                    wait(Duration::from_millis(ms), &epoch).await;
                    execute().map(Ending::Whole)
                }
                Fault::HoldAfterExecution {} => execute().map(|_| Ending::Hold(epoch.clone())),
                Fault::Patch { pointer, value } => {
                    execute().map(|answer| Ending::Whole(patch(answer, &pointer, value)))
                }
            }
        }
    };
    ending.unwrap_or(Ending::Close)
}

/// Decides about the request, in the order of arrival.
fn judge(shared: &Shared, job: &Job) -> (Duration, Verdict) {
    let now = Moment::now();
    let mut world = shared.world();
    if !job.ram {
        return (Duration::ZERO, world.faults.judge_other(job.operation));
    }
    let verdict = world.faults.judge(job.operation, now);
    if verdict == Verdict::Throttle {
        world.stats.throttled += 1;
    }
    (Duration::from_millis(world.faults.plan().latency_ms), verdict)
}

/// Waits, and says whether the request's epoch is still on.
async fn wait(time: Duration, epoch: &CancellationToken) -> bool {
    if time.is_zero() {
        return !epoch.is_cancelled();
    }
    epoch
        .run_until_cancelled(tokio::time::sleep(time))
        .await
        .is_some()
}

/// Does the work, unless a reset came first: then the request belongs to a world that is gone.
fn execute(shared: &Shared, job: Job) -> Option<Answer> {
    let mut world = shared.world();
    if job.epoch.is_cancelled() {
        return None;
    }
    // Read under the lock, so that time never runs backwards from one execution to the next.
    let (answer, executed) = (job.work)(&mut world, Moment::now());
    if executed {
        world.stats.count_execution(job.operation);
    }
    Some(answer)
}

/// Changes one place of an answer; an error stays as it is.
fn patch(mut answer: Answer, pointer: &str, value: Value) -> Answer {
    if !answer.status.is_success() {
        return answer;
    }
    let patched = serde_json::from_slice(&answer.body)
        .ok()
        .and_then(|mut body: Value| {
            put(&mut body, pointer, value)?;
            Some(Bytes::from(body.to_string()))
        });
    match patched {
        Some(body) => {
            answer.body = body;
            answer
        }
        None => {
            let message = format!("the fault plan patches {pointer}, and the answer has no place for it");
            Answer::refusal(&Refusal::fault_plan(message))
        }
    }
}

fn put(body: &mut Value, pointer: &str, value: Value) -> Option<()> {
    if let Some(place) = body.pointer_mut(pointer) {
        *place = value;
        return Some(());
    }
    let (holder, member) = pointer.rsplit_once('/')?;
    let members = body.pointer_mut(holder)?.as_object_mut()?;
    members.insert(member.replace("~1", "/").replace("~0", "~"), value);
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(pointer: &str) -> Answer {
        patch(
            Answer::json(200, &json!({"share": {"status": "ACTIVE"}})),
            pointer,
            json!("FROBBED"),
        )
    }

    fn body_of(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn a_patch_replaces_a_member_or_adds_one() {
        assert_eq!(
            body_of(&patched("/share/status")),
            json!({"share": {"status": "FROBBED"}})
        );
        assert_eq!(
            body_of(&patched("/share/a~1b")),
            json!({"share": {"status": "ACTIVE", "a/b": "FROBBED"}})
        );
    }

    #[test]
    fn a_patch_without_a_place_is_said_aloud() {
        let answer = patched("/shares/status");
        assert_eq!(answer.status, 500);
        assert_eq!(body_of(&answer)["__type"], "SandboxFaultPlanError");
    }

    #[test]
    fn an_error_is_not_patched() {
        let refusal = Answer::refusal(&Refusal::throttled());
        assert_eq!(patch(refusal.clone(), "/x", json!(1)).body, refusal.body);
    }
}
