//! Flags of `migrate`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::KubeArgs;

/// Flags of `migrate`.
#[derive(Clone, Debug, clap::Args)]
pub struct MigrateArgs {
    /// Files or directories with the vendor's objects; - for the standard input. Default: those of the cluster.
    #[arg(short, long, value_name = "FILES", value_delimiter = ',')]
    pub filename: Vec<PathBuf>,
    /// Take over the caches that exist in the cloud instead of building them anew. Their namespaces need the label
    /// eci-operator.io/privileged=true.
    #[arg(long)]
    pub adopt: bool,
    /// Which cluster; the namespace is the one that caches get, since the vendor's have none.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value_t = MigrateOutput::Table)]
    pub output: MigrateOutput,
}

/// How a migration looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MigrateOutput {
    /// The report, for people.
    Table,
    /// The manifests, for kubectl apply; the report stands in comments.
    Yaml,
    /// Manifests and report, for programs.
    Json,
}
