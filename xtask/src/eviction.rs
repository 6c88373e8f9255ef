// The arguments of `bench eviction`, also compiled into e2e's binary `bench`, which carries it out.

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ControllerManager {
    /// 20 requests a second per controller, as it is shipped
    Default,
    /// 200 requests a second
    Raised,
    /// One after the other
    Both,
}

#[derive(Debug, Args)]
pub(crate) struct EvictionArgs {
    /// Scenario, such as B1; may be repeated. Without: all but B14
    #[arg(long = "scenario", value_name = "ID")]
    pub(crate) scenarios: Vec<String>,

    /// Contender: ours, kubectl, nth, nth-raised or karpenter; may be repeated. Without: all
    #[arg(long = "contender", value_name = "ID")]
    pub(crate) contenders: Vec<String>,

    /// The pace of kube-controller-manager
    #[arg(long, value_enum, default_value_t = ControllerManager::Both)]
    pub(crate) controller_manager: ControllerManager,

    /// How often each is run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,

    /// Seconds from the notice to the release
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u32).range(10..=3_600))]
    pub(crate) limit: u32,

    /// With release builds of the operator and of the benchmark itself, built first
    #[arg(long)]
    pub(crate) release: bool,

    /// Fail when a target is missed, which an idle machine may be needed for
    #[arg(long)]
    pub(crate) strict: bool,

    /// Keep the rows of earlier runs in target/bench/eviction.json that are not measured anew
    #[arg(long)]
    pub(crate) add: bool,

    /// Control planes at once, for scenarios that mostly wait
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) at_once: u8,
}
