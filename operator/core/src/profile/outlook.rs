//! What the cloud is asked about a profile before its pods are: its vSwitches, and the market's view of its price limit.

use eci_api::condition::{ConditionType, ProfileReason};
use eci_api::eci_profile::EciProfileSpec;
use eci_api::spot_sizes;

use crate::spot::advice::Offer;
use crate::spot::limit;
use crate::spot::market::{Name, Wanted};
use crate::spot::price::Price;

/// A condition of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its type.
    pub type_: ConditionType,
    /// `True`, `False`, or `Unknown` when absent.
    pub status: Option<bool>,
    /// Its reason.
    pub reason: ProfileReason,
    /// A sentence for a person.
    pub message: String,
}

/// The conditions that are about the cloud, and are there only while the cloud is asked for them.
pub const ABOUT_THE_CLOUD: [ConditionType; 2] =
    [ConditionType::NetworkReady, ConditionType::PriceLimitSufficient];

/// What is to be known about a profile. Two profiles with equal questions have equal answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// vSwitches that it names.
    pub v_switches: Vec<String>,
    /// Its price limit.
    pub price: Option<PriceQuestion>,
}

/// What is to be known about a price limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceQuestion {
    /// The limit.
    pub limit: Price,
    /// What the pods may run on, as far as the profile says it.
    pub runs_on: Vec<Wanted>,
    /// Hours in which instances are not taken back: prices may differ by it.
    pub protection_hours: i32,
}

impl Question {
    /// Of a profile.
    pub fn of(spec: &EciProfileSpec) -> Self {
        let v_switches =
            spec.network.as_ref().map(|network| network.v_switch_ids.clone()).unwrap_or_default();
        let price = spec.spot.as_ref().and_then(|spot| {
            Some(PriceQuestion {
                limit: Price::parse(spot.price_limit.as_deref()?)?,
                runs_on: runs_on(spec),
                protection_hours: spot.protection_hours.unwrap_or(1),
            })
        });
        Self { v_switches, price }
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.v_switches.is_empty() && self.price.is_none()
    }
}

fn runs_on(spec: &EciProfileSpec) -> Vec<Wanted> {
    let candidates = spec.instance.iter().flat_map(|instance| &instance.candidates);
    let mut types = Vec::new();
    let mut sizes = Vec::new();
    for candidate in candidates {
        if let Some(name) = candidate.instance_type.as_deref().and_then(Name::parse) {
            types.push(name);
        } else if let Some((cpu, memory)) = candidate.cpu.as_deref().zip(candidate.memory.as_deref())
            && let Some(size) = cpu_millis(cpu)
                .zip(memory_bytes(memory))
                .and_then(|(cpu, memory)| spot_sizes::billed(cpu, memory))
        {
            sizes.push(Wanted::Size { vcpu: size.vcpu, memory_gib: size.memory_gib });
        }
    }
    let types = (!types.is_empty()).then_some(Wanted::Types(types));
    types.into_iter().chain(sizes).collect()
}

/// Thousandths of a vCPU, of `4`, `0.5` or `500m`.
fn cpu_millis(text: &str) -> Option<u64> {
    match text.strip_suffix('m') {
        Some(millis) => millis.parse().ok(),
        None => u64::try_from(Price::parse(text)?.micros() / 1_000).ok(),
    }
}

/// Bytes, of `8Gi` and the like.
fn memory_bytes(text: &str) -> Option<u64> {
    let units = [("Mi", 1_u64 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40)];
    units.iter().find_map(|(unit, bytes)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*bytes))
}

/// What the market says of a price limit.
pub fn about_price(question: &PriceQuestion, offers: &[Offer]) -> Said {
    let type_ = ConditionType::PriceLimitSufficient;
    if question.runs_on.is_empty() {
        return Said {
            type_,
            status: None,
            reason: ProfileReason::MarketUnknown,
            message: "The profile does not say what its pods run on (spec.instance.candidates), so the market was not asked about spec.spot.priceLimit.".to_owned(),
        };
    }
    let limit::Judgement { status, reason, message } = limit::condition(question.limit, offers);
    Said { type_, status, reason, message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(mut more: serde_json::Value) -> Question {
        more["selector"] = json!({ "podSelector": { "matchLabels": { "a": "b" } } });
        Question::of(&serde_json::from_value(more).unwrap())
    }

    #[test]
    fn only_what_a_profile_says_is_asked() {
        assert!(question(json!({})).is_empty());
        assert!(question(json!({ "spot": { "strategy": "SpotAsPriceGo" } })).is_empty());
        let both = question(json!({
            "network": { "vSwitchIDs": ["vsw-a"] },
            "instance": { "candidates": [
                { "instanceType": "ecs.c6.xlarge" }, { "cpu": "3", "memory": "6Gi" }, { "instanceType": "ecs.c7.xlarge" },
            ] },
            "spot": { "strategy": "SpotWithPriceLimit", "priceLimit": "0.5", "protectionHours": 0 },
        }));
        let price = both.price.unwrap();
        assert_eq!((both.v_switches, price.protection_hours), (vec!["vsw-a".to_owned()], 0));
        assert_eq!(price.limit, Price::parse("0.5").unwrap());
        let types = ["ecs.c6.xlarge", "ecs.c7.xlarge"].into_iter().filter_map(Name::parse).collect();
        assert_eq!(price.runs_on, [Wanted::Types(types), Wanted::Size { vcpu: 4, memory_gib: 8 }]);
    }

    #[test]
    fn a_limit_without_candidates_is_not_judged() {
        let asked = question(json!({ "spot": { "strategy": "SpotWithPriceLimit", "priceLimit": "0.5" } }));
        let said = about_price(&asked.price.unwrap(), &[]);
        assert_eq!((said.status, said.reason), (None, ProfileReason::MarketUnknown));
        assert!(said.message.contains("spec.instance.candidates"));
    }
}
