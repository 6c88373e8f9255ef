//! Flags that say where virtual nodes are.

use eci_core::profile::nodes::{VirtualNodes, key_and_value};

use crate::error::Error;

/// Where virtual nodes are: the operator's flags of the same names.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// Labels of which each marks a virtual node, as key=value, separated by commas; as the operator has them.
    #[arg(
        long,
        value_name = "LABELS",
        value_delimiter = ',',
        default_value = "type=virtual-kubelet,k8s.aliyun.com/vnode=true",
        value_parser = key_and_value
    )]
    pub virtual_node_labels: Vec<(String, String)>,
    /// Taints (NoSchedule) of virtual nodes, as key=value, separated by commas: one for each of --virtual-node-labels.
    #[arg(
        long,
        value_name = "TAINTS",
        value_delimiter = ',',
        default_value = "virtual-kubelet.io/provider=alibabacloud,k8s.aliyun.com/vnode=true",
        value_parser = key_and_value
    )]
    pub virtual_node_taints: Vec<(String, String)>,
}

impl NodeArgs {
    pub(crate) fn virtual_nodes(&self) -> Result<VirtualNodes, Error> {
        VirtualNodes::of(&self.virtual_node_labels, &self.virtual_node_taints)
            .map_err(|error| Error::Usage(format!("--virtual-node-taints: {error}")))
    }
}
