//! The replies of the spot market, field for field as documented, every field optional.

use serde::Deserialize;

use crate::lenient;

/// Reply to DescribeSpotPriceHistory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PriceHistoryReply {
    /// Such as `CNY`.
    #[serde(deserialize_with = "lenient::text")]
    pub currency: Option<String>,
    /// Where the next page begins.
    #[serde(deserialize_with = "lenient::integer")]
    pub next_offset: Option<i64>,
    /// The page.
    #[serde(deserialize_with = "lenient::object")]
    pub spot_prices: SpotPrices,
}

/// The wrapper of the prices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpotPrices {
    /// `None` when the field is missing or no list.
    #[serde(deserialize_with = "lenient::objects")]
    pub spot_price_type: Option<Vec<SpotPriceType>>,
}

/// A price.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpotPriceType {
    /// Instance type.
    #[serde(deserialize_with = "lenient::text")]
    pub instance_type: Option<String>,
    /// Zone.
    #[serde(deserialize_with = "lenient::text")]
    pub zone_id: Option<String>,
    /// A number; kept as the text that it was, since a float is no price.
    #[serde(deserialize_with = "lenient::text")]
    pub spot_price: Option<String>,
    /// Of a regular instance.
    #[serde(deserialize_with = "lenient::text")]
    pub origin_price: Option<String>,
    /// UTC.
    #[serde(deserialize_with = "lenient::text")]
    pub timestamp: Option<String>,
}

/// Reply to DescribeSpotAdvice.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AdviceReply {
    /// By zone.
    #[serde(deserialize_with = "lenient::object")]
    pub available_spot_zones: AvailableSpotZones,
}

/// The wrapper of the zones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AvailableSpotZones {
    /// `None` when the field is missing or no list.
    #[serde(deserialize_with = "lenient::objects")]
    pub available_spot_zone: Option<Vec<AvailableSpotZone>>,
}

/// A zone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AvailableSpotZone {
    /// Its ID.
    #[serde(deserialize_with = "lenient::text")]
    pub zone_id: Option<String>,
    /// Types in it.
    #[serde(deserialize_with = "lenient::object")]
    pub available_spot_resources: AvailableSpotResources,
}

/// The wrapper of the types.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AvailableSpotResources {
    /// `None` when the field is missing or no list.
    #[serde(deserialize_with = "lenient::objects")]
    pub available_spot_resource: Option<Vec<AvailableSpotResource>>,
}

/// An instance type.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AvailableSpotResource {
    /// Its name.
    #[serde(deserialize_with = "lenient::text")]
    pub instance_type: Option<String>,
    /// Percent of the pay-as-you-go price.
    #[serde(deserialize_with = "lenient::integer")]
    pub average_spot_discount: Option<i64>,
    /// Percent, a fraction.
    #[serde(deserialize_with = "lenient::text")]
    pub interruption_rate: Option<String>,
    /// `0-3%` and the like.
    #[serde(deserialize_with = "lenient::text")]
    pub interrupt_rate_desc: Option<String>,
}
