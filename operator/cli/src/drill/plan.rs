//! Which workloads take part in a drill, and what is known about each. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eci_core::eviction::notice::{self, NotEligible, Policy};
use eci_core::eviction::{Budget, Owner, Pod, forecast, levers, lint};

/// A workload that was chosen by name: `web`, `deployment/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    kind: Option<String>,
    name: String,
}

impl Choice {
    /// Reads `name` or `kind/name`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (kind, name) = text.split_once('/').map_or((None, text), |(kind, name)| (Some(kind), name));
        let fits = |word: &str| !word.is_empty() && word.len() <= 253 && !word.contains(['/', ' ']);
        if !fits(name) || kind.is_some_and(|kind| !fits(kind)) {
            return Err("use the name of a workload, such as web or deployment/web");
        }
        Ok(Self { kind: kind.map(str::to_lowercase), name: name.to_owned() })
    }

    /// Whether it means this workload; plurals and the short names of kubectl are understood.
    fn means(&self, workload: &Owner) -> bool {
        let kind = workload.kind.to_lowercase();
        let short = match &*kind {
            "deployment" => "deploy",
            "statefulset" => "sts",
            "replicaset" => "rs",
            _ => &kind,
        };
        let fits = |given: &str| given == kind || given == short || given.strip_suffix('s') == Some(&kind);
        *self.name == *workload.name && self.kind.as_deref().is_none_or(fits)
    }
}

/// What is wrong with the spot settings of pods, by UID.
pub(super) type Missettings = BTreeMap<Arc<str>, Vec<String>>;

/// A workload with spot pods.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) namespace: Arc<str>,
    pub(super) workload: Option<Owner>,
    /// Pods that would be evicted at a notice, by name.
    pub(super) eligible: Vec<Pod>,
    /// Spot pods that would not, and why.
    pub(super) spared: BTreeMap<NotEligible, usize>,
    /// Pods that are on no spot instance.
    pub(super) others: usize,
    /// What is wrong with spot settings, and of how many pods.
    pub(super) missettings: BTreeMap<String, usize>,
    pub(super) budgets: Vec<Budget>,
    pub(super) start: Option<std::time::Duration>,
    /// What the eligible pods say about what would help. In which zones they are is not looked at.
    pub(super) crowd: levers::Crowd,
}

impl Group {
    /// What the checks judge.
    pub(super) fn subject(&self) -> lint::Subject {
        lint::Subject {
            spot_pods: self.eligible.len(),
            other_pods: self.others,
            grace: self.eligible.iter().map(|pod| pod.grace).max().unwrap_or_default(),
            budgets: self.budgets.clone(),
            start: self.start,
            pull: self.crowd.pull(),
            uncached: self.crowd.uncached(),
            ..lint::Subject::new(&self.namespace, self.workload.clone())
        }
    }
}

/// The chosen workloads that have spot pods, by namespace, kind and name.
pub(super) fn groups(
    pods: Vec<Pod>,
    wrong: &Missettings,
    budgets: &[Budget],
    chosen: &[Choice],
    policy: &Policy,
) -> Vec<Group> {
    let mut by_workload: BTreeMap<(Arc<str>, Option<Owner>), Vec<Pod>> = BTreeMap::new();
    let is_chosen = |pod: &Pod| {
        chosen.is_empty()
            || pod.workload.as_ref().is_some_and(|workload| chosen.iter().any(|one| one.means(workload)))
    };
    let alive = |pod: &Pod| !pod.phase.is_terminal() && pod.deletion.is_none();
    for pod in pods.into_iter().filter(|pod| is_chosen(pod) && alive(pod)) {
        by_workload.entry((pod.id.namespace.clone(), pod.workload.clone())).or_default().push(pod);
    }
    by_workload
        .into_iter()
        .map(|((namespace, workload), pods)| group(namespace, workload, pods, wrong, budgets, policy))
        .filter(|group| !group.eligible.is_empty() || !group.spared.is_empty())
        .collect()
}

fn group(
    namespace: Arc<str>,
    workload: Option<Owner>,
    pods: Vec<Pod>,
    wrong: &Missettings,
    budgets: &[Budget],
    policy: &Policy,
) -> Group {
    let start = forecast::p90(pods.iter().filter_map(levers::start).collect());
    let selecting = |budget: &&Budget| {
        budget.id.namespace == namespace && pods.iter().any(|pod| budget.selector.matches(&pod.labels))
    };
    let budgets: Vec<Budget> = budgets.iter().filter(selecting).cloned().collect();
    let mut missettings = BTreeMap::new();
    for text in pods.iter().filter_map(|pod| wrong.get(&pod.id.uid)).flatten() {
        *missettings.entry(text.clone()).or_default() += 1;
    }
    let (mut eligible, mut spared, mut others) = (Vec::new(), BTreeMap::new(), 0);
    for pod in pods {
        match notice::eligible(&pod, policy) {
            Ok(()) => eligible.push(pod),
            Err(NotEligible::NoVirtualNode | NotEligible::NoSpotStrategy) => others += 1,
            Err(why) => *spared.entry(why).or_default() += 1,
        }
    }
    eligible.sort_by(|a, b| a.id.cmp(&b.id));
    let mut crowd = levers::Crowd::default();
    for pod in &eligible {
        crowd.add(pod, None);
    }
    Group { namespace, workload, eligible, spared, others, missettings, budgets, start, crowd }
}

/// Names that were chosen and that no workload with pods has.
pub(super) fn missing(pods: &[Pod], chosen: &[Choice]) -> Vec<String> {
    let workloads: BTreeSet<&Owner> = pods.iter().filter_map(|pod| pod.workload.as_ref()).collect();
    let is_missing = |choice: &&Choice| !workloads.iter().any(|workload| choice.means(workload));
    chosen.iter().filter(is_missing).map(|choice| choice.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use eci_core::eviction::{BudgetRef, PodRef, Selector};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    use super::*;

    fn pod(name: &str, workload: Option<(&str, &str)>, release: Option<&str>) -> Pod {
        let owner = workload.map(|(kind, name)| Owner { kind: kind.into(), name: name.into() });
        let mut pod = Pod::new(PodRef::new("a", name, name));
        pod.on_virtual_node = true;
        pod.spot.strategy = Some("SpotAsPriceGo".into());
        pod.spot.release = release.map(Into::into);
        (pod.owner, pod.workload) = (owner.clone(), owner);
        pod
    }

    fn choice(text: &str) -> Choice {
        Choice::parse(text).unwrap()
    }

    #[test]
    fn workloads_are_chosen_by_name_and_by_kind() {
        let web = Owner { kind: "Deployment".into(), name: "web".into() };
        for (text, means) in [
            ("web", true),
            ("deployment/web", true),
            ("Deployment/web", true),
            ("deployments/web", true),
            ("deploy/web", true),
            ("sts/web", false),
            ("db", false),
        ] {
            assert_eq!(choice(text).means(&web), means, "{text}");
        }
        for text in ["", "/", "a/", "/a", "a/b/c", "a b"] {
            assert!(Choice::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pods_are_counted_by_what_a_notice_would_do_to_them() {
        let deployment = Some(("Deployment", "web"));
        let mut regular = pod("web-3", deployment, Some("evict"));
        regular.on_virtual_node = false;
        let mut ended = pod("web-4", deployment, Some("evict"));
        ended.phase = eci_core::eviction::Phase::Succeeded;
        let pods = vec![
            pod("web-2", deployment, None),
            pod("web-1", deployment, Some("evict")),
            regular,
            ended,
            pod("bare", None, Some("evict")),
            pod("db-0", Some(("StatefulSet", "db")), Some("Evict")),
        ];
        let mut everything = Budget::new(BudgetRef::new("a", "all"));
        everything.selector = Selector::of(Some(&LabelSelector::default()));
        let mut elsewhere = everything.clone();
        elsewhere.id = BudgetRef::new("b", "all");
        let wrong = Missettings::from([
            ("web-1".into(), vec!["a".to_owned()]),
            ("web-2".into(), vec!["a".to_owned()]),
        ]);
        let found = groups(pods.clone(), &wrong, &[everything, elsewhere], &[], &Policy::default());
        let missettings: Vec<_> = found.iter().map(|group| group.missettings.clone()).collect();
        assert_eq!(missettings, [BTreeMap::new(), BTreeMap::from([("a".to_owned(), 2)]), BTreeMap::new()]);
        let shown: Vec<_> = found
            .iter()
            .map(|g| (g.subject().name(), g.eligible.len(), g.spared.clone(), g.others, g.budgets.len()))
            .collect();
        assert_eq!(
            shown,
            [
                ("pods without a controller in a".to_owned(), 1, BTreeMap::new(), 0, 1),
                ("Deployment a/web".to_owned(), 1, BTreeMap::from([(NotEligible::NotAsked, 1)]), 1, 1),
                ("StatefulSet a/db".to_owned(), 0, BTreeMap::from([(NotEligible::WrongAnnotation, 1)]), 0, 1),
            ]
        );
        let only = groups(pods.clone(), &wrong, &[], &[choice("deploy/web")], &Policy::default());
        assert_eq!(only.len(), 1);
        assert_eq!(missing(&pods, &[choice("web"), choice("wbe")]), ["wbe"]);
    }
}
