//! Temporary credentials: remembered, and fetched anew before they expire.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eci_core::pace::spread;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::{Credentials, CredentialsError, CredentialsProvider};
use crate::clock::Clock;

/// How long before their expiry credentials are fetched anew, at most; the vendor's libraries do so, too.
pub const LONGEST_LEAD: Duration = Duration::from_mins(15);
/// For credentials with a short life the lead is this part of it.
const LEAD_PART: u32 = 4;
/// So short before their expiry they are not used any more, at most: a request takes a moment to arrive.
const LONGEST_MARGIN: Duration = Duration::from_secs(10);
/// Part of the life that the margin is for credentials with a short one.
const MARGIN_PART: u32 = 20;
/// After a failure, so long until the next try when there are credentials that still work.
pub const RETRY: Duration = Duration::from_secs(15);
/// The same when there are none: then every call would ask.
pub const RETRY_WITHOUT: Duration = Duration::from_secs(1);
/// Credentials that the cloud rejects are not fetched anew when they are younger: a rejection that has another reason
/// would have every call ask for new ones.
pub const TOO_YOUNG: Duration = Duration::from_secs(10);

/// Where temporary credentials come from: one attempt each, without memory.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// For log lines: `RRSA`.
    fn name(&self) -> &'static str;

    /// New credentials, with an expiry.
    fn fetch(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>>;
}

/// Remembers what a source gave. One caller at a time asks the source; while there are credentials that work, the
/// others go on with them.
pub struct Temporary<S> {
    source: S,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<(Duration, CredentialsError)>,
}

#[derive(Clone)]
struct Held {
    credentials: Credentials,
    /// When they are fetched anew, and until when they are used.
    renew: Timestamp,
    end: Timestamp,
    /// By the monotonic clock.
    since: Duration,
}

/// What a caller does.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Take what is held.
    Use,
    /// Fetch; what is held still works and is used if that fails, or if somebody else is fetching.
    Renew,
    /// Fetch; without that there is nothing.
    Fetch,
    /// The last failure again: it is too early for another try.
    Wait,
}

impl State {
    fn step(&self, wall: Timestamp, mono: Duration) -> Step {
        let failed = self.failure.as_ref().map(|(at, _)| mono.saturating_sub(*at));
        match &self.held {
            Some(held) if wall < held.renew => Step::Use,
            Some(held) if wall < held.end && failed.is_some_and(|ago| ago < RETRY) => Step::Use,
            Some(held) if wall < held.end => Step::Renew,
            _ if failed.is_some_and(|ago| ago < RETRY_WITHOUT) => Step::Wait,
            _ => Step::Fetch,
        }
    }
}

impl Held {
    fn new(credentials: Credentials, wall: Timestamp, mono: Duration) -> Self {
        let expiry = credentials.expiry.unwrap_or(Timestamp::MAX);
        let life = Duration::try_from(expiry.duration_since(wall)).unwrap_or_default();
        // Not all replicas and clusters at the same moment.
        let lead = spread((life / LEAD_PART).min(LONGEST_LEAD), &credentials.access_key_id);
        let margin = (life / MARGIN_PART).min(LONGEST_MARGIN);
        let before = |time: Duration| {
            let time = SignedDuration::try_from(time).unwrap_or_default();
            expiry.checked_sub(time).unwrap_or(wall)
        };
        Self { renew: before(lead), end: before(margin), since: mono, credentials }
    }
}

impl<S: Source> Temporary<S> {
    /// Nothing is fetched before the first call.
    pub fn new(source: S, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, state: Mutex::default(), fetching: tokio::sync::Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Replaced as a whole: a panic elsewhere cannot have left half of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known without asking the source; the step, when it has to be asked.
    fn known(&self) -> Result<Result<Credentials, CredentialsError>, Step> {
        let state = self.state();
        match (state.step(self.clock.now(), self.clock.monotonic()), &state.held, &state.failure) {
            (Step::Use, Some(held), _) => Ok(Ok(held.credentials.clone())),
            (Step::Wait, _, Some((_, error))) => Ok(Err(error.clone())),
            (step, ..) => Err(step),
        }
    }

    async fn get(&self) -> Result<Credentials, CredentialsError> {
        let step = match self.known() {
            Ok(known) => return known,
            Err(step) => step,
        };
        let held = |this: &Self| this.state().held.as_ref().map(|held| held.credentials.clone());
        let _turn = if step == Step::Renew {
            match (self.fetching.try_lock(), held(self)) {
                (Ok(turn), _) => turn,
                (Err(_), Some(credentials)) => return Ok(credentials),
                (Err(_), None) => self.fetching.lock().await,
            }
        } else {
            self.fetching.lock().await
        };
        // Somebody else may have fetched while this one waited.
        if let Ok(known) = self.known() {
            return known;
        }
        let fetched = self.source.fetch().await;
        let (wall, mono) = (self.clock.now(), self.clock.monotonic());
        let mut state = self.state();
        match fetched {
            Ok(credentials) => {
                tracing::info!(
                    source = self.source.name(),
                    expiry = credentials.expiry.map(tracing::field::display),
                    "new temporary credentials of the cloud"
                );
                *state = State { held: Some(Held::new(credentials.clone(), wall, mono)), failure: None };
                Ok(credentials)
            }
            Err(error) => {
                state.failure = Some((mono, error.clone()));
                match state.held.as_ref().filter(|held| wall < held.end) {
                    Some(held) => {
                        tracing::warn!(source = self.source.name(), %error, end = %held.end, "the temporary credentials of the cloud cannot be renewed yet; those at hand still work");
                        Ok(held.credentials.clone())
                    }
                    None => Err(error),
                }
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Temporary<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Temporary").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<S: Source> CredentialsProvider for Temporary<S> {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.get().boxed()
    }

    fn rejected(&self, access_key_id: &str) -> bool {
        let mono = self.clock.monotonic();
        let mut state = self.state();
        match &state.held {
            // Somebody else's rejection has been dealt with.
            Some(held) if held.credentials.access_key_id != access_key_id => true,
            Some(held) if mono.saturating_sub(held.since) >= TOO_YOUNG => {
                *state = State::default();
                true
            }
            Some(_) => false,
            // Dealt with as well, and the new ones are on their way.
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const START: i64 = 1_800_000_000;

    #[derive(Default)]
    struct Hands(Mutex<Duration>);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            let since = SignedDuration::try_from(*self.0.lock().unwrap()).unwrap();
            Timestamp::from_second(START).unwrap() + since
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    impl Hands {
        fn go(&self, seconds: u64) {
            *self.0.lock().unwrap() += Duration::from_secs(seconds);
        }
    }

    /// Answers from a list: lives in seconds, or nothing.
    #[derive(Debug)]
    struct Script {
        lives: Mutex<VecDeque<Option<i64>>>,
        asked: Mutex<u32>,
        clock: Arc<Mutex<Option<Timestamp>>>,
    }

    impl Source for Script {
        fn name(&self) -> &'static str {
            "script"
        }

        fn fetch(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
            async move {
                tokio::task::yield_now().await;
                let nth = {
                    let mut asked = self.asked.lock().unwrap();
                    *asked += 1;
                    *asked
                };
                let now = self.clock.lock().unwrap().unwrap();
                match self.lives.lock().unwrap().pop_front().flatten() {
                    Some(life) => Ok(Credentials {
                        access_key_id: format!("key-{nth}"),
                        access_key_secret: "hunter2".into(),
                        security_token: Some("hunter3".into()),
                        expiry: Some(now + SignedDuration::from_secs(life)),
                    }),
                    None => Err(CredentialsError::Unavailable(format!("failure {nth}"))),
                }
            }
            .boxed()
        }
    }

    struct Scene {
        hands: Arc<Hands>,
        now: Arc<Mutex<Option<Timestamp>>>,
        provider: Temporary<Script>,
    }

    impl Scene {
        fn new(lives: &[Option<i64>]) -> Self {
            let hands = Arc::new(Hands::default());
            let now = Arc::new(Mutex::new(Some(hands.now())));
            let lives = Mutex::new(lives.iter().copied().collect());
            let source = Script { lives, asked: Mutex::new(0), clock: Arc::clone(&now) };
            let clock: Arc<dyn Clock> = Arc::clone(&hands) as _;
            Self { provider: Temporary::new(source, clock), hands, now }
        }

        /// The key after so many seconds, or the error.
        async fn after(&self, seconds: u64) -> String {
            self.hands.go(seconds);
            *self.now.lock().unwrap() = Some(self.hands.now());
            match self.provider.credentials().await {
                Ok(found) => found.access_key_id,
                Err(error) => error.to_string(),
            }
        }
    }

    #[tokio::test]
    async fn they_are_remembered_and_renewed_a_quarter_of_an_hour_before_the_end() {
        let scene = Scene::new(&[Some(3_600), Some(3_600)]);
        assert_eq!(scene.after(0).await, "key-1");
        // 15 minutes, moved by a tenth at most.
        assert_eq!(scene.after(3_600 - 991).await, "key-1");
        assert_eq!(scene.after(991 - 809).await, "key-2");
        assert_eq!(scene.after(1).await, "key-2");
        assert_eq!(*scene.provider.source.asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn a_renewal_that_fails_is_tried_again_and_what_is_held_is_used_until_its_end() {
        let scene = Scene::new(&[Some(3_600), None, None, Some(3_600)]);
        assert_eq!(scene.after(0).await, "key-1");
        assert_eq!(scene.after(2_800).await, "key-1", "the second fetch failed");
        assert_eq!(scene.after(14).await, "key-1");
        assert_eq!(*scene.provider.source.asked.lock().unwrap(), 2, "not before 15 s");
        assert_eq!(scene.after(1).await, "key-1", "the third fetch failed");
        assert_eq!(scene.after(15).await, "key-4");
    }

    #[tokio::test]
    async fn without_any_each_second_has_one_try_and_expired_ones_are_never_given() {
        let scene = Scene::new(&[Some(60), None, None, Some(60)]);
        assert_eq!(scene.after(0).await, "key-1");
        // The margin: a twentieth of the life.
        assert!(scene.after(57).await.contains("failure 2"));
        assert!(scene.after(0).await.contains("failure 2"), "no second try in the same second");
        assert!(scene.after(1).await.contains("failure 3"));
        assert_eq!(scene.after(1).await, "key-4");
    }

    #[tokio::test]
    async fn many_callers_ask_once() {
        let scene = Scene::new(&[Some(3_600)]);
        let all = (0..20).map(|_| scene.provider.credentials());
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(|found| found.as_ref().is_ok_and(|c| c.access_key_id == "key-1")));
        assert_eq!(*scene.provider.source.asked.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn rejected_ones_are_fetched_anew_unless_they_are_new() {
        let scene = Scene::new(&[Some(3_600), Some(3_600)]);
        assert_eq!(scene.after(0).await, "key-1");
        assert!(!scene.provider.rejected("key-1"), "they are too young");
        assert_eq!(scene.after(10).await, "key-1");
        assert!(scene.provider.rejected("key-1"));
        assert!(
            scene.provider.rejected("key-1"),
            "of two calls with the same ones, the other comes before the new ones"
        );
        assert_eq!(scene.after(0).await, "key-2");
        assert!(scene.provider.rejected("key-1"), "there are others already");
        assert_eq!(scene.after(0).await, "key-2");
    }

    #[tokio::test]
    async fn the_debug_form_has_no_secret() {
        let scene = Scene::new(&[Some(3_600)]);
        scene.after(0).await;
        let text = format!("{:?}", scene.provider);
        assert!(!text.contains("hunter"), "{text}");
    }
}
