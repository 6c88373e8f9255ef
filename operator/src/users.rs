//! Who would start pods from a resource, asked of the API server when a deletion wants to know, and at no other time.
//!
//! One look answers all deletions of the next seconds. It pages through what makes pods and keeps only what has to do
//! with caches.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::eci_profile::{EciProfile, EciProfileSpec};
use eci_core::cloud_resource::{Mark, Problem, User, marks_of_pod, marks_of_profile};
use eci_core::profile::data_caches::Reach;
use eci_core::time::Mono;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::kubernetes::{KubeError, call};

/// How long a look answers for. A deletion is held up, or let through, by what was so a moment ago.
const LOOK_HOLDS: Duration = Duration::from_secs(2);
/// Objects of one page.
const PAGE: u32 = 250;
/// Most pages of one list: 250,000 objects.
const MAX_PAGES: usize = 1_000;
/// Most objects with marks that are kept. There are few caches, and all of these name one.
const MOST_USERS: usize = 100_000;

/// What makes pods, and pods that have not started: group, kind, plural, field selector.
const MAKERS: [(&str, &str, &str, Option<&str>); 6] = [
    ("apps", "Deployment", "deployments", None),
    ("apps", "StatefulSet", "statefulsets", None),
    ("apps", "DaemonSet", "daemonsets", None),
    ("batch", "Job", "jobs", None),
    ("batch", "CronJob", "cronjobs", None),
    ("", "Pod", "pods", Some("status.phase=Pending")),
];

/// What was found by a look.
type Found = Result<Uses, Problem>;

/// Who uses what.
#[derive(Debug, Default)]
struct Uses {
    /// By what they name themselves.
    marks: Vec<(User, BTreeSet<Mark>)>,
    /// Profiles by which pods mount the DataCaches of their own namespaces.
    mounting: Vec<(User, Reach)>,
}

impl Uses {
    fn is_full(&self) -> bool {
        self.marks.len() + self.mounting.len() >= MOST_USERS
    }

    fn add_marks(&mut self, user: User, marks: BTreeSet<Mark>) {
        if !marks.is_empty() && !self.is_full() {
            self.marks.push((user, marks));
        }
    }

    /// A profile. One that is being deleted, or cannot be read, is none.
    fn add_profile(&mut self, object: &Lean) {
        let Some((user, spec)) = profile_of(object) else { return };
        if let Some(reach) = Reach::of(&spec).filter(|_| !self.is_full()) {
            self.mounting.push((user.clone(), reach));
        }
        self.add_marks(user, marks_of_profile(&spec));
    }
}

/// Looks who uses what.
pub(crate) struct UserSurvey {
    client: Client,
    /// The namespaces that are looked at; `None` is all.
    namespaces: Option<BTreeSet<String>>,
    /// The newest look and when it was begun. Locked while one is made, so that all who wait share it.
    newest: Mutex<Option<(Mono, Found)>>,
}

impl UserSurvey {
    /// In these namespaces; `None` is all.
    pub(crate) fn new(client: Client, namespaces: Option<BTreeSet<String>>) -> Self {
        Self { client, namespaces, newest: Mutex::new(None) }
    }

    /// The same in other namespaces.
    pub(crate) fn within(self, namespaces: Option<BTreeSet<String>>) -> Self {
        Self { namespaces, ..self }
    }

    /// Who would start pods from what has one of these marks; or why the operator may not know.
    pub(crate) async fn of(
        &self,
        marks: &BTreeSet<Mark>,
        clock: Clock,
    ) -> Result<Result<Vec<User>, Problem>, KubeError> {
        let mut newest = self.newest.lock().await;
        let now = clock.now().mono;
        if newest.as_ref().is_none_or(|(begun, _)| now.since(*begun) > LOOK_HOLDS) {
            *newest = None;
            *newest = Some((now, self.look().await?));
        }
        let (mut users, mounting) = match newest.as_ref() {
            Some((_, Ok(found))) => {
                let uses = found.marks.iter().filter(|(_, theirs)| !theirs.is_disjoint(marks));
                let named =
                    |reach: &Reach| marks.iter().any(|m| data_cache(m).is_some_and(|(_, n)| reach.names(n)));
                let mounting: Vec<_> =
                    found.mounting.iter().filter(|(_, reach)| named(reach)).cloned().collect();
                (uses.map(|(user, _)| user.clone()).collect::<Vec<_>>(), mounting)
            }
            Some((_, Err(problem))) => return Ok(Err(problem.clone())),
            None => return Ok(Ok(Vec::new())),
        };
        drop(newest);
        let namespace = marks.iter().find_map(|mark| data_cache(mark).map(|(namespace, _)| namespace));
        if let Some(namespace) = namespace.filter(|_| !mounting.is_empty()) {
            match self.labels_of(namespace).await? {
                Ok(Some(labels)) => {
                    let covering = mounting.into_iter().filter(|(_, reach)| reach.covers(namespace, &labels));
                    users.extend(covering.map(|(user, _)| user));
                }
                Ok(None) => {}
                Err(problem) => return Ok(Err(problem)),
            }
        }
        Ok(Ok(users))
    }

    /// The labels of a namespace in which pods can be made; `None` of one that goes or is gone.
    async fn labels_of(
        &self,
        namespace: &str,
    ) -> Result<Result<Option<BTreeMap<String, String>>, Problem>, KubeError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        match call("get", || format!("Namespace {namespace}"), api.get_metadata(namespace)).await {
            Ok(found) => {
                let there = found.map(|found| found.metadata).filter(|m| m.deletion_timestamp.is_none());
                Ok(Ok(there.map(|metadata| metadata.labels.unwrap_or_default())))
            }
            Err(KubeError::Refused { code: 403, message, .. }) => {
                Ok(Err(may_not("get", "namespaces", "", None, &message)))
            }
            Err(error) => Err(error),
        }
    }

    async fn look(&self) -> Result<Found, KubeError> {
        let mut found = Uses::default();
        let places: Vec<Option<&String>> = match &self.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().map(Some).collect(),
        };
        for (group, kind, plural, fields) in MAKERS {
            let resource = resource(group, "v1", kind, plural);
            for place in &places {
                let api: Api<Lean> = match place {
                    None => Api::all_with(self.client.clone(), &resource),
                    Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                };
                let params = fields.map_or_else(ListParams::default, |f| ListParams::default().fields(f));
                let add = |object: &Lean| {
                    if let Some((user, marks)) = user_of(kind, object) {
                        found.add_marks(user, marks);
                    }
                };
                match pages(&api, plural, params, add).await {
                    Err(KubeError::Refused { code: 403, message, .. }) => {
                        return Ok(Err(may_not("list", plural, group, *place, &message)));
                    }
                    other => other?,
                }
            }
        }
        let profile = ApiResource::erase::<EciProfile>(&());
        let api: Api<Lean> = Api::all_with(self.client.clone(), &profile);
        let add = |object: &Lean| found.add_profile(object);
        match pages(&api, "eciprofiles", ListParams::default(), add).await {
            // Nobody has profiles where the kind is not installed.
            Err(KubeError::Refused { code: 404, .. }) => {}
            // An operator of named namespaces may have no right to what has none.
            Err(KubeError::Refused { code: 403, .. }) if self.namespaces.is_some() => {}
            Err(KubeError::Refused { code: 403, message, .. }) => {
                return Ok(Err(may_not("list", "eciprofiles", eci_api::GROUP, None, &message)));
            }
            other => other?,
        }
        Ok(Ok(found))
    }
}

/// The DataCache that a mark names: its namespace and its name.
fn data_cache(mark: &Mark) -> Option<(&str, &str)> {
    match mark {
        Mark::DataCache { namespace, name } => Some((namespace, name)),
        _ => None,
    }
}

fn may_not(verb: &str, plural: &str, group: &str, place: Option<&String>, said: &str) -> Problem {
    let dot = if group.is_empty() { "" } else { "." };
    let place = place.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    Problem {
        reason: Reason::UsersUnknown,
        message: format!(
            "The operator may not look whether pods would start from this resource, and does not delete it: give its ServiceAccount the verb {verb} on {plural}{dot}{group}{place}, as the chart does, or set the annotation {}=true. The API server says: {said}.",
            eci_api::FORCE_DELETE
        ),
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Reads a list page by page. A kind that the API server does not know has no objects.
async fn pages(
    api: &Api<Lean>,
    plural: &str,
    params: ListParams,
    mut add: impl FnMut(&Lean),
) -> Result<(), KubeError> {
    let mut params = params.limit(PAGE);
    for _ in 0..MAX_PAGES {
        let Some(list) = call("list", || plural.to_owned(), api.list(&params)).await? else { return Ok(()) };
        list.items.iter().for_each(&mut add);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(()),
            Some(token) => params.continue_token = Some(token),
        }
    }
    Err(KubeError::Failed {
        action: "list",
        target: plural.to_owned(),
        message: format!("there are more than {MAX_PAGES} pages"),
    })
}

/// What makes pods, if it has to do with caches, and is neither being deleted nor over.
fn user_of(kind: &'static str, object: &Lean) -> Option<(User, BTreeSet<Mark>)> {
    let namespace = object.metadata.namespace.clone()?;
    let spec = object.spec.as_ref()?;
    if object.metadata.deletion_timestamp.is_some() || is_over(object) {
        return None;
    }
    let of_job = spec.job_template.as_ref().and_then(|job| job.spec.as_ref()?.template.as_ref());
    let none = BTreeMap::new();
    let (annotations, volumes) = match spec.template.as_ref().or(of_job) {
        Some(template) => (
            template.metadata.as_ref().and_then(|m| m.annotations.as_ref()),
            template.spec.as_ref().map_or(&[][..], |spec| &spec.volumes),
        ),
        None => (object.metadata.annotations.as_ref(), &spec.volumes[..]),
    };
    let paths = volumes.iter().filter_map(|volume| Some(volume.host_path.as_ref()?.path.as_str()));
    let marks = marks_of_pod(&namespace, annotations.unwrap_or(&none), paths);
    let user = User { kind, namespace: Some(namespace), name: object.metadata.name.clone()? };
    (!marks.is_empty()).then_some((user, marks))
}

fn profile_of(object: &Lean) -> Option<(User, EciProfileSpec)> {
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    // One that cannot be read pins nothing.
    let spec: EciProfileSpec = serde_json::from_value(object.spec.as_ref()?.rest.clone()).ok()?;
    Some((User { kind: "EciProfile", namespace: None, name: object.metadata.name.clone()? }, spec))
}

/// Whether a Job has ended.
fn is_over(object: &Lean) -> bool {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed"))
}

/// What is read of any of these objects.
#[derive(Clone, Debug, Default, Deserialize)]
struct Lean {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<LeanSpec>,
    status: Option<LeanStatus>,
}

/// The specs of all of them in one: a template, the template of a Job, a pod, or a profile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeanSpec {
    template: Option<LeanTemplate>,
    job_template: Option<LeanJobTemplate>,
    volumes: Vec<LeanVolume>,
    /// The rest, of a profile.
    #[serde(flatten)]
    rest: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LeanJobTemplate {
    spec: Option<LeanJobSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LeanJobSpec {
    template: Option<LeanTemplate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LeanTemplate {
    metadata: Option<ObjectMeta>,
    spec: Option<LeanPodSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LeanPodSpec {
    volumes: Vec<LeanVolume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanVolume {
    host_path: Option<LeanHostPath>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LeanHostPath {
    path: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LeanStatus {
    conditions: Vec<LeanCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LeanCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Resource for Lean {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lean(value: Value) -> Lean {
        serde_json::from_value(value).unwrap()
    }

    fn pinned() -> Value {
        json!({ "k8s.aliyun.com/eci-imc-id": "imc-1" })
    }

    fn marks(kind: &'static str, value: Value) -> Option<BTreeSet<Mark>> {
        user_of(kind, &lean(value)).map(|(_, marks)| marks)
    }

    #[test]
    fn templates_jobs_of_cron_jobs_and_pods_are_read() {
        let template = json!({ "metadata": { "annotations": pinned() } });
        let metadata = json!({ "namespace": "shop", "name": "web" });
        let one = Some(BTreeSet::from([Mark::ImageCacheID("imc-1".into())]));
        let of = |kind, spec: Value| marks(kind, json!({ "metadata": metadata, "spec": spec }));
        assert_eq!(of("Deployment", json!({ "template": template, "replicas": 1 })), one);
        assert_eq!(
            of(
                "CronJob",
                json!({ "schedule": "* * * * *", "jobTemplate": { "spec": { "template": template } } })
            ),
            one
        );
        let mut pod = json!({ "metadata": metadata, "spec": { "containers": [] } });
        assert_eq!(marks("Pod", pod.clone()), None);
        pod["metadata"]["annotations"] = pinned();
        assert_eq!(marks("Pod", pod), one);
        let data = json!({ "metadata": { "annotations": { "k8s.aliyun.com/eci-data-cache-bucket": "b" } },
            "spec": { "volumes": [{ "name": "x", "emptyDir": {} }, { "name": "m", "hostPath": { "path": "/m" } }] } });
        let there = Mark::DataPath { bucket: "b".into(), path: "/m".into() };
        assert_eq!(of("StatefulSet", json!({ "template": data })), Some(BTreeSet::from([there])));
    }

    #[test]
    fn what_is_being_deleted_or_over_does_not_count() {
        let spec = json!({ "template": { "metadata": { "annotations": pinned() } } });
        let metadata = json!({ "namespace": "shop", "name": "web" });
        let going =
            json!({ "namespace": "shop", "name": "web", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        assert_eq!(marks("Job", json!({ "metadata": going, "spec": spec })), None);
        for (type_, status, counts) in [
            ("Complete", "True", false),
            ("Failed", "True", false),
            ("Suspended", "True", true),
            ("Failed", "False", true),
        ] {
            let status = json!({ "conditions": [{ "type": type_, "status": status }] });
            let found = marks("Job", json!({ "metadata": metadata, "spec": spec, "status": status }));
            assert_eq!(found.is_some(), counts, "{type_}");
        }
    }

    #[test]
    fn profiles_are_read_and_one_that_cannot_be_read_pins_nothing() {
        let of = |spec: Value| {
            let mut uses = Uses::default();
            uses.add_profile(&lean(json!({ "metadata": { "name": "base" }, "spec": spec })));
            uses
        };
        let selector = json!({ "podSelector": { "matchLabels": { "a": "b" } } });
        let cache = json!({ "mode": "Pinned", "refs": [{ "namespace": "shop", "name": "web" }] });
        let pins = of(json!({ "selector": selector, "imageCache": cache }));
        assert_eq!((pins.marks[0].0.to_string(), pins.marks[0].1.len()), ("EciProfile base".to_owned(), 1));
        assert!(pins.mounting.is_empty());
        let mounts = json!([{ "name": "model", "mountPath": "/model" }]);
        let mounts = of(json!({ "selector": selector, "dataCaches": mounts }));
        assert!(mounts.marks.is_empty() && mounts.mounting[0].1.names("model"));
        for spec in
            [json!({ "selector": selector, "imageCache": { "mode": 7 } }), json!({ "selector": selector })]
        {
            let none = of(spec);
            assert!(none.marks.is_empty() && none.mounting.is_empty(), "{none:?}");
        }
    }
}
