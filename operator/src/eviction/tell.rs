//! What people are told about pods and their budgets: Events, and a condition. Both are courtesies: they come after the evictions,
//! and when there are too many of them some are dropped and counted.

use std::sync::Arc;

use eci_core::eviction::forecast::Forecast;
use eci_core::eviction::remark::Said;
use eci_core::eviction::{BudgetRef, PodRef};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::metrics::EvictionMetrics;
use crate::kubernetes::{FIELD_MANAGER, call};
use crate::report::clip_note;

/// Type of the pod condition that says where the eviction stands. Best effort: virtual nodes overwrite the status of
/// their pods, and the operator never reads it back.
pub(super) const CONDITION: &str = "eci-operator.io/GracefulEviction";
/// Words that wait to be said; more are dropped.
const QUEUE_LIMIT: usize = 4_096;
/// Words that are said at once.
const TELLERS: usize = 4;
/// Longest part of a pod's name in the name of an event, in characters.
const NAME_LIMIT: usize = 200;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    /// About which object.
    about: Subject,
    /// Whether it is a cause for concern.
    warning: bool,
    /// Reason of the event.
    reason: &'static str,
    /// Its note.
    note: String,
    /// The budget that it is about, too.
    budget: Option<BudgetRef>,
    /// What the condition of the pod says from now on, and since when.
    condition: Option<(&'static str, Timestamp)>,
    /// When it happened.
    at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
enum Subject {
    Pod(PodRef),
    Budget(BudgetRef, Arc<str>),
}

impl Word {
    /// A remark. That about several pods is an event of their budget, whose UID `uid` is; without a budget, of the first
    /// pod. Only a remark about one pod sets the pod's condition: many such writes would be in the way of evictions.
    pub(super) fn of(said: &Said, uid: Option<Arc<str>>) -> Self {
        let (remark, note) = match said {
            Said::One(remark) => (remark, remark.sentence()),
            Said::Many { first, sentence, .. } => (first, sentence.clone()),
        };
        let pod = Subject::Pod(remark.pod.clone());
        let (about, budget, condition) = match said {
            Said::One(_) => (pod, remark.budget.clone(), remark.blocked_since.map(|since| ("False", since))),
            Said::Many { .. } => match remark.budget.clone().zip(uid) {
                Some((budget, uid)) => (Subject::Budget(budget, uid), None, None),
                None => (pod, remark.budget.clone(), None),
            },
        };
        Self { about, warning: remark.warning, reason: remark.reason, note, budget, condition, at: remark.at }
    }

    /// How many pods behind a budget will be evicted in time; nothing without a budget, or when all of them can go at
    /// once. `uid` is the budget's.
    pub(super) fn forecast(forecast: &Forecast, uid: Arc<str>) -> Option<Self> {
        let budget = forecast.budget.clone()?;
        let all = forecast.noticed;
        if all <= forecast.allowed {
            return None;
        }
        let (warning, told) = match forecast.saved {
            Some(saved) if saved >= all => (false, format!("All {all} of them will be evicted in time.")),
            Some(saved) => (true, format!("{saved} of them will be evicted in time, {} will not.", all - saved)),
            None => (true, "How many of them will be evicted in time depends on how long their replacements take to start, which is not known yet.".to_owned()),
        };
        let allowed = forecast.allowed;
        Some(Self {
            about: Subject::Budget(budget, uid),
            warning,
            reason: "EvictionForecast",
            note: format!(
                "{all} pods of this budget are on spot instances that are being taken back. The budget allows {allowed} disruptions now. {told}"
            ),
            budget: None,
            condition: None,
            at: forecast.at,
        })
    }

    fn event(&self, instance: &str) -> Event {
        let (about, name) = match &self.about {
            Subject::Pod(pod) => (
                ObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    namespace: Some(pod.namespace.to_string()),
                    name: Some(pod.name.to_string()),
                    uid: Some(pod.uid.to_string()),
                    ..ObjectReference::default()
                },
                &pod.name,
            ),
            Subject::Budget(budget, uid) => {
                (ObjectReference { uid: Some(uid.to_string()), ..budget_reference(budget) }, &budget.name)
            }
        };
        let prefix: String = name.chars().take(NAME_LIMIT).collect();
        // Neither a dot nor a hyphen may stand beside a dot.
        let prefix = prefix.trim_end_matches(['.', '-']);
        Event {
            metadata: ObjectMeta {
                namespace: about.namespace.clone(),
                generate_name: Some(format!("{prefix}-")),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.at)),
            reporting_controller: Some(FIELD_MANAGER.into()),
            reporting_instance: Some(instance.into()),
            action: Some("Evict".into()),
            reason: Some(self.reason.into()),
            type_: Some(if self.warning { "Warning" } else { "Normal" }.into()),
            note: Some(clip_note(&self.note).to_owned()),
            regarding: Some(about),
            related: self.budget.as_ref().map(budget_reference),
            ..Event::default()
        }
    }

    /// The patch of the pod's status; refused when the pod is another one by now.
    fn patch(&self) -> Option<(&PodRef, Value)> {
        let (status, since) = self.condition?;
        let Subject::Pod(pod) = &self.about else { return None };
        let patch = json!({
            "metadata": { "uid": &*pod.uid },
            "status": { "conditions": [{
                "type": CONDITION,
                "status": status,
                "reason": self.reason,
                "message": self.note,
                "lastTransitionTime": eci_api::condition::whole_seconds(since).to_string(),
            }] },
        });
        Some((pod, patch))
    }
}

fn budget_reference(budget: &BudgetRef) -> ObjectReference {
    ObjectReference {
        api_version: Some("policy/v1".into()),
        kind: Some("PodDisruptionBudget".into()),
        namespace: Some(budget.namespace.to_string()),
        name: Some(budget.name.to_string()),
        ..ObjectReference::default()
    }
}

/// Where words go in.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    queue: mpsc::Sender<Word>,
    metrics: EvictionMetrics,
}

impl Teller {
    /// The entrance, and the task that says what comes in until nobody is left at the entrance. `instance` is the name of
    /// the pod.
    pub(super) fn new(
        client: Client,
        instance: Option<&str>,
        metrics: EvictionMetrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, mut words) = mpsc::channel(QUEUE_LIMIT);
        let instance = instance.unwrap_or(FIELD_MANAGER).to_owned();
        let task = async move {
            let words = futures::stream::poll_fn(move |context| words.poll_recv(context));
            words.for_each_concurrent(TELLERS, |word| say(&client, &instance, word)).await;
        };
        (Self { queue, metrics }, task)
    }

    /// Says it when its turn comes; drops it when there are too many.
    pub(super) fn tell(&self, word: Word) {
        if self.queue.try_send(word).is_err() {
            self.metrics.dropped();
        }
    }
}

async fn say(client: &Client, instance: &str, word: Word) {
    let event = word.event(instance);
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let target = || format!("an event in {namespace}");
    if let Err(error) = call("publish", target, events.create(&PostParams::default(), &event)).await {
        tracing::warn!(%error, "an event is lost");
    }
    if let Some((pod, patch)) = word.patch() {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let target = || format!("Pod {pod}");
        let patch = Patch::Strategic(patch);
        let sent = pods.patch_status(&pod.name, &params, &patch);
        if let Err(error) = call("write the condition of", target, sent).await {
            tracing::debug!(%error, "a condition is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use eci_core::eviction::Standing;
    use eci_core::eviction::remark::Remark;
    use eci_core::eviction::why::Why;

    use super::*;

    fn remark(name: &str, why: Why) -> Remark {
        let standing = Standing {
            pod: PodRef::new("shop", name, "u"),
            profile: None,
            why,
            message: String::new(),
            facts: "ä".repeat(1_024),
            budget: Some(BudgetRef::new("shop", "web")),
            deadline: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
        };
        Remark::standing(&standing, Timestamp::UNIX_EPOCH)
    }

    fn one(name: &str, why: Why) -> Word {
        Word::of(&Said::One(remark(name, why)), Some("b".into()))
    }

    #[test]
    fn an_event_has_a_name_that_the_api_server_takes_and_a_note_that_fits() {
        for (name, expected) in [
            ("web-1", "web-1-"),
            ("web.", "web-"),
            (&format!("{}.b", "a".repeat(199)), &format!("{}-", "a".repeat(199))),
        ] {
            let event = one(name, Why::BudgetExhausted).event("me");
            assert_eq!(event.metadata.generate_name.as_deref(), Some(expected));
            assert!(event.note.is_some_and(|note| note.len() <= 1_024));
            assert_eq!(event.type_.as_deref(), Some("Warning"));
            assert_eq!(event.related.and_then(|budget| budget.name).as_deref(), Some("web"));
        }
    }

    #[test]
    fn only_what_is_blocked_gets_a_condition_and_only_on_that_very_pod() {
        let blocked = one("web", Why::BudgetNeverAllows);
        let (_, patch) = blocked.patch().unwrap();
        assert_eq!(patch["metadata"]["uid"], "u");
        assert_eq!(patch["status"]["conditions"][0]["reason"], "BudgetNeverAllows");
        assert!(one("web", Why::BudgetExhausted).patch().is_none(), "the next replacement opens it");
        assert!(one("web", Why::Evicted).patch().is_none());
    }

    #[test]
    fn many_pods_are_one_event_of_their_budget_and_without_one_of_the_first_of_them() {
        let first = remark("web-0", Why::BudgetExhausted);
        let many = |first: Remark| Said::Many { first, pods: 7, sentence: "each of 7 pods".to_owned() };
        let word = Word::of(&many(first.clone()), Some("b".into()));
        let about = word.event("me").regarding.unwrap();
        assert_eq!((about.kind.as_deref(), about.uid.as_deref()), (Some("PodDisruptionBudget"), Some("b")));
        assert!(word.patch().is_none(), "a condition for each would be in the way of evictions");
        // The budget may be gone by now.
        let mut unprotected = first.clone();
        unprotected.budget = None;
        for (first, uid) in [(first, None), (unprotected, None)] {
            let about = Word::of(&many(first), uid).event("me").regarding.unwrap();
            assert_eq!((about.kind.as_deref(), about.name.as_deref()), (Some("Pod"), Some("web-0")));
        }
    }

    #[test]
    fn a_forecast_is_told_when_somebody_has_to_wait() {
        let forecast = |noticed, allowed| Forecast {
            budget: Some(BudgetRef::new("shop", "web")),
            namespace: "shop".into(),
            noticed,
            saved: Some(noticed),
            allowed,
            start: None,
            at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(Word::forecast(&forecast(3, 3), "b".into()), None);
        let word = Word::forecast(&forecast(4, 3), "b".into()).unwrap();
        assert!(word.note.ends_with("All 4 of them will be evicted in time."), "{}", word.note);
    }
}
