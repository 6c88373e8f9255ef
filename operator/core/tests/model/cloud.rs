//! The model's cloud: resources, tokens, lag, and the unknowns as parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use eci_core::cloud::{CloudError, CloudId, Meaning, Place};
use eci_core::cloud_resource::identity::{TAG_CONTENT, content};
use eci_core::cloud_resource::{Create, Kind, Phase};
use jiff::Timestamp;

/// What a resource is made from, in the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// A difference needs a replacement.
    pub image: u8,
    /// A difference can be changed in place.
    pub keep: u8,
    /// How the version of the operator writes the request; no difference.
    pub canon: u8,
    /// The kind has a place, and this is at the only one.
    pub placed: bool,
    pub secrets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub id: CloudId,
    /// As it is now.
    pub request: Request,
    /// As it was asked for, and by whom.
    pub request_made: Request,
    pub made_by: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub phase: Phase,
    pub created: Timestamp,
    /// When lists and looks begin to show it.
    pub shown: Timestamp,
    /// When it stops existing, and when lists stop to show it.
    pub ended: Option<(Timestamp, Timestamp)>,
}

/// What no spec asks for: the image of what somebody made by hand.
const BY_HAND: u8 = 99;
/// What no spec asks for either: the image of which nobody knows what it is.
const UNKNOWN: u8 = 98;

impl Resource {
    pub fn is_by_hand(&self) -> bool {
        self.request_made.image == BY_HAND
    }
}

pub struct ModelKind;

impl Kind for ModelKind {
    type Request = Request;
    type View = Resource;
    const NOUN: &'static str = "resource";
    const SECRETS_FIELD: &'static str = "spec";
    fn id(view: &Resource) -> &CloudId {
        &view.id
    }
    fn phase(view: &Resource) -> Phase {
        view.phase
    }
    fn tags(view: &Resource) -> &BTreeMap<String, String> {
        &view.tags
    }
    fn failure(_: &Resource) -> Option<String> {
        Some("scripted".into())
    }
    fn expiration(_: &Resource) -> Option<Timestamp> {
        None
    }
    fn is_whole(_: &Resource) -> bool {
        true
    }
    fn fingerprint(request: &Request) -> String {
        format!("{request:?}")
    }
    fn secrets(request: &Request) -> &[String] {
        &request.secrets
    }
    fn place(request: &Request) -> Option<Place> {
        request.placed.then(|| Place::new("b", "/p"))
    }
    /// Of a kind with a place the cloud does not show the image.
    fn unshown(request: &Request) -> Option<String> {
        request.placed.then(|| request.image.to_string())
    }
    fn replaces(wanted: &Request, applied: &Request) -> bool {
        wanted.image != applied.image
    }
    fn updates(wanted: &Request, applied: &Request) -> bool {
        wanted.keep != applied.keep
    }
    fn drifted(applied: &Request, view: &Resource) -> bool {
        applied.keep != view.request.keep
    }
    fn updated(wanted: &Request, applied: &Request) -> Request {
        Request { keep: wanted.keep, ..applied.clone() }
    }
    fn corrected(assumed: &Request, view: &Resource) -> Request {
        let told = view.tags.get(TAG_CONTENT);
        let image = match Self::unshown(assumed) {
            None => view.request.image,
            Some(text) if told.is_none_or(|told| *told == content(&text)) => assumed.image,
            Some(_) => UNKNOWN,
        };
        Request { image, keep: view.request.keep, ..assumed.clone() }
    }
    fn differs(request: &Request, view: &Resource) -> Option<String> {
        (request.image != view.request.image).then(|| "it has another image".into())
    }
    fn may_be_eliminated(_: &Request) -> bool {
        false
    }
}

/// What nobody knows of the real cloud.
#[derive(Clone, Debug)]
pub struct Unknowns {
    /// How long a token is remembered.
    pub token_life: Duration,
    /// Whether a token used with another request is an error, or gives the first answer.
    pub mismatch_is_error: bool,
    /// How long lists lag.
    pub list_lag: Duration,
    /// How long looking up by ID lags.
    pub look_lag: Duration,
    /// Whether deleting what is gone is an error.
    pub delete_unknown_is_error: bool,
    /// How long after the client gave up a request may still take effect.
    pub late_effect: Duration,
    /// Whether the kind has a place.
    pub placed: bool,
    /// Whether a second resource at a place is refused.
    pub place_is_guarded: bool,
}

pub struct Cloud {
    pub unknowns: Unknowns,
    pub resources: Vec<Resource>,
    tokens: BTreeMap<String, (Request, CloudId, Timestamp)>,
    /// Requests that take effect later.
    pub under_way: Vec<(Timestamp, Create<Request>)>,
    /// How long a build takes, and whether the next ones fail.
    pub build_time: Duration,
    pub failing_builds: u8,
    pub now: Timestamp,
}

pub fn error(meaning: Meaning) -> CloudError {
    CloudError {
        action: "Model",
        meaning,
        code: None,
        message: "scripted".into(),
        request_id: None,
        retry_after: None,
    }
}

impl Cloud {
    pub fn new(unknowns: Unknowns, now: Timestamp) -> Self {
        Self {
            unknowns,
            resources: Vec::new(),
            tokens: BTreeMap::new(),
            under_way: Vec::new(),
            build_time: Duration::from_secs(90),
            failing_builds: 0,
            now,
        }
    }

    pub fn advance(&mut self, now: Timestamp) {
        let due: Vec<_> = self.under_way.extract_if(.., |(at, _)| *at <= now).collect();
        for (at, call) in due {
            self.now = at.max(self.now);
            let _ = self.create(&call);
        }
        self.now = now;
        for resource in &mut self.resources {
            if resource.phase == Phase::Building && resource.created + self.build_time <= now {
                resource.phase = if self.failing_builds > 0 { Phase::Failed } else { Phase::Usable };
                self.failing_builds = self.failing_builds.saturating_sub(1);
            }
        }
    }

    pub fn create(&mut self, call: &Create<Request>) -> Result<CloudId, CloudError> {
        let token = call.token.as_str().to_owned();
        let remembered =
            self.tokens.get(&token).filter(|(_, _, at)| *at + self.unknowns.token_life > self.now);
        if let Some((request, id, _)) = remembered {
            let same = request == &call.request;
            return if same || !self.unknowns.mismatch_is_error {
                Ok(id.clone())
            } else {
                Err(error(Meaning::TokenMismatch))
            };
        }
        let occupied = call.request.placed && self.unknowns.place_is_guarded && self.alive().next().is_some();
        if occupied {
            return Err(error(Meaning::Invalid));
        }
        let id = CloudId::parse(&format!("r-{:04}", self.resources.len())).unwrap();
        self.tokens.insert(token, (call.request.clone(), id.clone(), self.now));
        self.resources.push(Resource {
            id: id.clone(),
            request: call.request.clone(),
            request_made: call.request.clone(),
            made_by: call.tags.clone(),
            tags: call.tags.clone(),
            phase: Phase::Building,
            created: self.now,
            shown: self.now + self.unknowns.list_lag,
            ended: None,
        });
        Ok(id)
    }

    /// Somebody makes a resource by hand, if there is room for it.
    pub fn squat(&mut self) {
        if self.alive().next().is_some() {
            return;
        }
        let request = Request { image: BY_HAND, keep: BY_HAND, canon: 0, placed: true, secrets: Vec::new() };
        self.resources.push(Resource {
            id: CloudId::parse(&format!("r-{:04}", self.resources.len())).unwrap(),
            request: request.clone(),
            request_made: request,
            made_by: BTreeMap::new(),
            tags: BTreeMap::new(),
            phase: Phase::Usable,
            created: self.now,
            shown: self.now + self.unknowns.list_lag,
            ended: None,
        });
    }

    /// What was made by hand goes by hand.
    pub fn unsquat(&mut self) {
        let (now, lag) = (self.now, self.unknowns.list_lag);
        for resource in self.resources.iter_mut().filter(|r| r.is_by_hand() && r.ended.is_none()) {
            resource.ended = Some((now, now + lag));
        }
    }

    /// What is at the place, as late as lists.
    pub fn at_place(&self) -> Vec<Resource> {
        self.list()
    }

    /// Something that was usable is not any more.
    pub fn break_one(&mut self) {
        let usable = |r: &&mut Resource| r.ended.is_none() && r.phase == Phase::Usable;
        if let Some(resource) = self.resources.iter_mut().rev().find(usable) {
            resource.phase = Phase::Failed;
        }
    }

    pub fn update(&mut self, id: &CloudId, keep: u8) -> Result<(), CloudError> {
        let resource = self.living(id).ok_or_else(|| error(Meaning::NotFound))?;
        resource.request.keep = keep;
        Ok(())
    }

    pub fn retag(
        &mut self,
        id: &CloudId,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<(), CloudError> {
        let resource = self.living(id).ok_or_else(|| error(Meaning::NotFound))?;
        resource.tags.extend(set.clone());
        resource.tags.retain(|key, _| !remove.contains(key));
        Ok(())
    }

    pub fn delete(&mut self, id: &CloudId) -> Result<(), CloudError> {
        let foreign = self.resources.iter().any(|r| r.id == *id && r.is_by_hand());
        assert!(!foreign, "{id} is somebody else's and would be deleted");
        let (now, lag, strict) = (self.now, self.unknowns.list_lag, self.unknowns.delete_unknown_is_error);
        match self.living(id) {
            Some(resource) => resource.ended = Some((now, now + lag)),
            None if strict => return Err(error(Meaning::NotFound)),
            None => {}
        }
        Ok(())
    }

    fn living(&mut self, id: &CloudId) -> Option<&mut Resource> {
        self.resources.iter_mut().find(|r| r.id == *id && r.ended.is_none())
    }

    pub fn alive(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|r| r.ended.is_none())
    }

    /// A list: late to show what is new and late to forget what is gone, as the parameters say.
    pub fn list(&self) -> Vec<Resource> {
        let shows =
            |r: &&Resource| r.shown <= self.now && r.ended.is_none_or(|(_, hidden)| hidden > self.now);
        self.resources.iter().filter(shows).cloned().collect()
    }

    pub fn look(&self, id: &CloudId) -> Option<Resource> {
        let lag = self.unknowns.look_lag;
        let shows = |r: &&Resource| {
            r.id == *id && r.created + lag <= self.now && r.ended.is_none_or(|(at, _)| at + lag > self.now)
        };
        self.resources.iter().find(shows).cloned()
    }
}
