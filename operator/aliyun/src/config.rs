//! What a client is made of.

use std::sync::Arc;
use std::time::Duration;

use crate::action::Service;
use crate::clock::{Clock, Nonces, SystemClock, SystemNonces};
use crate::credentials::CredentialsProvider;
use crate::encode::MapKeys;
use crate::endpoint::{BadEndpoint, Endpoint, check_region};
use crate::pace::Rate;
use crate::sign::ParameterNames;

/// What a client needs.
#[derive(Clone)]
pub struct Config {
    /// Region, such as `cn-hangzhou`.
    pub region: String,
    /// Another endpoint than the region's: `host[:port]`, `https://…`, or `http://` to a loopback address.
    pub endpoint: Option<String>,
    /// Whether the region's endpoint is the one inside the VPC.
    pub vpc: bool,
    /// Where the access key comes from.
    pub credentials: Arc<dyn CredentialsProvider>,
    /// Limit on finding the name, connecting and TLS together.
    pub connect_timeout: Duration,
    /// Limit on one request, connecting included. A write keeps it from call to answer, with the wait for its turn
    /// and a second attempt to connect: leases are fenced by it. Must be more than twice `connect_timeout`.
    pub request_timeout: Duration,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub nonces: Arc<dyn Nonces>,
    /// How parameter names are signed.
    pub parameter_names: ParameterNames,
    /// How the keys of free maps are written.
    pub map_keys: MapKeys,
    /// Highest rate of each action that reads.
    pub reads: Rate,
    /// Highest rate of each action that writes.
    pub writes: Rate,
}

impl Config {
    /// The usual: the region's endpoint on the Internet, 3 s to connect, 10 s for a request.
    pub fn new(region: impl Into<String>, credentials: Arc<dyn CredentialsProvider>) -> Self {
        Self {
            region: region.into(),
            endpoint: None,
            vpc: false,
            credentials,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
            nonces: Arc::new(SystemNonces),
            parameter_names: ParameterNames::default(),
            map_keys: MapKeys::default(),
            reads: Rate::READS,
            writes: Rate::WRITES,
        }
    }

    /// Where calls go, once everything that could be wrong has been looked at.
    pub(crate) fn checked_endpoint(&self, service: Service) -> Result<Endpoint, ConfigError> {
        check_region(&self.region)?;
        if self.connect_timeout.is_zero() || self.request_timeout / 2 <= self.connect_timeout {
            return Err(ConfigError::Timeouts);
        }
        Ok(match &self.endpoint {
            Some(text) => Endpoint::parse(text)?,
            None => Endpoint::of_region(service, &self.region, self.vpc)?,
        })
    }
}

/// A client cannot be made of this configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Region or endpoint.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    /// Time limits.
    #[error("the request time-out must be more than twice the connect time-out, and that more than zero")]
    Timeouts,
}
