//! What virtual nodes cannot run, or run otherwise than one would think: rules with names, each with what to do instead.
//!
//! A rule warns, denies or is off, as the configuration says. Facts: the vendor's pages about limits, about virtual
//! nodes in clusters of one's own and about spot instances, and the scheduler's own rules where a virtual node is one
//! node among others.

mod objects;
mod pod;
mod registry;
mod spot;

use std::collections::BTreeMap;
use std::fmt;

pub use objects::{daemon_set, service};
pub use pod::{Facts, pod};

/// Longest piece of a foreign text in a finding, in characters.
const QUOTE: usize = 80;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which.
    pub id: RuleId,
    /// Its name in the configuration, which never changes.
    pub name: &'static str,
    /// Kind of the objects that it looks at.
    pub kind: &'static str,
    /// What it finds.
    pub finds: &'static str,
    /// Why that does not work on virtual nodes.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $id:ident = $name:literal, $kind:literal, $finds:literal, $why:literal, $instead:literal;)+) => {
        /// The rules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RuleId { $($(#[doc = $doc])+ $id,)+ }

        /// Every rule, in the order of the documentation.
        pub const RULES: &[Rule] = &[$(Rule {
            id: RuleId::$id, name: $name, kind: $kind, finds: $finds, why: $why, instead: $instead,
        },)+];

        impl RuleId {
            /// Its name in the configuration.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }

            /// What to do instead.
            const fn instead(self) -> &'static str {
                match self { $(Self::$id => $instead,)+ }
            }
        }
    };
}

rules! {
    /// A volume of the host.
    HostPath = "host-path", "Pod",
        "a hostPath volume, in a pod without data caches",
        "a virtual node has no disk whose directories a pod could mount",
        "use an emptyDir, a disk, a NAS or an OSS volume, or a DataCache for data that many pods read";
    /// The host's network.
    HostNetwork = "host-network", "Pod",
        "`hostNetwork: true`, or a container port with a `hostPort`",
        "every pod is an instance with an address of its own; there is no host whose network it could share",
        "take it out, and use a Service of the type LoadBalancer to be reached from outside";
    /// The host's processes.
    HostNamespaces = "host-namespaces", "Pod",
        "`hostPID: true` or `hostIPC: true`",
        "every pod is an instance of its own; there are no processes of a host to see",
        "take it out, and use shareProcessNamespace or a sidecar for what is inside the pod";
    /// Rights over the host.
    Privileged = "privileged", "Pod",
        "a container with `privileged: true`",
        "the vendor refuses privileged containers",
        "give the container the capabilities that it needs (securityContext.capabilities)";
    /// Too many containers.
    ContainerCount = "container-count", "Pod",
        "more than 20 containers, with sidecars",
        "an instance has at most 20 containers",
        "use fewer sidecars, or split the pod";
    /// One pod for each host, by anti-affinity.
    HostAntiAffinity = "host-anti-affinity", "Pod",
        "required podAntiAffinity by `kubernetes.io/hostname`",
        "a virtual node counts as one host, so that it gets a single one of these pods, though each is an instance of its own",
        "prefer instead of require it, or use the topology key topology.kubernetes.io/zone";
    /// Spread over hosts.
    TopologySpread = "topology-spread", "Pod",
        "a topologySpreadConstraint by `kubernetes.io/hostname` with `whenUnsatisfiable: DoNotSchedule`",
        "a virtual node counts as one host with maxSkew pods more than the emptiest one, though each pod is an instance of its own; and its taint does not keep it from being counted as the emptiest",
        "use the topology key topology.kubernetes.io/zone or ScheduleAnyway, and nodeTaintsPolicy: Honor";
    /// The vendor's label beside words for the scheduler.
    LabelOverrides = "label-overrides", "Pod",
        "the label `alibabacloud.com/eci=true` of pod or namespace beside a nodeSelector, a node affinity or topologySpreadConstraints",
        "the label sends the pod to a virtual node past the scheduler, and nothing of these counts",
        "take the label out, and send the pod by spec.placement of an EciProfile";
    /// A disk that is made where the scheduler says.
    LateBinding = "late-binding", "Pod",
        "a PersistentVolumeClaim or ephemeral volume in a pod that goes past the scheduler, by the label `alibabacloud.com/eci=true` or `spec.nodeName`; `kubectl eci` leaves out claims that are bound, or whose StorageClass binds at once",
        "a disk of a StorageClass with `volumeBindingMode: WaitForFirstConsumer` is made when the scheduler has chosen a node, which it never does for such a pod",
        "send the pod by spec.placement of an EciProfile, or use a StorageClass with volumeBindingMode: Immediate";
    /// Ownership of a large file system.
    NasOwnership = "nas-ownership", "Pod",
        "a NAS volume in a pod with `fsGroup` and without `fsGroupChangePolicy: OnRootMismatch`; `kubectl eci` finds those behind a PersistentVolumeClaim too",
        "the ownership of every file is changed before the pod starts, and with many files the mount times out",
        "set securityContext.fsGroupChangePolicy to OnRootMismatch";
    /// Images over the Internet.
    PublicRegistry = "public-registry", "Pod",
        "an image of Container Registry by its public host",
        "pods without an EIP or a NAT gateway cannot reach it, and others pull slowly and pay for the traffic",
        "use the host in the VPC, if the image is in the region of the pod";
    /// A spot instance that is too small.
    SpotSize = "spot-size", "Pod",
        "a spot pod of less than 2 vCPU",
        "spot instances by vCPU and memory begin at 2 vCPU",
        "ask for 2 vCPU, or name instance types (spec.instance.candidates, annotation eci-use-specs)";
    /// A size that does not exist.
    SpotRounding = "spot-rounding", "Pod",
        "a spot pod of a size that is not in the vendor's table",
        "the size is rounded up, and what it is rounded to is billed",
        "ask for a size of the table, or name instance types";
    /// A pod for every node.
    DaemonSetOnVirtualNodes = "daemon-set", "DaemonSet",
        "a DaemonSet that tolerates the taint of virtual nodes and does not exclude them",
        "virtual nodes run no pods of DaemonSets, and its pods there stay Pending",
        "exclude virtual nodes by a node affinity (NotIn), and run what pods there need as a sidecar in them";
    /// A port of every node.
    NodePort = "node-port", "Service",
        "a Service of the type NodePort whose pods may run on virtual nodes",
        "a virtual node has no host that could listen at the port",
        "use the type LoadBalancer";
}

/// What happens when a rule finds something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Who creates the object is warned.
    #[default]
    Warn,
    /// The object is refused.
    Deny,
}

impl Mode {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

/// Why a setting of rules cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSettingsError {
    /// It has not the form.
    #[error("{0:?} is no setting of a rule: write its name and off, warn or deny, such as host-path=deny")]
    Syntax(String),
    /// There is no such rule.
    #[error("there is no rule {0:?}; the rules are {list}", list = names())]
    Unknown(String),
    /// A rule is set twice.
    #[error("the rule {0} is set twice")]
    Twice(&'static str),
}

fn names() -> String {
    RULES.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ")
}

/// What every rule does. Those that are not set warn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSettings(BTreeMap<RuleId, Mode>);

impl RuleSettings {
    /// Reads settings such as `host-path=deny`.
    pub fn parse<'a>(settings: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleSettingsError> {
        let mut modes = BTreeMap::new();
        for setting in settings {
            let syntax = || RuleSettingsError::Syntax(quote(setting));
            let (name, mode) = setting.split_once('=').ok_or_else(syntax)?;
            let rule = RULES.iter().find(|rule| rule.name == name);
            let rule = rule.ok_or_else(|| RuleSettingsError::Unknown(quote(name)))?;
            let mode = [Mode::Off, Mode::Warn, Mode::Deny].into_iter().find(|known| known.as_str() == mode);
            if modes.insert(rule.id, mode.ok_or_else(syntax)?).is_some() {
                return Err(RuleSettingsError::Twice(rule.name));
            }
        }
        Ok(Self(modes))
    }

    /// What a rule does.
    pub fn mode(&self, rule: RuleId) -> Mode {
        self.0.get(&rule).copied().unwrap_or_default()
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// What it does: Warn or Deny.
    pub mode: Mode,
    /// What it found, without a foreign text of more than 80 characters.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule.name(), self.what, self.rule.instead())
    }
}

/// Those that are not off, in the order of the documentation.
fn findings(settings: &RuleSettings, found: impl IntoIterator<Item = (RuleId, String)>) -> Vec<Finding> {
    let with_mode = |(rule, what)| Finding { rule, mode: settings.mode(rule), what };
    found.into_iter().map(with_mode).filter(|finding| finding.mode != Mode::Off).collect()
}

fn quote(text: &str) -> String {
    text.chars().take(QUOTE).collect()
}
