//! PersistentVolumeClaims, as far as rules about pods go by them.
//!
//! Who decides about a pod may know nothing of its claims: then rules speak of what might be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

/// Drivers of the vendor's NAS volumes.
const NAS_DRIVERS: [&str; 2] = ["nasplugin.csi.alibabacloud.com", "alicloud/nas"];

/// What is known of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Whether its volume is made only when the scheduler has chosen a node for its pod; `None` when nobody knows.
    pub late: Option<bool>,
    /// Whether its volume is a NAS file system, as far as anybody knows.
    pub nas: bool,
}

/// Claims by namespace and name. One that is not there is not known.
pub type Claims = BTreeMap<(String, String), ClaimFacts>;

/// Of a claim; `volume` is the one that it is bound to, `class` its StorageClass, each if it is known.
pub fn facts(
    claim: &PersistentVolumeClaim,
    volume: Option<&PersistentVolume>,
    class: Option<&StorageClass>,
) -> ClaimFacts {
    let spec = claim.spec.as_ref();
    let bound = spec.and_then(|spec| spec.volume_name.as_deref()).is_some_and(|name| !name.is_empty());
    let waits = |class: &StorageClass| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    // A volume that is there is not made any more.
    let late = if bound { Some(false) } else { class.map(waits) };
    ClaimFacts {
        late,
        nas: volume.is_some_and(is_nas) || class.is_some_and(|c| is_nas_driver(&c.provisioner)),
    }
}

fn is_nas(volume: &PersistentVolume) -> bool {
    volume.spec.as_ref().is_some_and(|spec| {
        spec.nfs.is_some()
            || spec.csi.as_ref().is_some_and(|csi| is_nas_driver(&csi.driver))
            || spec.flex_volume.as_ref().is_some_and(|flex| is_nas_driver(&flex.driver))
    })
}

/// Whether it is a driver of NAS volumes.
pub(super) fn is_nas_driver(driver: &str) -> bool {
    NAS_DRIVERS.contains(&driver)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn object<T: DeserializeOwned>(value: &Value) -> T {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn a_claim_is_late_until_it_is_bound_and_nas_by_its_volume_or_class() {
        let free = json!({ "spec": { "storageClassName": "c" } });
        let bound = json!({ "spec": { "storageClassName": "c", "volumeName": "v" } });
        let class =
            |mode: &str, provisioner: &str| json!({ "provisioner": provisioner, "volumeBindingMode": mode });
        let disk = class("WaitForFirstConsumer", "diskplugin.csi.alibabacloud.com");
        let at_once = class("Immediate", "diskplugin.csi.alibabacloud.com");
        let nas_class = class("Immediate", "nasplugin.csi.alibabacloud.com");
        let nfs = json!({ "spec": { "nfs": { "server": "s", "path": "/" } } });
        let csi =
            json!({ "spec": { "csi": { "driver": "nasplugin.csi.alibabacloud.com", "volumeHandle": "v" } } });
        let flex = json!({ "spec": { "flexVolume": { "driver": "alicloud/nas" } } });
        let cloud_disk = json!({ "spec": { "csi": { "driver": "diskplugin.csi.alibabacloud.com", "volumeHandle": "d" } } });
        for (claim, volume, class, late, nas) in [
            (&free, None, None, None, false),
            (&free, None, Some(&disk), Some(true), false),
            (&free, None, Some(&at_once), Some(false), false),
            (&bound, None, Some(&disk), Some(false), false),
            (&bound, Some(&cloud_disk), Some(&disk), Some(false), false),
            (&bound, Some(&nfs), None, Some(false), true),
            (&bound, Some(&csi), None, Some(false), true),
            (&bound, Some(&flex), None, Some(false), true),
            (&free, None, Some(&nas_class), Some(false), true),
        ] {
            let (volume, class) = (volume.map(object), class.map(object));
            let found = facts(&object(claim), volume.as_ref(), class.as_ref());
            assert_eq!(found, ClaimFacts { late, nas }, "{claim} {volume:?} {class:?}");
        }
    }
}
