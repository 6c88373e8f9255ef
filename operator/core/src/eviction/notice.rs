//! Notices of a reclaim: which ones count, and what they give.
//!
//! The cloud tells twice that it takes a spot instance back in about three minutes: by a Warning event
//! `SpotToBeReleased` (source `kubelet`, host `eci`) on the pod, and by the pod's condition `ContainerInstanceExpired`
//! (vendor's spot guide; virtual node 2.11.0 and later). Events can be lost, expire after an hour, and can be written by
//! whoever may write Events; the condition stays and needs the right to write the status of pods. So either is enough,
//! both are one notice, and the time of the condition wins.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Pod, PodRef};
use crate::time::ago;

/// The annotation that says whether a pod is on a spot instance.
pub const STRATEGY: &str = "k8s.aliyun.com/eci-spot-strategy";
/// Our annotation: `evict` asks for an eviction at the notice, `none` forbids it.
pub const RELEASE: &str = "eci-operator.io/spot-release";
/// The vendor's annotation: `api-evict` makes its virtual node evict, too.
pub const VENDOR_RELEASE: &str = "k8s.aliyun.com/eci-spot-release-strategy";
/// Type of the vendor's pod condition.
pub const CONDITION: &str = "ContainerInstanceExpired";
/// Reason of the vendor's event at the notice.
pub const EVENT: &str = "SpotToBeReleased";
/// Reason of the vendor's event when a spot instance was not to be had and a regular one was taken.
pub const DEGRADED_EVENT: &str = "SpotDegraded";

/// How long an instance lives after its notice, by default ("about 3 minutes": the vendor's spot guide).
pub const NOTICE_LENGTH: Duration = Duration::from_mins(3);
/// How old an event may be when it arrives.
pub const EVENT_LIFE: Duration = Duration::from_mins(10);
/// How far ahead of us the time of a notice may be before we call it clock skew.
pub const SKEW: Duration = Duration::from_mins(1);

/// What decides which pods are evicted at a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long an instance lives after its notice.
    pub length: Duration,
    /// Whether pods with the vendor's own annotation are evicted, too.
    pub vendor_annotated: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { length: NOTICE_LENGTH, vendor_annotated: true }
    }
}

/// An Event of the vendor, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpotEvent {
    /// The UID of the Event: one that is seen again, as after a re-list, is passed over.
    pub uid: Arc<str>,
    /// What it says.
    pub about: About,
    /// `involvedObject`: namespace, name and UID of the pod (an empty UID is refused).
    pub pod: PodRef,
    /// Whether `involvedObject.kind` is `Pod`.
    pub is_pod: bool,
    /// `source.component` (events.k8s.io: `reportingController`).
    pub component: Arc<str>,
    /// `source.host` (events.k8s.io: `reportingInstance`).
    pub host: Arc<str>,
    /// `lastTimestamp`, else `eventTime`, else `firstTimestamp`, else `metadata.creationTimestamp`.
    pub time: Option<Timestamp>,
}

/// Which of the vendor's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// [`EVENT`].
    ToBeReleased,
    /// [`DEGRADED_EVENT`].
    Degraded,
}

/// Where a notice was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeSource {
    /// The vendor's event.
    Event,
    /// The vendor's condition, which wins.
    Condition,
}

/// A notice that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it was given: the time in it, or when we first saw it if that is earlier or there is none.
    pub given: Timestamp,
    /// When the instance goes.
    pub deadline: Timestamp,
    /// Where it was seen.
    pub source: NoticeSource,
    /// Whether the time in it was more than [`SKEW`] ahead of us, so that our own counts.
    pub skewed: bool,
}

/// Why no notice is taken from what was seen, or nobody is evicted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotEligible {
    /// The event names no pod by its UID.
    NotAPod,
    /// The event does not come from the vendor's kubelet: anybody who may write Events can write one.
    ForgedEvent,
    /// The event is older than [`EVENT_LIFE`].
    StaleEvent,
    /// The event names a pod that has the name but not the UID: an earlier one.
    AnotherPod,
    /// The pod is on no virtual node.
    NoVirtualNode,
    /// The pod has no spot strategy, or one that the cloud does not know.
    NoSpotStrategy,
    /// No annotation asks for an eviction.
    NotAsked,
    /// An annotation about the release has a value that means nothing.
    WrongAnnotation,
    /// Only the vendor's annotation asks, and the operator was told to leave those pods to the vendor.
    LeftToVendor,
    /// A static pod: its node makes it anew at once.
    StaticPod,
    /// A pod of a DaemonSet: its controller makes it anew on the same node.
    DaemonSetPod,
}

impl NotEligible {
    /// The word in events and metrics: CamelCase, stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAPod => "NotAPod",
            Self::ForgedEvent => "ForgedEvent",
            Self::StaleEvent => "StaleEvent",
            Self::AnotherPod => "AnotherPod",
            Self::NoVirtualNode => "NoVirtualNode",
            Self::NoSpotStrategy => "NoSpotStrategy",
            Self::NotAsked => "NotAsked",
            Self::WrongAnnotation => "WrongAnnotation",
            Self::LeftToVendor => "LeftToVendor",
            Self::StaticPod => "StaticPod",
            Self::DaemonSetPod => "DaemonSetPod",
        }
    }

    /// What it means for a person, and what to do.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotAPod => "the event names no pod by its UID",
            Self::ForgedEvent => "the event does not come from the vendor's kubelet and is not believed",
            Self::StaleEvent => "the event is older than 10 minutes",
            Self::AnotherPod => "the event is about an earlier pod of that name",
            Self::NoVirtualNode => "the pod is not on a virtual node",
            Self::NoSpotStrategy => {
                "the pod has no annotation k8s.aliyun.com/eci-spot-strategy with SpotAsPriceGo or SpotWithPriceLimit"
            }
            Self::NotAsked => {
                "no eviction was asked for: set the annotation eci-operator.io/spot-release: evict on the pod template, or spot.release: Evict in its EciProfile"
            }
            Self::WrongAnnotation => {
                "an annotation about the release has an unknown value: eci-operator.io/spot-release takes evict or none, k8s.aliyun.com/eci-spot-release-strategy takes api-evict"
            }
            Self::LeftToVendor => {
                "the virtual node evicts this pod itself (k8s.aliyun.com/eci-spot-release-strategy: api-evict), and --evict-vendor-annotated is false"
            }
            Self::StaticPod => "a static pod is made anew by its node at once",
            Self::DaemonSetPod => "a pod of a DaemonSet is made anew on the same node",
        }
    }
}

/// Whether an event counts by itself, `now` being the time of the receipt.
pub fn from_event(event: &SpotEvent, policy: &Policy, now: Timestamp) -> Result<Notice, NotEligible> {
    if !event.is_pod || event.pod.uid.is_empty() {
        return Err(NotEligible::NotAPod);
    }
    if !comes_from_vendor(&event.component, &event.host) {
        return Err(NotEligible::ForgedEvent);
    }
    if event.time.is_some_and(|time| ago(time, now) > EVENT_LIFE) {
        return Err(NotEligible::StaleEvent);
    }
    Ok(notice(event.time, NoticeSource::Event, policy, now))
}

/// The notice of a condition that is True since `since`, however old, `now` being when it was first seen.
pub fn from_condition(since: Option<Timestamp>, policy: &Policy, now: Timestamp) -> Notice {
    notice(since, NoticeSource::Condition, policy, now)
}

/// Whether `pod` is to be evicted when it has a notice.
pub fn eligible(pod: &Pod, policy: &Policy) -> Result<(), NotEligible> {
    if !pod.on_virtual_node {
        return Err(NotEligible::NoVirtualNode);
    }
    if !matches!(pod.spot.strategy.as_deref(), Some("SpotAsPriceGo" | "SpotWithPriceLimit")) {
        return Err(NotEligible::NoSpotStrategy);
    }
    match pod.owner.as_ref().map(|owner| &*owner.kind) {
        Some("Node") => return Err(NotEligible::StaticPod),
        Some("DaemonSet") => return Err(NotEligible::DaemonSetPod),
        _ => {}
    }
    match (pod.spot.release.as_deref(), pod.spot.vendor_release.as_deref()) {
        (Some("evict"), _) => Ok(()),
        (Some("none") | None, None) | (Some("none"), Some(_)) => Err(NotEligible::NotAsked),
        (None, Some("api-evict")) if policy.vendor_annotated => Ok(()),
        (None, Some("api-evict")) => Err(NotEligible::LeftToVendor),
        (Some(_), _) | (None, Some(_)) => Err(NotEligible::WrongAnnotation),
    }
}

/// Of two notices for one pod the one that counts: the condition's, else the earlier.
#[must_use]
pub fn better(a: Notice, b: Notice) -> Notice {
    if (b.source, std::cmp::Reverse(b.deadline)) > (a.source, std::cmp::Reverse(a.deadline)) { b } else { a }
}

/// `source: kubelet, eci` in the vendor's samples; newer writers give the whole as one word.
fn comes_from_vendor(component: &str, host: &str) -> bool {
    let is_eci =
        |host: &str| host == "eci" || host.starts_with("eci-") || host.starts_with("virtual-kubelet");
    match component {
        "kubelet" => is_eci(host),
        "kubelet, eci" | "kubelet/eci" => true,
        _ => false,
    }
}

fn notice(time: Option<Timestamp>, source: NoticeSource, policy: &Policy, now: Timestamp) -> Notice {
    let skewed = time.is_some_and(|time| ago(now, time) > SKEW);
    let given = time.map_or(now, |time| time.min(now));
    let length = SignedDuration::try_from(policy.length).unwrap_or(SignedDuration::MAX);
    let deadline = given.checked_add(length).unwrap_or(Timestamp::MAX);
    Notice { given, deadline, source, skewed }
}
