//! What can go wrong, in words that say what to do.

use eci_aliyun::credentials::CredentialsError;
use eci_core::cloud::{CloudError, Meaning};

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No access key.
    #[error("{0}; or use --credentials-dir")]
    Credentials(#[from] CredentialsError),
    /// Region or endpoint.
    #[error("{0} (--region, --endpoint, --ecs-endpoint)")]
    Client(#[from] eci_aliyun::ConfigError),
    /// A call failed.
    #[error("{error}{}", hint(error))]
    Cloud {
        /// What the cloud or the transport said.
        error: CloudError,
    },
    /// There is no spot instance of that size.
    #[error("{0}")]
    Size(String),
    /// Nothing is known.
    #[error("{0}")]
    NothingKnown(String),
    /// What was chosen is not there.
    #[error(
        "{0}; look with `kubectl get pods --show-labels`, or choose with --namespace, --all-namespaces and --selector"
    )]
    NotFound(String),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not have what is needed.
    #[error("{path}: {why}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The command was not understood.
    #[error("{0}")]
    Usage(String),
    /// The API server would refuse what profiles make of a pod.
    #[error("what profiles make of this pod cannot be applied to it: {0}")]
    Patch(String),
    /// The result has been written, and is not all that was wanted.
    #[error("{0}")]
    Incomplete(String),
    /// The result has no YAML form.
    #[error("cannot write the result as YAML: {0}")]
    Yaml(String),
    /// A kind that the cluster has not.
    #[error("the cluster does not know {0}; install the chart eci-operator-crds")]
    NotInstalled(&'static str),
    /// More than can be done.
    #[error("too many {0}")]
    TooMany(String),
    /// No way to the API server.
    #[error("cannot read the kubeconfig: {0}; check KUBECONFIG, --kubeconfig and --context")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server refused, or cannot be reached.
    #[error("the API server: {0}")]
    Kubernetes(#[from] kube::Error),
    /// The pods cannot be watched.
    #[error("cannot watch the pods: {0}")]
    Watch(Box<kube::runtime::watcher::Error>),
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
    /// The result has no JSON form.
    #[error("cannot write the result as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        Self::Cloud { error }
    }
}

impl Error {
    /// Whether the reader of the output has gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// What to do about a failed call to the market, with what separates it from what happened.
fn hint(error: &CloudError) -> &'static str {
    match error.meaning {
        Meaning::Denied => {
            "; allow the actions ecs:DescribeSpotAdvice and ecs:DescribeSpotPriceHistory in a RAM policy of the access key's user"
        }
        Meaning::BadCredentials => "; check the access key",
        Meaning::NoCredentials => "; set the access key in the environment or use --credentials-dir",
        Meaning::NotSent => "; check the network, --region and --ecs-endpoint",
        Meaning::Invalid => "; check --region, --zone and --instance-type",
        Meaning::Throttled | Meaning::Unknown => "; try again",
        Meaning::ClockSkew => "; set this machine's clock",
        Meaning::AccountRestricted | Meaning::Arrears => "; look into the account",
        _ => "",
    }
}
