// The arguments of `bench reconcile`, also compiled into e2e's binary `bench`, which carries it out.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// ImageCaches to make
    #[arg(long, default_value_t = 1_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5_000))]
    pub(crate) caches: usize,

    /// DataCaches to make beside them
    #[arg(long, default_value_t = 200, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=5_000))]
    pub(crate) data_caches: usize,

    /// Calls that change the cloud, for each action, that the operator may send in a second; its own default is 2
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) cloud_writes_per_second: u16,

    /// Measure the operator as it is shipped: a release build, for figures of memory
    #[arg(long)]
    pub(crate) release: bool,
}
