//! An operation whose outcome is not known: find its resource, or send the call (again).

use std::time::Duration;

use eci_api::condition::Reason;

use super::identity::attempt_of;
use super::memory::{LOST, Window};
use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::{Create, Effect, Kind, Operation, Read, Turn, tags};
use crate::time::ago;

impl<K: Kind> Pass<'_, K> {
    pub(super) fn resolve(&mut self, operation: &Operation<K::Request>) -> Decision<K> {
        if let Some(view) = self.made_by(operation.attempt) {
            let mut operation = operation.clone();
            // After a restored backup the resource may have been made from another request of the same attempt.
            operation.request = K::corrected(&operation.request, &view);
            self.record.operation = None;
            self.own(K::id(&view).clone(), operation);
            return self.write();
        }
        if !self.lease_outlives_a_call() {
            self.wake_in(Duration::from_secs(1));
            return self.unresolved("The lease is about to end; the next leader goes on.");
        }
        if let Some(not_after) = self.fresh_until(operation.turn()) {
            return match self.secrets_of(&operation.request) {
                Err(Ok(plan)) => *plan,
                // A secret that is gone by now is found out when its value is read: the call is then withheld.
                _ => self.send(operation, not_after),
            };
        }
        if let Some(plan) = self.look_while_resolving(&operation.request) {
            return plan;
        }
        if let Err(plan) = self.window_over(operation.turn()) {
            return *plan;
        }
        if !self.seen.object.live {
            return self.read(Read::Object);
        }
        let secrets_changed = match self.secrets_of(&operation.request) {
            Ok(secrets) => secrets != operation.secrets,
            Err(Ok(plan)) => return *plan,
            Err(Err(_)) => true,
        };
        let token_spent = self.memory.window.is_some_and(|w| w.token_spent)
            || ago(operation.started, self.now.wall) >= self.limits.token_life;
        let begun = self.memory.window.map_or(self.now.mono, |w| w.begun);
        if secrets_changed || token_spent || self.place_is_anothers(&operation.request, begun) {
            // Nothing was made as far as anybody can see; the next attempt has its own token.
            self.record.operation = None;
            return self.write();
        }
        self.record.operation =
            Some(Operation { sends: operation.sends.saturating_add(1), ..operation.clone() });
        self.write()
    }

    /// The resource that this attempt made, if something shows it that was begun after this process saw the operation: what
    /// is older can show one that is gone by now, of an attempt whose number came again after a lost status.
    fn made_by(&self, attempt: i64) -> Option<K::View> {
        let owner = &self.seen.object.owner;
        let known = [&self.record.current, &self.record.successor];
        let since = self.memory.turn_since;
        let listed = self.seen.list.filter(|list| list.begun >= since).map_or(&[][..], |list| &list.items);
        listed
            .iter()
            .chain(self.seen_at_place(since))
            .filter(|v| owner.owns(K::tags(v)) && attempt_of(K::tags(v)) == Some(attempt))
            .filter(|v| !self.memory.gone.contains(K::id(v)))
            .filter(|v| !known.iter().any(|o| o.as_ref().is_some_and(|o| o.id == *K::id(v))))
            .min_by_key(|v| K::id(v))
            .cloned()
    }

    /// Until when the call may be sent without looking: this process recorded it, has not sent it, and holds the very
    /// copy that the recording returned.
    fn fresh_until(&self, turn: Turn) -> Option<crate::time::Mono> {
        let fresh = self.memory.fresh.as_ref()?;
        let same = fresh.turn == turn && fresh.resource_version == self.seen.object.resource_version;
        let until = fresh.recorded.plus(self.limits.send_within);
        (same && self.seen.object.live && self.now.mono <= until).then_some(until)
    }

    /// Whether the operation was looked for during a whole window; else what to do until then.
    pub(super) fn window_over(&mut self, turn: Turn) -> Result<(), Box<Decision<K>>> {
        let seen = if turn == LOST {
            let overwritten = self.memory.overwritten.map(|(_, since)| since);
            self.memory.deleting_since.or(self.memory.lost_since).max(overwritten)
        } else {
            Some(self.memory.turn_since)
        };
        let since = self.memory.doubt.max(seen).unwrap_or(self.now.mono);
        let Some(list) = self.seen.list.filter(|l| l.begun >= since) else {
            return Err(Box::new(self.await_list(since)));
        };
        let window = match self.memory.window {
            Some(window) if window.begun >= since && window.turn == turn => window,
            old => Window {
                turn,
                begun: list.begun,
                token_spent: old.is_some_and(|w| w.token_spent && w.turn == turn),
            },
        };
        self.memory.window = Some(window);
        let end = window.begun.plus(self.limits.resolve_window);
        if list.begun >= end {
            return Ok(());
        }
        if self.now.mono >= end {
            return Err(Box::new(self.await_list(end)));
        }
        let left = end.since(self.now.mono);
        self.wake_in(left);
        // No countdown in the messages: it would be a status write per pass.
        let message = if turn == LOST {
            "The status of this object was lost or written by somebody else, or the operator stopped before it wrote it. The operator looks for a while for what was built before it goes on, so that nothing is billed twice or left behind."
        } else {
            "A create call got no clear answer, or the operator restarted during it. The operator looks for its resource for a while before it sends the same call again, so that nothing is billed twice."
        };
        Err(Box::new(self.unresolved(message)))
    }

    fn unresolved(&mut self, message: &str) -> Decision<K> {
        self.busy();
        let usable = self.record.usable;
        self.rest(&Situation::new(usable, Reason::Resolving, Progress::Reconciling, message))
    }

    fn send(&mut self, operation: &Operation<K::Request>, not_after: crate::time::Mono) -> Decision<K> {
        self.act(Effect::Create(Box::new(Create {
            turn: operation.turn(),
            token: operation.token.clone(),
            request: operation.request.clone(),
            tags: tags::<K>(&self.seen.object.owner, operation.attempt, &operation.request),
            secrets: operation.secrets.clone(),
            not_after,
        })))
    }
}
