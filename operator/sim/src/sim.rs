//! One world, shared: time, faults, keys and the log of calls around it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, later, later_ms};
use crate::faults::{Effect, Fault, Faults, Seen};
use crate::keys::{Key, KeyState, Keys};
use crate::log::{CallRecord, Calls, Log, Requests};
use crate::random::Random;
use crate::roles::{RoleSettings, Roles};
use crate::world::call::{Call, Reply};
use crate::world::settings::Settings;
use crate::world::{ApiError, World};

/// A handle on a shared world. Clones are the same world.
#[derive(Clone, Debug)]
pub struct Sim(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    seed: u64,
    first_settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    world: World,
    faults: Faults,
    log: Log,
    keys: Keys,
    roles: Roles,
    /// Calls whose effect comes later.
    pending: Vec<(Timestamp, Call)>,
    /// How far the world is ahead of the clock.
    ahead: Duration,
    random: Random,
    nonces: BTreeMap<String, Timestamp>,
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Time until the answer.
    pub latency: Duration,
    /// The answer.
    pub answer: Answer,
}

/// An answer on its way.
#[derive(Clone, Debug)]
pub enum Answer {
    /// All of it.
    Whole(Result<Reply, ApiError>),
    /// Half of it, then the connection closes.
    Half(Result<Reply, ApiError>),
    /// Something that is no JSON, with an HTTP status.
    NotJson(u16),
    /// None: the connection closes after this time.
    Closed(Duration),
}

/// Nonces older than this are forgotten: their requests are too old to be accepted anyway.
const NONCE_LIFE_MS: u64 = 45 * 60 * 1_000;

/// So many nonces are kept before old ones are looked for.
const NONCES: usize = 10_000;

impl Sim {
    /// A new world.
    pub fn new(seed: u64, settings: Settings, clock: Clock) -> Self {
        let state = State {
            world: World::new(seed, settings.clone()),
            faults: Faults::new(seed),
            log: Log::default(),
            keys: Keys::default(),
            roles: Roles::default(),
            pending: Vec::new(),
            ahead: Duration::ZERO,
            random: Random::new(!seed),
            nonces: BTreeMap::new(),
        };
        Self(Arc::new(Shared { clock, seed, first_settings: settings, state: Mutex::new(state) }))
    }

    /// The clock under it.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The world's time: the clock's and what it was advanced by.
    pub fn now(&self) -> Timestamp {
        later(self.0.clock.now(), self.state().ahead)
    }

    /// Moves the world's time forward; signatures go on being checked against the clock.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.ahead = state.ahead.saturating_add(by);
        let now = later(self.0.clock.now(), state.ahead);
        state.settle(now);
    }

    /// Looks at the world, or changes it, at its present time.
    pub fn with_world<T>(&self, look: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let mut state = self.state();
        let now = later(self.0.clock.now(), state.ahead);
        state.settle(now);
        look(&mut state.world, now)
    }

    /// Puts a call through the faults to the world.
    pub fn perform(&self, call: &Call) -> Outcome {
        let mut state = self.state();
        let now = later(self.0.clock.now(), state.ahead);
        state.settle(now);
        let fault = state.faults.strike(call.action()).unwrap_or_default();
        let outcome = state.perform(now, call, &fault);
        let answer = match (&outcome.answer, &fault.answer) {
            (Answer::Whole(Ok(_)), _) => "OK",
            (Answer::Whole(Err(error)), _) => &error.code,
            (Answer::Half(_), _) => "truncated",
            (Answer::NotJson(_), _) => "notJson",
            (Answer::Closed(_), Seen::Silence(_)) => "silence",
            (Answer::Closed(_), _) => "closed",
        };
        let record = CallRecord {
            at: now,
            action: call.action().to_owned(),
            token: call.token().map(str::to_owned),
            answer: answer.to_owned(),
        };
        state.log.call(record);
        outcome
    }

    /// Adds a fault behind those that are in force.
    pub fn add_fault(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Ends all faults. Effects that are under way still come.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// The faults that are in force.
    pub fn faults(&self) -> Vec<Fault> {
        self.state().faults.rules().to_vec()
    }

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        self.state().log.calls.clone()
    }

    /// The newest requests over HTTP, decoded.
    pub fn requests(&self) -> Requests {
        self.state().log.requests.clone()
    }

    /// Adds or replaces an access key.
    pub fn add_key(&self, key: Key) {
        self.state().keys.insert(key);
    }

    /// Changes what the cloud thinks of an access key. False when there is none.
    pub fn set_key_state(&self, id: &str, state: KeyState) -> bool {
        self.state().keys.set_state(id, state)
    }

    /// Begins anew with the first seed and settings: no caches, faults, log or lead over the clock. Keys stay.
    pub fn reset(&self) {
        let mut state = self.state();
        state.world = World::new(self.0.seed, self.0.first_settings.clone());
        state.faults = Faults::new(self.0.seed);
        state.log = Log::default();
        state.pending.clear();
        state.ahead = Duration::ZERO;
    }

    /// Says who may have temporary keys from now on.
    pub fn set_roles(&self, settings: RoleSettings) {
        self.state().roles.settings = settings;
    }

    /// Ends all temporary keys before their time.
    pub fn revoke_temporary_keys(&self) {
        self.state().keys.revoke_temporary();
    }

    pub(crate) fn assume_role(&self, form: &BTreeMap<String, String>) -> Result<serde_json::Value, ApiError> {
        let now = self.0.clock.now();
        let State { roles, keys, random, .. } = &mut *self.state();
        roles.assume(form, keys, random, now)
    }

    pub(crate) fn metadata_token(&self, ttl: Option<&str>) -> Option<String> {
        let now = self.0.clock.now();
        let State { roles, random, .. } = &mut *self.state();
        roles.metadata_token(ttl, random, now)
    }

    pub(crate) fn knows_metadata_token(&self, token: Option<&str>) -> bool {
        self.state().roles.knows(token, self.0.clock.now())
    }

    pub(crate) fn node_role(&self) -> Option<String> {
        self.state().roles.settings.node_role.clone()
    }

    pub(crate) fn node_credentials(&self, role: &str) -> Option<String> {
        let now = self.0.clock.now();
        let State { roles, keys, random, .. } = &mut *self.state();
        roles.of_node(role, keys, random, now).map(|value| value.to_string())
    }

    pub(crate) fn keys(&self) -> Keys {
        self.state().keys.clone()
    }

    pub(crate) fn request_id(&self) -> String {
        self.state().random.request_id()
    }

    pub(crate) fn log_request(&self, action: &str, parameters: BTreeMap<String, String>) {
        self.state().log.request(action, parameters);
    }

    /// Logs a call that never came to the world, or does not concern it.
    pub(crate) fn log_refusal(&self, action: &str, code: &str) {
        let mut state = self.state();
        let at = later(self.0.clock.now(), state.ahead);
        let (action, answer) = (action.to_owned(), code.to_owned());
        state.log.call(CallRecord { at, action, token: None, answer });
    }

    /// Takes note of a nonce; false when it was used before.
    pub(crate) fn use_nonce(&self, nonce: &str) -> bool {
        let now = self.0.clock.now();
        let mut state = self.state();
        if state.nonces.len() >= NONCES {
            state.nonces.retain(|_, used| later_ms(*used, NONCE_LIFE_MS) > now);
        }
        state.nonces.insert(nonce.to_owned(), now).is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets effects that were under way come, each at its time.
    fn settle(&mut self, now: Timestamp) {
        self.pending.sort_by_key(|(due, _)| *due);
        let due = self.pending.partition_point(|(due, _)| *due <= now);
        for (at, call) in self.pending.drain(..due) {
            // Nobody waits for this answer any more.
            let _ = self.world.call(at, &call);
        }
        self.world.advance(now);
    }

    fn perform(&mut self, now: Timestamp, call: &Call, fault: &Fault) -> Outcome {
        let true_answer = match fault.effect() {
            Effect::Now => self.world.call_with_lag(now, call, fault.lag_ms),
            Effect::Later(ms) => {
                self.pending.push((later_ms(now, ms), call.clone()));
                Err(unavailable())
            }
            Effect::Never => Err(unavailable()),
        };
        let answer = match &fault.answer {
            Seen::Truth => Answer::Whole(true_answer),
            Seen::Error { code, status, message, retry_after_ms } => {
                let message =
                    message.clone().unwrap_or_else(|| "The simulator was told to say so.".to_owned());
                let mut error = ApiError::new(code, message);
                error.status = status.unwrap_or(error.status);
                error.retry_after_ms = *retry_after_ms;
                Answer::Whole(Err(error))
            }
            Seen::Closed => Answer::Closed(Duration::ZERO),
            Seen::Silence(ms) => Answer::Closed(Duration::from_millis(*ms)),
            Seen::Truncated => Answer::Half(true_answer),
            Seen::NotJson(status) => Answer::NotJson(*status),
        };
        Outcome { latency: Duration::from_millis(fault.latency_ms), answer }
    }
}

fn unavailable() -> ApiError {
    ApiError::new("ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
}
