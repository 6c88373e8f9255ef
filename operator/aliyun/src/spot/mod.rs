//! The spot market: two reading actions of ECS, whose lists lie two wrappers deep.

mod convert;
pub mod request;
pub mod wire;

use eci_core::cloud::{CloudError, Meaning};
use eci_core::spot::SpotMarket;
use eci_core::spot::market::{Advice, AdviceQuery, HistoryPage, HistoryQuery};

use crate::action::{Action, Service};
use crate::client::{Client, failure};
use crate::config::{Config, ConfigError};
use crate::endpoint::Endpoint;

/// Client of the spot market in one region. Makes no connection before the first call.
#[derive(Debug)]
pub struct SpotClient(Client);

impl SpotClient {
    /// Makes a client; an endpoint in the configuration is one of ECS.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Client::of(Service::Ecs, config).map(Self)
    }

    /// Where calls go.
    pub fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }
}

impl SpotMarket for SpotClient {
    async fn price_history(&self, query: &HistoryQuery, page: u32) -> Result<HistoryPage, CloudError> {
        let action = Action::DescribeSpotPriceHistory;
        let params = request::price_history(self.0.region(), query, page);
        let reply: wire::PriceHistoryReply = self.0.call(action, &params).await?;
        convert::history(reply, query, page)
            .ok_or_else(|| failure(action, Meaning::Unknown, "the answer has no list of prices"))
    }

    async fn advice(&self, query: &AdviceQuery) -> Result<Vec<Advice>, CloudError> {
        let action = Action::DescribeSpotAdvice;
        let params = request::advice(self.0.region(), query);
        let reply: wire::AdviceReply = self.0.call(action, &params).await?;
        convert::advice(reply, query)
            .ok_or_else(|| failure(action, Meaning::Unknown, "the answer has no list of zones"))
    }
}
