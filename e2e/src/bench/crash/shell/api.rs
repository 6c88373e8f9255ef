//! The API server in virtual time: what drivers of kinds ask of one, in memory. `tests/prefix/server.rs` holds its answers
//! against those of the real one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use eci_sim::Random;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_service::Service;

/// Most that a request takes before its effect, and most after it, milliseconds.
const LATENCY_MS: u64 = 20;
/// How long a request takes that is lost, milliseconds.
const LOST_MS: u64 = 2_000;

/// A server. Clones are the same.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Arc<Notify>,
    /// What the wall clock showed when.
    start: (Timestamp, Instant),
}

struct State {
    objects: BTreeMap<Place, Arc<Value>>,
    changes: Vec<Change>,
    /// Told of each change.
    changed: Arc<Notify>,
    /// The newest resourceVersion.
    version: u64,
    random: Random,
    /// Probability that the answer to a request is lost, half of the times before it has an effect.
    loses: f64,
}

/// Plural, namespace and name of an object.
pub type Place = (String, String, String);

/// What a watch tells.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Which object.
    pub place: Place,
    /// As it was then; when it went, as it was last.
    pub object: Arc<Value>,
    /// Whether it went.
    pub gone: bool,
}

type Answer = (u16, Value);

impl Server {
    /// An empty one, whose clock showed `start` at an instant of the runtime.
    pub fn new(seed: u64, start: (Timestamp, Instant)) -> Self {
        let random = Random::new(seed ^ 0xa915);
        let changed = Arc::new(Notify::new());
        let state = State {
            objects: BTreeMap::new(),
            changes: Vec::new(),
            changed: Arc::clone(&changed),
            version: 0,
            random,
            loses: 0.0,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed, start }))
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// From now on the answers to so many requests get lost.
    pub fn loses(&self, probability: f64) {
        self.state().loses = probability;
    }

    /// The nth change, if there were as many.
    pub fn nth_change(&self, nth: usize) -> Option<Change> {
        self.state().changes.get(nth).cloned()
    }

    /// When objects of a kind went, by UID.
    pub fn gone(&self, plural: &str) -> BTreeMap<String, Timestamp> {
        let state = self.state();
        let gone = state.changes.iter().filter(|change| change.gone && change.place.0 == plural);
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        gone.map(|change| (uid(&change.object), change.at)).collect()
    }

    /// Waits for a change.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// An object as it is.
    pub fn get(&self, place: &Place) -> Option<Arc<Value>> {
        self.state().objects.get(place).cloned()
    }

    /// All objects of a kind.
    pub fn all(&self, plural: &str) -> Vec<Arc<Value>> {
        let state = self.state();
        let of_kind = state.objects.iter().filter(|(place, _)| place.0 == plural);
        of_kind.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Creates an object; one that exists stays as it is.
    pub fn create(&self, place: &Place, object: Value) -> u16 {
        let now = self.now();
        self.state().create(place, object, now).0
    }

    /// Changes an object as people do, with the status or without.
    pub fn change(&self, place: &Place, change: impl FnOnce(&mut Value)) {
        let now = self.now();
        let mut state = self.state();
        if let Some(object) = state.objects.get(place) {
            let mut object = Value::clone(object);
            change(&mut object);
            state.store(place, object, now);
        }
    }

    /// Puts another status in the place of an object's, as who restores a backup does.
    pub fn restore(&self, place: &Place, status: Value) {
        let entry = json!({ "manager": "restore", "operation": "Update", "subresource": "status",
            "time": second(self.now()) });
        self.change(place, |object| {
            object["status"] = status;
            object["metadata"]["managedFields"] = json!([entry]);
        });
    }

    /// Asks for the deletion of an object.
    pub fn delete(&self, place: &Place) {
        let now = self.now();
        self.state().delete(place, now);
    }

    fn now(&self) -> Timestamp {
        let (then, at) = self.0.start;
        then.saturating_add(jiff::SignedDuration::try_from(at.elapsed()).unwrap_or_default()).unwrap_or(then)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Full<Bytes>>, Lost> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(|_| Lost)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        if path.contains("/events.k8s.io/") {
            // They are told to people. Nothing is drawn for them: how many there are depends on a cache of the client's.
            return Ok(response(201, &body));
        }
        let (before, after, lost, early) = {
            let State { random, loses, .. } = &mut *self.state();
            let mut millis = || Duration::from_millis(random.between(0, LATENCY_MS));
            let (before, after) = (millis(), millis());
            (before, after, random.chance(*loses), random.chance(0.5))
        };
        tokio::time::sleep(before).await;
        if lost && early {
            tokio::time::sleep(Duration::from_millis(LOST_MS)).await;
            return Err(Lost);
        }
        let json_patch =
            parts.headers.get("content-type").is_some_and(|t| t == "application/json-patch+json");
        let now = self.now();
        let (code, answer) = self.state().handle(&parts.method, &path, json_patch, &body, now);
        if lost {
            tokio::time::sleep(Duration::from_millis(LOST_MS)).await;
            return Err(Lost);
        }
        tokio::time::sleep(after).await;
        Ok(response(code, &answer))
    }
}

impl State {
    fn handle(
        &mut self,
        method: &Method,
        path: &str,
        json_patch: bool,
        body: &Value,
        now: Timestamp,
    ) -> Answer {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = if parts.first() == Some(&"apis") { parts.get(3..) } else { parts.get(2..) };
        let (place, part) = match rest.unwrap_or_default() {
            ["namespaces", name] => (("namespaces", "", *name), None),
            ["namespaces", namespace, plural, name] => ((*plural, *namespace, *name), None),
            ["namespaces", namespace, plural, name, part] => ((*plural, *namespace, *name), Some(*part)),
            // A list of a kind that nobody has installed here.
            _ => return failure(404, "NotFound", path),
        };
        let place = (place.0.to_owned(), place.1.to_owned(), place.2.to_owned());
        let Some(old) = self.objects.get(&place).cloned() else { return failure(404, "NotFound", path) };
        match (method, part) {
            (&Method::GET, None) => (200, Value::clone(&old)),
            (&Method::PATCH, Some("status")) => {
                if is_stale(&old, body) {
                    return failure(409, "Conflict", path);
                }
                let mut new = Value::clone(&old);
                let status = merged(new.get("status").unwrap_or(&Value::Null), &body["status"]);
                set(&mut new, "status", status);
                // As if no field were left that somebody else had set.
                set(&mut new["metadata"], "managedFields", Value::Null);
                (200, self.store(&place, new, now))
            }
            (&Method::PATCH, None) if json_patch => {
                let mut new = Value::clone(&old);
                let steps = serde_json::from_value::<json_patch::Patch>(body.clone());
                match steps.map(|steps| json_patch::patch(&mut new, &steps)) {
                    Ok(Ok(())) => {
                        set(&mut new, "status", old.get("status").cloned().unwrap_or_default());
                        (200, self.store(&place, new, now))
                    }
                    _ => failure(422, "Invalid", path),
                }
            }
            _ => failure(405, "MethodNotAllowed", path),
        }
    }

    fn create(&mut self, place: &Place, mut object: Value, now: Timestamp) -> Answer {
        if self.objects.contains_key(place) {
            return failure(409, "AlreadyExists", &place.2);
        }
        let number = self.version + 1;
        let metadata = json!({
            "name": place.2, "namespace": place.1, "generation": 1, "creationTimestamp": second(now),
            "uid": format!("00000000-0000-4000-8000-{number:012x}"),
        });
        set(&mut object, "status", Value::Null);
        object["metadata"] = merged(&object["metadata"], &metadata);
        default_status(place, &mut object);
        (201, self.put(place, object, now))
    }

    fn delete(&mut self, place: &Place, now: Timestamp) {
        let Some(old) = self.objects.get(place).cloned() else { return };
        let mut object = Value::clone(&old);
        if object["metadata"].get("finalizers").is_none() {
            self.objects.remove(place);
            self.tell(place, old, true, now);
        } else if object["metadata"].get("deletionTimestamp").is_none() {
            object["metadata"]["deletionTimestamp"] = json!(second(now));
            let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
            self.put(place, object, now);
        }
    }

    /// Takes in a new form of an object that exists, if it is one.
    fn store(&mut self, place: &Place, mut new: Value, now: Timestamp) -> Value {
        default_status(place, &mut new);
        let Some(old) = self.objects.get(place).cloned() else { return new };
        if new["metadata"].get("finalizers").is_some_and(|f| f.as_array().is_some_and(Vec::is_empty)) {
            set(&mut new["metadata"], "finalizers", Value::Null);
        }
        if new == *old {
            return new;
        }
        if new.get("spec") != old.get("spec") {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        let metadata = &new["metadata"];
        if metadata.get("deletionTimestamp").is_some() && metadata.get("finalizers").is_none() {
            self.objects.remove(place);
            self.tell(place, Arc::new(new.clone()), true, now);
            return new;
        }
        self.put(place, new, now)
    }

    fn put(&mut self, place: &Place, mut object: Value, now: Timestamp) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let shared = Arc::new(object.clone());
        self.objects.insert(place.clone(), Arc::clone(&shared));
        self.tell(place, shared, false, now);
        object
    }

    fn tell(&mut self, place: &Place, object: Arc<Value>, gone: bool, at: Timestamp) {
        self.changes.push(Change { at, place: place.clone(), object, gone });
        self.changed.notify_waiters();
    }
}

/// The status that both kinds have by their schema when nobody wrote one.
fn default_status(place: &Place, object: &mut Value) {
    if place.0.ends_with("caches") && object.get("status").is_none() {
        set(object, "status", json!({ "observedGeneration": -1 }));
    }
}

/// Whether a patch names another version than the object's.
fn is_stale(old: &Value, patch: &Value) -> bool {
    let version = |value: &Value| value["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    version(patch).is_some_and(|wanted| Some(wanted) != version(old))
}

/// RFC 7396.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut result = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            let new = merged(result.get(key).unwrap_or(&Value::Null), value);
            result.insert(key.clone(), new);
        }
    }
    Value::Object(result)
}

/// Sets a field, or takes it away.
fn set(object: &mut Value, field: &str, value: Value) {
    let Some(fields) = object.as_object_mut() else { return };
    if value.is_null() {
        fields.remove(field);
    } else {
        fields.insert(field.to_owned(), value);
    }
}

fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn failure(code: u16, reason: &str, what: &str) -> Answer {
    let fields = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": Map::new(), "status": "Failure",
        "message": format!("{what}: {reason}"), "reason": reason, "code": code,
    });
    (code, fields)
}

fn response(code: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// The connection closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection closed without an answer")]
pub struct Lost;

impl From<Infallible> for Lost {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Service<Request<Body>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = Lost;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Lost>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
