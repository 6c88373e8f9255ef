// The arguments of `bench crash`, also compiled into e2e's binary `bench`, which carries out what is not the model.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CrashArgs {
    /// Deaths of the operator as a process, in episodes of ten: nine by kill -9, one frozen beyond its lease; 0 for none
    #[arg(long, default_value_t = 100)]
    pub(crate) kills: u32,

    /// Histories of each model, and seeds of the shell in virtual time, to run before; 0 for none
    #[arg(long, default_value_t = 10_000)]
    pub(crate) seeds: u32,

    /// Seed of the first episode, and the first of the shell; each further one has the next
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Only print what happens in the first seed of the shell
    #[arg(long)]
    pub(crate) story: bool,
}
