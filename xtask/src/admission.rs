// The arguments of `bench admission`, also compiled into e2e's binary `bench`, which carries it out.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct AdmissionArgs {
    /// Pods of each row
    #[arg(long, default_value_t = 400, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5_000))]
    pub(crate) pods: usize,

    /// Measure the operator as it is shipped: a release build
    #[arg(long)]
    pub(crate) release: bool,
}
