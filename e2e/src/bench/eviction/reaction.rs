//! How long it takes from a budget's opening until an eviction is accepted, both by the API server's own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::observer::audit::{BudgetWrite, Request};
use crate::observer::{BudgetRef, Ledger, percentile};

/// A time in which an evictor had to wait: nobody led, or the API server had asked it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// Median, 99th percentile and longest, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reactions {
    pub(super) median: Duration,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
    pub(super) count: usize,
    /// Those of which a part lies in a pause; they are not among the others.
    pub(super) paused: usize,
}

/// From each opening that the observer saw to the next eviction of a pod of that budget. An opening after which nobody
/// is left to evict counts for nothing, and one that is followed by another before anybody is evicted neither.
pub(super) fn reactions(
    ledger: &Ledger,
    written: &[BudgetWrite],
    requests: &[Request],
    pauses: &[Pause],
) -> Option<Reactions> {
    let openings: BTreeSet<(&BudgetRef, &str)> = ledger
        .budgets()
        .flat_map(|(id, floor)| floor.openings.iter().map(move |version| (id, version.as_str())))
        .collect();
    let opened = written.iter().filter(|write| openings.contains(&(&write.budget, write.version.as_str())));
    let budgets_of = budgets_of(ledger);
    let accepted = requests.iter().filter(|request| {
        request.verb == "create" && request.resource == "pods/eviction" && request.code == 201
    });
    // By time, and what was opened before what was accepted at that very instant.
    let mut events: Vec<(Timestamp, bool, &BudgetRef)> =
        opened.map(|write| (write.at, false, &write.budget)).collect();
    for request in accepted {
        let Ok(took) = jiff::SignedDuration::try_from(request.took) else { continue };
        let pod = (request.namespace.as_str(), request.name.as_str());
        let budgets = budgets_of.get(&pod).into_iter().flatten();
        events.extend(budgets.map(|id| (request.received + took, true, *id)));
    }
    events.sort_unstable();
    let mut open: BTreeMap<&BudgetRef, Timestamp> = BTreeMap::new();
    let (mut times, mut apart) = (Vec::new(), 0);
    for (at, evicted, id) in events {
        if !evicted {
            open.insert(id, at);
        } else if let Some(opened) = open.remove(id) {
            if pauses.iter().any(|pause| opened < pause.to && pause.from < at) {
                apart += 1;
                continue;
            }
            times.push(Duration::try_from(at.duration_since(opened)).unwrap_or_default());
        }
    }
    times.sort_unstable();
    Some(Reactions {
        median: percentile(&times, 50)?,
        p99: percentile(&times, 99)?,
        longest: *times.last()?,
        count: times.len(),
        paused: apart,
    })
}

/// The budgets of each pod, by namespace and name.
fn budgets_of(ledger: &Ledger) -> BTreeMap<(&str, &str), BTreeSet<&BudgetRef>> {
    let mut found: BTreeMap<(&str, &str), BTreeSet<&BudgetRef>> = BTreeMap::new();
    for seen in ledger.pods() {
        let mine = ledger.budgets().filter(|((namespace, _), floor)| {
            *namespace == seen.pod.namespace && floor.selects(&seen.labels)
        });
        let pod = (seen.pod.namespace.as_str(), seen.pod.name.as_str());
        found.entry(pod).or_default().extend(mine.map(|(id, _)| id));
    }
    found
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use serde_json::json;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap()
    }

    fn budget(name: &str, version: &str, allowed: i32) -> PodDisruptionBudget {
        serde_json::from_value(json!({
            "metadata": { "namespace": "a", "name": name, "resourceVersion": version },
            "spec": { "selector": { "matchLabels": { "app": name } } },
            "status": {
                "desiredHealthy": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "expectedPods": 2,
            },
        }))
        .unwrap()
    }

    fn pod(name: &str, app: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "namespace": "a", "name": name, "uid": name, "labels": { "app": app } },
        }))
        .unwrap()
    }

    fn write(budget: &str, version: &str, ms: i64) -> BudgetWrite {
        BudgetWrite { budget: ("a".into(), budget.into()), version: version.into(), at: at(ms) }
    }

    fn eviction(pod: &str, code: u16, ms: i64, took: u64) -> Request {
        Request {
            user: "we".into(),
            verb: "create".into(),
            resource: "pods/eviction".into(),
            namespace: "a".into(),
            name: pod.into(),
            code,
            received: at(ms),
            took: Duration::from_millis(took),
        }
    }

    #[test]
    fn a_reaction_is_from_the_write_that_opened_a_budget_to_the_answer_of_the_next_eviction_of_its_pods() {
        let mut ledger = Ledger::default();
        for (version, allowed) in [("1", 0), ("2", 1), ("3", 2), ("4", 0), ("5", 1), ("6", 0), ("7", 1)] {
            ledger.budget(&budget("web", version, allowed));
        }
        ledger.budget(&budget("db", "10", 0));
        ledger.budget(&budget("db", "11", 1));
        for (name, app) in [("web-1", "web"), ("web-2", "web"), ("db-1", "db"), ("free-1", "free")] {
            ledger.pod(Duration::ZERO, &pod(name, app));
        }
        let written =
            [write("web", "2", 0), write("web", "3", 5), write("web", "5", 1_000), write("web", "7", 2_000)];
        let requests = [
            // Refused, of another budget, and of none.
            eviction("web-1", 429, 1, 2),
            eviction("db-1", 201, 1, 3),
            eviction("free-1", 201, 1, 3),
            eviction("web-1", 201, 20, 10),
            // The opening at 1,000 came to nothing before the one at 2,000.
            eviction("web-2", 201, 2_100, 50),
        ];
        let ms = Duration::from_millis;
        let expected = Reactions { median: ms(30), p99: ms(150), longest: ms(150), count: 2, paused: 0 };
        assert_eq!(reactions(&ledger, &written, &requests, &[]), Some(expected));
        // Nobody was left to evict.
        assert_eq!(reactions(&ledger, &written, &[], &[]), None);
        // Between the second opening and its eviction nobody led; what ended or began beside it changes nothing.
        let pauses =
            [(-9, 0), (2_100, 2_110), (2_150, 9_000)].map(|(from, to)| Pause { from: at(from), to: at(to) });
        let expected = Reactions { median: ms(30), p99: ms(30), longest: ms(30), count: 1, paused: 1 };
        assert_eq!(reactions(&ledger, &written, &requests, &pauses), Some(expected));
    }
}
