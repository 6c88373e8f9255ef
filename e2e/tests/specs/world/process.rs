//! What the process of the operator does between decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eci_api::FINALIZER;
use eci_api::condition::{MESSAGE_LIMIT, Reason};
use eci_api::image_cache::{ImageCache, ImageCacheRequest, SecretVersion};
use eci_core::audit;
use eci_core::cloud::{ClientToken, CloudError, CloudId, ImageCacheView, Meaning};
use eci_core::cloud_resource::identity::TAG_CLUSTER;
use eci_core::cloud_resource::{
    Create, Effect, Limits, List, Next, Object, Observed, Outcome, Owner, Peers, Plan, Problem, Read, plan,
};
use eci_core::pull_secret::PullSecret;
use eci_core::quota::Room;
use eci_core::time::{Mono, Now};
use eci_operator::driver::newest_view;
use eci_operator::kind::Managed;
use eci_operator::snapshot::{Snapshot, is_suspect};
use jiff::Timestamp;
use secrecy::SecretSlice;

use super::{K, NAMESPACE, Stored, World, later};

/// The cluster in the tags.
const CLUSTER: &str = "cluster-0";
/// A reconcile has at most so many passes, as in the operator.
const PASSES: u32 = 16;

impl World {
    fn now(&self) -> Now {
        let wall = self.sim.now();
        let since = Duration::try_from(wall.duration_since(self.start)).unwrap_or_default();
        Now { wall, mono: Mono(since) }
    }

    /// One list for all objects, and a reconcile of each of them.
    pub(super) async fn poll(&mut self) {
        self.listed = self.sim.now();
        let begun = self.now().mono;
        match self.list_all().await {
            Ok(views) => {
                let snapshot = Snapshot::new(begun, CLUSTER, views);
                let expected: Vec<_> = self.entries.values().filter_map(|e| e.expects.as_ref()).collect();
                let missing = expected.iter().filter(|id| !snapshot.shows(id)).count();
                let suspect = is_suspect(expected.len(), missing);
                self.list = Some((snapshot, suspect));
                self.list_error = None;
                self.list_failures = 0;
            }
            Err(error) => {
                self.list_error = Some(error);
                self.list_failures += 1;
            }
        }
        for entry in self.entries.values_mut() {
            entry.wake = None;
        }
    }

    async fn list_all(&self) -> Result<Vec<ImageCacheView>, CloudError> {
        self.signed("DescribeImageCaches")?;
        let tags = BTreeMap::from([(TAG_CLUSTER.to_owned(), CLUSTER.to_owned())]);
        let (mut views, mut token) = (Vec::new(), None);
        loop {
            let page = K::list(&self.cloud, &tags, token.as_ref()).await?;
            views.extend(page.items);
            match page.next {
                Some(next) => token = Some(next),
                None => return Ok(views),
            }
        }
    }

    fn peers(&self) -> Peers {
        Peers { all: self.entries.values().map(|entry| K::peer(&entry.object)).collect(), namespaces: None }
    }

    fn signed(&self, action: &'static str) -> Result<(), CloudError> {
        if self.credentials {
            return Ok(());
        }
        Err(CloudError {
            action,
            meaning: Meaning::NoCredentials,
            code: None,
            message: "there is no access key".into(),
            request_id: None,
            retry_after: None,
        })
    }

    pub(super) async fn reconcile(&mut self, name: &str) -> Result<()> {
        let (mut live, mut secrets) = (false, None);
        for _ in 0..PASSES {
            let Some(entry) = self.entries.get(name) else { return Ok(()) };
            let object = entry.object.clone();
            let (desired, record) = (K::desired(&object, &self.defaults), K::record(K::status_of(&object)));
            let about = about(&object, live);
            let list = self.list.as_ref().map(|(snapshot, suspect)| List {
                begun: snapshot.begun,
                items: snapshot.of(&about.owner),
                suspect: *suspect,
            });
            let seen = Observed {
                object: about.clone(),
                record: record.clone(),
                list: list.as_ref(),
                list_error: self.list_error.as_ref(),
                secrets: secrets.clone(),
                privileged: Some(Ok(self.privileged)),
                peers: Some(self.peers()),
                users: Some(Ok(Vec::new())),
                room: Some(Room::Unknown),
                region: &self.region,
                lease_left: None,
            };
            let now = self.now();
            let entry = self.entries.get_mut(name).context("it exists")?;
            let planned = plan(seen, &desired, &mut entry.memory, &Limits::default(), now);
            audit::check::<K>(&about, desired.adopt.as_ref(), &record, &planned)
                .map_err(anyhow::Error::msg)?;
            let view = newest_view(&planned, list.as_ref(), entry.look.as_ref());
            match &planned.next {
                Next::Read(Read::Namespace | Read::Peers | Read::Users | Read::Room) => {
                    bail!("it was given what it asks for")
                }
                Next::Read(Read::Place(place)) => bail!("an image cache has no place: {place}"),
                Next::Read(Read::Object) => live = true,
                Next::Read(Read::Secrets(names)) => {
                    let recorded = record.operation.as_ref().map(|operation| &operation.request);
                    let mut requests = recorded.into_iter().chain(desired.request.as_ref().ok());
                    let request = requests.find(|request| request.pull_secrets == *names);
                    secrets = Some(self.secrets(names).and_then(|(versions, values)| {
                        let read = request.map_or(Ok(()), |r| K::credentials(r, &values).map(drop));
                        read.map(|()| versions)
                            .map_err(|error| problem(Reason::SecretInvalid, &error.to_string()))
                    }));
                }
                Next::Read(Read::List(since)) => {
                    // Only asked for while the newest try did not fail.
                    if self.list.as_ref().is_none_or(|(list, _)| list.begun < *since) {
                        self.poll().await;
                    }
                }
                Next::Read(Read::Resource(id)) => self.look(name, id).await?,
                Next::Do(effect) => {
                    secrets = None;
                    live = self.apply(name, effect, view.as_ref()).await?;
                    if !self.exists(name) {
                        return Ok(());
                    }
                }
                Next::Rest => return self.rest(name, &planned, view.as_ref()),
            }
        }
        Ok(())
    }

    /// What is at rest is written, judged and remembered.
    fn rest(
        &mut self,
        name: &str,
        planned: &Plan<ImageCacheRequest>,
        view: Option<&ImageCacheView>,
    ) -> Result<()> {
        let now = self.now().wall;
        let object = self.object(name)?.clone();
        let generation = object.metadata.generation.unwrap_or_default();
        let conditions = Some(planned.conditions.as_slice());
        let status = K::status(object.status.as_ref(), &planned.record, conditions, view, generation, now);
        if object.status.as_ref() != Some(&status) {
            let text = serde_json::to_value(&status)?;
            let back = serde_json::from_value(text).context("the status does not survive its JSON form")?;
            ensure!(status == back, "the status changes in its JSON form: {status:?} and {back:?}");
            self.store(name, |stored| stored.status = Some(back))?;
            self.entries.get_mut(name).context("it exists")?.writes += 1;
        }
        let deleting = object.metadata.deletion_timestamp.is_some();
        let entry = self.entries.get_mut(name).context("it exists")?;
        entry.wake = Some(planned.wake.map_or(Timestamp::MAX, |wake| later(now, wake)));
        entry.busy = planned.busy;
        let usable = planned.record.seen && planned.record.usable && !deleting;
        entry.expects = planned.record.current.as_ref().filter(|_| usable).map(|owned| owned.id.clone());

        let types: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
        ensure!(types.first() == Some(&"Ready"), "no Ready: {types:?}");
        ensure!(!(types.contains(&"Reconciling") && types.contains(&"Stalled")), "both at once: {types:?}");
        for condition in &status.conditions {
            let length = condition.message.chars().count();
            ensure!((1..=MESSAGE_LIMIT).contains(&length), "{}: a message of {length}", condition.reason);
            self.shown.reasons.insert(condition.reason.clone());
            self.shown.types.insert(condition.type_.clone());
            if condition.reason != "Available" {
                entry.said.insert(condition.reason.clone());
            }
        }
        if let Some(state) = status.cloud_status {
            self.shown.states.insert(state.clone());
            entry.states.insert(state);
        }
        Ok(())
    }

    /// Does one thing; whether the copy is the newest afterwards.
    async fn apply(
        &mut self,
        name: &str,
        effect: &Effect<ImageCacheRequest>,
        view: Option<&ImageCacheView>,
    ) -> Result<bool> {
        let now = self.now();
        let token = ClientToken::new(format!("fresh-{}", self.count)).context("a token")?;
        let outcome = match effect {
            Effect::AddFinalizer => {
                self.store(name, |o| o.metadata.finalizers.get_or_insert_default().push(FINALIZER.into()))?;
                Outcome::Written(self.version(name)?)
            }
            Effect::RemoveFinalizer => {
                self.store(name, |o| o.metadata.finalizers = None)?;
                let version = self.version(name)?;
                self.drop_if_ended(name);
                Outcome::Written(version)
            }
            Effect::Write(record) => {
                let object = self.object(name)?;
                let generation = object.metadata.generation.unwrap_or_default();
                let status = K::status(object.status.as_ref(), record, None, view, generation, now.wall);
                let back = K::record(Some(&status));
                let same = back.operation == record.operation
                    && back.current == record.current
                    && back.successor == record.successor
                    && back.retiring == record.retiring
                    && back.last_attempt == record.last_attempt;
                ensure!(same, "the record does not survive the status: {record:?} and {back:?}");
                self.store(name, |stored| stored.status = Some(status))?;
                Outcome::Written(self.version(name)?)
            }
            Effect::Create(create) => self.send(create).await,
            Effect::Update { id, request, tags } => {
                self.done("UpdateImageCache", K::update(&self.cloud, id, token, request, tags)).await
            }
            Effect::Delete { id, .. } => {
                self.done("DeleteImageCache", K::delete(&self.cloud, id, &token)).await
            }
            Effect::TellOfStray(_) => Outcome::Done,
            Effect::Retag { id, set, remove } => {
                self.done("TagResources", K::retag(&self.cloud, id, set, remove)).await
            }
        };
        self.count += 1;
        let now = self.now();
        if let Some(entry) = self.entries.get_mut(name) {
            entry.memory.fold(effect, outcome, &Limits::default(), now);
        }
        // The list at hand is of before; while none can be had, the next try is not earlier for it.
        if self.list_error.is_none() {
            self.listed = Timestamp::MIN;
        }
        Ok(true)
    }

    async fn done(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<(), CloudError>>,
    ) -> Outcome {
        let result = match self.signed(action) {
            Ok(()) => call.await,
            Err(error) => Err(error),
        };
        result.map_or_else(Outcome::Failed, |()| Outcome::Done)
    }

    async fn send(&self, create: &Create<ImageCacheRequest>) -> Outcome {
        let Ok((versions, values)) = self.secrets(&create.request.pull_secrets) else {
            return Outcome::Withheld;
        };
        let credentials = K::credentials(&create.request, &values);
        let (Ok(credentials), true) = (credentials, versions == create.secrets) else {
            return Outcome::Withheld;
        };
        if self.now().mono > create.not_after {
            return Outcome::Withheld;
        }
        if let Err(error) = self.signed("CreateImageCache") {
            return Outcome::Failed(error);
        }
        K::create(&self.cloud, create, credentials).await.map_or_else(Outcome::Failed, Outcome::Created)
    }

    async fn look(&mut self, name: &str, id: &CloudId) -> Result<()> {
        let begun = self.now().mono;
        let result = match self.signed("DescribeImageCaches") {
            Ok(()) => K::describe(&self.cloud, id).await,
            Err(error) => Err(error),
        };
        let now = self.now();
        let entry = self.entries.get_mut(name).context("it exists")?;
        match result {
            Ok(view) => {
                entry.look = view.clone().map(|view| (begun, view)).or(entry.look.take());
                entry.memory.looked(id.clone(), begun, view);
            }
            Err(error) => entry.memory.look_failed(error, &Limits::default(), now),
        }
        Ok(())
    }

    fn version(&self, name: &str) -> Result<String> {
        self.object(name)?.metadata.resource_version.clone().context("a version")
    }

    #[allow(clippy::type_complexity, reason = "versions and values, or what is wrong")]
    fn secrets(&self, names: &[String]) -> Result<(Vec<SecretVersion>, Vec<PullSecret>), Problem> {
        let anything = Stored { version: 0, json: r#"{"auths":{}}"#.to_owned() };
        let find = |name: &String| {
            let stored = self.secrets.get(name).or(self.any_secret.then_some(&anything)).cloned();
            let stored = stored.ok_or_else(|| {
                problem(Reason::SecretNotFound, &format!("secret {NAMESPACE}/{name} does not exist"))
            })?;
            let version = SecretVersion {
                name: name.clone(),
                uid: format!("uid-{name}"),
                resource_version: stored.version.to_string(),
            };
            let data =
                BTreeMap::from([(".dockerconfigjson".into(), SecretSlice::from(stored.json.into_bytes()))]);
            let type_ = "kubernetes.io/dockerconfigjson".into();
            Ok((version, PullSecret { name: name.clone(), type_, data }))
        };
        Ok(names.iter().map(find).collect::<Result<Vec<_>, Problem>>()?.into_iter().unzip())
    }
}

fn problem(reason: Reason, message: &str) -> Problem {
    Problem { reason, message: message.to_owned() }
}

fn about(object: &ImageCache, live: bool) -> Object {
    let metadata = &object.metadata;
    Object {
        owner: Owner {
            cluster: CLUSTER.into(),
            namespace: NAMESPACE.into(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        },
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |t| t.0),
        generation: metadata.generation.unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        deleting: metadata.deletion_timestamp.is_some(),
        has_finalizer: metadata.finalizers.iter().flatten().any(|f| f == FINALIZER),
        status_set_by_others: None,
        live,
    }
}
