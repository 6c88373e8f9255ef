//! Who could be evicted and waits for its turn. The order of a namespace is kept, not made anew at each step: what the
//! passing of time changes in it is only where those begin who cannot have their whole grace period any more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::grace::{self, Millis};
use super::super::{BudgetRef, Pod};
use super::schedule::URGENT;

/// The order within a class, the lowest first: the last moment at which the eviction can begin for the whole grace
/// period, who uses up a budget, the deletion cost, and the youngest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Place {
    start: Millis,
    /// Nothing waits for the replacement of a pod without a budget; behind a budget it lets the next one go.
    spare: bool,
    cost: i32,
    age: Reverse<i64>,
}

impl Place {
    /// Before all that begin at `start`.
    const fn first(start: Millis) -> Self {
        Self { start, spare: false, cost: i32::MIN, age: Reverse(i64::MAX) }
    }
}

/// Where a pod waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Ticket {
    place: Place,
    /// It costs no budget although one selects it, or would do so if it ran.
    free: bool,
    /// The budget that it uses up.
    pub(super) broker: Option<BudgetRef>,
}

impl Ticket {
    /// For a pod that goes at the cost of `broker`; `free` says whether it goes before all others.
    pub(super) fn new(pod: &Pod, due: Millis, free: bool, broker: Option<BudgetRef>) -> Self {
        let age = Reverse(pod.created.map_or(0, jiff::Timestamp::as_millisecond));
        let start = grace::latest_start(pod.grace, due);
        let spare = !free && broker.is_none();
        Self { place: Place { start, spare, cost: pod.deletion_cost, age }, free, broker }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Free,
    InTime,
    TooLate,
}

/// How the first of a namespace compares with those of others, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    hopeless: bool,
    in_no_hurry: bool,
    /// How often its namespace had its turn.
    pub(super) served: u64,
    class: Class,
    place: Place,
}

/// One namespace.
#[derive(Clone, Debug, Default)]
struct Row {
    free: BTreeSet<(Place, Arc<str>)>,
    others: BTreeSet<(Place, Arc<str>)>,
}

impl Row {
    fn head(&self, now: Millis) -> Option<(Class, &(Place, Arc<str>))> {
        let from = |start| (Place::first(start), Arc::from(""));
        if let Some(first) = self.free.first() {
            return Some((Class::Free, first));
        }
        if let Some(first) = self.others.range(from(now)..).next() {
            return Some((Class::InTime, first));
        }
        // The least late.
        let (last, _) = self.others.last()?;
        self.others.range(from(last.start)..).next().map(|first| (Class::TooLate, first))
    }
}

/// All that wait for their turn, by namespace.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Queue {
    rows: BTreeMap<Arc<str>, Row>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Namespaces in which somebody waits.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rows.keys()
    }

    pub(super) fn put(&mut self, namespace: &Arc<str>, uid: &Arc<str>, ticket: &Ticket) {
        let row = self.rows.entry(Arc::clone(namespace)).or_default();
        let all = if ticket.free { &mut row.free } else { &mut row.others };
        all.insert((ticket.place, Arc::clone(uid)));
    }

    pub(super) fn take(&mut self, namespace: &Arc<str>, uid: &Arc<str>, ticket: &Ticket) {
        let Some(row) = self.rows.get_mut(namespace) else { return };
        let all = if ticket.free { &mut row.free } else { &mut row.others };
        all.remove(&(ticket.place, Arc::clone(uid)));
        if row.free.is_empty() && row.others.is_empty() {
            self.rows.remove(namespace);
        }
    }

    /// Who is next in a namespace that had `served` turns.
    pub(super) fn head(&self, namespace: &str, served: u64, now: Millis) -> Option<(Rank, Arc<str>)> {
        let (class, (place, uid)) = self.rows.get(namespace)?.head(now)?;
        let urgent = (0..grace::millis(URGENT)).contains(&place.start.saturating_sub(now));
        let hopeless = class == Class::TooLate;
        let place = if hopeless { Place { start: place.start.saturating_neg(), ..*place } } else { *place };
        Some((Rank { hopeless, in_no_hurry: !urgent, served, class, place }, Arc::clone(uid)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::PodRef;
    use super::*;

    fn pod(name: &str, grace: i64, cost: i32) -> Pod {
        let mut pod = Pod::new(PodRef::new("shop", name, name));
        (pod.grace, pod.deletion_cost) = (grace, cost);
        pod
    }

    /// All of them in the order in which they go, when each is judged at `now`.
    fn order(tickets: &[(&str, Ticket)], now: Millis) -> Vec<String> {
        let shop: Arc<str> = "shop".into();
        let mut queue = Queue::default();
        for (uid, ticket) in tickets {
            queue.put(&shop, &Arc::from(*uid), ticket);
        }
        let mut order = Vec::new();
        while let Some((_, uid)) = queue.head("shop", 0, now) {
            let (_, ticket) = tickets.iter().find(|(name, _)| **name == *uid).unwrap();
            queue.take(&shop, &uid, ticket);
            order.push(uid.to_string());
        }
        assert!(queue.is_empty());
        order
    }

    #[test]
    fn those_in_time_go_by_their_last_moment_and_of_those_too_late_the_least_late_goes_first() {
        let web = || Some(BudgetRef::new("shop", "web"));
        let ticket =
            |name, grace, cost, due, free, broker| Ticket::new(&pod(name, grace, cost), due, free, broker);
        let tickets = [
            ("long", ticket("long", 60, 0, 180_000, false, web())),
            ("short", ticket("short", 5, 0, 180_000, false, web())),
            ("cheap", ticket("cheap", 5, -1, 180_000, false, web())),
            ("spare", ticket("spare", 5, -9, 180_000, false, None)),
            ("free", ticket("free", 5, 9, 180_000, true, None)),
        ];
        assert_eq!(order(&tickets, 0), ["free", "long", "cheap", "short", "spare"]);
        // The one with a long grace period cannot have it any more.
        assert_eq!(order(&tickets, 150_000), ["free", "cheap", "short", "spare", "long"]);
        assert_eq!(order(&tickets, 200_000), ["free", "cheap", "short", "spare", "long"]);
    }
}
