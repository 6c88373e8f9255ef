//! What is said of where pods stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::budget::Broker;
use super::super::why::{self, NAMED_PODS, Why};
use super::super::{BudgetRef, Report, Standing};
use super::schedule::Wake;
use super::{At, Engine, SAY_AFTER};

/// For each budget the sentence about its pods that are not ready, made once for many messages.
pub(super) type Culprits = BTreeMap<BudgetRef, String>;

impl Engine {
    /// Remembers where a pod stands.
    pub(super) fn stand(&mut self, uid: &Arc<str>, why: Why, about: Option<BudgetRef>, at: At) {
        let Some(case) = self.cases.get_mut(uid) else { return };
        if case.why != why || case.about != about {
            case.since = (at.mono, at.wall);
        }
        (case.why, case.about) = (why, about);
        let said = case.said.as_ref().is_some_and(|(why, about)| *why == case.why && *about == case.about);
        let silent = said || matches!(case.why, Why::WaitingForTurn | Why::Evicting);
        let wait = if case.why.is_blocked() { SAY_AFTER } else { Duration::ZERO };
        let says = (!silent).then(|| case.since.0.plus(wait));
        if let Some(before) = std::mem::replace(&mut case.says, says) {
            self.unsaid.remove(&(before, Arc::clone(uid)));
        }
        if let Some(when) = says {
            self.unsaid.insert((when, Arc::clone(uid)));
        }
    }

    /// Reports what changed and lasted.
    pub(super) fn speak(&mut self, at: At, wake: &mut Wake) {
        let mut culprits = Culprits::new();
        let mut ready = Vec::new();
        while let Some((when, uid)) = self.unsaid.first().cloned()
            && when <= at.mono
        {
            self.unsaid.pop_first();
            ready.push(uid);
        }
        // As those who ask see them, whatever order they got ready in.
        ready.sort_unstable();
        for uid in ready {
            let standing = self.standing(&uid, &mut culprits);
            if let Some(case) = self.cases.get_mut(&uid) {
                case.says = None;
                case.said = Some((case.why, case.about.clone()));
            }
            if let Some(standing) = standing {
                self.report(Report::Standing(standing));
            }
        }
        wake.maybe(self.unsaid.first().map(|(when, _)| *when));
        self.foresee(at, wake);
    }

    pub(super) fn standing(&self, uid: &Arc<str>, culprits: &mut Culprits) -> Option<Standing> {
        let (case, known) = (self.cases.get(uid)?, self.pods.get(uid)?);
        let words = case.hold.as_ref().map_or("", |hold| hold.words.as_str());
        let broker = case.about.as_ref().and_then(|id| self.brokers.get(id));
        let mut message = match case.why {
            Why::BudgetExhausted | Why::BudgetNeverAllows => broker.map_or_else(String::new, |broker| {
                let unready =
                    culprits.entry(broker.budget.id.clone()).or_insert_with(|| self.unready(broker));
                why::budget(&broker.budget, unready)
            }),
            Why::SeveralBudgets => {
                let names: Vec<&str> = case.budgets.iter().take(NAMED_PODS).map(|id| &*id.name).collect();
                format!("the PodDisruptionBudgets {} all select the pod", names.join(", "))
            }
            Why::BudgetSyncFailed => broker.map_or_else(String::new, |broker| {
                let said = broker.budget.sync_failed.as_deref().unwrap_or("");
                format!(
                    "PodDisruptionBudget {} cannot be computed: {}",
                    broker.budget.id.name,
                    why::foreign(said)
                )
            }),
            Why::WaitingForTurn
            | Why::Evicting
            | Why::Evicted
            | Why::DeletedByOthers
            | Why::DeletedAtDeadline
            | Why::NothingReplacesIt => String::new(),
            _ => broker
                .map_or_else(String::new, |broker| format!("PodDisruptionBudget {}", broker.budget.id.name)),
        };
        if !words.is_empty() {
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(words);
        }
        let facts = message;
        let subject = format!("pod {}", known.pod.id.name);
        let message = why::sentence(&subject, &why::predicate(case.why, &facts), Some(case.notice.deadline));
        Some(Standing {
            pod: known.pod.id.clone(),
            profile: known.pod.profile.clone(),
            why: case.why,
            message,
            facts,
            budget: case.about.clone(),
            deadline: case.notice.deadline,
            since: case.since.1,
        })
    }

    /// Which pods of a budget are not ready, and why.
    fn unready(&self, broker: &Broker) -> String {
        let namespace = &broker.budget.id.namespace;
        let first = (Arc::clone(namespace), Arc::from(""));
        let unready = self
            .names
            .range(first..)
            .take_while(|((of, _), _)| of == namespace)
            .filter_map(|(_, uid)| Some(&self.pods.get(uid)?.pod))
            .filter(|pod| !pod.ready && !pod.phase.is_terminal() && pod.deletion.is_none())
            .filter(|pod| broker.budget.selector.matches(&pod.labels));
        let mut named = Vec::new();
        let mut more = 0_usize;
        for pod in unready {
            if named.len() == NAMED_PODS {
                more += 1;
                continue;
            }
            let because = pod.not_ready_because.as_deref().map(why::foreign);
            named.push(
                because.map_or_else(|| pod.id.name.to_string(), |why| format!("{} ({why})", pod.id.name)),
            );
        }
        if more > 0 {
            named.push(format!("{more} more"));
        }
        named.join(", ")
    }
}
