//! Flags and environment.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use eci_aliyun::endpoint::{Endpoint, check_region};
use eci_aliyun::ram;
use eci_core::eviction;
use eci_core::image_cache::Defaults;
use eci_core::lease;
use eci_core::profile::nodes::{VirtualNodes, key_and_value};
use jiff::SignedDuration;

use crate::credentials::CredentialsArgs;
use crate::{cluster, webhook};

/// Most vSwitches (as in the API type).
const MAX_V_SWITCHES: usize = 10;
/// Shortest interval of polling.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);

/// Highest rate of calls of one action that change something.
const MOST_WRITES_PER_SECOND: u16 = 100;

/// Shortest life of a spot instance after its notice that makes sense.
const SHORTEST_NOTICE: Duration = Duration::from_secs(10);
/// Longest.
const LONGEST_NOTICE: Duration = Duration::from_hours(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// A part of the operator that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// Image caches.
    #[value(name = "imagecache")]
    ImageCache,
    /// Data caches.
    #[value(name = "datacache")]
    DataCache,
    /// Eviction of spot pods.
    #[value(name = "eviction")]
    Eviction,
    /// Placement of pods after they were created.
    #[value(name = "placement")]
    Placement,
    /// The admission webhook, which gives pods what profiles say.
    #[value(name = "webhook")]
    Webhook,
}

/// The configuration of the operator.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "eci-operator",
    version,
    about = "Kubernetes operator for Alibaba Cloud Elastic Container Instance"
)]
pub struct Config {
    /// Region of the cloud resources, such as cn-hangzhou.
    #[arg(long, env = "ECI_REGION")]
    pub region: String,
    /// Name of this cluster in the tags of cloud resources; default: the UID of the namespace kube-system.
    #[arg(long)]
    pub cluster_id: Option<String>,
    /// Endpoint of the cloud API; default: the region's on the Internet. http is accepted for loopback addresses only.
    #[arg(long, env = "ECI_ENDPOINT")]
    pub endpoint: Option<String>,
    /// Endpoint of the API of ECS, which knows the prices of spot instances; default: the region's, or --endpoint when that
    /// is a loopback address.
    #[arg(long, env = "ECI_ECS_ENDPOINT")]
    pub ecs_endpoint: Option<String>,
    /// Endpoint of the API of VPC, which knows the vSwitches; default: the region's, or --endpoint when that is a loopback
    /// address.
    #[arg(long, env = "ECI_VPC_ENDPOINT")]
    pub vpc_endpoint: Option<String>,
    /// vSwitches for objects that name none, separated by commas, in the order of preference.
    #[arg(long, value_delimiter = ',')]
    pub vswitch_ids: Vec<String>,
    /// Security group for objects that name none.
    #[arg(long)]
    pub security_group_id: Option<String>,
    /// Where the cloud's credentials come from.
    #[command(flatten)]
    pub credentials: CredentialsArgs,
    /// Namespaces to work in, separated by commas; default: all.
    #[arg(long, value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Parts that run, separated by commas; default: all. A part that does not run watches nothing and needs no
    /// permission.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1.., default_values_t = Part::value_variants().to_vec())]
    pub controllers: Vec<Part>,
    /// Log what would be done, and do nothing: no object is written, no event, no Lease, no call that changes the cloud.
    #[arg(long)]
    pub dry_run: bool,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen_address: SocketAddr,
    /// error, warn, info, debug or trace; or a filter such as "warn,eci_operator=debug".
    #[arg(long, env = "ECI_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// How long the result of a create call without an answer is looked for before the call is sent again.
    #[arg(long, value_parser = duration, default_value = "300s")]
    pub resolve_window: Duration,
    /// Limit on one call to the cloud, 1s to 60s. Above 5s the lease is longer than 10s: by 5s than the limit.
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub request_timeout: Duration,
    /// How often the cloud is looked at while nothing is under way.
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub poll_interval: Duration,
    /// How often the cloud is looked at while something is under way.
    #[arg(long, value_parser = duration, default_value = "2s")]
    pub poll_interval_busy: Duration,
    /// Objects that are worked on at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// Calls per second that change something in the cloud, for each of its actions, 1 to 100. The vendor publishes no
    /// limits: raise it only as far as the cloud does not answer with throttling.
    #[arg(long, default_value = "2", value_parser = writes_per_second)]
    pub cloud_writes_per_second: NonZeroU16,
    /// Labels of which each marks a virtual node, as key=value, separated by commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "type=virtual-kubelet,k8s.aliyun.com/vnode=true",
        value_parser = key_and_value
    )]
    pub virtual_node_labels: Vec<(String, String)>,
    /// Taints (NoSchedule) of virtual nodes, as key=value, separated by commas: one for each of --virtual-node-labels.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "virtual-kubelet.io/provider=alibabacloud,k8s.aliyun.com/vnode=true",
        value_parser = key_and_value
    )]
    pub virtual_node_taints: Vec<(String, String)>,
    /// How long a spot instance lives after its notice, 10s to 1h. The vendor says about 3 minutes.
    #[arg(long, value_parser = duration, default_value = "180s")]
    pub spot_notice: Duration,
    /// Evict pods with the vendor's annotation k8s.aliyun.com/eci-spot-release-strategy: api-evict, too; their virtual
    /// node (2.11.0 and later) does so itself, but only once.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub evict_vendor_annotated: bool,
    /// Requests to evict per second, 1 to 1000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub evictions_per_second: u32,
    /// Act only while holding the Lease eci-operator of the operator's namespace; false for one process alone.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: bool,
    /// Flags of the webhook.
    #[command(flatten)]
    pub webhook: webhook::Options,
}

/// Prints the RAM policy that allows what the operator does, and nothing else.
#[derive(Clone, Debug, Args)]
pub struct RamPolicy {
    /// Region that the policy is for; default: all.
    #[arg(long)]
    pub region: Option<String>,
}

impl RamPolicy {
    /// The policy, as JSON for people.
    pub fn text(&self) -> String {
        format!("{:#}", ram::policy(self.region.as_deref()))
    }
}

/// What the program is to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// To be the operator.
    Run(Box<Config>),
    /// To print a RAM policy.
    RamPolicy(RamPolicy),
}

impl Command {
    /// Reads flags (the first is the name of the program) and the environment, and checks them.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, ConfigError> {
        const POLICY: &str = "ram-policy";
        let flags = |error| ConfigError::Flags(Box::new(error));
        let policy = RamPolicy::augment_args(clap::Command::new(POLICY));
        let command = Config::command()
            .subcommand_negates_reqs(true)
            .args_conflicts_with_subcommands(true)
            .subcommand(policy);
        let matches = command.try_get_matches_from(args).map_err(flags)?;
        if let Some((_, matches)) = matches.subcommand() {
            let policy = RamPolicy::from_arg_matches(matches).map_err(flags)?;
            if let Some(region) = &policy.region {
                check_region(region).map_err(|e| ConfigError::Value(format!("--region {region:?}: {e}")))?;
            }
            return Ok(Self::RamPolicy(policy));
        }
        let config = Config::from_arg_matches(&matches).map_err(flags)?;
        Ok(Self::Run(Box::new(config.cleaned()?)))
    }
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// What the parser of flags says; also help and version.
    Flags(Box<clap::Error>),
    /// A value that makes no sense.
    Value(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(error) => write!(f, "{error}"),
            Self::Value(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads flags (the first is the name of the program) and the environment, and checks them.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, ConfigError> {
        Self::try_parse_from(args).map_err(|e| ConfigError::Flags(Box::new(e)))?.cleaned()
    }

    fn cleaned(self) -> Result<Self, ConfigError> {
        let mut config = self;
        // An empty list of the chart is one empty text.
        config.vswitch_ids.retain(|id| !id.is_empty());
        config.namespaces.retain(|name| !name.is_empty());
        config.namespaces.sort();
        config.namespaces.dedup();
        config.check().map_err(ConfigError::Value)?;
        Ok(config)
    }

    /// What a spec may leave out.
    pub fn defaults(&self) -> Defaults {
        Defaults { v_switch_ids: self.vswitch_ids.clone(), security_group_id: self.security_group_id.clone() }
    }

    /// Where virtual nodes are.
    pub fn virtual_nodes(&self) -> VirtualNodes {
        // It was checked that they are kinds.
        VirtualNodes::of(&self.virtual_node_labels, &self.virtual_node_taints).unwrap_or_default()
    }

    /// The endpoint of another service than ECI: what was said of it, or a simulator that serves all.
    pub(crate) fn endpoint_of(&self, said: Option<&String>) -> Option<String> {
        let simulator = || {
            let endpoint = self.endpoint.as_ref()?;
            Endpoint::parse(endpoint).ok().filter(Endpoint::is_loopback).map(|_| endpoint.clone())
        };
        said.cloned().or_else(simulator)
    }

    /// Whether the part runs.
    pub fn runs(&self, part: Part) -> bool {
        self.controllers.contains(&part)
    }

    /// What the engine of evictions is set to.
    pub fn eviction(&self) -> eviction::Settings {
        eviction::Settings {
            policy: eviction::notice::Policy {
                length: self.spot_notice,
                vendor_annotated: self.evict_vendor_annotated,
            },
            per_second: self.evictions_per_second,
            burst: self.evictions_per_second.saturating_mul(2),
            ..eviction::Settings::default()
        }
    }

    /// How long a lease lasts.
    pub fn lease_duration(&self) -> Duration {
        lease::duration_for(self.request_timeout)
    }

    fn check(&self) -> Result<(), String> {
        check_region(&self.region).map_err(|e| format!("--region {:?}: {e}", self.region))?;
        for (flag, endpoint) in [
            ("--endpoint", &self.endpoint),
            ("--ecs-endpoint", &self.ecs_endpoint),
            ("--vpc-endpoint", &self.vpc_endpoint),
        ] {
            if let Some(endpoint) = endpoint {
                Endpoint::parse(endpoint).map_err(|e| format!("{flag}: {e}"))?;
            }
        }
        self.credentials.check()?;
        if let Some(id) = self.cluster_id.as_ref().filter(|id| !cluster::is_valid(id)) {
            return Err(format!("--cluster-id {id:?}: use 1 to 64 characters of A-Z a-z 0-9 - _ ."));
        }
        if self.vswitch_ids.len() > MAX_V_SWITCHES {
            return Err(format!(
                "--vswitch-ids: {} are too many; the cloud takes 10",
                self.vswitch_ids.len()
            ));
        }
        if let Some(id) = self.vswitch_ids.iter().find(|id| !is_cloud_name(id, "vsw-")) {
            return Err(format!("--vswitch-ids {id:?}: the ID of a vSwitch begins with vsw-"));
        }
        if let Some(id) = self.security_group_id.as_ref().filter(|id| !is_cloud_name(id, "sg-")) {
            return Err(format!("--security-group-id {id:?}: the ID of a security group begins with sg-"));
        }
        if let Some(name) = self.namespaces.iter().find(|name| !is_label(name)) {
            return Err(format!("--namespaces {name:?}: this is not the name of a namespace"));
        }
        if !(Duration::from_secs(1)..=Duration::from_mins(1)).contains(&self.request_timeout) {
            return Err(format!("--request-timeout {:?}: use 1s to 60s", self.request_timeout));
        }
        if !(SHORTEST_NOTICE..=LONGEST_NOTICE).contains(&self.spot_notice) {
            return Err(format!("--spot-notice {:?}: use 10s to 1h", self.spot_notice));
        }
        VirtualNodes::of(&self.virtual_node_labels, &self.virtual_node_taints)
            .map_err(|e| format!("--virtual-node-taints: {e}"))?;
        self.webhook.check()?;
        // As long as another process may believe that it leads, and a call of its after that.
        let lasts = self.lease_duration();
        let least = self.request_timeout + lasts;
        if self.resolve_window < least {
            return Err(format!(
                "--resolve-window {:?}: a call that is still under way could be sent twice; use at least {least:?} (--request-timeout and the {lasts:?} of a lease)",
                self.resolve_window
            ));
        }
        if self.poll_interval_busy < LEAST_INTERVAL || self.poll_interval < self.poll_interval_busy {
            return Err(format!(
                "--poll-interval {:?} and --poll-interval-busy {:?}: use at least {LEAST_INTERVAL:?}, and the busy one not longer than the other",
                self.poll_interval, self.poll_interval_busy
            ));
        }
        Ok(())
    }
}

/// Reads `90s`, `5m`, `1h30m`, `200ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration =
        text.parse().map_err(|_| "use a number with a unit, such as 30s or 5m".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "a duration cannot be negative".to_owned())
}

/// Reads `key=value`.
fn writes_per_second(text: &str) -> Result<NonZeroU16, String> {
    let parsed: Option<NonZeroU16> = text.parse().ok();
    parsed
        .filter(|rate| rate.get() <= MOST_WRITES_PER_SECOND)
        .ok_or_else(|| format!("use a whole number from 1 to {MOST_WRITES_PER_SECOND}"))
}

fn is_cloud_name(id: &str, prefix: &str) -> bool {
    id.len() <= 64
        && id.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config, ConfigError> {
        let all = ["eci-operator", "--region=cn-hangzhou"].iter().chain(args);
        Config::read(all.map(OsString::from))
    }

    #[test]
    fn the_region_alone_is_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.resolve_window, Duration::from_mins(5));
        assert_eq!((config.workers, config.listen_address.port()), (16, 8080));
        assert_eq!(config.cloud_writes_per_second.get(), 2);
        assert_eq!(config.virtual_node_labels[1], ("k8s.aliyun.com/vnode".into(), "true".into()));
        assert_eq!(config.virtual_nodes(), VirtualNodes::default());
        assert_eq!(config.eviction(), eviction::Settings::default());
        assert!(config.namespaces.is_empty() && config.defaults() == Defaults::default());
    }

    #[test]
    fn lists_are_separated_by_commas_and_an_empty_one_is_none() {
        let config = read(&["--vswitch-ids=vsw-b,vsw-a", "--namespaces=b,a,b", "--security-group-id=sg-1"]);
        let config = config.unwrap();
        assert_eq!(config.defaults().v_switch_ids, ["vsw-b", "vsw-a"], "their order counts");
        assert_eq!(config.namespaces, ["a", "b"]);
        assert!(read(&["--vswitch-ids=", "--namespaces="]).unwrap().vswitch_ids.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_one_sentence_that_names_the_flag() {
        for (args, flag) in [
            (&["--endpoint=http://example.com"][..], "--endpoint"),
            (&["--cluster-id=a b"], "--cluster-id"),
            (&["--vswitch-ids=vsw-a,sg-b"], "--vswitch-ids"),
            (&["--security-group-id=vsw-a"], "--security-group-id"),
            (&["--namespaces=A"], "--namespaces"),
            (&["--request-timeout=0s"], "--request-timeout"),
            (&["--resolve-window=14s"], "--resolve-window"),
            (&["--resolve-window=44s", "--request-timeout=20s"], "--resolve-window"),
            (&["--virtual-node-labels=a=b"], "--virtual-node-taints"),
            (&["--virtual-node-taints=a=b"], "--virtual-node-taints"),
            (&["--spot-notice=9s"], "--spot-notice"),
            (&["--spot-notice=61m"], "--spot-notice"),
            (&["--poll-interval=1s"], "--poll-interval"),
            (&["--poll-interval-busy=0s"], "--poll-interval"),
        ] {
            match read(args).unwrap_err() {
                ConfigError::Value(message) => {
                    assert!(message.starts_with(flag) && !message.contains('\n'), "{message}");
                }
                ConfigError::Flags(error) => panic!("{args:?}: {error}"),
            }
        }
        for args in [
            ["--controllers=imagecaches"],
            ["--controllers="],
            ["--cloud-writes-per-second=0"],
            ["--cloud-writes-per-second=101"],
            ["--cloud-writes-per-second=1.5"],
            ["--workers=0"],
            ["--evictions-per-second=0"],
            ["--evictions-per-second=1001"],
            ["--virtual-node-labels=type"],
            ["--resolve-window=5"],
            ["--resolve-window=-5s"],
            ["--unknown"],
        ] {
            assert!(matches!(read(&args), Err(ConfigError::Flags(_))), "{args:?}");
        }
    }

    #[test]
    fn all_parts_run_unless_some_are_named_and_an_unknown_one_is_told_the_known() {
        assert!(Part::value_variants().iter().all(|part| read(&[]).unwrap().runs(*part)));
        assert!(read(&["--controllers=imagecache"]).unwrap().runs(Part::ImageCache));
        let message = read(&["--controllers=imagecache,dns"]).unwrap_err().to_string();
        assert!(message.contains("'dns'") && message.contains("possible values: imagecache"), "{message}");
    }

    #[test]
    fn a_ram_policy_needs_no_region_and_a_wrong_one_is_refused() {
        let read = |args: &[&str]| Command::read(["eci-operator"].iter().chain(args).map(OsString::from));
        assert!(matches!(read(&["ram-policy"]).unwrap(), Command::RamPolicy(RamPolicy { region: None })));
        let Command::RamPolicy(policy) = read(&["ram-policy", "--region=cn-beijing"]).unwrap() else {
            panic!()
        };
        assert_eq!(policy.region.as_deref(), Some("cn-beijing"));
        assert!(matches!(read(&["ram-policy", "--region=*"]), Err(ConfigError::Value(_))));
        let Command::Run(config) = read(&["--region=cn-hangzhou", "--namespaces=b,a,a"]).unwrap() else {
            panic!()
        };
        assert_eq!(config.namespaces, ["a", "b"]);
        assert!(matches!(read(&["--region=cn-hangzhou", "--namespaces=A"]), Err(ConfigError::Value(_))));
    }

    #[test]
    fn the_resolve_window_may_be_as_short_as_a_call_and_a_lease() {
        assert!(read(&["--resolve-window=11s", "--request-timeout=1s"]).is_ok());
        assert!(read(&["--resolve-window=45s", "--request-timeout=20s"]).is_ok());
    }

    #[test]
    fn leaders_are_elected_unless_it_is_switched_off() {
        for (args, elect) in
            [(&[][..], true), (&["--leader-elect"], true), (&["--leader-elect=false"], false)]
        {
            assert_eq!(read(args).unwrap().leader_elect, elect, "{args:?}");
        }
    }
}
