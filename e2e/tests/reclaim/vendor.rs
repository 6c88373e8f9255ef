//! The vendor and the observer, against each other.

use std::time::Duration;

use eci_e2e::eventually::eventually;
use eci_e2e::observer::{Observer, audit};
use eci_e2e::storm::Script;
use eci_e2e::vendor::{self, Behaviour, EXPIRED, Notice, PodRef, RELEASED, Vendor};
use eci_e2e::workload::{Keep, Release, Workload, budget, condition, is_ready, protect};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::{PATIENCE, namespace, plane};

#[tokio::test]
async fn a_reclaim_is_announced_and_carried_out_as_the_vendor_does() {
    let client = namespace("announced").await;
    let workload = Workload::new("announced", "web", 3).released_by(Release::Nobody);
    let doomed: Vec<PodRef> =
        workload.deploy(&client, PATIENCE).await.unwrap().iter().map(PodRef::of).collect();
    let observer = Observer::start(plane().await, Some("announced")).await.unwrap();
    observer.begin();
    let mut vendor = Vendor::start(plane().await, Behaviour::QUIET).await.unwrap();
    vendor.announce(&doomed, Notice::Both).await.unwrap();

    let pods: Api<Pod> = Api::namespaced(client.clone(), "announced");
    let events: Api<Event> = Api::namespaced(client.clone(), "announced");
    let first = pods.get(&doomed[0].name).await.unwrap();
    assert_eq!(condition(&first, EXPIRED), Some("True"));
    let written = events.list(&ListParams::default().fields("reason=SpotToBeReleased")).await.unwrap().items;
    assert_eq!(written.len(), 3);
    assert!(written.iter().all(|event| {
        event.source.as_ref().is_some_and(|source| {
            source.component.as_deref() == Some("kubelet") && source.host.as_deref() == Some("eci")
        }) && event.type_.as_deref() == Some("Warning")
            && doomed.iter().any(|pod| event.involved_object.uid.as_deref() == Some(&pod.uid))
    }));
    assert_eq!(observer.verdict(&doomed).untouched.len(), 3);

    let released = vendor.release(&doomed).await.unwrap();
    assert_eq!(released.len(), 3);
    assert!(vendor.release(&doomed).await.unwrap().is_empty(), "an instance is released once");
    let failed = pods.get(&doomed[0].name).await.unwrap();
    let status = failed.status.unwrap();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some(RELEASED)));
    let message = status.message.unwrap();
    assert!(message.starts_with("The pod is spot instance, and have been released at 2"), "{message}");
    let verdict = observer.settled(&doomed, PATIENCE).await.unwrap();
    assert_eq!((verdict.lost.len(), verdict.evicted.len()), (3, 0));
    assert!(verdict.breaches.is_empty());
    // The Deployment makes new ones.
    workload.ready(&client, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn the_vendor_evicts_what_asks_it_within_the_budget_and_the_observer_sees_it() {
    let client = namespace("vendor-evicts").await;
    let workload = Workload::new("vendor-evicts", "web", 6).released_by(Release::Vendor).with_grace(1);
    let doomed: Vec<PodRef> =
        workload.deploy(&client, PATIENCE).await.unwrap().iter().map(PodRef::of).collect();
    let keep = Keep::MaxUnavailable(IntOrString::Int(2));
    protect(&client, &budget(&workload, keep).unwrap(), 6).await.unwrap();
    let observer = Observer::start(plane().await, Some("vendor-evicts")).await.unwrap();
    let log = plane().await.audit_log_path();
    let mark = audit::mark(&log).unwrap();
    let mut vendor = Vendor::start(plane().await, Behaviour::HOSTILE).await.unwrap();
    observer.begin();

    for half in doomed.chunks(3) {
        assert_eq!(vendor.announce(half, Notice::Both).await.unwrap(), 0);
    }
    observer.settled(&doomed, PATIENCE).await.unwrap();
    // The end of the instances finds none but those that are still in their grace, how many is a matter of speed.
    vendor.release(&doomed).await.unwrap();
    let verdict = observer.settled(&doomed, PATIENCE).await.unwrap();
    assert_eq!((verdict.evicted.len(), verdict.lost.len(), verdict.wrong.len()), (6, 0, 0), "{verdict:?}");
    assert!(verdict.breaches.is_empty(), "{:?}", verdict.breaches);
    assert!(verdict.slack >= Some(0), "{verdict:?}");
    let requests = audit::requests_since(&log, mark, vendor::USER).unwrap();
    let evictions: Vec<_> =
        requests.iter().filter(|r| r.resource == "pods/eviction" && r.namespace == "vendor-evicts").collect();
    assert_eq!(evictions.iter().filter(|request| request.code == 201).count(), 6, "{evictions:?}");
}

#[tokio::test]
async fn an_annotation_for_the_operator_is_none_of_the_vendors_business() {
    let client = namespace("not-asked").await;
    let workload = Workload::new("not-asked", "web", 2);
    let doomed: Vec<PodRef> =
        workload.deploy(&client, PATIENCE).await.unwrap().iter().map(PodRef::of).collect();
    let observer = Observer::start(plane().await, Some("not-asked")).await.unwrap();
    let mut vendor = Vendor::start(plane().await, Behaviour::HOSTILE).await.unwrap();
    observer.begin();
    let step = Duration::from_secs(1);
    let outcome = Script::staggered(&doomed, 2, step, 3 * step).play(&mut vendor).await.unwrap();
    assert_eq!((outcome.released.len(), outcome.gone_before), (2, 0));
    assert_eq!(observer.settled(&doomed, PATIENCE).await.unwrap().lost.len(), 2);
}

#[tokio::test]
async fn a_hostile_vendor_takes_conditions_of_others_away_and_keeps_its_own() {
    let client = namespace("overwrites").await;
    let workload = Workload::new("overwrites", "web", 1).released_by(Release::Nobody);
    let pod = workload.deploy(&client, PATIENCE).await.unwrap().remove(0);
    let doomed = PodRef::of(&pod);
    let pods: Api<Pod> = Api::namespaced(client, "overwrites");
    let write = async |kind: &str, status: &str| {
        let patch = json!({ "status": { "conditions": [{ "type": kind, "status": status }] } });
        pods.patch_status(&doomed.name, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    };
    let ours = "eci-operator.io/GracefulEviction";
    write(ours, "False").await;
    assert_eq!(condition(&pods.get(&doomed.name).await.unwrap(), ours), Some("False"));

    let mut vendor = Vendor::start(plane().await, Behaviour::HOSTILE).await.unwrap();
    let without = |kind: &'static str| {
        let (pods, name) = (pods.clone(), doomed.name.clone());
        eventually("the condition is gone", PATIENCE, move || {
            let (pods, name) = (pods.clone(), name.clone());
            async move {
                let pod = pods.get(&name).await.map_err(|error| error.to_string())?;
                if condition(&pod, kind).is_none() { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
            }
        })
    };
    let overwritten = without(ours).await.unwrap();
    assert_eq!(condition(&overwritten, "Ready"), Some("True"));
    write(ours, "False").await;
    without(ours).await.unwrap();

    vendor.announce(std::slice::from_ref(&doomed), Notice::ConditionOnly).await.unwrap();
    write(EXPIRED, "False").await;
    eventually("the vendor says again that it expires", PATIENCE, || async {
        let pod = pods.get(&doomed.name).await.map_err(|error| error.to_string())?;
        if condition(&pod, EXPIRED) == Some("True") { Ok(()) } else { Err(format!("{:?}", pod.status)) }
    })
    .await
    .unwrap();
    vendor.release(std::slice::from_ref(&doomed)).await.unwrap();
    let failed = without(ours).await.unwrap();
    assert_eq!(failed.status.unwrap().reason.as_deref(), Some(RELEASED));
}

#[tokio::test]
async fn a_hostile_vendor_says_of_pods_that_start_whether_they_start_from_an_image_cache() {
    let client = namespace("matches").await;
    let _vendor = Vendor::start(plane().await, Behaviour::HOSTILE).await.unwrap();
    let mut pinned = Workload::new("matches", "pinned", 1);
    pinned.annotations.insert("k8s.aliyun.com/eci-imc-id".to_owned(), "imc-example".to_owned());
    let pods: Api<Pod> = Api::namespaced(client.clone(), "matches");
    pods.create(&PostParams::default(), &pinned.bare_pod("pinned", None).unwrap()).await.unwrap();
    let free = Workload::new("matches", "free", 1).bare_pod("free", None).unwrap();
    pods.create(&PostParams::default(), &free).await.unwrap();
    let events: Api<Event> = Api::namespaced(client, "matches");
    for (name, reason) in [("pinned", "SuccessfulHitImageCache"), ("free", "ImageCacheMissed")] {
        eventually(&format!("{reason} of {name}"), PATIENCE, || async {
            let about = ListParams::default().fields(&format!("reason={reason},involvedObject.name={name}"));
            let found = events.list(&about).await.map_err(|error| error.to_string())?;
            if found.items.is_empty() { Err("no event".to_owned()) } else { Ok(()) }
        })
        .await
        .unwrap();
    }
    let matched = async |name: &str| {
        let annotations = pods.get(name).await.unwrap().metadata.annotations.unwrap_or_default();
        annotations.get("k8s.aliyun.com/eci-matched-image-cache").cloned()
    };
    assert_eq!(matched("pinned").await.as_deref(), Some("imc-example"));
    assert_eq!(matched("free").await, None);
}

#[tokio::test]
async fn the_observer_sees_a_floor_that_is_broken_and_pods_that_were_not_announced() {
    let client = namespace("broken").await;
    let workload = Workload::new("broken", "web", 4).released_by(Release::Nobody);
    let pods: Api<Pod> = Api::namespaced(client.clone(), "broken");
    // Nobody makes new ones in time to hide it.
    for n in 0..4 {
        let pod = workload.bare_pod(&format!("web-{n}"), None).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
    let all: Vec<PodRef> = workload.ready(&client, PATIENCE).await.unwrap().iter().map(PodRef::of).collect();
    let keep = Keep::MinAvailable(IntOrString::Int(3));
    protect(&client, &budget(&workload, keep).unwrap(), 4).await.unwrap();
    let observer = Observer::start(plane().await, Some("broken")).await.unwrap();
    observer.begin();
    // Deletions ask no budget.
    for pod in &all[..3] {
        pods.delete(&pod.name, &DeleteParams::default()).await.unwrap();
    }
    let doomed = &all[..2];
    let verdict = observer.settled(doomed, PATIENCE).await.unwrap();
    assert_eq!(verdict.evicted.len(), 2);
    let verdict = eventually("the third is seen, too", PATIENCE, || async {
        let verdict = observer.verdict(doomed);
        if verdict.wrong.is_empty() { Err("not yet") } else { Ok(verdict) }
    })
    .await
    .unwrap();
    assert_eq!(verdict.wrong, [all[2].clone()]);
    let breaches: Vec<_> = verdict.breaches.iter().map(|b| (b.healthy, b.desired)).collect();
    assert_eq!(breaches, [(2, 3), (1, 3)]);
    assert_eq!(verdict.slack, Some(-2));
    let requests = audit::requests_since(&plane().await.audit_log_path(), 0, vendor::USER).unwrap();
    let evicted =
        |request: &audit::Request| request.namespace == "broken" && request.resource == "pods/eviction";
    assert!(!requests.iter().any(evicted), "the vendor had no part in it");
}

#[tokio::test]
async fn the_vendors_webhook_sends_labelled_pods_to_virtual_nodes() {
    let client = namespace("routed").await;
    let _vendor = Vendor::start(plane().await, Behaviour::HOSTILE).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "routed");
    let mut n = 0;
    // The server reads its configurations by a watch of its own, so that it may not ask at once.
    let routed = eventually("a labelled pod is routed", PATIENCE, || {
        n += 1;
        let (label, value) = vendor::ROUTED;
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": format!("web-{n}"), "labels": { (label): value } },
            "spec": { "containers": [{ "name": "main", "image": "example.com/none" }] },
        }))
        .unwrap();
        let pods = pods.clone();
        async move {
            let pod = pods.create(&PostParams::default(), &pod).await.map_err(|error| error.to_string())?;
            let spec = pod.spec.clone().unwrap_or_default();
            if spec.node_selector.is_some() { Ok(pod) } else { Err(format!("{spec:?}")) }
        }
    })
    .await
    .unwrap();
    let name = routed.metadata.name.unwrap();
    eventually("it runs on a virtual node", PATIENCE, || async {
        let pod = pods.get(&name).await.map_err(|error| error.to_string())?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if is_ready(&pod) && node == Some("virtual") { Ok(()) } else { Err(format!("{:?}", pod.status)) }
    })
    .await
    .unwrap();
}
