//! Clients of the cloud, with the operator's ways to an access key.

use std::path::Path;
use std::sync::Arc;

use eci_aliyun::credentials::{CredentialsProvider, DirectoryCredentials, StaticCredentials};
use eci_aliyun::{Client, Config, SpotClient};

use crate::args::CloudArgs;
use crate::error::Error;

/// A client of the market.
pub(crate) fn market(args: &CloudArgs) -> Result<SpotClient, Error> {
    let credentials = credentials(args.credentials_dir.as_deref())?;
    Ok(SpotClient::new(config(&args.region, credentials, args.ecs_endpoint.as_ref(), args.vpc))?)
}

/// A client of the service that has the caches.
pub(crate) fn caches(
    region: &str,
    endpoint: Option<&String>,
    vpc: bool,
    directory: Option<&Path>,
) -> Result<Client, Error> {
    Ok(Client::new(config(region, credentials(directory)?, endpoint, vpc))?)
}

fn credentials(directory: Option<&Path>) -> Result<Arc<dyn CredentialsProvider>, Error> {
    Ok(match directory {
        Some(directory) => Arc::new(DirectoryCredentials::new(directory)),
        None => Arc::new(StaticCredentials::from_env(|name| std::env::var(name).ok())?),
    })
}

fn config(
    region: &str,
    credentials: Arc<dyn CredentialsProvider>,
    endpoint: Option<&String>,
    vpc: bool,
) -> Config {
    let mut config = Config::new(region, credentials);
    config.endpoint = endpoint.cloned();
    config.vpc = vpc;
    config
}
