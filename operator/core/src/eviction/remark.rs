//! What people are told about pods with a notice: one by one, or together where many behind one budget share a reason.
//!
//! A storm moves thousands of pods within seconds. An event for each change of each pod would cost more requests than
//! the evictions themselves, and would say the same of all of them. So remarks wait a moment for others with the same
//! reason and budget: up to [`SINGLY`] concerns are told about each pod, more as one about the budget, with the names of
//! some; what went well is told together from two on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::notice::NotEligible;
use super::outcome::Outcome;
use super::why::{self, Why};
use super::{BudgetRef, Ended, PodRef, Standing};
use crate::time::Mono;

/// As many pods with the same cause for concern are told one by one.
pub const SINGLY: usize = 3;
/// As many pods are named in a remark about more.
pub const NAMED: usize = 10;
/// How long a concern waits for others like it.
pub const GATHER_CONCERNS: Duration = Duration::from_millis(250);
/// How long those that follow it wait: they say what has been said of others.
pub const CONCERNS_EVERY: Duration = Duration::from_secs(5);
/// The same for what goes well, which nobody waits for.
pub const GATHER_SUCCESSES: Duration = Duration::from_secs(1);
/// As [`CONCERNS_EVERY`].
pub const SUCCESSES_EVERY: Duration = Duration::from_mins(1);
/// Most groups that gather; remarks beyond are told one by one.
pub const GROUP_LIMIT: usize = 4_096;

/// Something to tell about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Which.
    pub pod: PodRef,
    /// The budget that it is about, or that selects the pod.
    pub budget: Option<BudgetRef>,
    /// CamelCase, stable.
    pub reason: &'static str,
    /// Whether it is a cause for concern.
    pub warning: bool,
    /// Since when something stands in the way of the pod's eviction that does not pass by itself. An exhausted budget
    /// does while replacements start: behind a budget nearly every pod waits for it once.
    pub blocked_since: Option<Timestamp>,
    /// When it happened.
    pub at: Timestamp,
    /// The sentence without its subject.
    predicate: String,
    /// When the instance of the pod goes, if it has not gone.
    deadline: Option<Timestamp>,
}

impl Remark {
    /// Where a pod stands.
    pub fn standing(standing: &Standing, at: Timestamp) -> Self {
        let blocked = standing.why.is_blocked();
        Self {
            pod: standing.pod.clone(),
            budget: standing.budget.clone(),
            reason: standing.why.as_str(),
            warning: blocked,
            blocked_since: (blocked && standing.why != Why::BudgetExhausted).then_some(standing.since),
            at,
            predicate: why::predicate(standing.why, &standing.facts),
            deadline: Some(standing.deadline),
        }
    }

    /// How it ended, when that is not what was wanted. Else the last standing has said it.
    pub fn ended(ended: &Ended, at: Timestamp) -> Option<Self> {
        let predicate = match ended.outcome {
            Outcome::Late => "was told to end so late that its grace period was cut short",
            Outcome::Forced => {
                "was deleted against its PodDisruptionBudget shortly before its instance went, as onDeadline: Delete of its EciProfile says"
            }
            Outcome::HardKilled => {
                "lost its spot instance before it could be evicted, and had no grace period; earlier events of it or of its budget say what stood in the way"
            }
            Outcome::Graceful | Outcome::Ended | Outcome::Vanished | Outcome::Withdrawn => return None,
        };
        Some(Self {
            pod: ended.pod.clone(),
            budget: ended.budget.clone(),
            reason: ended.outcome.as_str(),
            warning: true,
            blocked_since: None,
            at,
            predicate: predicate.to_owned(),
            deadline: None,
        })
    }

    /// A notice that leads to no eviction, when somebody may have meant it to.
    pub fn ignored(pod: &PodRef, why: NotEligible, at: Timestamp) -> Option<Self> {
        let meant =
            matches!(why, NotEligible::WrongAnnotation | NotEligible::StaticPod | NotEligible::DaemonSetPod);
        meant.then(|| Self {
            pod: pod.clone(),
            budget: None,
            reason: why.as_str(),
            warning: true,
            blocked_since: None,
            at,
            predicate: format!(
                "is on a spot instance that will be taken back, and is not evicted: {}",
                why.message()
            ),
            deadline: None,
        })
    }

    /// The sentence about the pod.
    pub fn sentence(&self) -> String {
        why::sentence(&format!("pod {}", self.pod.name), &self.predicate, self.deadline)
    }
}

/// What is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// About one pod.
    One(Remark),
    /// About several pods with one reason, behind one budget or in one namespace.
    Many {
        /// The first of them.
        first: Remark,
        /// How many there are.
        pods: usize,
        /// The sentence about all of them.
        sentence: String,
    },
}

/// Which remarks are told together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: Arc<str>,
    budget: Option<BudgetRef>,
    reason: &'static str,
}

/// Remarks that wait for others.
#[derive(Clone, Debug)]
struct Group {
    due: Mono,
    pods: usize,
    first: Vec<Remark>,
    names: Vec<Arc<str>>,
    /// The earliest.
    deadline: Option<Timestamp>,
}

impl Group {
    fn new(due: Mono) -> Self {
        Self { due, pods: 0, first: Vec::new(), names: Vec::new(), deadline: None }
    }

    fn add(&mut self, remark: Remark) {
        self.pods += 1;
        self.deadline = self.deadline.into_iter().chain(remark.deadline).min();
        if self.names.len() < NAMED {
            self.names.push(Arc::clone(&remark.pod.name));
        }
        if self.first.len() < SINGLY {
            self.first.push(remark);
        }
    }

    fn say(self) -> Vec<Said> {
        let Self { pods, first, mut names, deadline, .. } = self;
        let concerns = first.first().is_some_and(|remark| remark.warning);
        if pods <= if concerns { SINGLY } else { 1 } {
            return first.into_iter().map(Said::One).collect();
        }
        let Some(first) = first.into_iter().next() else { return Vec::new() };
        let mut sentence = why::sentence(&format!("each of {pods} pods"), &first.predicate, deadline);
        names.sort_unstable();
        let more = pods - names.len();
        // Last, because a long text loses its end.
        sentence.push_str(": ");
        sentence.push_str(&names.join(", "));
        if more > 0 {
            let _ = write!(sentence, " and {more} more");
        }
        vec![Said::Many { first, pods, sentence: why::bounded(sentence) }]
    }
}

/// Gathers remarks.
#[derive(Clone, Debug, Default)]
pub struct Chorus {
    groups: BTreeMap<Key, Group>,
}

impl Chorus {
    /// Takes a remark; gives it back when it has to be told by itself, because too many groups gather.
    #[must_use]
    pub fn add(&mut self, remark: Remark, now: Mono) -> Option<Said> {
        let key = Key {
            namespace: Arc::clone(&remark.pod.namespace),
            budget: remark.budget.clone(),
            reason: remark.reason,
        };
        if self.groups.len() >= GROUP_LIMIT && !self.groups.contains_key(&key) {
            return Some(Said::One(remark));
        }
        let wait = if remark.warning { GATHER_CONCERNS } else { GATHER_SUCCESSES };
        self.groups.entry(key).or_insert_with(|| Group::new(now.plus(wait))).add(remark);
        None
    }

    /// What is to be told now.
    pub fn due(&mut self, now: Mono) -> Vec<Said> {
        let mut said = Vec::new();
        self.groups.retain(|_, group| {
            if group.due > now {
                return true;
            }
            // Nothing came since it was last told: the next remark is a new one.
            let Some(warning) = group.first.first().map(|remark| remark.warning) else { return false };
            let every = if warning { CONCERNS_EVERY } else { SUCCESSES_EVERY };
            let told = std::mem::replace(group, Group::new(now.plus(every)));
            said.extend(told.say());
            true
        });
        said
    }

    /// When to ask again.
    pub fn wake(&self) -> Option<Mono> {
        self.groups.values().map(|group| group.due).min()
    }

    /// All that still waits, for a process that ends.
    pub fn rest(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.groups).into_values().flat_map(Group::say).collect()
    }
}
