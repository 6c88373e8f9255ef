//! Spot instances: what is bought, and what happens when it is taken back.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Spot instances, taken as a whole from one profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.strategy == 'SpotWithPriceLimit') == has(self.priceLimit)").message("spec.spot.priceLimit is set if and only if spec.spot.strategy is SpotWithPriceLimit"),
    validation = Rule::new("!has(self.onDeadline) || (has(self.release) && self.release == 'Evict')").message("spec.spot.onDeadline needs spec.spot.release: Evict, for without evictions there is nothing to be late")
)]
pub struct Spot {
    /// SpotAsPriceGo: at the price of the market. SpotWithPriceLimit: up to priceLimit.
    pub strategy: SpotStrategy,
    /// The most to pay for an hour, in the currency of the account, in quotes, with at most three decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(
        validation = Rule::new(r"self.matches('^[0-9]+([.][0-9]{1,3})?$')").message("must be a price with at most three decimals, such as \"0.5\""),
        validation = Rule::new("self.matches('[1-9]')").message("must be above 0: at a price of 0 there is never stock")
    )]
    pub price_limit: Option<String>,
    /// Hours in which the instance is not reclaimed, 0 or 1; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub protection_hours: Option<i32>,
    /// What happens when there is no spot stock: None (the pod waits; also when absent) or PayAsYouGo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<SpotFallback>,
    /// What happens at the notice of a reclaim: Evict (the pod is evicted within its budgets) or None (also when
    /// absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<SpotRelease>,
    /// What happens to a pod that its budgets still protect when the instance goes: Wait (it is lost with the
    /// instance; also when absent) or Delete (it is deleted in time for a clean end, against its budgets).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<SpotDeadline>,
    /// How long a pod that was reclaimed (reason BidFailed) and that a controller has replaced is kept, 0s to 168h; for
    /// ever when absent.
    #[serde(rename = "failedPodTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = rules::duration_syntax(), validation = rules::duration_range("0s", "168h"))]
    pub failed_pod_ttl: Option<String>,
}

/// At which price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpotStrategy {
    /// At that of the market.
    SpotAsPriceGo,
    /// Up to a limit.
    SpotWithPriceLimit,
}

/// What happens without spot stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpotFallback {
    /// The pod waits.
    None,
    /// A regular instance is taken.
    PayAsYouGo,
}

/// What happens at the notice of a reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpotRelease {
    /// The pod is evicted.
    Evict,
    /// Nothing.
    None,
}

/// What happens to a pod that is still protected when its instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpotDeadline {
    /// It is lost with the instance.
    Wait,
    /// It is deleted.
    Delete,
}
