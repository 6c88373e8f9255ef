//! A virtual kubelet is the only writer of pod status that it knows of: what it did not write, it takes away.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};

use super::{EXPIRED, Shared};
use crate::testbed::wall_clock;

/// The types of conditions that the virtual kubelet writes, kwok's among them. Others do not survive it: neither ours
/// nor the API server's DisruptionTarget.
pub const OWNED: [&str; 9] = [
    "PodScheduled",
    "PodReadyToStartContainers",
    "Initialized",
    "ContainersReady",
    "Ready",
    "ContainerInstanceCreated",
    "SandboxReady",
    EXPIRED,
    "ContainerHasSufficientDisk",
];

/// Whose lastProbeTime changes at every writing, so that each is one.
const PROBED: &str = "SandboxReady";

/// How often one pod, the next in turn, is written to although nothing changed.
const REWRITE_EVERY: Duration = Duration::from_millis(100);

/// What the virtual kubelet makes of conditions that it finds.
fn its_own(found: &[PodCondition], announced: Option<Timestamp>) -> Vec<PodCondition> {
    let mut own: Vec<_> = found.iter().filter(|c| OWNED.contains(&c.type_.as_str())).cloned().collect();
    if let Some(at) = announced
        && !own.iter().any(|condition| condition.type_ == EXPIRED && condition.status == "True")
    {
        own.retain(|condition| condition.type_ != EXPIRED);
        own.push(PodCondition {
            type_: EXPIRED.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(at)),
            ..PodCondition::default()
        });
    }
    own
}

/// Overwrites until it is ended: at every change, and now and then without one.
pub(super) async fn run(shared: Shared) {
    let pods: Api<Pod> = Api::all(shared.client.clone());
    let mut changes = std::pin::pin!(
        watcher(pods, watcher::Config::default().fields("spec.nodeName!="))
            .default_backoff()
            .filter_map(|event| async { event.ok() })
    );
    let mut nodes = BTreeMap::new();
    let mut alive: BTreeMap<String, Pod> = BTreeMap::new();
    let mut turn = String::new();
    let mut rewrite = tokio::time::interval(REWRITE_EVERY);
    loop {
        let pod = tokio::select! {
            change = changes.next() => match change {
                None => return,
                Some(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                    let on = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                    if !shared.is_virtual(&mut nodes, &on).await {
                        continue;
                    }
                    alive.insert(pod.uid().unwrap_or_default(), pod.clone());
                    let found = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
                    let announced = shared.announced().get(&pod.uid().unwrap_or_default()).copied();
                    if found == its_own(found, announced) {
                        continue;
                    }
                    pod
                }
                Some(watcher::Event::Delete(pod)) => {
                    alive.remove(&pod.uid().unwrap_or_default());
                    continue;
                }
                Some(watcher::Event::Init | watcher::Event::InitDone) => continue,
            },
            _ = rewrite.tick() => {
                let next = alive.range(turn.clone() + "\0"..).next().or_else(|| alive.iter().next());
                let Some((uid, pod)) = next else { continue };
                turn.clone_from(uid);
                pod.clone()
            }
        };
        overwrite(&shared, pod).await;
    }
}

/// Writes the whole status. The version is the one that was read: the kubelet that kwok plays is the same program, and
/// a program does not overwrite itself.
async fn overwrite(shared: &Shared, mut pod: Pod) {
    let announced = shared.announced().get(&pod.uid().unwrap_or_default()).copied();
    let Some(status) = pod.status.as_mut() else { return };
    let mut own = its_own(status.conditions.as_deref().unwrap_or_default(), announced);
    own.retain(|condition| condition.type_ != PROBED);
    own.push(PodCondition {
        type_: PROBED.to_owned(),
        status: "True".to_owned(),
        last_probe_time: Some(Time(wall_clock())),
        ..PodCondition::default()
    });
    status.conditions = Some(own);
    let name = pod.name_any();
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &pod.namespace().unwrap_or_default());
    // Gone or changed meanwhile: its turn comes again.
    let _ = api.replace_status(&name, &PostParams::default(), &pod).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str) -> PodCondition {
        PodCondition { type_: kind.to_owned(), status: status.to_owned(), ..PodCondition::default() }
    }

    fn types(conditions: &[PodCondition]) -> Vec<&str> {
        conditions.iter().map(|condition| condition.type_.as_str()).collect()
    }

    #[test]
    fn conditions_of_others_are_lost_and_its_own_stay_as_they_are() {
        let found = [
            condition("Ready", "True"),
            condition("eci-operator.io/GracefulEviction", "False"),
            condition("DisruptionTarget", "True"),
            condition(EXPIRED, "True"),
        ];
        let own = its_own(&found, None);
        assert_eq!(types(&own), ["Ready", EXPIRED]);
        assert_eq!(its_own(&own, None), own);
    }

    #[test]
    fn an_announcement_is_asserted_again_when_somebody_took_it_away() {
        let at = Timestamp::UNIX_EPOCH;
        let own = its_own(&[condition("Ready", "True"), condition(EXPIRED, "False")], Some(at));
        assert_eq!(types(&own), ["Ready", EXPIRED]);
        assert_eq!(own[1].status, "True");
        assert_eq!(its_own(&own, Some(at)), own, "once is enough");
    }
}
