//! The course that evictions behind one budget take: who may go now, what that frees when replacements are ready, and so
//! on until the deadline. The same rules as the engine's, with start times in place of what will be seen.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::grace::{MARGIN, Millis, millis};

/// When there is a healthy pod in the place of one that was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// So long after it was told to end.
    After(Millis),
    /// Nothing replaces it.
    Never,
    /// Its start time is not known.
    Unknown,
}

/// What a pod counts for its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The API server asks no budget about it.
    Outside,
    /// It is ready: its eviction costs one disruption.
    Ready,
    /// It is not ready, and will be then, if ever. It goes without cost while the policy lets it.
    Unready(Option<Millis>),
}

/// A pod with a notice that was not told to end yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// The last moment for all of its grace period.
    pub start: Millis,
    /// When its instance goes.
    pub due: Millis,
    /// It is not evicted before: nothing would replace it.
    pub not_before: Millis,
    /// It is deleted then, if it was not evicted: `onDeadline: Delete`.
    pub deleted_at: Option<Millis>,
    /// What it counts.
    pub health: Health,
    /// What comes in its place.
    pub replaced: Replaced,
    /// Whether it belongs to those that are counted.
    pub counts: bool,
}

/// One budget, and all that is about to happen behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Now.
    pub now: Millis,
    /// Healthy pods beyond those that the budget asks for; negative when they are too few.
    pub spare: i64,
    /// Whether it lets healthy pods go at all.
    pub opens: bool,
    /// Whether pods that are not ready go while `spare` is not negative.
    pub if_healthy: bool,
    /// Whether they go in any case.
    pub always: bool,
    /// When pods without a notice become healthy.
    pub coming: Vec<Millis>,
    /// Whether others come, nobody knows when.
    pub coming_unknown: bool,
    /// Those with a notice.
    pub doomed: Vec<Doomed>,
}

/// What happens next, of which pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A pod that nobody evicts becomes healthy.
    Healthy,
    /// A pod with a notice becomes ready.
    Ready(usize),
    /// Its time has come.
    Begin(usize),
    /// It is deleted.
    Delete(usize),
}

struct Run<'a> {
    course: &'a Course,
    now: Millis,
    spare: i64,
    next: BinaryHeap<Reverse<(Millis, Next)>>,
    /// Those that may go at the cost of the budget, by the last moment for it.
    ready: BTreeSet<(Millis, usize)>,
    unready: BTreeSet<usize>,
    told: Vec<bool>,
    saved: usize,
    unknown: bool,
}

impl Course {
    /// How many of those that count are told to end at least [`MARGIN`] before their deadline; `None` when that cannot be
    /// said: a start time is needed and not known.
    pub fn saved(&self) -> Option<usize> {
        let mut run = Run {
            course: self,
            now: self.now,
            spare: self.spare,
            next: self.coming.iter().map(|at| Reverse((*at, Next::Healthy))).collect(),
            ready: BTreeSet::new(),
            unready: BTreeSet::new(),
            told: vec![false; self.doomed.len()],
            saved: 0,
            unknown: self.coming_unknown,
        };
        for (n, pod) in self.doomed.iter().enumerate() {
            run.next.extend(pod.deleted_at.map(|at| Reverse((at, Next::Delete(n)))));
            if let Health::Unready(Some(at)) = pod.health {
                run.next.push(Reverse((at, Next::Ready(n))));
            }
            run.next.push(Reverse((pod.not_before.max(self.now), Next::Begin(n))));
        }
        run.go();
        let all = self.doomed.iter().filter(|pod| pod.counts).count();
        (run.saved == all || !run.unknown).then_some(run.saved)
    }
}

impl Run<'_> {
    fn go(&mut self) {
        let last = self.course.doomed.iter().map(|pod| pod.due).max().unwrap_or_default();
        // Each pod is told once, and each that is told brings one more event: it ends.
        while let Some(Reverse((at, next))) = self.next.pop() {
            if at > last {
                return;
            }
            self.now = self.now.max(at);
            self.happen(next);
            // What happens at the same moment is decided on together.
            if self.next.peek().is_none_or(|Reverse((then, _))| *then > self.now) {
                self.evict();
            }
        }
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Healthy => self.spare += 1,
            Next::Ready(n) if self.told[n] => {}
            Next::Ready(n) => {
                self.spare += 1;
                if self.unready.remove(&n) {
                    self.ready.insert((self.course.doomed[n].start, n));
                }
            }
            Next::Begin(n) if self.told[n] => {}
            Next::Begin(n) => {
                let pod = &self.course.doomed[n];
                match pod.health {
                    Health::Outside => self.tell(n, false),
                    Health::Unready(Some(at)) if at <= self.now => {
                        self.ready.insert((pod.start, n));
                    }
                    Health::Ready => {
                        self.ready.insert((pod.start, n));
                    }
                    Health::Unready(_) => {
                        self.unready.insert(n);
                    }
                }
            }
            Next::Delete(n) if self.told[n] => {}
            Next::Delete(n) => {
                let pod = &self.course.doomed[n];
                self.ready.remove(&(pod.start, n));
                self.unready.remove(&n);
                let healthy = match pod.health {
                    Health::Ready => true,
                    Health::Unready(Some(at)) => at <= self.now,
                    Health::Outside | Health::Unready(None) => false,
                };
                self.spare -= i64::from(healthy);
                self.leave(n);
            }
        }
    }

    /// Tells those to end that may, in the engine's order.
    fn evict(&mut self) {
        if self.course.always || (self.course.if_healthy && self.spare >= 0) {
            for n in std::mem::take(&mut self.unready) {
                self.tell(n, false);
            }
        }
        while self.course.opens && self.spare > 0 {
            let in_time = self.ready.range((self.now, 0)..).next();
            // The least late.
            let late = || self.ready.last().and_then(|(start, _)| self.ready.range((*start, 0)..).next());
            let Some((start, n)) = in_time.or_else(late).copied() else { return };
            self.ready.remove(&(start, n));
            self.tell(n, true);
        }
    }

    fn tell(&mut self, n: usize, costs: bool) {
        self.spare -= i64::from(costs);
        let pod = &self.course.doomed[n];
        self.saved += usize::from(pod.counts && self.now.saturating_add(millis(MARGIN)) <= pod.due);
        self.leave(n);
    }

    fn leave(&mut self, n: usize) {
        self.told[n] = true;
        match self.course.doomed[n].replaced {
            Replaced::After(wait) => {
                self.next.push(Reverse((self.now.saturating_add(wait.max(1)), Next::Healthy)));
            }
            Replaced::Never => {}
            Replaced::Unknown => self.unknown = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Replaced = Replaced::After(10_000);

    fn doomed(health: Health) -> Doomed {
        Doomed {
            start: 170_000,
            due: 180_000,
            not_before: 0,
            deleted_at: None,
            health,
            replaced: START,
            counts: true,
        }
    }

    fn course(spare: i64, doomed: Vec<Doomed>) -> Course {
        Course {
            now: 0,
            spare,
            opens: true,
            if_healthy: true,
            always: false,
            coming: vec![],
            coming_unknown: false,
            doomed,
        }
    }

    #[test]
    fn each_replacement_lets_the_next_one_go_until_the_deadline() {
        for (spare, pods, replaced, expected) in [
            (2, 100, START, Some(36)),
            (2, 36, START, Some(36)),
            (1, 100, Replaced::Never, Some(1)),
            (1, 100, Replaced::Unknown, None),
            (3, 3, Replaced::Unknown, Some(3)),
            (0, 100, START, Some(0)),
            (0, 100, Replaced::Unknown, Some(0)),
            (-1, 5, START, Some(0)),
            (1, 3, Replaced::After(175_000), Some(2)),
            (1, 3, Replaced::After(175_001), Some(1)),
            (1, 9, Replaced::After(0), Some(9)),
            (i64::MAX, 9, START, Some(9)),
        ] {
            let pod = Doomed { replaced, ..doomed(Health::Ready) };
            assert_eq!(course(spare, vec![pod; pods]).saved(), expected, "{spare} {pods} {replaced:?}");
        }
    }

    #[test]
    fn pods_that_are_not_ready_go_as_the_policy_says_and_their_replacements_open_the_budget() {
        let stuck = doomed(Health::Unready(None));
        for (always, if_healthy, spare, expected) in [
            // Of 20, 18 have to be healthy.
            (true, false, -1, 20),
            (false, true, -1, 0),
            (false, true, 0, 20),
            (false, false, 0, 0),
        ] {
            let crashing = usize::try_from(2 - spare).unwrap();
            let mut all = vec![stuck; crashing];
            all.extend(vec![doomed(Health::Ready); 20 - crashing]);
            let course = Course { if_healthy, always, ..course(spare, all) };
            assert_eq!(course.saved(), Some(expected), "{always} {if_healthy} {spare}");
        }
    }

    #[test]
    fn whoever_starts_is_ready_in_time_and_who_is_outside_costs_nothing() {
        let mut all = course(0, vec![doomed(Health::Ready); 2]);
        all.coming = vec![30_000];
        assert_eq!(all.saved(), Some(2));
        all.doomed = vec![doomed(Health::Outside), doomed(Health::Unready(Some(40_000)))];
        (all.coming, all.if_healthy) = (vec![], false);
        assert_eq!(all.saved(), Some(2), "the second goes when it is ready");
        all.coming_unknown = true;
        all.doomed.push(Doomed { replaced: Replaced::Never, ..doomed(Health::Ready) });
        assert_eq!(all.saved(), Some(3), "nobody needs those of whom nothing is known");
        all.opens = false;
        assert_eq!(all.saved(), None);
    }

    #[test]
    fn those_of_other_notices_take_slots_and_who_is_deleted_is_not_saved() {
        let other = Doomed { start: 100_000, counts: false, ..doomed(Health::Ready) };
        let mut all = vec![other; 17];
        all.extend(vec![doomed(Health::Ready); 9]);
        // 18 rounds: the others go first until their last moment, which leaves 7.
        assert_eq!(course(1, all).saved(), Some(7));
        let deleted = Doomed { deleted_at: Some(90_000), ..doomed(Health::Ready) };
        assert_eq!(course(1, vec![deleted; 30]).saved(), Some(9));
        let bare = Doomed { not_before: 160_000, replaced: Replaced::Never, ..doomed(Health::Ready) };
        assert_eq!(course(1, vec![bare; 2]).saved(), Some(1));
    }

    #[test]
    fn hostile_numbers_end() {
        let far = Doomed {
            start: i64::MIN,
            due: i64::MAX,
            not_before: i64::MIN,
            deleted_at: Some(i64::MAX),
            replaced: Replaced::After(i64::MAX),
            ..doomed(Health::Unready(Some(i64::MIN)))
        };
        let all = Course { now: i64::MIN, coming: vec![i64::MIN, i64::MAX], ..course(0, vec![far; 3]) };
        assert!(all.saved().is_some());
    }
}
