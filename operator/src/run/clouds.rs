//! The clients of the cloud.

use std::sync::Arc;
use std::time::Duration;

use eci_aliyun::pace::Rate;
use eci_aliyun::{NetworkClient, SpotClient};

use super::RunError;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::outlook::{Asking, Outlook};

/// Longest part of a call that goes into connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// What asks the other services of the cloud about profiles.
pub(super) fn asking(
    config: &Config,
    outlook: &Arc<Outlook>,
    metrics: &Arc<Metrics>,
    call_limit: Duration,
    clock: Clock,
) -> Result<Asking<NetworkClient, SpotClient>, RunError> {
    let (_, credentials) = config.credentials.provider(|name| std::env::var(name).ok());
    let of = |endpoint: Option<&String>| eci_aliyun::Config {
        endpoint: config.endpoint_of(endpoint),
        connect_timeout: CONNECT_LIMIT.min(config.request_timeout / 3),
        request_timeout: config.request_timeout,
        ..eci_aliyun::Config::new(config.region.clone(), Arc::clone(&credentials))
    };
    Ok(Asking {
        outlook: Arc::clone(outlook),
        network: NetworkClient::new(of(config.vpc_endpoint.as_ref()))?,
        market: SpotClient::new(of(config.ecs_endpoint.as_ref()))?,
        clock,
        metrics: Arc::clone(metrics),
        defaults: config.vswitch_ids.clone(),
        call_limit,
    })
}

/// The client of the service that has the caches.
pub(super) fn cloud(config: &Config) -> Result<eci_aliyun::Client, RunError> {
    let (source, credentials) = config.credentials.provider(|name| std::env::var(name).ok());
    let client = eci_aliyun::Client::new(eci_aliyun::Config {
        endpoint: config.endpoint.clone(),
        connect_timeout: CONNECT_LIMIT.min(config.request_timeout / 3),
        request_timeout: config.request_timeout,
        writes: Rate::of_writes(config.cloud_writes_per_second),
        ..eci_aliyun::Config::new(config.region.clone(), credentials)
    })?;
    tracing::info!(endpoint = %client.endpoint(), credentials = ?source, "the cloud");
    Ok(client)
}
