//! Policies in Cedar.
//!
//! A call is permitted if a policy permits it and none forbids it. A policy that cannot be evaluated denies, since it may
//! be the one that forbids; Cedar itself would leave it out. What policies may speak of stands in `schema.cedarschema`,
//! and policies that do not fit it are not taken over.
//!
//! The files are read again every five seconds and on SIGHUP. Policies that are not valid change nothing:
//! the old ones stay in force, the log says why once, and [`Cedar::is_current`] says no until that is mended.

mod asker;
mod attributes;
mod digest;
mod files;
mod observed;
mod set;
mod vocabulary;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use cedar_policy::{Authorizer, PolicySet, Request, Response, Schema};
use moka::sync::Cache;
use tokio::sync::watch as channel;

use self::{
    asker::{Asker, Askers},
    attributes::Parts,
    digest::Digest,
    observed::{Observed, View},
    vocabulary::{Vocabulary, context, faulty},
};
use crate::{
    auth::policy::{Decision, Denial, Policy, PolicyId, Question},
    operation::Sort,
};

pub use self::{
    files::{ReadError, Source, read},
    set::Fault,
    vocabulary::schema,
};

/// Most decisions that are remembered, at some 300 bytes each. More questions than that only cost evaluations.
const MOST_DECISIONS: u64 = 10_000;

/// Why policies were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The files cannot be read.
    #[error("cannot take over the policies")]
    Read(#[from] ReadError),
    /// They are not valid; these are all faults.
    #[error("the policies are not valid: {}", listed(.0))]
    Invalid(Vec<Fault>),
    /// The schema of this build is broken: a defect.
    #[error("the policy schema of this build is broken: {0}")]
    Schema(String),
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(Fault::to_string).collect();
    lines.join("; ")
}

/// The policies of a file or a folder.
#[derive(Debug)]
pub struct Cedar {
    path: PathBuf,
    vocabulary: Vocabulary,
    askers: Askers,
    in_force: ArcSwap<InForce>,
    /// The texts of the policies in force.
    sources: std::sync::Mutex<Vec<Source>>,
    current: channel::Sender<bool>,
}

/// Policies, what they look at, and what they have decided.
#[derive(Debug)]
struct InForce {
    policies: PolicySet,
    observed: Observed,
    /// By the names of the questions. Another set of policies begins with none.
    decisions: Cache<Digest, Decision>,
}

impl InForce {
    fn new(policies: PolicySet) -> Self {
        Self {
            observed: Observed::by(&policies),
            policies,
            decisions: Cache::new(MOST_DECISIONS),
        }
    }
}

impl Cedar {
    /// Reads the policies at `path`, a file or a folder, about these `operations`. Blocks; call it at start.
    ///
    /// # Errors
    /// If something cannot be read, parsed or validated.
    pub fn load(path: &Path, operations: &[Sort]) -> Result<Self, LoadError> {
        let sources = read(path)?;
        let (cedar, warnings) = Self::of(path, sources, operations)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(cedar)
    }

    /// The policies of `sources`, and what in them is perhaps not meant.
    ///
    /// # Errors
    /// If something is not valid.
    pub fn of(
        path: &Path,
        sources: Vec<Source>,
        operations: &[Sort],
    ) -> Result<(Self, Vec<String>), LoadError> {
        let vocabulary = Vocabulary::new(operations).map_err(LoadError::Schema)?;
        let set = set::load(&sources, &vocabulary.schema).map_err(LoadError::Invalid)?;
        let cedar = Self {
            path: path.to_owned(),
            vocabulary,
            askers: Askers::new(),
            in_force: ArcSwap::from_pointee(InForce::new(set.policies)),
            sources: std::sync::Mutex::new(sources),
            current: channel::Sender::new(true),
        };
        Ok((cedar, set.warnings))
    }

    /// Puts the policies of `sources` in force, and says what in them is perhaps not meant.
    ///
    /// # Errors
    /// If something is not valid. The policies in force stay.
    pub fn replace(&self, sources: &[Source]) -> Result<Vec<String>, LoadError> {
        let set = set::load(sources, &self.vocabulary.schema).map_err(LoadError::Invalid)?;
        self.in_force.store(Arc::new(InForce::new(set.policies)));
        Ok(set.warnings)
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_force.load().policies.num_of_policies()
    }

    /// Whether there is none, and therefore nobody may do anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the policies in force are those of the files, now and whenever that changes.
    #[must_use]
    pub fn is_current(&self) -> channel::Receiver<bool> {
        self.current.subscribe()
    }
}

impl Policy for Cedar {
    fn decide(&self, question: &Question<'_>) -> Decision {
        self.decided(question).unwrap_or_else(Decision::Deny)
    }
}

impl Cedar {
    /// The decision of last time, or that of the policies. To evaluate costs tens of microseconds, since the question is
    /// put into Cedar's words first; a repetition, which is what a replay is, costs two hashes.
    fn decided(&self, question: &Question<'_>) -> Result<Decision, Denial> {
        let Question {
            caller,
            operation,
            target,
            facts,
        } = question;
        let parts = Parts::of(facts)?;
        let in_force = self.in_force.load();
        let view = in_force.observed.of(&parts);
        let asker = digest::asker(caller, target);
        let digest = digest::question(&asker, operation, &view);
        if let Some(known) = in_force.decisions.get(&digest) {
            return Ok(known);
        }

        let asker = self.askers.of(&asker, &self.vocabulary, caller, target)?;
        let evaluate = |view, schema| self.evaluate(operation, &asker, view, &in_force.policies, schema);
        let decision = evaluate(&view, None)?;
        // Every test and the fuzzer hold to it that what no policy looks at changes nothing, and that what this module
        // makes fits the schema. In a release that would be most of what a question costs, and a policy that meets a
        // stranger there cannot be evaluated, which denies.
        debug_assert_eq!(
            evaluate(&Observed::everything().of(&parts), Some(&self.vocabulary.schema)).as_ref(),
            Ok(&decision),
        );
        in_force.decisions.insert(digest, decision.clone());
        Ok(decision)
    }

    /// Asks `policies`, of a request that they see `view` of. With a `schema` everything has to fit it.
    fn evaluate(
        &self,
        operation: &str,
        asker: &Asker,
        view: &View<'_>,
        policies: &PolicySet,
        schema: Option<&Schema>,
    ) -> Result<Decision, Denial> {
        let action = self.vocabulary.action(operation)?;
        let request = Request::new(
            asker.caller.clone(),
            action.clone(),
            asker.target.clone(),
            context(view)?,
            schema,
        )
        .map_err(faulty)?;
        let response = Authorizer::new().is_authorized(&request, policies, &asker.entities);
        Ok(decision(&response))
    }
}

fn decision(response: &Response) -> Decision {
    let diagnostics = response.diagnostics();
    let mut errors: Vec<_> = diagnostics
        .errors()
        .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| {
            (
                PolicyId::from(error.policy_id().as_ref()),
                error.inner().to_string(),
            )
        })
        .collect();
    if !errors.is_empty() {
        errors.sort();
        return Decision::Deny(Denial::Faulty { errors });
    }
    let mut by: Vec<_> = diagnostics
        .reason()
        .map(|id| PolicyId::from(id.as_ref()))
        .collect();
    by.sort();
    match response.decision() {
        cedar_policy::Decision::Allow => Decision::Permit { by },
        cedar_policy::Decision::Deny if by.is_empty() => Decision::Deny(Denial::Unmentioned),
        cedar_policy::Decision::Deny => Decision::Deny(Denial::Forbidden { by }),
    }
}

#[cfg(test)]
mod tests;
