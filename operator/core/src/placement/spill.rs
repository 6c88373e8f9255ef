//! Which waiting pods may go to virtual nodes now.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Rule;
use super::amount::Amount;
use crate::eviction::PodRef;
use crate::time::after;

/// Where a pod stands that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is on a virtual node, or may be put on one: it takes of the limits.
    Virtual,
    /// It is on a regular node, or nothing is to be done about where it goes.
    Settled,
    /// It waits for a node, and its profile would let it go to virtual nodes.
    Waiting(Waiting),
}

/// A pod that waits for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Since when the scheduler has found no node for it; `None` when it has not said so, or holds one for it already.
    pub unschedulable: Option<Timestamp>,
    /// Whether a place is being made for it on a node (`status.nominatedNodeName`).
    pub nominated: bool,
    /// `spec.priority`.
    pub priority: i32,
    /// When it was created.
    pub created: Timestamp,
}

/// A pod with what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Which.
    pub pod: &'a PodRef,
    /// The profile whose placement counts for it.
    pub profile: &'a Arc<str>,
    /// What it asks for.
    pub amount: Amount,
    /// Where it stands.
    pub stand: Stand,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods that may go to virtual nodes now, those that matter most first.
    pub admit: Vec<PodRef>,
    /// When to look again, if nothing changes before.
    pub wake: Option<Timestamp>,
    /// What the pods of each profile take on virtual nodes, with those in `admit`.
    pub taken: BTreeMap<Arc<str>, Amount>,
    /// Pods of each profile that would go now if its limits allowed it.
    pub held: BTreeMap<Arc<str>, u64>,
    /// Those of them that ask for more than the limits by themselves.
    pub too_big: Vec<PodRef>,
}

/// Plans. `rules` are those of the profiles, `under_way` the pods (by UID) that were let go and do not show it yet: they
/// take of the limits. At most `room` are let go now.
///
/// Of those whose time has come, the one with the highest priority goes first, then the oldest. One that asks for more
/// than is left does not keep smaller ones behind it from going.
pub fn plan<'a>(
    pods: impl Iterator<Item = Candidate<'a>>,
    rules: &BTreeMap<Arc<str>, Rule>,
    under_way: &BTreeSet<Arc<str>>,
    room: usize,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let mut due: Vec<(Candidate<'a>, Waiting)> = Vec::new();
    for candidate in pods {
        let Some(rule) = rules.get(candidate.profile) else { continue };
        match candidate.stand {
            Stand::Settled => {}
            _ if under_way.contains(&candidate.pod.uid) => take(&mut plan, &candidate),
            Stand::Virtual => take(&mut plan, &candidate),
            Stand::Waiting(waiting) => match moment(rule, &waiting) {
                Some(moment) if moment <= now => due.push((candidate, waiting)),
                Some(moment) => plan.wake = Some(plan.wake.map_or(moment, |wake| wake.min(moment))),
                None => {}
            },
        }
    }
    due.sort_by_key(|(candidate, waiting)| (Reverse(waiting.priority), waiting.created, candidate.pod));
    for (candidate, _) in due {
        let taken = plan.taken.get(candidate.profile).copied().unwrap_or_default();
        let Some(Rule { limits, .. }) = rules.get(candidate.profile) else { continue };
        if !limits.allow(taken.plus(candidate.amount)) {
            *plan.held.entry(Arc::clone(candidate.profile)).or_default() += 1;
            if !limits.allow(candidate.amount) {
                plan.too_big.push(candidate.pod.clone());
            }
        } else if plan.admit.len() < room {
            take(&mut plan, &candidate);
            plan.admit.push(candidate.pod.clone());
        }
    }
    plan
}

fn take(plan: &mut Plan, candidate: &Candidate<'_>) {
    let taken = plan.taken.entry(Arc::clone(candidate.profile)).or_default();
    *taken = taken.plus(candidate.amount);
}

/// When a waiting pod may go; `None` when nobody can tell yet.
fn moment(rule: &Rule, waiting: &Waiting) -> Option<Timestamp> {
    if !rule.granted || waiting.nominated {
        return None;
    }
    match rule.after {
        Some(time) => Some(after(waiting.unschedulable?, time)),
        None => Some(waiting.created),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::placement::limits::Limits;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn waiting(since: Option<i64>) -> Waiting {
        Waiting { unschedulable: since.map(at), nominated: false, priority: 0, created: at(90) }
    }

    fn rule(after: Option<u64>, pods: Option<u64>) -> Rule {
        Rule {
            after: after.map(Duration::from_secs),
            limits: Limits { pods, ..Limits::default() },
            granted: true,
            virtual_first: false,
        }
    }

    /// Plans for pods named by their number, of one profile.
    fn planned(
        rule: Rule,
        stands: &[Stand],
        under_way: &[&str],
        now: i64,
    ) -> (Vec<String>, Option<i64>, u64, u64) {
        let profile: Arc<str> = "p".into();
        let ids: Vec<PodRef> =
            (0..stands.len()).map(|i| PodRef::new("shop", &i.to_string(), &i.to_string())).collect();
        let candidates = ids.iter().zip(stands).map(|(pod, stand)| Candidate {
            pod,
            profile: &profile,
            amount: Amount { pods: 1, cpu: 0, memory: 0 },
            stand: *stand,
        });
        let rules = BTreeMap::from([(Arc::clone(&profile), rule)]);
        let under_way = under_way.iter().map(|uid| Arc::from(*uid)).collect();
        let plan = plan(candidates, &rules, &under_way, 100, at(now));
        let admitted = plan.admit.iter().map(|pod| pod.name.to_string()).collect();
        let taken = plan.taken.get("p").map_or(0, |amount| amount.pods);
        (
            admitted,
            plan.wake.map(Timestamp::as_second),
            taken,
            plan.held.get("p").copied().unwrap_or_default(),
        )
    }

    #[test]
    fn a_pod_goes_when_it_was_unschedulable_for_long_enough_and_never_when_a_place_is_made_for_it() {
        let go = vec!["0".to_owned()];
        let nominated = Waiting { nominated: true, ..waiting(Some(100)) };
        for (rule, stand, now, expected) in [
            (rule(Some(30), None), Stand::Waiting(waiting(Some(100))), 129, (vec![], Some(130), 0, 0)),
            (rule(Some(30), None), Stand::Waiting(waiting(Some(100))), 130, (go.clone(), None, 1, 0)),
            (rule(Some(0), None), Stand::Waiting(waiting(Some(100))), 100, (go.clone(), None, 1, 0)),
            // After a long time without an operator.
            (rule(Some(30), None), Stand::Waiting(waiting(Some(100))), 100_000, (go.clone(), None, 1, 0)),
            (rule(Some(30), None), Stand::Waiting(waiting(None)), 1_000, (vec![], None, 0, 0)),
            (rule(Some(30), None), Stand::Waiting(nominated), 1_000, (vec![], None, 0, 0)),
            (rule(None, Some(1)), Stand::Waiting(nominated), 1_000, (vec![], None, 0, 0)),
            // Nobody waits with Fair.
            (rule(None, Some(1)), Stand::Waiting(waiting(None)), 100, (go, None, 1, 0)),
            (rule(None, Some(0)), Stand::Waiting(waiting(None)), 100, (vec![], None, 0, 1)),
            (rule(Some(30), None), Stand::Settled, 1_000, (vec![], None, 0, 0)),
            (rule(Some(30), None), Stand::Virtual, 1_000, (vec![], None, 1, 0)),
        ] {
            assert_eq!(planned(rule.clone(), &[stand], &[], now), expected, "{rule:?} {stand:?} {now}");
        }
        let free = Rule { granted: false, ..rule(None, None) };
        assert_eq!(planned(free, &[Stand::Waiting(waiting(Some(1)))], &[], 1_000), (vec![], None, 0, 0));
    }

    #[test]
    fn what_is_under_way_takes_of_the_limits_and_is_not_let_go_twice() {
        let waits = Stand::Waiting(waiting(None));
        let (admitted, _, taken, held) = planned(rule(None, Some(2)), &[waits, waits, waits], &["1"], 100);
        assert_eq!((admitted, taken, held), (vec!["0".to_owned()], 2, 1));
    }

    #[test]
    fn the_highest_priority_goes_first_then_the_oldest_and_a_big_one_keeps_nobody_back() {
        let profile: Arc<str> = "p".into();
        let ids: Vec<PodRef> = (0..4).map(|i| PodRef::new("shop", &i.to_string(), &i.to_string())).collect();
        let of = |i: usize, priority, created, cpu| Candidate {
            pod: &ids[i],
            profile: &profile,
            amount: Amount { pods: 1, cpu, memory: 0 },
            stand: Stand::Waiting(Waiting { priority, created: at(created), ..waiting(None) }),
        };
        let candidates = [of(0, 0, 3, 1), of(1, 0, 2, 1), of(2, 5, 9, 1), of(3, 0, 1, 50)];
        let limits = Limits { cpu: Some(3), ..Limits::default() };
        let rules = BTreeMap::from([(Arc::clone(&profile), Rule { limits, ..rule(None, None) })]);
        let plan = plan(candidates.into_iter(), &rules, &BTreeSet::new(), 2, at(100));
        assert_eq!(plan.admit, [ids[2].clone(), ids[1].clone()], "no more than there is room for");
        assert_eq!(plan.held["p"], 1);
        assert_eq!(plan.too_big, [ids[3].clone()]);
    }

    fn stands() -> impl Strategy<Value = Stand> {
        let wait = (proptest::option::of(0_i64..300), any::<bool>(), 0..3, 0_i64..100).prop_map(
            |(since, nominated, priority, created)| {
                let unschedulable = since.map(at);
                Stand::Waiting(Waiting { unschedulable, nominated, priority, created: at(created) })
            },
        );
        prop_oneof![Just(Stand::Virtual), Just(Stand::Settled), wait]
    }

    proptest! {
        /// Whatever is there, and in whatever order: what is let go keeps to the limits, the plan is the same for any
        /// order, and carried out it asks for nothing that it has done.
        #[test]
        fn limits_are_kept_and_the_order_of_pods_is_no_matter(
            pods in proptest::collection::vec((stands(), 0_usize..2, 1_u64..5), 0..40),
            limit in 0_u64..40,
            room in 0_usize..20,
            after in proptest::option::of(0_u64..100),
        ) {
            let names: [Arc<str>; 2] = ["a".into(), "b".into()];
            let ids: Vec<PodRef> = (0..pods.len()).map(|i| PodRef::new("n", &i.to_string(), &i.to_string())).collect();
            let limits = Limits { cpu: Some(limit), ..Limits::default() };
            let rules: BTreeMap<_, _> =
                names.iter().map(|name| (Arc::clone(name), Rule { limits, ..rule(after, None) })).collect();
            let candidates: Vec<_> = ids
                .iter()
                .zip(&pods)
                .map(|(pod, (stand, profile, cpu))| Candidate {
                    pod,
                    profile: &names[*profile],
                    amount: Amount { pods: 1, cpu: *cpu, memory: 0 },
                    stand: *stand,
                })
                .collect();
            let none = BTreeSet::new();
            let first = plan(candidates.iter().copied(), &rules, &none, room, at(200));
            let again = plan(candidates.iter().rev().copied(), &rules, &none, room, at(200));
            prop_assert_eq!(&first, &again);
            prop_assert!(first.admit.len() <= room);
            for name in &names {
                let before: u64 = candidates
                    .iter()
                    .filter(|c| c.profile == name && c.stand == Stand::Virtual)
                    .map(|c| c.amount.cpu)
                    .sum();
                let taken = first.taken.get(name).map_or(0, |amount| amount.cpu);
                prop_assert!(taken <= limit.max(before), "{taken} of {limit}, {before} before");
            }
            let under_way = first.admit.iter().map(|pod| Arc::clone(&pod.uid)).collect();
            let next = plan(candidates.iter().copied(), &rules, &under_way, pods.len(), at(200));
            prop_assert!(next.admit.iter().all(|pod| !first.admit.contains(pod)));
            for name in &names {
                let taken = |plan: &Plan| plan.taken.get(name).map_or(0, |amount| amount.cpu);
                let before: u64 = candidates
                    .iter()
                    .filter(|c| c.profile == name && c.stand == Stand::Virtual)
                    .map(|c| c.amount.cpu)
                    .sum();
                prop_assert!(taken(&next) <= limit.max(before));
            }
        }
    }
}
