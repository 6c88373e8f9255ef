// The arguments of `demo`, also compiled into e2e's binary of that name, which carries it out.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave everything running at the end, and print how to reach and how to stop it
    #[arg(long)]
    pub(crate) keep: bool,

    /// Name of the demo's bed; `cargo xtask down --name NAME` stops what --keep left
    #[arg(long, default_value = "demo")]
    pub(crate) name: String,
}
