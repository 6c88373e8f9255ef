//! The API server's side of an eviction, and the disruption controller: as in Kubernetes 1.36
//! (`pkg/registry/core/pod/storage/eviction.go`, `pkg/controller/disruption`), step by step, with time between the steps.

use eci_core::eviction::answer::{Refusal, Reply};
use eci_core::eviction::{Phase, UnhealthyPolicy};

use super::world::{Act, World};

/// How long the disruption controller expects a pod to go after its eviction was granted.
const DELETION_TIMEOUT: i64 = 120_000;
/// Tries of the server on a conflict, and the sleep between them.
const TRIES: u32 = 20;
/// Most entries of `disruptedPods`.
const DISRUPTED_LIMIT: usize = 2_000;

/// A reply, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Success,
    Refused {
        code: u16,
        message: String,
        kind: &'static str,
        cause: Option<&'static str>,
        after: Option<u32>,
    },
    Lost,
    NotSent,
}

impl Said {
    pub fn refused(code: u16, kind: &'static str, message: &str) -> Self {
        Self::Refused { code, message: message.to_owned(), kind, cause: None, after: None }
    }

    fn budget(after: Option<u32>) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        Self::Refused { code: 429, message, kind: "", cause: Some("DisruptionBudget"), after }
    }

    /// For the classification under test.
    pub fn classified(&self) -> eci_core::eviction::answer::Answer {
        let causes: Vec<(&str, &str)>;
        let reply = match self {
            Self::Success => Reply::Success,
            Self::Lost => Reply::Lost,
            Self::NotSent => Reply::NotSent,
            Self::Refused { code, message, kind, cause, after } => {
                causes = cause.iter().map(|cause| (*cause, "needs more")).collect();
                let reason = if *code == 404 { "NotFound" } else { "" };
                Reply::Refused(Refusal {
                    code: *code,
                    reason,
                    message,
                    kind,
                    causes: &causes,
                    retry_after: *after,
                })
            }
        };
        eci_core::eviction::answer::classify(&reply)
    }
}

/// A request on its way through the server.
#[derive(Clone, Debug)]
pub struct Request {
    /// The order of the engine and which engine, `None` for the vendor.
    pub attempt: Option<(u64, u64)>,
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
    pub grace: Option<i64>,
    pub deletion: bool,
    pub tries: u32,
    /// The PDB that was read, and its version then.
    pub read: Option<(usize, u64)>,
    /// The version that the pod must still have.
    pub pod_rv: Option<u64>,
    pub charged: bool,
    pub answer_lost: bool,
}

impl World {
    /// The first step: what is the pod, which budgets select it.
    pub fn arrive(&mut self, id: usize) {
        let request = self.requests[id].clone();
        let Some(pod) = self.pod(&request.namespace, &request.name).cloned() else {
            return self.reply(id, Said::refused(404, "pods", "not found"));
        };
        let outside = pod.phase == Phase::Pending || pod.phase.is_terminal() || pod.deletion.is_some();
        if request.deletion || outside {
            return self.delete_pod(id);
        }
        match self.pdbs_of(&pod.namespace, pod.workload)[..] {
            [] => {
                let soon = self.dice.between(1, 3);
                self.after(soon, Act::Finish(id));
            }
            [pdb] => {
                let budget = &self.pdbs[&pdb];
                let free = !pod.ready
                    && (budget.unhealthy == UnhealthyPolicy::AlwaysAllow
                        || (budget.healthy >= budget.desired && budget.desired > 0));
                if free {
                    self.requests[id].pod_rv = Some(pod.rv);
                    let soon = self.dice.between(1, 3);
                    self.after(soon, Act::Finish(id));
                } else {
                    self.check(id, pdb);
                }
            }
            _ => self.reply(
                id,
                Said::refused(
                    500,
                    "",
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ),
            ),
        }
    }

    /// Reads the budget, to change it a moment later.
    fn check(&mut self, id: usize, pdb: usize) {
        let Some(budget) = self.pdbs.get(&pdb) else {
            return self.reply(id, Said::refused(404, "poddisruptionbudgets", "not found"));
        };
        if budget.observed < budget.generation {
            return self.reply(id, Said::budget(Some(10)));
        }
        if budget.disrupted.len() > DISRUPTED_LIMIT {
            return self.reply(id, Said::refused(403, "poddisruptionbudget", "DisruptedPods map too big"));
        }
        if budget.allowed == 0 {
            self.stats.exhausted += u32::from(self.requests[id].attempt.is_some());
            return self.reply(id, Said::budget(None));
        }
        self.requests[id].read = Some((pdb, budget.rv));
        let soon = self.dice.between(1, 3);
        self.after(soon, Act::Write(id));
    }

    /// The compare-and-swap on the budget.
    pub fn write(&mut self, id: usize) {
        let (pdb, read) = self.requests[id].read.unwrap();
        let now = self.now;
        let name = self.requests[id].name.clone();
        let Some(budget) = self.pdbs.get_mut(&pdb) else {
            return self.reply(id, Said::refused(404, "poddisruptionbudgets", "not found"));
        };
        if budget.rv != read {
            self.requests[id].tries += 1;
            if self.requests[id].tries >= TRIES {
                return self
                    .reply(id, Said::refused(409, "poddisruptionbudgets", "the object has been modified"));
            }
            let sleep = self.dice.between(500, 550);
            return self.after(sleep, Act::Again(id));
        }
        budget.allowed -= 1;
        budget.disrupted.insert(name, now);
        self.requests[id].charged = true;
        self.pdb_changed(pdb);
        let soon = self.dice.between(1, 3);
        self.after(soon, Act::Finish(id));
    }

    pub fn again(&mut self, id: usize) {
        let (pdb, _) = self.requests[id].read.unwrap();
        self.check(id, pdb);
    }

    /// The last step: the deletion with its preconditions.
    pub fn finish(&mut self, id: usize) {
        let request = &self.requests[id];
        if let Some(rv) = request.pod_rv {
            let changed = self.pod(&request.namespace, &request.name).is_some_and(|pod| pod.rv != rv);
            if changed {
                return self.reply(id, Said::budget(Some(10)));
            }
        }
        self.delete_pod(id);
    }

    fn delete_pod(&mut self, id: usize) {
        let request = self.requests[id].clone();
        let Some(pod) = self.pod(&request.namespace, &request.name).cloned() else {
            return self.reply(id, Said::refused(404, "pods", "not found"));
        };
        if request.uid.as_ref().is_some_and(|uid| *uid != pod.uid) {
            if request.charged && request.attempt.is_some() {
                self.stats.burnt += 1;
            }
            let message =
                "Operation cannot be fulfilled: the UID in the precondition does not match the UID in record";
            return self.reply(id, Said::refused(409, "Pod", message));
        }
        self.begin_deletion(&pod.uid, request.grace.unwrap_or(pod.grace), Some(&request));
        self.reply(id, Said::Success);
    }

    /// The disruption controller reads.
    pub fn sync_read(&mut self, pdb: usize) {
        let Some(budget) = self.pdbs.get(&pdb) else { return };
        let (namespace, app) = (budget.namespace.clone(), budget.app.clone());
        let now = self.now;
        let ours: Vec<_> = self
            .pods
            .values()
            .filter(|pod| pod.namespace == namespace && self.workloads[pod.workload].app == app)
            .collect();
        let mut scale = 0;
        for workload in &self.workloads {
            let has_pods = ours.iter().any(|pod| self.workloads[pod.workload].app == workload.app);
            if workload.namespace == namespace && workload.app == app && has_pods {
                scale += workload.replicas;
            }
        }
        let (desired, expected) = budget.target(i64::try_from(ours.len()).unwrap(), scale);
        let mut next = budget.clone();
        next.disrupted = ours
            .iter()
            .filter(|pod| pod.deletion.is_none())
            .filter_map(|pod| Some((pod.name.clone(), *budget.disrupted.get(&pod.name)?)))
            .filter(|(_, at)| at + DELETION_TIMEOUT >= now)
            .collect();
        let healthy = ours
            .iter()
            .filter(|pod| {
                pod.healthy() && next.disrupted.get(&pod.name).is_none_or(|at| at + DELETION_TIMEOUT <= now)
            })
            .count();
        next.healthy = i32::try_from(healthy).unwrap();
        (next.desired, next.expected) = (i32::try_from(desired).unwrap(), i32::try_from(expected).unwrap());
        next.allowed = if expected > 0 { (next.healthy - next.desired).max(0) } else { 0 };
        next.observed = next.generation;
        if let Some(at) = next.disrupted.values().min() {
            self.at(at + DELETION_TIMEOUT + 1, Act::SyncRead(pdb));
        }
        let soon = self.dice.between(1, 4);
        self.after(soon, Act::SyncWrite(pdb, Box::new(next)));
    }

    /// And writes, unless somebody else did meanwhile.
    pub fn sync_write(&mut self, pdb: usize, next: &super::objects::SimPdb) {
        let Some(budget) = self.pdbs.get_mut(&pdb) else { return };
        if budget.rv != next.rv {
            return self.sync_soon(pdb);
        }
        let same = (budget.allowed, budget.healthy, budget.desired, budget.expected, budget.observed)
            == (next.allowed, next.healthy, next.desired, next.expected, next.observed)
            && budget.disrupted == next.disrupted;
        if !same {
            *budget = next.clone();
            self.pdb_changed(pdb);
        }
    }

    /// Whether an eviction would be granted now, by the truth.
    pub fn would_grant(&self, uid: &str) -> bool {
        let Some(pod) = self.pods.get(uid) else { return false };
        if pod.phase == Phase::Pending {
            return true;
        }
        match self.pdbs_of(&pod.namespace, pod.workload)[..] {
            [] => true,
            [pdb] => {
                let budget = &self.pdbs[&pdb];
                let free = !pod.ready
                    && (budget.unhealthy == UnhealthyPolicy::AlwaysAllow
                        || (budget.healthy >= budget.desired && budget.desired > 0));
                free || (budget.observed >= budget.generation && budget.allowed > 0)
            }
            _ => false,
        }
    }
}
