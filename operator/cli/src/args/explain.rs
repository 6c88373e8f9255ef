//! Flags of `explain`.

use std::path::PathBuf;

use super::{KubeArgs, NodeArgs, Output};

/// Flags of `explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// A pod of the cluster: pod NAME, or pod/NAME.
    #[arg(
        value_name = "POD",
        num_args = 1..=2,
        required_unless_present = "filename",
        conflicts_with = "filename"
    )]
    pub pod: Vec<String>,
    /// File with a pod, or with a workload whose template makes pods; - for the standard input.
    #[arg(short, long, value_name = "FILE")]
    pub filename: Option<PathBuf>,
    /// Files or directories with EciProfiles, and with ImageCaches and Namespaces that they speak of, instead of those
    /// of the cluster, which is then not asked.
    #[arg(long, value_name = "FILES", value_delimiter = ',', requires = "filename")]
    pub profiles: Vec<PathBuf>,
    /// Labels of the pod's namespace, such as team=web,env=prod, instead of those that it has.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', value_parser = label, requires = "filename")]
    pub namespace_labels: Option<Vec<(String, String)>>,
    /// Namespace that the operator runs in, whose pods no profile selects.
    #[arg(long, default_value = "eci-operator")]
    pub operator_namespace: String,
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

fn label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("use key=value")?;
    if key.is_empty() {
        return Err("use key=value, with a key");
    }
    Ok((key.to_owned(), value.to_owned()))
}
