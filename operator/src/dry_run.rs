//! `--dry-run`: plans are made and printed, and nothing is done.

use std::fmt::{self, Write as _};
use std::time::Duration;

use eci_api::condition::Wanted;
use eci_core::cloud::Cloud;
use eci_core::cloud_resource::{Effect, Next, Outcome, Plan};

use crate::apply::difference;
use crate::driver::{Driver, Entry, ObjectCopy, Verdict};
use crate::kind::Managed;
use crate::report::{InWords, clip};

/// When an object is planned for again whose next step is an effect, should nothing change before.
const REHEARSAL_WAIT: Duration = Duration::from_mins(5);
/// Longest request that a line shows, in bytes.
const REQUEST_LIMIT: usize = 2_048;

/// The steps that a reconcile would have taken.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal {
    steps: String,
}

impl Rehearsal {
    fn add(&mut self, step: impl fmt::Display) {
        let then = if self.steps.is_empty() { "" } else { "; then " };
        // Writing to a String cannot fail.
        let _ = write!(self.steps, "{then}{step}");
    }
}

impl<K: Managed, C: Cloud> Driver<K, C> {
    /// Takes a plan in instead of carrying it out. `None` when the next pass is to come: the plan reads, or its effect
    /// is on the copy alone.
    pub(crate) fn rehearse(
        &self,
        rehearsal: &mut Rehearsal,
        plan: &Plan<K::Request>,
        view: Option<&K::View>,
        copy: &mut ObjectCopy<K>,
        entry: &mut Entry<K>,
    ) -> Option<Verdict> {
        let wait = match &plan.next {
            Next::Read(_) => return None,
            Next::Do(Effect::AddFinalizer) => {
                rehearsal.add(InWords(plan));
                copy.rehearsed_finalizer = true;
                // It counts as put on by this process: without a record, nothing was lost.
                let done = Outcome::Written(copy.version());
                entry.memory.fold(&Effect::AddFinalizer, done, &self.settings.limits, self.clock.now());
                return None;
            }
            Next::Do(effect) => {
                rehearsal.add(InWords(plan));
                if let Some(request) = request(effect) {
                    let text = serde_json::to_string(request).unwrap_or_default();
                    rehearsal.add(format_args!("send the request {}", clip(&text, REQUEST_LIMIT)));
                }
                Some(plan.wake.unwrap_or(REHEARSAL_WAIT))
            }
            Next::Rest => {
                let old = K::status_of(&copy.object);
                let now = self.clock.now().wall;
                let new = K::status(old, &plan.record, Some(&plan.conditions), view, copy.generation(), now);
                // A status that cannot be compared would be written.
                if difference::<K>(old, &new, &copy.key).map_or(true, |difference| difference.is_some()) {
                    rehearsal.add(format_args!("write the status {}", Conditions(&plan.conditions)));
                }
                self.observer.report(&copy.key, &entry.uid, plan.busy, None);
                plan.wake
            }
        };
        // Once for each plan that differs, not at each look.
        if entry.rehearsed.as_ref() != Some(&rehearsal.steps) {
            if !rehearsal.steps.is_empty() {
                tracing::info!(kind = K::NOUN, object = %copy.key, "dry-run: would {}", rehearsal.steps);
            }
            entry.rehearsed = Some(std::mem::take(&mut rehearsal.steps));
        }
        Some(Verdict::Rested(wait))
    }
}

/// The request that the effect sends or is about to send; it has no secret values.
fn request<R>(effect: &Effect<R>) -> Option<&R> {
    match effect {
        Effect::Write(record) => record.operation.as_ref().map(|operation| &operation.request),
        Effect::Create(create) => Some(&create.request),
        Effect::Update { request, .. } => Some(request),
        _ => None,
    }
}

/// Conditions in words: `Ready=False Building: …`.
struct Conditions<'a>(&'a [Wanted]);

impl fmt::Display for Conditions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.0.iter().enumerate() {
            let status = condition.status.map_or("Unknown", |is| if is { "True" } else { "False" });
            let (separator, type_) = (if index == 0 { "" } else { ", " }, condition.type_.as_str());
            write!(f, "{separator}{type_}={status} {}: {}", condition.reason.as_str(), condition.message)?;
        }
        Ok(())
    }
}
