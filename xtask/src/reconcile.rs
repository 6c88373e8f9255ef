// The arguments of `bench reconcile`, also compiled into e2e's binary `bench`, which carries it out.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// ImageCaches to make; 1000 take about half an hour
    #[arg(long, default_value_t = 200, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5_000))]
    pub(crate) caches: usize,
}
