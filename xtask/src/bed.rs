// The arguments of the test bed's tasks, also compiled into e2e's binary `testbed`, which carries them out.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BedTask {
    /// Start a test bed that outlives this command
    ///
    /// Starts etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok on free ports of 127.0.0.1, with
    /// two regular nodes and a virtual one, installs the charts, starts the simulated cloud and the operator, and prints
    /// the kubeconfig and the log directory. The first run builds the programs from source, which takes about ten
    /// minutes; see `tools`.
    Up(UpArgs),

    /// Stop a test bed and remove everything it left
    ///
    /// Kills exactly the processes that `up` started (pid and start time must match) and deletes the bed's directory
    /// with its data and logs.
    Down(DownArgs),

    /// Build or find the test bed's programs and print where they are
    ///
    /// What $KUBEBUILDER_ASSETS has is taken from there. The rest is built with Go from the versions pinned in
    /// e2e/testbed into $ECI_TESTBED_CACHE, else eci-operator/testbed in $XDG_CACHE_HOME or ~/.cache; once for each
    /// set of versions, compiler and flags.
    Tools(ToolsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Name of the bed; beds with different names run side by side
    #[arg(long, default_value = "default")]
    pub(crate) name: String,

    /// Stay until Ctrl-C and take the bed along; it also ends when this command is killed
    #[arg(long)]
    pub(crate) foreground: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ToolsArgs {
    /// Also the peers of the eviction benchmark, see e2e/peers
    #[arg(long)]
    pub(crate) peers: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Name of the bed
    #[arg(long, default_value = "default", conflicts_with = "all")]
    pub(crate) name: String,

    /// Stop every bed
    #[arg(long)]
    pub(crate) all: bool,
}
