//! What Jobs make of evictions: asked of the API server with each dry run.

use eci_core::eviction::levers;
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client};

use super::survey::WorkloadKey;
use crate::kubernetes::call;

/// Whether the workload is a Job of which an eviction counts as a failure. One that cannot be read counts as none: it is
/// a warning that would be missing.
pub(super) async fn counts_disruptions(client: &Client, key: &WorkloadKey) -> bool {
    let Some(workload) = key.workload.as_ref().filter(|workload| &*workload.kind == "Job") else {
        return false;
    };
    let api: Api<Job> = Api::namespaced(client.clone(), &key.namespace);
    let target = || format!("Job {}/{}", key.namespace, workload.name);
    match call("read", target, api.get(&workload.name)).await {
        Ok(job) => job
            .and_then(|job| job.spec)
            .is_some_and(|spec| levers::counts_disruptions(spec.pod_failure_policy.as_ref())),
        Err(error) => {
            tracing::debug!(%error, "cannot learn what a Job makes of evictions");
            false
        }
    }
}
