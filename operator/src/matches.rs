//! Looks which image caches pods start from: watches the two events of the vendor, looks at the pods that they are
//! about, and has the core count.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eci_core::cloud::CloudId;
use eci_core::matches::{HIT_EVENT, MATCHED, MISS_EVENT, Pending, Sign, Start, Tally};
use futures::stream::{self, FuturesUnordered};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as KubeEvent, Pod};
use kube::api::ListParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};

use crate::kind::Managed;
use crate::kubernetes::{PAGE, call, with_causes};
use crate::metrics::Metrics;
use crate::observe::Observer;

/// Pods that are looked at at once.
const LOOKS: usize = 8;
/// Pods whose start is timed at once; of more that start together the rest is counted and not timed.
const TIMED: usize = 100;
/// How often a pod that is timed is looked at, and how many times.
const TIME_EVERY: Duration = Duration::from_secs(5);
const TIME_LOOKS: u32 = 120;

/// The counts, as the driver of image caches sees them.
#[derive(Debug, Default)]
pub(crate) struct MatchBook(Mutex<Tally>);

impl MatchBook {
    /// What is to be written of a cache.
    pub(crate) fn pending(&self, id: &CloudId) -> Option<Pending> {
        self.tally().pending(id).cloned()
    }

    /// It was written.
    pub(crate) fn written(&self, id: &CloudId, what: &Pending) {
        self.tally().written(id, what);
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What looks.
pub(crate) struct Matching<K: Managed> {
    pub(crate) client: Client,
    /// The namespaces that are watched; empty is all.
    pub(crate) namespaces: Vec<String>,
    pub(crate) book: Arc<MatchBook>,
    pub(crate) observer: Arc<Observer<K>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// An event of the vendor about a pod.
#[derive(Clone, Debug)]
struct Said {
    namespace: String,
    pod: String,
    uid: String,
    hit: bool,
    message: String,
    at: Timestamp,
    listed: bool,
}

impl<K: Managed> Matching<K> {
    /// Looks for ever.
    pub(crate) async fn run(self) {
        // Without a list of the caches nothing could be counted for them.
        let mut listed = self.observer.subscribe();
        if listed.wait_for(|sighting| sighting.snapshot.is_some()).await.is_err() {
            return;
        }
        let mut said = Box::pin(self.events());
        let mut looks = FuturesUnordered::new();
        let mut timed = FuturesUnordered::new();
        loop {
            tokio::select! {
                // Events wait in the watch while enough pods are looked at.
                Some(said) = said.next(), if looks.len() < LOOKS => {
                    if !self.book.tally().knows(&said.uid) {
                        looks.push(self.look(said));
                    }
                }
                Some(found) = looks.next(), if !looks.is_empty() => {
                    let Some((said, pod)) = found else { continue };
                    if self.count(&said, pod.as_ref()) && !said.listed && timed.len() < TIMED {
                        timed.push(self.time(said));
                    }
                }
                Some(()) = timed.next(), if !timed.is_empty() => {}
            }
        }
    }

    /// What the vendor says, of what was and of what comes.
    fn events(&self) -> impl Stream<Item = Said> + Send + use<K> {
        let places: Vec<Option<&String>> = match &self.namespaces[..] {
            [] => vec![None],
            namespaces => namespaces.iter().map(Some).collect(),
        };
        let watches = places.into_iter().flat_map(|place| {
            [HIT_EVENT, MISS_EVENT].map(|reason| {
                let api: Api<KubeEvent> = match place {
                    None => Api::all(self.client.clone()),
                    Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                };
                let config = watcher::Config::default().fields(&format!("reason={reason}")).page_size(PAGE);
                watcher::watcher(api, config)
                    .default_backoff()
                    .filter_map(move |event| {
                        std::future::ready(match event {
                            Ok(Event::InitApply(event)) => read(event, reason, true),
                            Ok(Event::Apply(event)) => read(event, reason, false),
                            Ok(_) => None,
                            Err(error) => {
                                tracing::debug!(
                                    reason,
                                    error = with_causes(&error),
                                    "the watch of events fails; trying again"
                                );
                                None
                            }
                        })
                    })
                    .boxed()
            })
        });
        stream::select_all(watches.collect::<Vec<_>>())
    }

    /// The pod as it is; `None` for it when it is gone. `None` when nobody knows: the event comes again with the next list.
    async fn look(&self, said: Said) -> Option<(Said, Option<Pod>)> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &said.namespace);
        // A list of one: the operator may list pods, and not read each.
        let params = ListParams::default().fields(&format!("metadata.name={}", said.pod));
        match call("list", || format!("pod {}/{}", said.namespace, said.pod), api.list(&params)).await {
            Ok(list) => {
                let found = list.into_iter().flat_map(|list| list.items);
                let pod = found.into_iter().find(|pod| pod.metadata.uid.as_deref() == Some(&said.uid));
                Some((said, pod))
            }
            Err(error) => {
                tracing::debug!(%error, "a pod cannot be looked at, its image cache is not counted");
                None
            }
        }
    }

    /// Counts a pod; whether it is worth being timed.
    fn count(&self, said: &Said, pod: Option<&Pod>) -> bool {
        let sign = if said.hit {
            let named = pod.and_then(|pod| pod.annotations().get(MATCHED)).map(String::as_str);
            let named = named
                .or_else(|| said.message.split(|c: char| !is_of_an_id(c)).find(|w| w.starts_with("imc-")));
            let Some(id) = named.and_then(|id| CloudId::parse(id).ok()) else { return false };
            Sign::Hit(id)
        } else {
            // Without the pod nobody knows which cache it should have started from.
            if pod.is_none() {
                return false;
            }
            Sign::Missed
        };
        let start = Start {
            pod: said.uid.clone(),
            at: said.at,
            sign,
            images: pod.map(images).unwrap_or_default(),
            listed: said.listed,
        };
        self.metrics.matched(said.hit);
        let caches = self.observer.views(K::candidate).into_iter().flatten();
        let news = self.book.tally().count(&start, caches);
        for id in news {
            self.observer.nudge_owner(&id);
        }
        pod.is_some()
    }

    /// Looks at a pod until its containers have started.
    async fn time(&self, said: Said) {
        let hit = said.hit;
        let mut said = said;
        for _ in 0..TIME_LOOKS {
            let Some((again, Some(pod))) = self.look(said).await else { return };
            said = again;
            if let Some(took) = took(&pod) {
                self.metrics.started(hit, took);
                return;
            }
            tokio::time::sleep(TIME_EVERY).await;
        }
    }
}

fn is_of_an_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

fn read(event: KubeEvent, reason: &str, listed: bool) -> Option<Said> {
    let about = event.involved_object;
    if about.kind.as_deref() != Some("Pod") || event.reason.as_deref() != Some(reason) {
        return None;
    }
    let at = event.last_timestamp.map(|time| time.0).or(event.event_time.map(|time| time.0));
    Some(Said {
        namespace: about.namespace.or(event.metadata.namespace)?,
        pod: about.name?,
        uid: about.uid?,
        hit: reason == HIT_EVENT,
        message: event.message.unwrap_or_default().chars().take(512).collect(),
        at: at.or(event.metadata.creation_timestamp.map(|time| time.0))?,
        listed,
    })
}

fn images(pod: &Pod) -> BTreeSet<String> {
    let spec = pod.spec.iter();
    let all = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    all.filter_map(|container| container.image.clone()).collect()
}

/// From the moment when a pod had a node until all its containers had started; `None` while one has not.
fn took(pod: &Pod) -> Option<Duration> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let scheduled = conditions.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "True")?;
    let from = scheduled.last_transition_time.as_ref()?.0;
    let started: Option<Vec<Timestamp>> = status.container_statuses.as_ref()?.iter().map(started).collect();
    Duration::try_from(started?.into_iter().max()?.duration_since(from)).ok()
}

fn started(container: &k8s_openapi::api::core::v1::ContainerStatus) -> Option<Timestamp> {
    let state = container.state.as_ref()?;
    let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
    let ended = state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
    running.or(ended).map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_of_a_pod_and_of_its_reason() {
        let event = |kind: &str, reason: &str| -> KubeEvent {
            serde_json::from_value(json!({
                "metadata": { "name": "e", "namespace": "shop" }, "reason": reason, "message": "x".repeat(9_000),
                "lastTimestamp": "2026-01-02T03:04:05Z",
                "involvedObject": { "kind": kind, "namespace": "shop", "name": "web-1", "uid": "u" },
            }))
            .unwrap()
        };
        let said = read(event("Pod", HIT_EVENT), HIT_EVENT, true).unwrap();
        assert!(said.hit && said.listed && said.message.len() == 512);
        assert!(read(event("Node", HIT_EVENT), HIT_EVENT, true).is_none());
        assert!(read(event("Pod", "Other"), HIT_EVENT, true).is_none());
    }

    #[test]
    fn a_start_takes_until_the_last_container_runs() {
        let pod = |second: &str| -> Pod {
            serde_json::from_value(json!({
                "status": {
                    "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z" }],
                    "containerStatuses": [
                        { "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                          "state": { "running": { "startedAt": "2026-01-02T03:04:10Z" } } },
                        { "name": "b", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                          "state": serde_json::from_str::<serde_json::Value>(second).unwrap() },
                    ],
                },
            }))
            .unwrap()
        };
        let ended = r#"{"terminated":{"exitCode":0,"startedAt":"2026-01-02T03:04:17Z"}}"#;
        assert_eq!(took(&pod(ended)), Some(Duration::from_secs(12)));
        assert_eq!(took(&pod(r#"{"waiting":{"reason":"ContainerCreating"}}"#)), None);
        assert_eq!(
            took(&pod(r#"{"running":{"startedAt":"2020-01-02T03:04:17Z"}}"#)),
            Some(Duration::from_secs(5))
        );
        assert_eq!(took(&Pod::default()), None);
    }
}
