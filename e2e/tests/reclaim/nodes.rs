//! Simulated nodes.

use std::time::Duration;

use eci_e2e::eventually::eventually;
use eci_e2e::testbed::nodes::{BEHAVIOUR, COMPLETE_AFTER, CRASH_LOOP, READY, UNREADY};
use eci_e2e::workload::{Workload, condition, is_ready};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::{PATIENCE, namespace};

async fn until(pods: &Api<Pod>, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
    eventually(what, PATIENCE, || async {
        let pod = pods.get(name).await.map_err(|error| error.to_string())?;
        if is(&pod) { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
    })
    .await
    .unwrap()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_starts_when_its_time_has_come_however_often_it_is_written_to() {
    let pods: Api<Pod> = Api::namespaced(namespace("starts").await, "starts");
    let pod = Workload::new("starts", "web", 1).starting_in(Duration::from_millis(2500));
    pods.create(&PostParams::default(), &pod.bare_pod("web", None).unwrap()).await.unwrap();
    let noted = until(&pods, "web", "kwok notes when it is ready", |pod| {
        pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key("testbed.eci-operator.io/ready-at"))
    })
    .await;
    assert_eq!(phase(&noted), "Pending");
    let waiting = noted.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].clone();
    assert_eq!(waiting.state.unwrap().waiting.unwrap().reason.as_deref(), Some("ContainerCreating"));
    let ready_at: Timestamp =
        noted.metadata.annotations.unwrap()["testbed.eci-operator.io/ready-at"].parse().unwrap();

    // A delay that began anew at each write would never end here.
    let mut writes = 0;
    let started = eventually("it is Ready while it is written to", PATIENCE, || {
        writes += 1;
        let patch = json!({ "metadata": { "labels": { "writes": writes.to_string() } } });
        let pods = pods.clone();
        async move {
            let pod = pods.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await;
            let pod = pod.map_err(|error| error.to_string())?;
            if is_ready(&pod) { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
        }
    })
    .await
    .unwrap();
    assert!(writes > 3, "it was Pending for a while: {writes} writes");
    let status = started.status.unwrap();
    let running = status.container_statuses.as_ref().unwrap()[0].state.as_ref().unwrap().running.as_ref();
    // Written with whole seconds, cut.
    let running = running.unwrap().started_at.as_ref().unwrap().0;
    assert!(running.as_second() >= ready_at.as_second(), "it ran at {running}, to be ready at {ready_at}");
}

#[tokio::test]
async fn a_pod_behaves_as_its_annotation_says_and_changes_when_that_does() {
    let pods: Api<Pod> = Api::namespaced(namespace("behaves").await, "behaves");
    let pod = Workload::new("behaves", "web", 1).behaving(CRASH_LOOP).bare_pod("web", None).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let looping = until(&pods, "web", "it runs", |pod| phase(pod) == "Running").await;
    assert_eq!(condition(&looping, "Ready"), Some("False"));
    let container = looping.status.unwrap().container_statuses.unwrap()[0].clone();
    assert_eq!(container.state.unwrap().waiting.unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    assert!(container.restart_count > 0 && !container.ready);

    for (behaviour, ready) in [(READY, true), (UNREADY, false), (READY, true)] {
        let patch = json!({ "metadata": { "annotations": { (BEHAVIOUR): behaviour } } });
        pods.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        let changed = until(&pods, "web", behaviour, |pod| is_ready(pod) == ready).await;
        let status = changed.status.unwrap();
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert!(status.container_statuses.unwrap()[0].state.as_ref().unwrap().running.is_some());
    }
}

#[tokio::test]
async fn a_pod_that_completes_is_succeeded() {
    let pods: Api<Pod> = Api::namespaced(namespace("completes").await, "completes");
    let mut workload = Workload::new("completes", "job", 1);
    workload.annotations.insert(COMPLETE_AFTER.to_owned(), "200ms".to_owned());
    pods.create(&PostParams::default(), &workload.bare_pod("job", None).unwrap()).await.unwrap();
    let done = until(&pods, "job", "it is Succeeded", |pod| phase(pod) == "Succeeded").await;
    assert!(!is_ready(&done));
}

#[tokio::test]
async fn virtual_nodes_of_both_makes_take_only_pods_that_tolerate_them() {
    let pods: Api<Pod> = Api::namespaced(namespace("makes").await, "makes");
    let mut workload = Workload::new("makes", "web", 1);
    for (name, label) in [("virtual", "type"), ("vnode", "k8s.aliyun.com/vnode")] {
        workload.virtual_only = false;
        let mut tolerant = workload.bare_pod(&format!("on-{name}"), None).unwrap();
        let value = if label == "type" { "virtual-kubelet" } else { "true" };
        tolerant.spec.as_mut().unwrap().node_selector = Some([(label.to_owned(), value.to_owned())].into());
        let mut intolerant = tolerant.clone();
        intolerant.metadata.name = Some(format!("not-on-{name}"));
        intolerant.spec.as_mut().unwrap().tolerations = None;
        pods.create(&PostParams::default(), &intolerant).await.unwrap();
        pods.create(&PostParams::default(), &tolerant).await.unwrap();
        let there = until(&pods, &format!("on-{name}"), "it is Ready", is_ready).await;
        assert_eq!(there.spec.unwrap().node_name.as_deref(), Some(name));
        let refused = |pod: &Pod| condition(pod, "PodScheduled") == Some("False");
        until(&pods, &format!("not-on-{name}"), "it is refused", refused).await;
    }
}

#[tokio::test]
async fn the_simulated_kubelet_cannot_end_a_pod_that_nobody_deleted() {
    let client = namespace("fenced").await;
    let pod = Workload::new("fenced", "web", 1).bare_pod("web", None).unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "fenced");
    pods.create(&PostParams::default(), &pod).await.unwrap();
    until(&pods, "web", "it is Ready", is_ready).await;
    let kwok = crate::plane().await.client_for_user("eci-testbed:kwok").await.unwrap();
    let as_kwok: Api<Pod> = Api::namespaced(kwok, "fenced");
    // A dry run, since the policy may be a moment away.
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default().grace_period(0) };
    let refused = eventually("it is refused", PATIENCE, || async {
        match as_kwok.delete("web", &dry).await {
            Err(error) => Ok(error.to_string()),
            Ok(_) => Err("it is accepted"),
        }
    })
    .await
    .unwrap();
    assert!(refused.contains("kwok may only end pods that are being deleted"), "{refused}");
}
