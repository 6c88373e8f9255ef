//! What is evicted, as data, and what could be reached at best.

/// What a budget lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// maxUnavailable.
    AtMost(u32),
    /// maxUnavailable 100 %.
    All,
    /// maxUnavailable 0.
    Nothing,
    /// minAvailable.
    AtLeast(u32),
    /// There is no budget.
    NoBudget,
}

/// What makes pods anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Before the old one is gone, under another name.
    Deployment,
    /// After the old one is gone, under its name.
    StatefulSet,
}

/// Pods under one budget that have one grace period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) pods: u32,
    pub(super) grace_seconds: i64,
}

/// Budgets that are alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) budgets: u32,
    /// Of each.
    pub(super) parts: &'static [Part],
    pub(super) rule: Rule,
    /// How long a new pod takes from scheduled to Ready.
    pub(super) start_seconds: u32,
    pub(super) kind: Kind,
    /// How many of each budget crash while they are doomed; what replaces them does not.
    pub(super) crash_looping: u32,
    pub(super) always_allow_unhealthy: bool,
}

impl Group {
    const fn of(
        name: &'static str,
        budgets: u32,
        parts: &'static [Part],
        rule: Rule,
        start_seconds: u32,
    ) -> Self {
        Self {
            name,
            budgets,
            parts,
            rule,
            start_seconds,
            kind: Kind::Deployment,
            crash_looping: 0,
            always_allow_unhealthy: false,
        }
    }

    /// Pods of one budget.
    pub(super) fn pods(&self) -> u32 {
        self.parts.iter().map(|part| part.pods).sum()
    }

    /// Pods of all of them.
    pub(super) fn all(&self) -> u32 {
        self.pods() * self.budgets
    }

    /// How many can go at once under one budget.
    fn slots(&self) -> u32 {
        match self.rule {
            Rule::AtMost(slots) => slots.min(self.pods()),
            Rule::All | Rule::NoBudget => self.pods(),
            Rule::AtLeast(floor) => self.pods().saturating_sub(floor),
            Rule::Nothing => 0,
        }
    }

    /// How many can go although nothing is ready in their place, once those that crash are gone.
    fn room(&self) -> u32 {
        // Without the permission of its policy a pod that is not ready only goes while enough others are.
        let stuck = !self.always_allow_unhealthy && self.crash_looping > self.slots();
        if stuck { 0 } else { self.slots() }
    }
}

/// What goes wrong meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    None,
    /// The operator is killed after so many seconds and started again at once.
    Restart(u32),
    /// Every second eviction fails on its way.
    Faults,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) groups: &'static [Group],
    /// The pods are announced in so many parts.
    pub(super) waves: u32,
    pub(super) apart_seconds: u32,
    pub(super) trouble: Trouble,
}

const fn pods(pods: u32) -> Part {
    Part { pods, grace_seconds: 1 }
}

const fn plain(id: &'static str, name: &'static str, groups: &'static [Group]) -> Scenario {
    Scenario { id, name, groups, waves: 1, apart_seconds: 0, trouble: Trouble::None }
}

/// The scenarios.
pub(super) const SCENARIOS: &[Scenario] = &[
    plain("B1", "rolling", &[Group::of("web", 1, &[pods(40)], Rule::AtMost(4), 5)]),
    plain("B2", "near the deadline", &[Group::of("web", 1, &[pods(60)], Rule::AtMost(5), 12)]),
    plain(
        "B3",
        "mixed",
        &[
            Group::of("rolling", 1, &[pods(10)], Rule::AtMost(2), 5),
            Group::of("free", 1, &[pods(40)], Rule::NoBudget, 5),
            Group::of("blocked", 1, &[pods(30)], Rule::Nothing, 5),
        ],
    ),
    plain("B4", "contention", &[Group::of("web", 1, &[pods(200)], Rule::All, 1)]),
    plain("B5", "storm", &[Group::of("web", 50, &[pods(20)], Rule::AtMost(5), 5)]),
    plain("B6", "many small", &[Group::of("web", 20, &[pods(10)], Rule::AtMost(1), 10)]),
    plain("B7", "not all can be saved", &[Group::of("web", 1, &[pods(100)], Rule::AtMost(2), 10)]),
    Scenario {
        waves: 2,
        apart_seconds: 60,
        ..plain(
            "B8",
            "two deadlines",
            &[Group::of(
                "web",
                1,
                &[Part { pods: 20, grace_seconds: 5 }, Part { pods: 20, grace_seconds: 60 }],
                Rule::AtMost(2),
                8,
            )],
        )
    },
    plain("B9", "one replica that must be there", &[Group::of("web", 1, &[pods(1)], Rule::AtLeast(1), 20)]),
    // As the guide advises.
    plain(
        "B9-spare",
        "two replicas of which one must",
        &[Group::of("web", 1, &[pods(2)], Rule::AtLeast(1), 20)],
    ),
    Scenario {
        trouble: Trouble::Restart(30),
        ..plain("B10", "restart", &[Group::of("web", 1, &[pods(60)], Rule::AtMost(5), 12)])
    },
    plain(
        "B11",
        "StatefulSet",
        &[Group { kind: Kind::StatefulSet, ..Group::of("web", 1, &[pods(10)], Rule::AtMost(1), 5) }],
    ),
    plain(
        "B12",
        "unready",
        &[Group {
            crash_looping: 3,
            always_allow_unhealthy: true,
            ..Group::of("web", 1, &[pods(20)], Rule::AtMost(2), 5)
        }],
    ),
    plain(
        "B12-healthy",
        "unready, IfHealthyBudget",
        &[Group { crash_looping: 2, ..Group::of("web", 1, &[pods(20)], Rule::AtMost(2), 5) }],
    ),
    plain(
        "B12-stuck",
        "too many unready, IfHealthyBudget",
        &[Group { crash_looping: 3, ..Group::of("web", 1, &[pods(20)], Rule::AtMost(2), 5) }],
    ),
    Scenario {
        trouble: Trouble::Faults,
        ..plain("B13", "hostile API server", &[Group::of("web", 1, &[pods(40)], Rule::AtMost(4), 5)])
    },
    plain("B14", "big storm", &[Group::of("web", 1000, &[pods(5)], Rule::AtMost(1), 5)]),
];

/// Requests per second of a controller of kube-controller-manager, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) qps: u32,
    pub(super) burst: u32,
}

impl Pace {
    /// kube-controller-manager's own.
    pub(super) const DEFAULT: Self = Self { qps: 20, burst: 30 };
    /// Where the control plane is not what is waited for.
    pub(super) const RAISED: Self = Self { qps: 200, burst: 400 };
}

/// Evictions per second that one budget takes at best, measured with nothing else to do.
const ONE_BUDGET: f64 = 24.0;

/// Kept from the deadline for the last answers, seconds.
const MARGIN: u32 = 5;

/// What could be reached at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    /// When the last pod that can be evicted in time is, in seconds.
    pub(super) seconds: f64,
    /// Pods that can be.
    pub(super) pods: u32,
}

impl Scenario {
    /// Pods that are announced.
    pub(super) fn pods(&self) -> u32 {
        self.groups.iter().map(Group::all).sum()
    }

    /// The best that any evictor could do within `deadline` seconds, with a control plane of this pace.
    ///
    /// Rounds: of N pods under a budget with k slots the last goes (⌈N/k⌉ − 1) starts after the first. Service: one
    /// budget takes so many evictions a second. Creation: what the replacements need of the ReplicaSet controller.
    pub(super) fn bound(&self, pace: Pace, deadline: u32) -> Bound {
        let mut seconds: f64 = 0.0;
        let (mut evictable, mut created, mut start) = (0, 0, 0);
        for group in self.groups {
            let slots = group.room();
            if slots == 0 {
                continue;
            }
            // A crashing pod has used up a slot before anything is evicted; it goes for nothing, and its replacement
            // has to be Ready first.
            let healthy = group.pods() - group.crash_looping;
            let first = if group.crash_looping > 0 { group.start_seconds } else { 0 };
            let rounds = if deadline > MARGIN + first {
                // Without a start time there is nothing to wait for between rounds.
                (deadline - MARGIN - first).checked_div(group.start_seconds).map_or(u32::MAX, |n| n + 1)
            } else {
                0
            };
            let in_time = healthy.min(slots.saturating_mul(rounds));
            let needed = in_time.div_ceil(slots);
            let last = first + needed.saturating_sub(1) * group.start_seconds;
            seconds = seconds.max(f64::from(last)).max(match group.rule {
                Rule::NoBudget => 0.0,
                _ => f64::from(in_time) / ONE_BUDGET,
            });
            evictable += (in_time + group.crash_looping) * group.budgets;
            created += group.pods().saturating_sub(slots) * group.budgets;
            start = start.max(group.start_seconds);
        }
        let last_wave = f64::from((self.waves - 1) * self.apart_seconds);
        let creation = f64::from(created.saturating_sub(pace.burst)) / f64::from(pace.qps);
        if created > pace.burst {
            seconds = seconds.max(creation + f64::from(start));
        }
        Bound { seconds: seconds.max(last_wave), pods: evictable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(id: &str, pace: Pace) -> (f64, u32) {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.id == id).unwrap();
        let bound = scenario.bound(pace, 180);
        ((bound.seconds * 10.0).round() / 10.0, bound.pods)
    }

    #[test]
    fn bounds_are_rounds_or_service_or_creation_whichever_is_longest() {
        let at_default = |id| bound(id, Pace::DEFAULT);
        assert_eq!(at_default("B1"), (45.0, 40));
        assert_eq!(at_default("B2"), (132.0, 60));
        assert_eq!(at_default("B3"), (20.0, 50));
        assert_eq!(at_default("B4"), (8.3, 200));
        assert_eq!(at_default("B5"), (41.0, 1000));
        assert_eq!(at_default("B6"), (90.0, 200));
        assert_eq!(at_default("B7"), (170.0, 36));
        assert_eq!(at_default("B8"), (152.0, 40));
        assert_eq!(at_default("B11"), (45.0, 10));
        assert_eq!(at_default("B9").1, 0);
        assert_eq!(at_default("B9-spare"), (20.0, 2));
        assert_eq!(at_default("B12"), (45.0, 20));
        assert_eq!(at_default("B12-healthy"), (45.0, 20));
        assert_eq!(at_default("B12-stuck").1, 0);
        assert_eq!(at_default("B13"), (45.0, 40));
        assert_eq!(at_default("B14").1, 5000);
        // 750 replacements no longer wait for their turn: the rounds do.
        assert_eq!(bound("B5", Pace::RAISED), (15.0, 1000));
    }

    #[test]
    fn a_shorter_time_saves_fewer() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.id == "B1").unwrap();
        assert_eq!(scenario.bound(Pace::DEFAULT, 20).pods, 16);
        assert_eq!(scenario.bound(Pace::DEFAULT, 4).pods, 0);
    }

    #[test]
    fn identifiers_are_told_apart_and_every_scenario_has_pods() {
        let ids: std::collections::BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.id).collect();
        assert_eq!(ids.len(), SCENARIOS.len());
        assert!(SCENARIOS.iter().all(|scenario| scenario.pods() > 0 && scenario.waves > 0));
    }
}
