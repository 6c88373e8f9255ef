// The arguments of `bench memory`, also compiled into e2e's binary `bench`, which carries it out.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    /// Pods in the cluster
    #[arg(long, default_value_t = 10_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=50_000))]
    pub(crate) pods: usize,

    /// ImageCaches
    #[arg(long, default_value_t = 1_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5_000))]
    pub(crate) caches: usize,

    /// EciProfiles
    #[arg(long, default_value_t = 100, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub(crate) profiles: usize,

    /// Measure the operator as it is shipped: a release build; other figures say little
    #[arg(long)]
    pub(crate) release: bool,
}
