//! The actions of ECS on the wire.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::params::Params;
use crate::world::ApiError;
use crate::world::call::Call;
use crate::world::market::{AdviceFilter, AdviceView, HistoryFilter, PriceView};

pub(super) fn history(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::DescribeSpotPriceHistory(Box::new(HistoryFilter {
        network_type: p.required("NetworkType")?,
        instance_type: p.required("InstanceType")?,
        zone: p.text("ZoneId"),
        io_optimized: p.text("IoOptimized"),
        os_type: p.text("OSType"),
        spot_duration: p.int("SpotDuration")?,
        from: time(p, "StartTime")?,
        to: time(p, "EndTime")?,
        offset: p.int("Offset")?,
    })))
}

pub(super) fn advice(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::DescribeSpotAdvice(Box::new(AdviceFilter {
        cores: p.int("Cores")?,
        memory: p.int("Memory")?,
        min_cores: p.int("MinCores")?,
        min_memory: p.int("MinMemory")?,
        instance_types: p.list("InstanceTypes")?,
        family: p.text("InstanceTypeFamily"),
        zone: p.text("ZoneId"),
    })))
}

/// Whole seconds, UTC.
fn time(p: &mut Params, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = p.text(name) else { return Ok(None) };
    let at = text.parse().ok().filter(|_| text.len() == 20 && text.ends_with('Z'));
    let refused =
        || ApiError::new(format!("InvalidParams.{name}"), "The time stamp is not yyyy-MM-ddTHH:mm:ssZ.");
    at.map(Some).ok_or_else(refused)
}

pub(super) fn prices(currency: &str, items: &[PriceView], next_offset: Option<usize>) -> Value {
    let mut body = json!({
        "Currency": currency,
        "SpotPrices": { "SpotPriceType": items.iter().map(price).collect::<Vec<_>>() },
    });
    if let Some(next) = next_offset {
        body["NextOffset"] = json!(next);
    }
    body
}

fn price(view: &PriceView) -> Value {
    json!({
        "InstanceType": view.instance_type,
        "ZoneId": view.zone,
        "NetworkType": "vpc",
        "IoOptimized": "optimized",
        "SpotPrice": number(view.spot, 1_000_000),
        "OriginPrice": number(view.regular, 1_000_000),
        "Timestamp": view.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

pub(super) fn advices(region: &str, items: &[AdviceView]) -> Value {
    let zones: Vec<Value> = items
        .chunk_by(|a, b| a.zone == b.zone)
        .filter_map(|of_zone| {
            let resources: Vec<Value> = of_zone.iter().map(resource).collect();
            let zone = &of_zone.first()?.zone;
            Some(json!({ "ZoneId": zone, "AvailableSpotResources": { "AvailableSpotResource": resources } }))
        })
        .collect();
    json!({ "RegionId": region, "AvailableSpotZones": { "AvailableSpotZone": zones } })
}

fn resource(view: &AdviceView) -> Value {
    json!({
        "InstanceType": view.instance_type,
        "AverageSpotDiscount": view.percent,
        "InterruptionRate": number(view.interruption, 100),
        "InterruptRateDesc": view.range(),
    })
}

/// A JSON number with a fraction, as the API writes prices.
#[expect(clippy::cast_precision_loss, reason = "prices have far fewer than 53 bits")]
fn number(value: i64, parts: i64) -> f64 {
    value as f64 / parts as f64
}
