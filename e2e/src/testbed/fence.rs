//! kwok deletes by name alone, and now and then twice; a kubelet names the UID.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::error::Error;

/// Who kwok is to the API server.
pub(crate) const KWOK: &str = "eci-testbed:kwok";

const NAME: &str = "testbed.eci-operator.io";

/// Refuses kwok's deletion of a pod that nobody asked to be deleted: it is the next one of that name, of a
/// StatefulSet.
pub(crate) async fn install(client: &Client) -> Result<(), Error> {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "failurePolicy": "Ignore",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["pods"],
            }] },
            "matchConditions": [
                { "name": "kwok", "expression": format!("request.userInfo.username == '{KWOK}'") },
            ],
            "validations": [{
                "expression": "has(oldObject.metadata.deletionTimestamp)",
                "message": "kwok may only end pods that are being deleted",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": NAME },
        "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    });
    let params = PatchParams::apply("eci-testbed").force();
    let action = || Error::kube("fence kwok");
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    policies.patch(NAME, &params, &Patch::Apply(policy)).await.map_err(action())?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    bindings.patch(NAME, &params, &Patch::Apply(binding)).await.map_err(action())?;
    Ok(())
}
