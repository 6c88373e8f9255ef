//! The effects of a plan, each done once.

use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::image_cache::SecretVersion;
use eci_core::cloud::{ClientToken, Cloud, CloudError, CloudId, Meaning, Place};
use eci_core::cloud_resource::{Create, DeleteReason, Effect, Outcome, PRIVILEGED, Plan, Problem, Record};
use eci_core::pull_secret::PullSecret;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use crate::driver::{Driver, Entry, Failure, Moment, ObjectCopy};
use crate::kind::{Key, Managed};
use crate::kubernetes::KubeError;
use crate::patch;

impl<K: Managed, C: Cloud> Driver<K, C> {
    /// Does one thing and takes in what became of it; `false` when the object turns out to be gone.
    pub(crate) async fn apply(
        &self,
        effect: &Effect<K::Request>,
        view: Option<&K::View>,
        copy: &mut ObjectCopy<K>,
        entry: &mut Entry<K>,
    ) -> Result<bool, Failure> {
        let step = name(effect);
        self.gate(&copy.key, Moment::Before, step)?;
        let outcome = match effect {
            Effect::AddFinalizer => {
                let patch = patch::add_finalizer(copy.object.finalizers(), &copy.version());
                let written = self.objects.patch::<K>(&copy.key, patch).await;
                take_over(written, copy, entry)?
            }
            Effect::RemoveFinalizer => {
                match patch::remove_finalizer(copy.object.finalizers(), &copy.version()) {
                    Some(patch) => {
                        let written = self.objects.patch::<K>(&copy.key, patch).await;
                        take_over(written, copy, entry)?
                    }
                    None => Outcome::Conflict,
                }
            }
            Effect::Write(record) => {
                let old = K::status_of(&copy.object);
                let now = self.clock.now().wall;
                let new = K::status(old, record, None, view, copy.generation(), now);
                // A write that changes nothing is sent all the same: it says whether the copy is the newest.
                let difference = difference::<K>(old, &new, &copy.key)?.unwrap_or_else(|| json!({}));
                self.write_status(&difference, copy, entry).await?
            }
            Effect::Create(create) => self.create(&copy.key, create).await,
            Effect::Update { id, request, tags } => match fresh_token() {
                Ok(token) => done(K::update(&*self.cloud, id, token, request, tags).await),
                Err(error) => Outcome::Failed(error),
            },
            Effect::Delete { id, .. } => match fresh_token() {
                Ok(token) => done(K::delete(&*self.cloud, id, &token).await),
                Err(error) => Outcome::Failed(error),
            },
            Effect::TellOfStray(id) => {
                self.reporter.stray(&copy.object, id).await;
                Outcome::Done
            }
            Effect::Retag { id, set, remove } => done(K::retag(&*self.cloud, id, set, remove).await),
        };
        self.gate(&copy.key, Moment::After, step)?;
        tracing::debug!(step, ?outcome, "applied");
        if let (Effect::Update { .. } | Effect::Retag { .. }, Outcome::Done) = (effect, &outcome) {
            // The list at hand is of before; the object is nudged by one that is not.
            self.observer.await_list(&copy.key, &entry.uid, self.clock.now().mono);
        }
        if let (Effect::Delete { id, why: DeleteReason::Superseded }, Outcome::Done) = (effect, &outcome) {
            self.reporter.superseded(&copy.object, id).await;
        }
        if let (Effect::Delete { .. }, Outcome::Done) = (effect, &outcome) {
            self.room.freed();
        }
        let conflict = matches!(outcome, Outcome::Conflict);
        let gone = matches!(effect, Effect::RemoveFinalizer) && copy.object.finalizers().is_empty();
        entry.memory.fold(effect, outcome, &self.settings.limits, self.clock.now());
        if conflict { Ok(self.refresh(copy, &entry.uid).await?) } else { Ok(!gone) }
    }

    /// Writes the status if it differs, and tells of a transition; `false` when the copy was too old for it.
    pub(crate) async fn rest(
        &self,
        plan: &Plan<K::Request>,
        view: Option<&K::View>,
        copy: &mut ObjectCopy<K>,
        entry: &mut Entry<K>,
    ) -> Result<bool, Failure> {
        let expects = plan.record.current.as_ref().filter(|_| plan.record.seen && plan.record.usable);
        let expects = expects.filter(|_| !copy.is_deleting()).map(|owned| owned.id.clone());
        self.observer.report(&copy.key, &entry.uid, plan.busy, expects);
        if plan.awaits.is_some_and(|since| !self.observer.await_list(&copy.key, &entry.uid, since)) {
            // It came while the plan was made.
            return Ok(false);
        }
        if copy.is_deleting() && !copy.has_finalizer() {
            // Somebody else's finalizer keeps it; there is nothing of ours to say.
            return Ok(true);
        }
        let old = K::status_of(&copy.object).cloned();
        let now = self.clock.now().wall;
        let mut new =
            K::status(old.as_ref(), &plan.record, Some(&plan.conditions), view, copy.generation(), now);
        let counted = plan.record.current.as_ref().and_then(|current| {
            let pending = self.matches.pending(&current.id)?;
            let Some(with_counts) = K::matched(&new, &pending, copy.generation(), now) else {
                if K::counts_due(&new, now).is_none() {
                    // Another process has counted it.
                    self.matches.written(&current.id, &pending);
                }
                return None;
            };
            new = with_counts;
            Some((current.id.clone(), pending))
        });
        self.metrics.stands(K::NOUN, &copy.key, K::conditions(&new));
        let Some(difference) = difference::<K>(old.as_ref(), &new, &copy.key)? else { return Ok(true) };
        self.gate(&copy.key, Moment::Before, "Status")?;
        let outcome = self.write_status(&difference, copy, entry).await?;
        self.gate(&copy.key, Moment::After, "Status")?;
        let Outcome::Written(version) = outcome else { return Ok(false) };
        if let Some((id, pending)) = counted {
            self.matches.written(&id, &pending);
        }
        entry.memory.wrote(version);
        let before = old.as_ref().map_or(&[][..], K::conditions);
        self.reporter.transition(&copy.object, before, K::conditions(&new)).await;
        Ok(true)
    }

    /// When counts of pods that are not written yet are to be.
    pub(crate) fn counts_due(&self, record: &Record<K::Request>, copy: &ObjectCopy<K>) -> Option<Duration> {
        self.matches.pending(&record.current.as_ref()?.id)?;
        K::counts_due(K::status_of(&copy.object)?, self.clock.now().wall)
    }

    async fn write_status(
        &self,
        difference: &Value,
        copy: &mut ObjectCopy<K>,
        entry: &mut Entry<K>,
    ) -> Result<Outcome, KubeError> {
        let patch = patch::status(difference, &copy.version());
        let written = self.objects.patch_status::<K>(&copy.key, &patch).await;
        let outcome = take_over(written, copy, entry)?;
        self.peers.wrote(&copy.key, &copy.object);
        Ok(outcome)
    }

    /// Looks a resource up by ID and remembers what that gave.
    pub(crate) async fn look_up(&self, id: &CloudId, entry: &mut Entry<K>) {
        let begun = self.clock.now().mono;
        match K::describe(&*self.cloud, id).await {
            Ok(view) => {
                if let Some(view) = &view {
                    entry.look = Some((begun, view.clone()));
                }
                entry.memory.looked(id.clone(), begun, view);
            }
            Err(error) => {
                tracing::debug!(%id, %error, "cannot look up the resource");
                entry.memory.look_failed(error, &self.settings.limits, self.clock.now());
            }
        }
    }

    /// Looks what is at a place and remembers what that gave.
    pub(crate) async fn look_at(&self, place: &Place, entry: &mut Entry<K>) {
        let begun = self.clock.now().mono;
        match K::find(&*self.cloud, place).await {
            Ok(views) => entry.memory.looked_at(place.clone(), begun, views),
            Err(error) => {
                tracing::debug!(%place, %error, "cannot look what is there");
                entry.memory.look_failed(error, &self.settings.limits, self.clock.now());
            }
        }
    }

    /// Sends a create call, unless its secrets are not those of the record any more or it is too late for it.
    async fn create(&self, key: &Key, create: &Create<K::Request>) -> Outcome {
        let withheld = |why: &str| {
            tracing::info!(attempt = create.turn.attempt, why, "the create call is not sent");
            Outcome::Withheld
        };
        let values = match self.read_secrets(key, K::secrets(&create.request)).await {
            Ok(Ok(found)) => found,
            Ok(Err(problem)) => return withheld(&problem.message),
            Err(error) => return withheld(&error.to_string()),
        };
        let (versions, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        if versions != create.secrets {
            return withheld("a secret has changed");
        }
        let credentials = match K::credentials(&create.request, &values) {
            Ok(credentials) => credentials,
            Err(error) => return withheld(&error.to_string()),
        };
        if self.clock.now().mono > create.not_after {
            return withheld("it was recorded too long ago");
        }
        // Reading the secrets may have taken long.
        if self.leadership.left().is_some_and(|left| left < self.settings.limits.request_timeout) {
            return withheld("the lease could end before the call does");
        }
        match K::create(&*self.cloud, create, credentials).await {
            Ok(id) => Outcome::Created(id),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Whether the object's namespace has the label that lets its objects reach beyond it.
    pub(crate) async fn is_privileged(&self, key: &Key) -> Result<Result<bool, Problem>, KubeError> {
        let namespace = &key.namespace;
        match self.objects.namespace_labels(namespace).await {
            Ok(labels) => Ok(Ok(labels.get(PRIVILEGED).is_some_and(|value| value == "true"))),
            Err(KubeError::Refused { code: 403, message, .. }) => Ok(Err(Problem {
                reason: Reason::NamespaceNotPrivileged,
                message: format!(
                    "the operator may not read namespace {namespace}, so that nobody knows whether it is labelled {PRIVILEGED}=true; give its ServiceAccount the verb get on namespaces (chart value rbac.create). The API server says: {message}."
                ),
            })),
            Err(error) => Err(error),
        }
    }

    /// The versions of the secrets, or what is wrong with one of them.
    pub(crate) async fn secret_versions(
        &self,
        key: &Key,
        names: &[String],
        request: Option<&K::Request>,
    ) -> Result<Result<Vec<SecretVersion>, Problem>, KubeError> {
        let found = match self.read_secrets(key, names).await? {
            Ok(found) => found,
            Err(problem) => return Ok(Err(problem)),
        };
        let (versions, values): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let checked = request.map_or(Ok(()), |request| K::credentials(request, &values).map(drop));
        Ok(checked.map(|()| versions).map_err(|error| Problem {
            reason: Reason::SecretInvalid,
            message: format!(
                "{error}. Correct it in namespace {}, or remove it from {}.",
                key.namespace,
                K::SECRETS_FIELD
            ),
        }))
    }

    async fn read_secrets(
        &self,
        key: &Key,
        names: &[String],
    ) -> Result<Result<Vec<(SecretVersion, PullSecret)>, Problem>, KubeError> {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            match self.objects.secret(&key.namespace, name).await {
                Err(KubeError::Refused { code: 403, message, .. }) => {
                    return Ok(Err(Problem {
                        reason: Reason::SecretForbidden,
                        message: format!(
                            "the operator may not read secret {}/{name} of {}; give its ServiceAccount the verb get on secrets in namespace {} (chart values rbac.create and namespaces). The API server says: {message}.",
                            key.namespace,
                            K::SECRETS_FIELD,
                            key.namespace
                        ),
                    }));
                }
                Err(error) => return Err(error),
                Ok(Some(secret)) => found.push(secret),
                Ok(None) => {
                    return Ok(Err(Problem {
                        reason: Reason::SecretNotFound,
                        message: format!(
                            "secret {}/{name} of {} does not exist; create it, or remove it from the spec.",
                            key.namespace,
                            K::SECRETS_FIELD
                        ),
                    }));
                }
            }
        }
        Ok(Ok(found))
    }
}

/// Takes over the copy that a write returned.
fn take_over<K: Managed>(
    written: Result<K::Object, KubeError>,
    copy: &mut ObjectCopy<K>,
    entry: &mut Entry<K>,
) -> Result<Outcome, KubeError> {
    match written {
        Ok(object) => {
            copy.object = object;
            copy.live = true;
            entry.written = Some(copy.version());
            Ok(Outcome::Written(copy.version()))
        }
        Err(KubeError::Conflict { .. }) => Ok(Outcome::Conflict),
        Err(error) => Err(error),
    }
}

/// What a status write has to change, if anything.
pub(crate) fn difference<K: Managed>(
    old: Option<&K::Status>,
    new: &K::Status,
    key: &Key,
) -> Result<Option<Value>, KubeError> {
    let json = |status: &K::Status| {
        serde_json::to_value(status).map_err(|error| KubeError::Failed {
            action: "write the status of",
            target: format!("{} {key}", K::Object::kind(&())),
            message: error.to_string(),
        })
    };
    let old = old.map_or_else(|| Ok(json!({})), json)?;
    Ok(patch::merge(&old, &json(new)?))
}

fn done(result: Result<(), CloudError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error),
    }
}

/// A token that no call had before.
fn fresh_token() -> Result<ClientToken, CloudError> {
    let mut bytes = [0_u8; 16];
    let filled = getrandom::fill(&mut bytes).map_err(|error| error.to_string());
    let token = ClientToken::new(hex::encode(bytes)).ok_or_else(|| "the token is not valid".to_owned());
    filled.and(token).map_err(|message| CloudError {
        action: "token",
        meaning: Meaning::NotSent,
        code: None,
        message: format!("no random token: {message}"),
        request_id: None,
        retry_after: None,
    })
}

fn name<R>(effect: &Effect<R>) -> &'static str {
    match effect {
        Effect::AddFinalizer => "AddFinalizer",
        Effect::Write(_) => "Write",
        Effect::Create(_) => "Create",
        Effect::Update { .. } => "Update",
        Effect::Delete { .. } => "Delete",
        Effect::Retag { .. } => "Retag",
        Effect::RemoveFinalizer => "RemoveFinalizer",
        Effect::TellOfStray(_) => "TellOfStray",
    }
}
