//! When the operator's own scheduling gates go.
//!
//! A gate is asked for by [`decide`]. So whether it may go is the same question again, of the pod as it would be without
//! the gate: when the answer has no gate any more, the cache is there, or nobody wants it now. One thing more: a pod that
//! mounts data caches never starts without them, whatever became of the profile that asked for them.

use std::time::Duration;

use eci_api::eci_profile::EciProfileSpec;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::duration;
use crate::profile::Profiles;
use crate::profile::caches::IMAGE_CACHE_GATE;
use crate::profile::data_caches::{self, DATA_CACHE_GATE};
use crate::profile::decide::{Change, Decision, Field, Moment, Namespace, Winner, World, decide};
use crate::profile::unit::Unit;
use crate::time::after;

/// `imageCache.readyTimeout` when absent; and after what time it is told that data caches are missing.
pub const READY_TIMEOUT: Duration = Duration::from_mins(10);

/// The operator's gates.
pub const GATES: [&str; 2] = [IMAGE_CACHE_GATE, DATA_CACHE_GATE];

/// What becomes of the gates of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GatePlan {
    /// Gates that go now.
    pub open: Vec<&'static str>,
    /// What changes with them: annotations.
    pub changes: Vec<Change>,
    /// Gates that go without what the pod waited for, since it came too late.
    pub late: Vec<&'static str>,
    /// Gates that stay, though what the pod waits for should have come by now.
    pub overdue: Vec<&'static str>,
    /// When to look again, if nothing changes before.
    pub wake: Option<Timestamp>,
}

/// Whether a pod has one of the operator's gates.
pub fn is_gated(pod: &Pod) -> bool {
    gates(pod).next().is_some()
}

fn gates(pod: &Pod) -> impl Iterator<Item = &'static str> {
    let set = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    set.filter_map(|gate| GATES.into_iter().find(|ours| *ours == gate.name))
}

/// Plans for a pod.
pub fn plan(
    profiles: &Profiles,
    world: &World,
    namespace: Namespace<'_>,
    pod: &Pod,
    now: Timestamp,
) -> GatePlan {
    let mut plan = GatePlan::default();
    for gate in gates(pod) {
        let mut without = pod.clone();
        if let Some(spec) = &mut without.spec {
            spec.scheduling_gates.iter_mut().for_each(|gates| gates.retain(|other| other.name != gate));
        }
        let mut decision = decide(profiles, world, namespace, &without, Moment::Creation);
        let waits_for_data = gate == DATA_CACHE_GATE && lacks_data(&decision, &without);
        if waits_for_data || asks_for(&decision, gate) {
            let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
            let due = after(created, timeout(profiles, &decision, gate));
            if due > now {
                plan.wake = Some(plan.wake.map_or(due, |wake| wake.min(due)));
                continue;
            }
            if gate == DATA_CACHE_GATE {
                plan.overdue.push(gate);
                continue;
            }
            plan.late.push(gate);
            // A pod that exists can get no gate: it is decided without what it waited for.
            decision = decide(profiles, world, namespace, &without, Moment::Spill);
        }
        plan.open.push(gate);
        for change in decision.changes {
            // Where it may go was settled when it was created, and limits are not a gate's to grant.
            if matches!(change, Change::Annotation(..)) && !plan.changes.contains(&change) {
                plan.changes.push(change);
            }
        }
    }
    plan
}

fn asks_for(decision: &Decision, gate: &str) -> bool {
    decision.changes.iter().any(|change| matches!(change, Change::Gate(name) if name == gate))
}

/// Whether a pod mounts data caches that are not all known and in order.
fn lacks_data(decision: &Decision, pod: &Pod) -> bool {
    let mounts = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).any(data_caches::is_ours);
    let found = decision.winners.keys().any(|field| matches!(field, Field::DataCache(_)));
    decision.denial.is_some() || mounts && !found
}

/// How long the pod waits: as the profile says whose image cache it is.
fn timeout(profiles: &Profiles, decision: &Decision, gate: &str) -> Duration {
    if gate != IMAGE_CACHE_GATE {
        return READY_TIMEOUT;
    }
    let Some(Winner::Profile(name)) = decision.winners.get(&Field::Unit(Unit::ImageCache)) else {
        return READY_TIMEOUT;
    };
    let of = |spec: &EciProfileSpec| duration(spec.image_cache.as_ref()?.ready_timeout.as_deref());
    profiles
        .iter()
        .find(|profile| profile.name == *name)
        .and_then(|profile| of(&profile.spec))
        .unwrap_or(READY_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eci_api::eci_profile::ImageCacheReference;
    use serde_json::{Value, json};

    use super::*;
    use crate::profile::caches::CacheFacts;
    use crate::profile::data_caches::DataCacheFacts;
    use crate::profile::{Labels, Profile};

    fn profiles(spec: Option<Value>) -> Profiles {
        let profile = spec.map(|spec| Profile {
            name: "p".into(),
            generation: 1,
            spec: Arc::new(serde_json::from_value(spec).unwrap()),
        });
        Profiles::new(profile, "eci-system")
    }

    fn waits() -> Value {
        json!({
            "selector": { "podSelector": { "matchLabels": { "app": "web" } } },
            "imageCache": {
                "mode": "Pinned", "refs": [{ "namespace": "shop", "name": "web" }],
                "requireReady": true, "readyTimeout": "5m",
            },
        })
    }

    fn world(id: Option<&str>) -> World {
        let facts = CacheFacts { usable: id.map(str::to_owned), images: vec!["nginx".into()] };
        let reference = ImageCacheReference { namespace: "shop".into(), name: "web".into() };
        World { caches: [(reference, facts)].into(), ..World::default() }
    }

    fn pod(gates: &[&str]) -> Pod {
        let gates: Vec<_> = gates.iter().map(|name| json!({ "name": name })).collect();
        serde_json::from_value(json!({
            "metadata": {
                "labels": { "app": "web" }, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { "eci-operator.io/profiles": "p@1" },
            },
            "spec": { "containers": [{ "name": "c", "image": "nginx" }], "schedulingGates": gates },
        }))
        .unwrap()
    }

    fn planned(profiles: &Profiles, world: &World, pod: &Pod, after_minutes: i64) -> GatePlan {
        let none = Labels::new();
        let created = pod.metadata.creation_timestamp.clone().unwrap().0;
        let now = created + jiff::SignedDuration::from_mins(after_minutes);
        plan(profiles, world, Namespace { name: "shop", labels: &none }, pod, now)
    }

    fn annotation(changes: &[Change], wanted: &str) -> Option<String> {
        changes.iter().find_map(|change| match change {
            Change::Annotation(key, value) if key == wanted => Some(value.clone()),
            _ => None,
        })
    }

    const PINNED: &str = "k8s.aliyun.com/eci-imc-id";
    const AUTO: &str = "k8s.aliyun.com/eci-auto-imc";

    #[test]
    fn a_gate_goes_when_the_cache_is_there_or_comes_too_late_or_nobody_wants_it_any_more() {
        let gated = pod(&["example.com/other", IMAGE_CACHE_GATE]);
        assert!(is_gated(&gated) && !is_gated(&pod(&["example.com/other"])));

        let early = planned(&profiles(Some(waits())), &world(None), &gated, 4);
        let due = gated.metadata.creation_timestamp.clone().unwrap().0 + jiff::SignedDuration::from_mins(5);
        assert_eq!(early, GatePlan { wake: Some(due), ..GatePlan::default() });

        let there = planned(&profiles(Some(waits())), &world(Some("imc-1")), &gated, 4);
        assert_eq!((there.open, there.late.len()), (vec![IMAGE_CACHE_GATE], 0));
        assert_eq!(annotation(&there.changes, PINNED).as_deref(), Some("imc-1"));

        let late = planned(&profiles(Some(waits())), &world(None), &gated, 5);
        assert_eq!((&late.open, &late.late), (&vec![IMAGE_CACHE_GATE], &vec![IMAGE_CACHE_GATE]));
        assert_eq!(annotation(&late.changes, PINNED), None);
        assert_eq!(annotation(&late.changes, AUTO).as_deref(), Some("false"), "nothing is searched for");

        let nobody = planned(&profiles(None), &World::default(), &gated, 0);
        assert_eq!((nobody.open, nobody.changes.len()), (vec![IMAGE_CACHE_GATE], 0));
        let gone = planned(&profiles(Some(waits())), &World::default(), &gated, 0);
        assert_eq!(gone.open, [IMAGE_CACHE_GATE], "no cache covers it any more");
    }

    #[test]
    fn a_pod_never_starts_without_its_data_caches() {
        let mut gated = pod(&[DATA_CACHE_GATE]);
        let asks = ("eci-operator.io/data-caches".to_owned(), "model=/models".to_owned());
        gated.metadata.annotations.get_or_insert_default().extend([asks]);
        let world = |available| {
            let facts = DataCacheFacts {
                bucket: "default".into(),
                path: "/models/a".into(),
                available,
                reason: "Building".into(),
            };
            World { data_caches: [(("shop".into(), "model".into()), facts)].into(), ..World::default() }
        };
        let none = profiles(None);
        for (world, minutes, opens, overdue) in [
            (world(true), 1, true, false),
            (world(true), 60, true, false),
            (world(false), 1, false, false),
            (world(false), 10, false, true),
            (World::default(), 1, false, false),
            (World::default(), 10, false, true),
        ] {
            let plan = planned(&none, &world, &gated, minutes);
            assert_eq!(
                (!plan.open.is_empty(), !plan.overdue.is_empty()),
                (opens, overdue),
                "{minutes} {plan:?}"
            );
            assert_eq!(plan.wake.is_some(), !opens && !overdue);
        }
        // Mounted by a profile that is gone.
        let mut mounted = pod(&[DATA_CACHE_GATE]);
        let volume = json!({ "name": "eci-data-cache-model", "hostPath": { "path": "/models/a" } });
        mounted.spec.as_mut().unwrap().volumes = serde_json::from_value(json!([volume])).unwrap();
        assert!(planned(&none, &world(true), &mounted, 1).open.is_empty());
        // Nobody asks for any.
        assert_eq!(planned(&none, &world(false), &pod(&[DATA_CACHE_GATE]), 1).open, [DATA_CACHE_GATE]);
    }

    #[test]
    fn a_pod_without_our_gates_is_left_alone() {
        let plan = planned(&profiles(Some(waits())), &world(None), &pod(&["example.com/other"]), 60);
        assert_eq!(plan, GatePlan::default());
    }
}
