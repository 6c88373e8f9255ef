//! Conditions: one helper to change them, one enum of reasons per kind.
//!
//! The meaning of the types is the one that kstatus gives them, so that Flux, `kubectl wait` and cli-utils need
//! no configuration: `Ready` is always there, `Reconciling` and `Stalled` only while they are true, and never
//! both at once.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition types of our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object can be used. Always present once the operator has seen the object.
    Ready,
    /// The current generation is not yet achieved, and the operator is working or waiting to work on it.
    Reconciling,
    /// Nothing will change without a person; the message says what to do.
    Stalled,
    /// A healthy object is being refreshed or replaced; `Ready` keeps its value meanwhile.
    Updating,
    /// `spec.suspend` is set: nothing but deletion is reconciled.
    Paused,
    /// The object is being deleted, and is not, because pods would start from its resource; the message says which.
    DeletionBlocked,
    /// Whether pods start from the resource; not there while nothing is known.
    Matched,
    /// EciProfile: the spec is valid.
    Accepted,
    /// EciProfile: admission knows this generation.
    Programmed,
    /// EciProfile: a profile of equal priority says otherwise for a pod that exists.
    Conflicted,
    /// EciProfile: the spot pods could be evicted in time.
    EvictionReady,
    /// EciProfile: pods can start in the vSwitches of `spec.network`.
    NetworkReady,
    /// EciProfile: the market's price was never above `spec.spot.priceLimit`.
    PriceLimitSufficient,
}

impl ConditionType {
    /// The word in the object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Updating => "Updating",
            Self::Paused => "Paused",
            Self::DeletionBlocked => "DeletionBlocked",
            Self::Matched => "Matched",
            Self::Accepted => "Accepted",
            Self::Programmed => "Programmed",
            Self::Conflicted => "Conflicted",
            Self::EvictionReady => "EvictionReady",
            Self::NetworkReady => "NetworkReady",
            Self::PriceLimitSufficient => "PriceLimitSufficient",
        }
    }
}

/// Declares an enum of reasons with its words and their documentation, from which the reference is generated: `ALL`,
/// `as_str` and `doc`.
#[macro_export]
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in objects, events and metrics: CamelCase, stable.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// What it means and what to do, for the reference.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Reasons of the conditions of an object that owns a cloud resource (ImageCache, DataCache).
    Reason {
        /// The cloud resource is usable.
        Available,
        /// The object waits for its turn: enough builds of other objects are being asked for.
        Pending,
        /// The cloud builds the resource; `status.progressPercent` moves.
        Building,
        /// A create call got no clear answer (or the operator restarted during it), or the status was lost. The operator
        /// looks for the resource before it sends the same call again, so that nothing is billed twice.
        Resolving,
        /// The cloud replaces a usable resource; the old one serves until the new one is usable. DataCache: the old one is
        /// deleted first, for bucket and path have one cache.
        Replacing,
        /// The cloud changes the resource in place.
        UpdateInProgress,
        /// The build failed in the cloud; `status.events` tell why. Tried again after 5, 30 and 120 minutes.
        BuildFailed,
        /// The first build of this generation and its three retries failed. Correct the spec or what it refers to, or
        /// set the annotation eci-operator.io/requested-at to a new value.
        BuildFailedPermanently,
        /// The resource was removed outside of the operator and is built again.
        Vanished,
        /// The resource was usable and is not any more: it failed in the cloud, or its snapshot is gone. Built again, at
        /// most once an hour.
        Broken,
        /// `retentionDays` ended. Raise it or set eci-operator.io/requested-at to build again.
        Expired,
        /// The cloud removed the resource to make room, as `eliminationStrategy: LRU` allows.
        Eliminated,
        /// The object is being deleted, and the cloud resource with it.
        Deleting,
        /// The object is being deleted and the cloud resource is kept (`deletionPolicy: Retain`).
        Releasing,
        /// Pods start from the resource.
        Matched,
        /// Pods whose images are all in the cache started without it, and none from it.
        NeverMatched,
        /// Every pod that started from the cache has images that the cache has not.
        PartialOnly,
        /// The object is being deleted, and pods would start from its cloud resource: the message names the pod
        /// templates, CronJobs, pending pods and profiles. Delete or change them, or set the annotation
        /// eci-operator.io/force-delete=true.
        InUse,
        /// The object is being deleted, and the operator may not look whether pods would start from its cloud resource;
        /// the message names the missing RBAC rule.
        UsersUnknown,
        /// `spec.suspend` is set.
        Suspended,
        /// The spec is not valid; the message names the field.
        InvalidSpec,
        /// No vSwitch is known: set `spec.network.vSwitchIDs` or the operator's --vswitch-ids.
        NetworkMissing,
        /// A secret of `spec.imagePullSecrets` (DataCache: `spec.source`) does not exist in the namespace.
        SecretNotFound,
        /// A secret of `spec.imagePullSecrets` is not a docker config, or broken; DataCache: one of `spec.source` lacks its key,
        /// or its value is of no use.
        SecretInvalid,
        /// The operator may not read a secret of `spec.imagePullSecrets`; the message names the missing RBAC rule.
        SecretForbidden,
        /// The operator has no cloud credentials. Create the Secret that the chart value `credentials.existingSecret`
        /// names; it is read without a restart.
        CredentialsMissing,
        /// The cloud does not accept the operator's credentials.
        CredentialsRejected,
        /// The operator's RAM identity lacks a permission; the message names the action.
        PermissionDenied,
        /// The operator's clock differs from the cloud's.
        ClockSkew,
        /// The account's quota is used up. Objects wait for room in the order of their age; the message says how many
        /// are before this one.
        QuotaExceeded,
        /// The zone has no stock for the instance that builds the resource.
        NoStock,
        /// The vSwitch has no free addresses.
        VSwitchFull,
        /// The account has unpaid bills.
        Arrears,
        /// The account may not use the service (not activated, not verified, closed).
        AccountRestricted,
        /// The cloud asks for fewer calls.
        Throttled,
        /// The cloud cannot be reached, or its answer cannot be understood.
        CloudUnavailable,
        /// The cloud is busy with the resource.
        CloudBusy,
        /// The cloud refused the call; the message has its code.
        CloudRefused,
        /// The object was made for another region or account than the operator's.
        RegionChanged,
        /// More resources vanished at once than can be believed; nothing is rebuilt.
        CloudViewSuspect,
        /// DataCache: a cache of somebody else has this bucket and path, or an older DataCache of the cluster claims it;
        /// the message says which. Choose another path, or take the cache over with `spec.adopt`.
        BucketPathTaken,
        /// The spec has a field that is only for namespaces which an administrator has labelled
        /// eci-operator.io/privileged=true.
        NamespaceNotPrivileged,
        /// The cache that `spec.adopt` names is being taken over: its tags are set, and wait to be shown by the cloud.
        Adopting,
        /// The cache that `spec.adopt` names does not exist in the operator's region. It is looked for every minute.
        AdoptionNotFound,
        /// The cache belongs to another object or cluster, or an older object claims it; the message says which.
        AdoptionConflict,
        /// The cache that `spec.adopt` names has failed, or has other images or another size than the spec says; the
        /// message names them.
        AdoptionMismatch,
    }
}

reasons! {
    /// Reasons of the events of an object that owns a cloud resource, beside the reasons of its conditions: a transition
    /// is an event with the reason of the condition.
    EventReason {
        /// A cloud resource that was replaced, or that a repeated create call had made, was deleted.
        SupersededDeleted,
        /// The cloud has a resource that belongs to the object and is not in use, and `deletionPolicy: Retain` keeps it.
        /// Delete it by hand if nobody needs it.
        StrayKept,
        /// On the ConfigMap eci-operator-cluster-id of the operator's namespace: the cloud has resources with this
        /// cluster's tag that belong to no object. They are billed; the operator's log says what to do with each.
        OrphansFound,
    }
}

reasons! {
    /// Reasons of the conditions of an EciProfile.
    ProfileReason {
        /// New pods get what the profile says.
        Programmed,
        /// The operator has not yet seen this generation.
        Pending,
        /// The spec is valid.
        Valid,
        /// The spec is not valid; the message names the field.
        InvalidSpec,
        /// An annotation of `spec.effects` cannot work; the message names it and says what it must be.
        InvalidAnnotation,
        /// `spec.mode` is Audit: nothing is changed, `status.auditImpact` says what would be.
        AuditOnly,
        /// `spec.mode` is Disabled.
        Disabled,
        /// The webhook is not yet called for what the profile selects.
        WebhookNotReady,
        /// No profile of equal priority says otherwise.
        NoConflict,
        /// A profile of equal priority says otherwise; the message names it, the field and a pod. Change one of the
        /// priorities.
        EqualPriority,
        /// The operator may not evict pods. Give its ServiceAccount the verb create on pods/eviction, as the chart does.
        EvictionNotPermitted,
        /// `spec.spot.onDeadline: Delete` or `spec.spot.failedPodTTL` needs the right to delete pods: the chart's value
        /// eviction.deletePods.
        DeletionNotPermitted,
        /// The operator cannot watch what it needs to evict pods; the message says what.
        WatchFailing,
        /// Every spot pod could be evicted in time.
        Evictable,
        /// Some spot pods could not be evicted in time; the message names the workloads and what would help.
        NotEvictable,
        /// Too few pods were seen to start to say how long replacements take; that comes with time.
        StartTimesUnknown,
        /// The profile selects no spot pod.
        NoSpotPods,
        /// The market's price was never above `spec.spot.priceLimit` in the last 30 days.
        PriceLimitSufficient,
        /// The market's price was above `spec.spot.priceLimit` at times; the message says for how long and which limit
        /// would be safer.
        PriceLimitTight,
        /// The market's price is above `spec.spot.priceLimit` everywhere: no spot instance can be had. Raise the limit
        /// to what the message says.
        PriceLimitUnderMarket,
        /// The vSwitches of `spec.network` exist, in one VPC, and one of them has free addresses.
        VSwitchesUsable,
        /// A vSwitch of `spec.network` does not exist in the operator's region; the message names it.
        VSwitchNotFound,
        /// No vSwitch of `spec.network` has a free address. Add another one.
        VSwitchFull,
        /// The vSwitches of `spec.network` are in several VPCs; the message names these.
        VSwitchesOfSeveralVPCs,
        /// No price of the last 30 days is known for what the pods run on.
        MarketUnknown,
    }
}

/// A condition as the operator wants it; [`set`] turns it into the API's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its type.
    pub type_: ConditionType,
    /// `True`, `False`, or `Unknown` when absent.
    pub status: Option<bool>,
    /// Its reason.
    pub reason: Reason,
    /// A sentence for a person, at most [`MESSAGE_LIMIT`] characters.
    pub message: String,
}

/// Longest message that we write, in characters (the API allows 32,768 bytes; people read one paragraph).
pub const MESSAGE_LIMIT: usize = 1_024;

/// Makes `current` say `wanted`: types that are not wanted are removed when they are ours, transition times are
/// kept while the status of a condition stays the same. Conditions of others are left alone.
pub fn set(current: &[Condition], wanted: &[Wanted], generation: i64, now: Timestamp) -> Vec<Condition> {
    let ours = [
        ConditionType::Ready,
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::Updating,
        ConditionType::Paused,
        ConditionType::DeletionBlocked,
    ];
    let mut result: Vec<Condition> = Vec::with_capacity(wanted.len());
    for want in wanted {
        let status = match want.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let since = current
            .iter()
            .find(|c| c.type_ == want.type_.as_str() && c.status == status)
            .map_or_else(|| Time(whole_seconds(now)), |c| c.last_transition_time.clone());
        result.push(Condition {
            type_: want.type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: want.reason.as_str().to_owned(),
            message: want.message.chars().take(MESSAGE_LIMIT).collect(),
            last_transition_time: since,
            observed_generation: Some(generation),
        });
    }
    result.extend(current.iter().filter(|c| !ours.iter().any(|t| t.as_str() == c.type_)).cloned());
    result
}

/// Makes `current` say one thing more, or again: `wanted` stands in the place of the condition of its type. [`set`] keeps
/// it as long as its type is not among those that [`set`] decides on.
pub fn set_beside(current: &mut Vec<Condition>, wanted: &Wanted, generation: i64, now: Timestamp) {
    let type_ = wanted.type_.as_str();
    let since = set(
        &current.iter().filter(|c| c.type_ == type_).cloned().collect::<Vec<_>>(),
        std::slice::from_ref(wanted),
        generation,
        now,
    );
    let Some(new) = since.into_iter().next() else { return };
    match current.iter_mut().find(|c| c.type_ == type_) {
        Some(known) => *known = new,
        None => current.push(new),
    }
}

/// Kubernetes times have whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: bool, reason: Reason) -> Wanted {
        Wanted { type_: ConditionType::Ready, status: Some(status), reason, message: String::new() }
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let first = set(&[], &[ready(false, Reason::Pending)], 1, at(100));
        let second = set(&first, &[ready(false, Reason::Building)], 2, at(200));
        assert_eq!(second[0].last_transition_time.0, at(100));
        assert_eq!(second[0].reason, "Building");
        assert_eq!(second[0].observed_generation, Some(2));
        let third = set(&second, &[ready(true, Reason::Available)], 2, at(300));
        assert_eq!(third[0].last_transition_time.0, at(300));
    }

    #[test]
    fn ours_go_when_not_wanted_and_those_of_others_stay() {
        let foreign = Condition {
            type_: "example.com/Audited".into(),
            status: "True".into(),
            reason: "X".into(),
            message: String::new(),
            last_transition_time: Time(at(1)),
            observed_generation: None,
        };
        let mut current = set(
            &[],
            &[Wanted {
                type_: ConditionType::Stalled,
                status: Some(true),
                reason: Reason::InvalidSpec,
                message: String::new(),
            }],
            1,
            at(1),
        );
        current.push(foreign.clone());
        let next = set(&current, &[ready(true, Reason::Available)], 1, at(2));
        assert_eq!(
            next.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(),
            ["Ready", "example.com/Audited"]
        );
        assert_eq!(next[1], foreign);
    }

    #[test]
    fn every_reason_is_documented_camel_case() {
        for reason in Reason::ALL {
            assert!(reason.doc().trim().len() > 10, "{reason}");
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
        }
    }
}
