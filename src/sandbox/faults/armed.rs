//! A fault plan at work: counts requests and decides about each.

use super::{Fault, FaultPlan, Rule, bucket::Bucket};
use crate::sandbox::clock::Moment;

/// What happens to one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing unusual.
    Pass,
    /// It came too fast.
    Throttle,
    /// A rule applies.
    Fault(Fault),
}

/// A plan, and how far it has come.
#[derive(Debug)]
pub(crate) struct Armed {
    plan: FaultPlan,
    // Requests that each rule has matched so far, in the order of the rules.
    matched: Vec<u64>,
    bucket: Option<Bucket>,
    chance: fastrand::Rng,
}

impl Armed {
    /// Begins a plan from its start.
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self {
            matched: vec![0; plan.rules.len()],
            bucket: plan.rate_limit.clone().map(Bucket::new),
            chance: fastrand::Rng::with_seed(plan.seed),
            plan,
        }
    }

    /// The plan as it was given.
    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Decides about a request to RAM.
    pub(crate) fn judge(&mut self, operation: &str, now: Moment) -> Verdict {
        if self.bucket.as_mut().is_some_and(|bucket| !bucket.admits(now)) {
            return Verdict::Throttle;
        }
        self.rule(|rule| rule.operation.as_deref().is_none_or(|name| name == operation))
    }

    /// Decides about a request to another service: only a rule that names it applies.
    pub(crate) fn judge_other(&mut self, operation: &str) -> Verdict {
        self.rule(|rule| rule.operation.as_deref() == Some(operation))
    }

    fn rule(&mut self, matches: impl Fn(&Rule) -> bool) -> Verdict {
        for (rule, matched) in self.plan.rules.iter().zip(&mut self.matched) {
            if !matches(rule) {
                continue;
            }
            let number = *matched;
            *matched = matched.saturating_add(1);
            let begun = number.checked_sub(rule.skip);
            let in_range = begun.is_some_and(|begun| rule.times.is_none_or(|times| begun < times));
            if in_range && self.chance.f64() < rule.probability {
                return Verdict::Fault(rule.fault.clone());
            }
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty(armed: &mut Armed, requests: usize) -> Vec<bool> {
        let now = Moment::now();
        (0..requests)
            .map(|_| armed.judge("CreateResourceShare", now) != Verdict::Pass)
            .collect()
    }

    fn plan(rules: Vec<Rule>) -> FaultPlan {
        FaultPlan {
            rules,
            ..FaultPlan::default()
        }
    }

    fn any(fault: Fault) -> Rule {
        Rule {
            operation: None,
            ..Rule::always("", fault)
        }
    }

    #[test]
    fn a_rule_begins_and_ends_where_it_says() {
        let rule = Rule {
            skip: 1,
            times: Some(2),
            ..any(Fault::Drop {})
        };
        let mut armed = Armed::new(plan(vec![rule]));
        assert_eq!(faulty(&mut armed, 5), [false, true, true, false, false]);
    }

    #[test]
    fn the_first_rule_that_applies_hides_the_request_from_the_next() {
        let first = Rule {
            times: Some(1),
            ..any(Fault::Drop {})
        };
        let second = Rule {
            times: Some(1),
            ..any(Fault::HoldAfterExecution {})
        };
        let mut armed = Armed::new(plan(vec![first, second]));
        let now = Moment::now();
        let verdicts: Vec<_> = (0..3).map(|_| armed.judge("X", now)).collect();
        let wanted = [
            Verdict::Fault(Fault::Drop {}),
            Verdict::Fault(Fault::HoldAfterExecution {}),
            Verdict::Pass,
        ];
        assert_eq!(verdicts, wanted);
    }

    #[test]
    fn a_rule_without_an_operation_is_for_ram_only() {
        let mut armed = Armed::new(plan(vec![any(Fault::Drop {})]));
        assert_eq!(armed.judge_other("GetCallerIdentity"), Verdict::Pass);
        assert_eq!(
            armed.judge("CreateResourceShare", Moment::now()),
            Verdict::Fault(Fault::Drop {})
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let rule = Rule {
            probability: 0.5,
            ..any(Fault::Drop {})
        };
        let seeded = |seed| {
            faulty(
                &mut Armed::new(FaultPlan {
                    seed,
                    ..plan(vec![rule.clone()])
                }),
                64,
            )
        };
        assert_eq!(seeded(1), seeded(1));
        assert_ne!(seeded(1), seeded(2));
        assert!(seeded(1).contains(&true) && seeded(1).contains(&false));
    }

    #[test]
    fn probability_zero_never_applies() {
        let rule = Rule {
            probability: 0.0,
            ..any(Fault::Drop {})
        };
        assert_eq!(faulty(&mut Armed::new(plan(vec![rule])), 20), [false; 20]);
    }
}
