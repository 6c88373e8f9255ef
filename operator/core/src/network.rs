//! The port to the network: which vSwitches there are, where, and how many addresses they have left; and what that means
//! for pods that are to start in them.
//!
//! The network is another product of the vendor (VPC) than the one that [`crate::cloud`] is about, with an endpoint and
//! permissions of its own. Nothing that the operator does depends on it: it is asked so that a profile says what is wrong
//! before pods fail.
//!
//! # Contract
//!
//! 1. **Reads only.** Every call may be repeated at will.
//! 2. **Pages end.** The number of the next page is always higher than that of the one that was asked for.
//! 3. **Strings are hostile**, as in the port of the cloud: IDs are parsed, other text is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use eci_api::condition::{ConditionType, ProfileReason};

use crate::cloud::{CloudError, CloudId};
use crate::profile::outlook::Said;

/// Most vSwitches on one page (vendor's documentation).
pub const PAGE_SIZE: u32 = 50;

/// The network of one account and region.
pub trait Network: Send + Sync + 'static {
    /// One page of all vSwitches; 1 is the first.
    fn v_switches(&self, page: u32) -> impl Future<Output = Result<VSwitchPage, CloudError>> + Send;
}

/// One page of vSwitches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VSwitchPage {
    /// Its vSwitches.
    pub items: Vec<VSwitch>,
    /// The number of the next page; `None` at the end.
    pub next: Option<u32>,
}

/// A vSwitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VSwitch {
    /// Its ID, `vsw-…`.
    pub id: CloudId,
    /// Its zone.
    pub zone: Option<CloudId>,
    /// Its VPC.
    pub vpc: Option<CloudId>,
    /// Addresses that are not taken.
    pub free: Option<i64>,
    /// Whether it can be used.
    pub available: bool,
}

/// Every vSwitch of the region, by ID.
pub type VSwitches = BTreeMap<CloudId, VSwitch>;

/// What is wrong with a vSwitch, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Pods can start in it.
    Usable,
    /// It has no address left.
    Full,
    /// It is being made, or deleted.
    NotAvailable,
    /// It does not exist in the region.
    Missing,
}

impl State {
    /// In a word, for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "Usable",
            Self::Full => "Full",
            Self::NotAvailable => "NotAvailable",
            Self::Missing => "Missing",
        }
    }
}

/// What a vSwitch is worth.
pub fn state(id: &str, known: &VSwitches) -> State {
    let found = CloudId::parse(id).ok().and_then(|id| known.get(&id));
    match found {
        None => State::Missing,
        Some(switch) if !switch.available => State::NotAvailable,
        Some(switch) if switch.free == Some(0) => State::Full,
        Some(_) => State::Usable,
    }
}

/// Whether pods can start in one of these vSwitches, as the condition `NetworkReady` of a profile.
pub fn judge(ids: &[String], known: &VSwitches) -> Said {
    let say = |status, reason, message| Said { type_: ConditionType::NetworkReady, status, reason, message };
    let of = |wanted: State| -> Vec<&str> {
        ids.iter().filter(|id| state(id, known) == wanted).map(String::as_str).collect()
    };
    let missing = of(State::Missing);
    if !missing.is_empty() {
        return say(
            Some(false),
            ProfileReason::VSwitchNotFound,
            format!(
                "The operator's region has no vSwitch {}: correct spec.network.vSwitchIDs, pods with it would not start.",
                missing.join(", ")
            ),
        );
    }
    let switches: Vec<&VSwitch> = ids.iter().filter_map(|id| known.get(&CloudId::parse(id).ok()?)).collect();
    let vpcs: BTreeSet<&str> =
        switches.iter().filter_map(|switch| Some(switch.vpc.as_ref()?.as_str())).collect();
    if vpcs.len() > 1 {
        return say(
            Some(false),
            ProfileReason::VSwitchesOfSeveralVPCs,
            format!(
                "The vSwitches of spec.network.vSwitchIDs are in several VPCs ({}): name those of the VPC of the virtual node only.",
                vpcs.into_iter().collect::<Vec<_>>().join(", ")
            ),
        );
    }
    let unusable: Vec<&str> = [of(State::Full), of(State::NotAvailable)].concat();
    if unusable.len() == ids.len() {
        return say(
            Some(false),
            ProfileReason::VSwitchFull,
            format!(
                "No vSwitch of spec.network.vSwitchIDs has a free address ({}): add another one, in another zone if possible.",
                unusable.join(", ")
            ),
        );
    }
    let zones: BTreeSet<&str> =
        switches.iter().filter_map(|switch| Some(switch.zone.as_ref()?.as_str())).collect();
    let zones = zones.into_iter().collect::<Vec<_>>().join(", ");
    let but = if unusable.is_empty() {
        String::new()
    } else {
        format!(" Without a free address: {}.", unusable.join(", "))
    };
    say(
        Some(true),
        ProfileReason::VSwitchesUsable,
        format!("The vSwitches exist, in {zones}, and have free addresses.{but}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(id: &str, vpc: &str, zone: &str, free: Option<i64>, available: bool) -> VSwitch {
        let id_of = |text: &str| CloudId::parse(text).unwrap();
        VSwitch { id: id_of(id), zone: Some(id_of(zone)), vpc: Some(id_of(vpc)), free, available }
    }

    fn known() -> VSwitches {
        [
            switch("vsw-a", "vpc-1", "z-a", Some(7), true),
            switch("vsw-b", "vpc-1", "z-b", Some(0), true),
            switch("vsw-c", "vpc-2", "z-a", Some(7), true),
            switch("vsw-d", "vpc-1", "z-a", None, true),
            switch("vsw-e", "vpc-1", "z-a", Some(7), false),
        ]
        .into_iter()
        .map(|switch| (switch.id.clone(), switch))
        .collect()
    }

    #[test]
    fn pods_start_when_every_vswitch_exists_in_one_vpc_and_one_has_an_address() {
        for (ids, status, reason, words) in [
            (&["vsw-a"][..], true, ProfileReason::VSwitchesUsable, "in z-a, and have free"),
            (&["vsw-a", "vsw-b"], true, ProfileReason::VSwitchesUsable, "Without a free address: vsw-b."),
            (&["vsw-d"], true, ProfileReason::VSwitchesUsable, "exist"),
            (&["vsw-a", "vsw-x", "a b"], false, ProfileReason::VSwitchNotFound, "no vSwitch vsw-x, a b:"),
            (&["vsw-a", "vsw-c"], false, ProfileReason::VSwitchesOfSeveralVPCs, "(vpc-1, vpc-2)"),
            (&["vsw-b"], false, ProfileReason::VSwitchFull, "(vsw-b)"),
            (&["vsw-b", "vsw-e"], false, ProfileReason::VSwitchFull, "(vsw-b, vsw-e)"),
        ] {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            let said = judge(&ids, &known());
            assert_eq!((said.status, said.reason), (Some(status), reason), "{ids:?}");
            assert!(said.message.contains(words), "{words:?} is not in {:?}", said.message);
        }
    }
}
