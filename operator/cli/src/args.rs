//! Commands and flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use eci_core::profile::nodes::key_and_value;
use eci_core::spot::Price;
use eci_core::spot::market::Name;
use eci_core::spot::settings::price_limit;

use crate::drill::plan::Choice;
use crate::size::{Memory, Vcpu};

mod explain;
mod migrate;
mod nodes;

pub use explain::ExplainArgs;
pub use migrate::{MigrateArgs, MigrateOutput};
pub use nodes::NodeArgs;

/// Elastic Container Instance on the command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-eci", bin_name = "kubectl eci", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Shows every ImageCache, DataCache and EciProfile with its state, what is wrong with those that are not well, the
    /// virtual nodes, and what has become of the pods on them.
    Status(StatusArgs),
    /// Says what EciProfiles make of a pod, and why: which apply, why the others do not, who decided each field.
    ///
    /// Of a pod that exists, what its owner wrote is told from what profiles added to it. A pod or a workload of a file
    /// is judged as if it were created now, against the profiles of the cluster, or against those of --profiles without
    /// asking any cluster.
    Explain(ExplainArgs),
    /// Writes manifests of ours for the vendor's objects, with a report of every field.
    ///
    /// Reads the ConfigMap eci-profile, Selectors (eci.aliyun.com v1 and v1beta1), ImageCaches (eci.alibabacloud.com v1)
    /// and DataCaches (eci.aliyun.com v1alpha1) from files or the cluster. Nothing is applied: -o yaml prints what
    /// kubectl apply takes. Fails, after it has printed everything, when a field is broken.
    Migrate(MigrateArgs),
    /// Looks for the known pitfalls of virtual nodes in the cluster, and says what to do about each.
    ///
    /// Fails, after it has printed everything, when something does not work. Only reads.
    Doctor(DoctorArgs),
    /// Says what would hang if the operator were uninstalled now: caches in the cloud, webhooks, pods that wait.
    ///
    /// Fails, after it has printed everything, when something would hang, or could not be checked. Only reads.
    UninstallCheck(CheckArgs),
    /// Spot instances: prices and advice.
    #[command(subcommand)]
    Spot(SpotCommand),
    /// Says which spot pods would be saved if all of them were about to be taken back now; with --yes, tries it.
    ///
    /// Without --yes nothing is changed: the API server is asked for a dry run of one eviction of each workload, and the
    /// rest is reckoned from budgets, grace periods and how long its pods took to start. With --yes the pods get the
    /// notice that the cloud gives about three minutes before it takes an instance back (the condition
    /// ContainerInstanceExpired), the operator evicts them within their budgets, and the report says how many were told
    /// to end in time. Their instances are not taken back; notices that nobody acted upon are taken back at the end.
    Drill(DrillArgs),
    /// Prints a script that completes commands and flags of kubectl-eci in a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// A command about spot instances.
#[derive(Clone, Debug, Subcommand)]
pub enum SpotCommand {
    /// Says what spot instances of a size cost now and cost in the last 30 days, how often they are taken back, and
    /// which price limit would do.
    ///
    /// Prices are those of the instance types that the size can run on, each in its zone, the cheapest first. A pod with
    /// a size gets a type that the cloud chooses; a pod with the annotation k8s.aliyun.com/eci-use-specs names it.
    Advise(AdviseArgs),
}

/// Flags of `spot advise`.
#[derive(Clone, Debug, clap::Args)]
pub struct AdviseArgs {
    /// vCPUs of the pod, such as 4 or 500m.
    #[arg(long, requires = "memory", required_unless_present = "instance_types")]
    pub vcpu: Option<Vcpu>,
    /// Memory of the pod, such as 8Gi.
    #[arg(long, requires = "vcpu")]
    pub memory: Option<Memory>,
    /// Instance types instead of a size, such as ecs.c6.xlarge, separated by commas; at most 10.
    #[arg(
        long = "instance-type",
        value_name = "TYPE",
        value_delimiter = ',',
        value_parser = name,
        conflicts_with_all = ["vcpu", "memory"]
    )]
    pub instance_types: Vec<Name>,
    /// One zone, such as cn-hangzhou-i; default: all of the region.
    #[arg(long, value_parser = name)]
    pub zone: Option<Name>,
    /// Hours in which the instance is not taken back; prices may differ by it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..=1))]
    pub protection_hours: i32,
    /// Says what this price limit is worth, such as 0.5.
    #[arg(long, value_parser = limit)]
    pub price_limit: Option<Price>,
    /// How many instance types of the size are looked at, those with the greatest discount first.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10))]
    pub types: u16,
    /// Where the market is, and who asks.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `drill`.
#[derive(Clone, Debug, clap::Args)]
pub struct DrillArgs {
    /// Workloads, such as web or deployment/web; default: all that are selected.
    #[arg(value_name = "WORKLOAD", value_parser = Choice::parse)]
    pub workloads: Vec<Choice>,
    /// Only pods with these labels, as kubectl takes them.
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Say what would happen and change nothing: the default.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Give the pods a notice, so that the operator evicts them.
    #[arg(long)]
    pub yes: bool,
    /// Most pods of a real drill.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub max_pods: u16,
    /// Seconds from the notice until an instance would be taken back.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(5..=3600))]
    pub notice_seconds: u16,
    /// Labels of which each marks a virtual node, as the operator's own flag has them.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "type=virtual-kubelet,k8s.aliyun.com/vnode=true",
        value_parser = key_and_value
    )]
    pub virtual_node_labels: Vec<(String, String)>,
    /// Which cluster, and where in it.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `uninstall-check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Which cluster; all of its namespaces are looked at.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// Region of the virtual nodes, such as cn-hangzhou, for hosts of registries that the message names.
    #[arg(long, env = "ECI_REGION")]
    pub region: Option<String>,
    /// Namespace that the operator runs in, whose pods no profile selects.
    #[arg(long, default_value = "eci-operator")]
    pub operator_namespace: String,
    /// Asks the cloud too: whether it has caches with this cluster's ID in their tags that are of no object here.
    #[arg(long, requires = "region")]
    pub cloud: bool,
    /// ID of the cluster in the tags of its caches; default: what the operator remembers in its namespace.
    #[arg(long, requires = "cloud")]
    pub cluster_id: Option<String>,
    /// Endpoint of ECI; default: the region's on the Internet. http is accepted for loopback addresses only.
    #[arg(long, env = "ECI_ENDPOINT")]
    pub endpoint: Option<String>,
    /// Use the region's endpoint inside its VPCs.
    #[arg(long)]
    pub vpc: bool,
    /// Directory with the files access-key-id, access-key-secret and, if temporary, security-token; default: the
    /// environment variables ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and
    /// ALIBABA_CLOUD_SECURITY_TOKEN.
    #[arg(long)]
    pub credentials_dir: Option<PathBuf>,
    /// Where virtual nodes are.
    #[command(flatten)]
    pub nodes: NodeArgs,
    /// Which cluster, and where in it.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `status`.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// Where virtual nodes are.
    #[command(flatten)]
    pub nodes: NodeArgs,
    /// Which cluster, and where in it.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Which cluster, and where in it.
#[derive(Clone, Debug, clap::Args)]
pub struct KubeArgs {
    /// Namespace; default: that of the context.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Every namespace.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Context of the kubeconfig.
    #[arg(long)]
    pub context: Option<String>,
    /// Kubeconfig; default: as kubectl finds it.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

/// Where the cloud is, and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct CloudArgs {
    /// Region, such as cn-hangzhou.
    #[arg(long, env = "ECI_REGION")]
    pub region: String,
    /// Endpoint of ECS, whose API has the prices; default: the region's on the Internet. http is accepted for loopback
    /// addresses only.
    #[arg(long, env = "ECI_ECS_ENDPOINT")]
    pub ecs_endpoint: Option<String>,
    /// Use the region's endpoint inside its VPCs.
    #[arg(long)]
    pub vpc: bool,
    /// Directory with the files access-key-id, access-key-secret and, if temporary, security-token; default: the
    /// environment variables ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and
    /// ALIBABA_CLOUD_SECURITY_TOKEN.
    #[arg(long)]
    pub credentials_dir: Option<PathBuf>,
}

/// How a result looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

fn name(text: &str) -> Result<Name, &'static str> {
    Name::parse(text).ok_or("use 1 to 64 letters, digits, dots and hyphens")
}

fn limit(text: &str) -> Result<Price, &'static str> {
    price_limit(text).ok_or("use a price per hour above 0 with at most three decimals, such as 0.5")
}
