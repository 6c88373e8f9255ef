//! A client of the market, with the operator's ways to an access key.

use std::sync::Arc;

use eci_aliyun::credentials::{CredentialsProvider, DirectoryCredentials, StaticCredentials};
use eci_aliyun::{Config, SpotClient};

use crate::args::CloudArgs;
use crate::error::Error;

pub(crate) fn market(args: &CloudArgs) -> Result<SpotClient, Error> {
    let credentials: Arc<dyn CredentialsProvider> = match &args.credentials_dir {
        Some(directory) => Arc::new(DirectoryCredentials::new(directory)),
        None => Arc::new(StaticCredentials::from_env(|name| std::env::var(name).ok())?),
    };
    let mut config = Config::new(&args.region, credentials);
    config.endpoint.clone_from(&args.ecs_endpoint);
    config.vpc = args.vpc;
    Ok(SpotClient::new(config)?)
}
