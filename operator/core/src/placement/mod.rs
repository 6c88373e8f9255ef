//! What is done to pods after they were created: who may go to virtual nodes when, whose scheduling gate goes, which pods
//! go first when a workload shrinks, and which were made without what their profile says.
//!
//! Everything is decided from the objects of the API server as they are now, so that a process that begins to lead goes
//! on where the last one stopped, and nothing is remembered but what is under way.

pub mod amount;
pub mod gate;
pub mod judge;
pub mod limits;
pub mod mark;
pub mod patch;
pub mod reason;
pub mod spill;

use std::time::Duration;

use eci_api::eci_profile::{Placement, PlacementPolicy, ScaleIn};
use jiff::SignedDuration;

use self::limits::Limits;

/// `spillAfter` when absent.
pub const SPILL_AFTER: Duration = Duration::from_secs(30);
/// Annotation by which ReplicaSets choose the pods that go first: those with the lowest number.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// What pods on virtual nodes get of it with `scaleIn: VirtualNodesFirst`. Pods without the annotation count as 0.
pub const VIRTUAL_COST: &str = "-100";

/// What a profile says of where its pods go after they were created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How long a pod has to be unschedulable before it may go to virtual nodes; `None` when it may go at once.
    pub after: Option<Duration>,
    /// The most on virtual nodes.
    pub limits: Limits,
    /// Whether pods may go there only when the operator lets them, one by one.
    pub granted: bool,
    /// Whether pods on virtual nodes go first when a workload shrinks.
    pub virtual_first: bool,
}

impl Rule {
    /// Of a profile's placement, which the API server has checked.
    pub fn of(placement: &Placement) -> Self {
        let prefers = placement.policy == PlacementPolicy::PreferRegularNodes;
        let after = prefers.then(|| duration(placement.spill_after.as_deref()).unwrap_or(SPILL_AFTER));
        Self {
            after,
            limits: placement.limits.as_ref().map(Limits::of).unwrap_or_default(),
            granted: prefers || placement.policy == PlacementPolicy::Fair && placement.limits.is_some(),
            virtual_first: placement.scale_in == Some(ScaleIn::VirtualNodesFirst),
        }
    }
}

/// A duration of a spec, whose syntax and range the API server has checked; `None` when it is absent.
pub(crate) fn duration(text: Option<&str>) -> Option<Duration> {
    let parsed: SignedDuration = text?.parse().ok()?;
    Duration::try_from(parsed).ok()
}
